"""Scenarios in which the worker's own machine is in trouble: its store, its disk, its clock."""

import contextlib
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.chaos.feeder import Feeder
from scripts.chaos.stage import ImpossibleError, Stage, outages_told, require, rows
from scripts.chaos.supervision import kept_running
from tests.clocks import JumpingClock
from tests.integration.processes import wait_until

JUMPS = ((3_600, 5), (-7_200, 5), (86_400, 25), (-3, 5), (0, 5))
"""Seconds that the clock is ahead, and for how long; a day ahead for longer than the worker tries."""


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


def disk_full(stage: Stage) -> dict[str, Any]:
    """Fill the small disk that the store is on until the worker has told it, and make room ten seconds later."""
    desk, disk = stage.desk, stage.cleanup.enter_context(small_disk(stage.desk.folder / "disk"))
    desk.store = disk / "store.db"
    desk.environment["REVIEWPULSE_STORE"] = f"sqlite:///{desk.store}"
    with Feeder(desk.kafka, per_second=200) as feeder, kept_running(desk) as workers:
        time.sleep(6)
        fill(disk / "ballast")
        wait_until(lambda: outages_told(desk, workers, "full") > 0, "the full disk is told")
        time.sleep(10)
        stored_when_full = rows(desk)
        (disk / "ballast").unlink()
        wait_until(lambda: rows(desk) > stored_when_full, "rows are stored again")
        time.sleep(5)
    return feeder.counts() | {"stored_when_full": stored_when_full, "workers_started": len(workers)}


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount 64 MB of memory as a disk for a block; raises ImpossibleError where that is not allowed."""
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError) as exc:
        raise ImpossibleError(f"no small disk can be mounted here, which takes root: {exc}") from exc
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607


def fill(ballast: Path) -> None:
    """Write a file until its disk is full."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65_536))


def clock_jumps(stage: Stage) -> dict[str, Any]:
    """Let the worker's wall clock jump by hours, to and fro.

    Kafka refuses records of a clock that is an hour ahead of its own, so a worker a day ahead ends with an error.
    """
    desk, clock = stage.desk, JumpingClock(stage.desk.folder)
    settings = clock.settings | {"REVIEWPULSE_RETRY_SECONDS": "10"}
    with Feeder(desk.kafka, per_second=200) as feeder, kept_running(desk, **settings) as workers:
        for ahead, seconds in JUMPS:
            time.sleep(5)
            clock.jump(ahead)
            time.sleep(seconds)
    ((apart,),) = desk.query("SELECT (max(scored_at_ms) - min(scored_at_ms)) / 3600000.0 FROM predictions")
    hours = round(float(str(apart or 0)), 1)
    require(hours >= 2.9, "the worker's clock did not jump, so the scenario proves nothing")
    require(len(workers) > 1, "a worker whose records Kafka refuses went on for longer than it may")
    return feeder.counts() | {
        "jumps": len(JUMPS),
        "hours_between_scoring_times": hours,
        "workers_started": len(workers),
    }
