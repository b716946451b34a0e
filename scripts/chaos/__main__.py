"""Kills, stops, empties and disturbs whatever a worker depends on, under load, and has `reviewpulse verify` judge.

The workers have a stub model, so that every second of the run is delivery. Needs KAFKA_HOME, the folder of an
Apache Kafka distribution, and for the jumping clock the Debian package faketime.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reviewpulse.broker import ensure_topics
from reviewpulse.settings import KafkaSettings, load
from scripts.chaos import brokers, machine, workers
from scripts.chaos.stage import ImpossibleError, Stage, require, say
from scripts.chaos.supervision import drained
from tests.clocks import MISSING
from tests.cluster import kafka_cluster
from tests.integration.processes import Desk

SCENARIOS: dict[str, tuple[int, Callable[[Stage], dict[str, Any]]]] = {
    "random kills": (1, workers.random_kills),
    "broker killed": (1, brokers.broker_killed),
    "broker away for a minute": (1, brokers.broker_away_for_a_minute),
    "one of three brokers killed": (3, brokers.one_of_three_brokers_killed),
    "broker comes back empty": (1, brokers.broker_comes_back_empty),
    "topic made anew": (1, brokers.topic_made_anew),
    "workers join and leave": (1, workers.workers_join_and_leave),
    "store locked": (1, machine.store_locked),
    "disk full": (1, machine.disk_full),
    "clock jumps": (1, machine.clock_jumps),
}
"""By name: how many brokers it needs, and what is done."""


def play(name: str, kills: int, home: Path, folder: Path) -> dict[str, Any]:
    """Play one scenario on a cluster of its own and have it verified."""
    broker_count, scenario = SCENARIOS[name]
    with kafka_cluster(home, folder / "kafka", broker_count) as nodes, contextlib.ExitStack() as cleanup:
        addresses = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        kafka = load(KafkaSettings, broker=addresses, replication_factor=min(broker_count, 3))
        desk = Desk(folder, kafka, folder / "none")
        desk.environment["REVIEWPULSE_REPLICATION_FACTOR"] = str(kafka.replication_factor)
        try:
            ensure_topics(kafka)
            started = time.monotonic()
            found = scenario(Stage(desk, nodes, kills, cleanup))
            seconds = round(time.monotonic() - started)
            verdict = drained(desk)
            require(
                verdict["records"] >= found.get("confirmed", 0), "the topic holds fewer records than were confirmed"
            )
        finally:
            desk.clear()
    return {**found, "seconds": seconds, "verify": verdict}


def main() -> None:
    """Play the scenarios and write the JSON after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many workers the first scenario kills")
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="play only this one; may be repeated")
    parser.add_argument("--into", type=Path, default=Path("docs/results/chaos.json"))
    options = parser.parse_args()
    if not os.environ.get("KAFKA_HOME"):
        sys.exit("set KAFKA_HOME to the folder of an Apache Kafka distribution")
    if MISSING and "clock jumps" in (options.only or SCENARIOS):
        sys.exit(MISSING)
    home = Path(os.environ["KAFKA_HOME"])
    is_continued = bool(options.only) and options.into.exists()
    report = json.loads(options.into.read_text()) if is_continued else {"scenarios": {}}
    failed = [name for name in options.only or SCENARIOS if not is_played_well(name, options, home, report)]
    sys.exit(f"NOT WELL: {', '.join(failed)}" if failed else 0)


def is_played_well(name: str, options: argparse.Namespace, home: Path, report: dict[str, Any]) -> bool:
    """Play a scenario, put what it found into the report's file, and return whether it went well."""
    say(f"scenario: {name}")
    report["scenarios"].pop(name, None)
    played: dict[str, Any] = {"played_at": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        with tempfile.TemporaryDirectory() as folder:
            played |= play(name, options.kills, home, Path(folder))
    except ImpossibleError as exc:
        played["left_out"] = str(exc)
        say(f"{name}: left out: {exc}")
    except AssertionError as exc:
        say(f"{name}: FAILED: {exc}")
        return False
    else:
        say(f"{name}: {'well' if played['verify']['is_well'] else 'NOT WELL'}, {played['verify']['records']:,} records")
    report["scenarios"][name] = played
    options.into.write_text(json.dumps(report, indent=2) + "\n")
    return "left_out" in played or bool(played["verify"]["is_well"])


if __name__ == "__main__":
    main()
