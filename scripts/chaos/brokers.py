"""Scenarios in which brokers are killed, stopped or emptied."""

import contextlib
import shutil
import time
from collections.abc import Callable
from typing import Any

from reviewpulse.broker import connect_admin, ensure_topics
from scripts.chaos.feeder import Feeder, is_broken
from scripts.chaos.stage import Stage, outages_told, require
from scripts.chaos.supervision import kept_running
from tests.integration.processes import Desk, wait_until


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
    """Lose all that the broker holds, under load; what was stored stays, what is confirmed anew is scored."""
    (node, *_) = stage.nodes

    def lose_all() -> None:
        node.kill()
        shutil.rmtree(node.data)
        node.format()
        node.start()

    return topic_lost(stage, lose_all)


def topic_made_anew(stage: Stage) -> dict[str, Any]:
    """Delete the reviews topic under load and make it again."""

    def delete() -> None:
        with contextlib.closing(connect_admin(stage.desk.kafka)) as admin:
            admin.delete_topics([stage.desk.kafka.reviews_topic])
        time.sleep(3)

    return topic_lost(stage, delete)


def topic_lost(stage: Stage, lose: Callable[[], None]) -> dict[str, Any]:
    """Lose the reviews topic while batches are in flight, make it again, and compare what was stored before and after.

    Of the load, what Kafka confirmed once the topic was there again must be stored; verify tells whether it is so once.
    """
    desk = stage.desk
    with kept_running(desk) as workers:
        with Feeder(desk.kafka, per_second=200) as feeder:
            wait_until(lambda: desk.count("predictions") > 1_000, "the first reviews are stored")
            old_source = max(source for source, _, _ in stored(desk))
            with feeder.losing():
                lose()
                before = stored(desk)
                ensure_topics(desk.kafka)
                lost = set(feeder.confirmed)
                wait_until(lambda: len(feeder.confirmed) > len(lost) + 1_000, "Kafka takes reviews again")
            time.sleep(5)
        afterwards = {f"review {number}" for number in feeder.confirmed - lost if not is_broken(number)}

        def texts() -> set[object]:
            return {text for (source, _, _), text in stored(desk).items() if source > old_source}

        wait_until(lambda: afterwards <= texts(), "what was confirmed afterwards is stored")
    require(before.items() <= stored(desk).items(), "rows that were stored before are gone or have changed")
    return {"stored_before": len(before), "confirmed_afterwards": len(afterwards), "workers_started": len(workers)}


def stored(desk: Desk) -> dict[tuple[int, int, int], object]:
    """Return the texts of all rows by source, partition and offset; a rejection has its reason instead."""
    rows: list[Any] = desk.query(
        "SELECT source_id, partition, offset, text FROM predictions "
        "UNION ALL SELECT source_id, partition, offset, reason FROM rejections"
    )
    return {(source, partition, offset): text for source, partition, offset, text in rows}
