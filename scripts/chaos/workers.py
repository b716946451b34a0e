"""Scenarios in which workers are killed, join and leave."""

import random
import time
from typing import Any

from scripts.chaos.feeder import Feeder
from scripts.chaos.stage import Stage, require, say
from scripts.chaos.supervision import kept_running, start_worker, stop_worker
from tests.integration.processes import wait_until


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
    return feeder.counts() | {
        "kills": stage.kills,
        "median_seconds_to_consuming_again": round(consuming[len(consuming) // 2], 2),
    }


def workers_join_and_leave(stage: Stage) -> dict[str, Any]:
    """Let a second and a third worker join and leave under load, in order and by SIGKILL."""
    desk, scored = stage.desk, list[int]()
    with Feeder(desk.kafka, per_second=400) as feeder, kept_running(desk) as workers:
        for turn in range(6):
            guests = [start_worker(desk, name) for name in ("1", "2")]
            wait_until(lambda guests=guests: all(map(desk.is_reading, guests)), "the guests read")  # type: ignore[misc]
            time.sleep(5)
            for guest in guests:
                if turn % 2:
                    stop_worker(desk, guest)
                    scored.append(desk.scored_by(guest))
                else:
                    guest.kill()
                    guest.wait()
            time.sleep(2)
    require(sum(scored) > 0, "the guests that stopped in order have scored nothing")
    return feeder.counts() | {
        "joined_and_killed": 6,
        "joined_and_stopped": len(scored),
        "scored_by_these": sum(scored),
        "workers_started": len(workers),
    }
