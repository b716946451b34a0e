"""Scenarios in which the worker's own machine is in trouble: its store, its disk, its clock."""

import contextlib
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from scripts.chaos.feeder import Feeder
from scripts.chaos.stage import Stage, outages_told, require
from scripts.chaos.supervision import kept_running
from tests.integration.processes import wait_until

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def store_locked(stage: Stage) -> dict[str, Any]:
    """Hold an exclusive lock on the SQLite file three times, until the worker has told it and five seconds more."""
    desk = stage.desk
    with Feeder(desk.kafka, per_second=200) as feeder, kept_running(desk) as workers:
        for told in range(3):
            time.sleep(6)
            with contextlib.closing(sqlite3.connect(desk.store, isolation_level=None, timeout=30)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                wait_until(lambda told=told: outages_told(desk, workers, "locked") > told, "the lock is told")  # type: ignore[misc]
                time.sleep(5)
                connection.execute("ROLLBACK")
        time.sleep(5)
    return feeder.counts() | {
        "locks": 3,
        "outages_told": outages_told(desk, workers, "locked"),
        "workers_started": len(workers),
    }


def clock_jumps(stage: Stage) -> dict[str, Any]:
    """Let the worker's wall clock jump by hours, to and fro."""
    if not Path(FAKETIME).exists():
        sys.exit(f"the jumping clock needs {FAKETIME}: apt-get install faketime")
    offsets, offset_file = ("+0", "+3600", "-7200", "+86400", "-3", "+0"), stage.desk.folder / "clock"
    offset_file.write_text("+0\n")
    settings = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(offset_file), "FAKETIME_NO_CACHE": "1"}
    settings["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
    with Feeder(stage.desk.kafka, per_second=200) as feeder, kept_running(stage.desk, **settings) as workers:
        for offset in offsets:
            time.sleep(4)
            offset_file.write_text(f"{offset}\n")
        time.sleep(4)
    (apart,) = stage.desk.query("SELECT (max(scored_at_ms) - min(scored_at_ms)) / 3600000 FROM predictions")[0]
    require(int(str(apart or 0)) >= 24, "the worker's clock did not jump, so the scenario proves nothing")
    return feeder.counts() | {
        "jumps": len(offsets),
        "hours_between_scoring_times": apart,
        "workers_started": len(workers),
    }
