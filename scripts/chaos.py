"""Kills, stops, empties and disturbs whatever a worker depends on, under load, and has `reviewpulse verify` judge.

The workers have a stub model, so that every second of the run is delivery. Needs KAFKA_HOME, the folder of an
Apache Kafka distribution, and for the jumping clock the Debian package faketime.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError

from reviewpulse.broker import client_options, connect_admin, ensure_topics
from reviewpulse.settings import KafkaSettings, load
from tests.brokers import DistributionBroker
from tests.cluster import kafka_cluster
from tests.integration.processes import Desk, wait_until

WORKER_SETTINGS = {
    "REVIEWPULSE_BATCH_REVIEWS": "64",
    "REVIEWPULSE_SESSION_SECONDS": "3",
    "REVIEWPULSE_RETRY_SECONDS": "300",
}
DRAIN_SECONDS = 300.0
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class Stage(NamedTuple):
    """What a scenario plays on."""

    desk: Desk
    nodes: list[DistributionBroker]
    kills: int
    home: Path


class Feeder:
    """Publishes reviews, and now and then bytes that are none, from a thread until it is closed."""

    def __init__(self, kafka: KafkaSettings, per_second: float) -> None:
        self.sent = 0
        self._error: Exception | None = None
        self._kafka = kafka
        self._pause = 1 / per_second
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Feeder":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._is_over.set()
        self._thread.join()
        if self._error is not None:
            raise RuntimeError("without its load the scenario proves nothing") from self._error

    def _run(self) -> None:
        producer = KafkaProducer(**client_options(self._kafka), acks="all", linger_ms=20, max_block_ms=120_000)
        try:
            while not self._is_over.wait(self._pause):
                value = b"{broken" if self.sent % 50 == 49 else b'{"text": "review %d"}' % self.sent
                producer.send(self._kafka.reviews_topic, key=b"%d" % self.sent, value=value)
                self.sent += 1
            producer.flush()
        except KafkaError as exc:
            self._error = exc
        finally:
            producer.close()


def start_worker(desk: Desk, name: str = "0", **settings: str) -> subprocess.Popen[bytes]:
    """Start a worker that is a static member of the group under this name."""
    return desk.start_stub(**WORKER_SETTINGS | settings, REVIEWPULSE_INSTANCE=name)


def stop_worker(worker: subprocess.Popen[bytes]) -> None:
    """Stop a worker in order."""
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)


@contextlib.contextmanager
def kept_running(desk: Desk, **settings: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep one worker running during a block, as a supervisor does; give all that were started."""
    started = [start_worker(desk, **settings)]
    is_over = threading.Event()

    def supervise() -> None:
        while not is_over.wait(0.2):
            if started[-1].poll() is not None:
                started.append(start_worker(desk, **settings))

    thread = threading.Thread(target=supervise, daemon=True)
    thread.start()
    try:
        yield started
    finally:
        is_over.set()
        thread.join()
        stop_worker(started[-1])


def random_kills(stage: Stage) -> dict[str, Any]:
    """Kill workers with SIGKILL at random moments: some while they start, most while they score."""
    generator, consuming = random.Random(0), list[float]()  # noqa: S311  # repeatable, not secret
    with Feeder(stage.desk.kafka, per_second=500) as feeder:
        for number in range(stage.kills):
            worker, started = start_worker(stage.desk, STUB_SECONDS="0.05"), time.monotonic()
            if generator.random() < 0.2:
                time.sleep(generator.uniform(0, 2))
            else:
                wait_until(lambda worker=worker: stage.desk.is_reading(worker), "a worker reads")  # type: ignore[misc]
                consuming.append(time.monotonic() - started)
                time.sleep(generator.uniform(0, 1))
            worker.kill()
            worker.wait()
            say(f"kill {number + 1} of {stage.kills}, {feeder.sent:,} sent")
    consuming.sort()
    return {
        "sent": feeder.sent,
        "kills": stage.kills,
        "median_seconds_to_consuming_again": round(consuming[len(consuming) // 2], 2),
    }


def broker_killed(stage: Stage) -> dict[str, Any]:
    """Kill the only broker five times and start it again after a second."""
    return broker_away(stage, times=5, seconds=1)


def broker_away_for_a_minute(stage: Stage) -> dict[str, Any]:
    """Keep the broker down for a minute under load."""
    return broker_away(stage, times=1, seconds=60)


def broker_away(stage: Stage, times: int, seconds: float) -> dict[str, Any]:
    """Kill the only broker so many times, and start it again after so many seconds."""
    with Feeder(stage.desk.kafka, per_second=200) as feeder, kept_running(stage.desk) as workers:
        for _ in range(times):
            time.sleep(8)
            stage.nodes[0].kill()
            time.sleep(seconds)
            stage.nodes[0].start()
        time.sleep(25)
    return {"sent": feeder.sent, "broker_kills": times, "seconds_away": seconds, "workers_started": len(workers)}


def one_of_three_brokers_killed(stage: Stage) -> dict[str, Any]:
    """Kill each broker of three in turn; the other two carry on."""
    with Feeder(stage.desk.kafka, per_second=200), kept_running(stage.desk) as workers:
        for node in stage.nodes:
            time.sleep(10)
            node.kill()
            time.sleep(15)
            node.start()
        time.sleep(15)
    return {"broker_kills": len(stage.nodes), "workers_started": len(workers)}


def broker_comes_back_empty(stage: Stage) -> dict[str, Any]:
    """Lose all that the broker holds while the worker runs; what was stored stays, what is sent anew is scored."""
    desk, (node, *_) = stage.desk, stage.nodes
    with kept_running(desk) as workers:
        with Feeder(desk.kafka, per_second=200) as before:
            time.sleep(8)
        wait_until(lambda: rows(desk) >= before.sent, "the first reviews are stored")
        node.kill()
        shutil.rmtree(node.data)
        node.format()
        node.start()
        ensure_topics(desk.kafka)
        with Feeder(desk.kafka, per_second=200) as after:
            time.sleep(8)
        wait_until(lambda: rows(desk) >= before.sent + after.sent, "the others are stored")
    return {"stored_before": before.sent, "stored_after": rows(desk) - before.sent, "workers_started": len(workers)}


def topic_made_anew(stage: Stage) -> dict[str, Any]:
    """Delete the reviews topic and make it again while the worker runs."""
    desk = stage.desk
    with kept_running(desk) as workers:
        with Feeder(desk.kafka, per_second=200) as before:
            time.sleep(5)
        wait_until(lambda: rows(desk) >= before.sent, "the first reviews are stored")
        with contextlib.closing(connect_admin(desk.kafka)) as admin:
            admin.delete_topics([desk.kafka.reviews_topic])
        time.sleep(3)
        ensure_topics(desk.kafka)
        with Feeder(desk.kafka, per_second=200) as after:
            time.sleep(5)
        wait_until(lambda: rows(desk) >= before.sent + after.sent, "the others are stored")
    return {"stored_before": before.sent, "stored_after": rows(desk) - before.sent, "workers_started": len(workers)}


def workers_join_and_leave(stage: Stage) -> dict[str, Any]:
    """Let a second and a third worker join and leave under load, in order and by SIGKILL."""
    with Feeder(stage.desk.kafka, per_second=400), kept_running(stage.desk) as workers:
        for turn in range(6):
            others = [start_worker(stage.desk, name) for name in ("1", "2")]
            time.sleep(8)
            for other in others:
                other.send_signal(signal.SIGTERM if turn % 2 else signal.SIGKILL)
                other.wait(60)
            time.sleep(2)
    return {"joined_and_left": 12, "workers_started": len(workers)}


def store_locked(stage: Stage) -> dict[str, Any]:
    """Hold an exclusive lock on the SQLite file for ten seconds, three times."""
    with Feeder(stage.desk.kafka, per_second=200), kept_running(stage.desk) as workers:
        for _ in range(3):
            time.sleep(6)
            with contextlib.closing(sqlite3.connect(stage.desk.store, isolation_level=None, timeout=30)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                time.sleep(10)
                connection.execute("ROLLBACK")
        time.sleep(5)
    return {"seconds_locked": 30, "workers_started": len(workers)}


def clock_jumps(stage: Stage) -> dict[str, Any]:
    """Let the worker's wall clock jump by hours, to and fro."""
    if not Path(FAKETIME).exists():
        sys.exit(f"the jumping clock needs {FAKETIME}: apt-get install faketime")
    offsets, offset_file = ("+0", "+3600", "-7200", "+86400", "-3", "+0"), stage.desk.folder / "clock"
    offset_file.write_text("+0\n")
    settings = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(offset_file), "FAKETIME_NO_CACHE": "1"}
    settings["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
    with Feeder(stage.desk.kafka, per_second=200), kept_running(stage.desk, **settings) as workers:
        for offset in offsets:
            time.sleep(4)
            offset_file.write_text(f"{offset}\n")
        time.sleep(4)
    (apart,) = stage.desk.query("SELECT (max(scored_at_ms) - min(scored_at_ms)) / 3600000 FROM predictions")[0]
    if (apart or 0) < 24:
        raise RuntimeError("the worker's clock did not jump, so the scenario proves nothing")
    return {"jumps": len(offsets), "hours_between_scoring_times": apart, "workers_started": len(workers)}


SCENARIOS: dict[str, tuple[int, Callable[[Stage], dict[str, Any]]]] = {
    "random kills": (1, random_kills),
    "broker killed": (1, broker_killed),
    "broker away for a minute": (1, broker_away_for_a_minute),
    "one of three brokers killed": (3, one_of_three_brokers_killed),
    "broker comes back empty": (1, broker_comes_back_empty),
    "topic made anew": (1, topic_made_anew),
    "workers join and leave": (1, workers_join_and_leave),
    "store locked": (1, store_locked),
    "clock jumps": (1, clock_jumps),
}
"""By name: how many brokers it needs, and what is done."""


def rows(desk: Desk) -> int:
    """Return how many records the store knows."""
    return desk.count("predictions") + desk.count("rejections")


def play(name: str, kills: int, home: Path, folder: Path) -> dict[str, Any]:
    """Play one scenario on a cluster of its own and have it verified."""
    brokers, scenario = SCENARIOS[name]
    with kafka_cluster(home, folder / "kafka", brokers) as nodes:
        addresses = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        kafka = load(KafkaSettings, broker=addresses, replication_factor=min(brokers, 3))
        desk = Desk(folder, kafka, folder / "none")
        desk.environment["REVIEWPULSE_REPLICATION_FACTOR"] = str(kafka.replication_factor)
        try:
            ensure_topics(kafka)
            started = time.monotonic()
            found = scenario(Stage(desk, nodes, kills, home))
            seconds = round(time.monotonic() - started)
            verdict = drained(desk)
        finally:
            desk.clear()
    return {**found, "seconds": seconds, "verify": verdict}


def drained(desk: Desk) -> dict[str, Any]:
    """Let a last worker finish what is left, stop it, and return what verify says."""
    worker, deadline = start_worker(desk), time.monotonic() + DRAIN_SECONDS

    def lag() -> object:
        return desk.query("SELECT sum(high_watermark - next_offset) FROM offsets")[0][0]

    while lag() or time.monotonic() < deadline - DRAIN_SECONDS + 10:
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    stop_worker(worker)
    _, output = desk.run("verify", "--complete", "--json")
    (line,) = [line for line in output.splitlines() if line.startswith("{")]
    verdict: dict[str, Any] = json.loads(line)
    return verdict


def say(what: str) -> None:
    """Tell the terminal."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {what}\n")


def main() -> None:
    """Play the scenarios and write the JSON after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many workers the first scenario kills")
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="play only this one; may be repeated")
    parser.add_argument("--into", type=Path, default=Path("docs/results/chaos.json"))
    options = parser.parse_args()
    if not os.environ.get("KAFKA_HOME"):
        sys.exit("set KAFKA_HOME to the folder of an Apache Kafka distribution")
    home = Path(os.environ["KAFKA_HOME"])
    report = json.loads(options.into.read_text()) if options.into.exists() else {"scenarios": {}}
    for name in options.only or SCENARIOS:
        say(f"scenario: {name}")
        with tempfile.TemporaryDirectory() as folder:
            played = play(name, options.kills, home, Path(folder))
        report["scenarios"][name] = {"played_at": datetime.now(UTC).isoformat(timespec="seconds")} | played
        say(f"{name}: {'well' if played['verify']['is_well'] else 'NOT WELL'}, {played['verify']['records']:,} records")
        options.into.write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(any(not played["verify"]["is_well"] for played in report["scenarios"].values()))


if __name__ == "__main__":
    main()
