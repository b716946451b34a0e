"""Scenarios in which brokers are killed, stopped or emptied."""

import contextlib
import shutil
import time
from typing import Any

from reviewpulse.broker import connect_admin, ensure_topics
from scripts.chaos.feeder import Feeder
from scripts.chaos.stage import Stage, outages_told, require, rows
from scripts.chaos.supervision import kept_running
from tests.integration.processes import wait_until


def broker_killed(stage: Stage) -> dict[str, Any]:
    """Kill the only broker five times and start it again after a second."""
    return broker_away(stage, times=5, seconds=1)


def broker_away_for_a_minute(stage: Stage) -> dict[str, Any]:
    """Keep the broker down for a minute under load: longer than the worker tries, so that it is started again."""
    found = broker_away(stage, times=1, seconds=60, REVIEWPULSE_RETRY_SECONDS="10")
    require(found["workers_started"] > 1, "the worker outlived an outage of six times its REVIEWPULSE_RETRY_SECONDS")
    return found


def broker_away(stage: Stage, times: int, seconds: float, **settings: str) -> dict[str, Any]:
    """Kill the only broker so many times, and start it again after so many seconds."""
    with Feeder(stage.desk.kafka, per_second=200) as feeder, kept_running(stage.desk, **settings) as workers:
        for _ in range(times):
            time.sleep(8)
            stage.nodes[0].kill()
            time.sleep(seconds)
            stage.nodes[0].start()
        time.sleep(25)
    told = outages_told(stage.desk, workers)
    require(told > 0, "no worker told the outage")
    return feeder.counts() | {
        "broker_kills": times,
        "seconds_away": seconds,
        "outages_told": told,
        "workers_started": len(workers),
    }


def one_of_three_brokers_killed(stage: Stage) -> dict[str, Any]:
    """Kill each broker of three in turn; the other two carry on."""
    with Feeder(stage.desk.kafka, per_second=200) as feeder, kept_running(stage.desk) as workers:
        for node in stage.nodes:
            time.sleep(10)
            node.kill()
            time.sleep(15)
            node.start()
        time.sleep(15)
    return feeder.counts() | {"broker_kills": len(stage.nodes), "workers_started": len(workers)}


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
