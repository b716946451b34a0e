"""The SQL against real stores: what it counts, what it leaves out, and that it stays bounded."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dashboard import queries
from dashboard.queries import Bucket, Lag, NewestReview, read_snapshot
from dashboard.window import MOST_BUCKETS, bucket_width, window_at
from reviewpulse import schema
from tests.dashboard.stores import Scored, StoreBuilder

NOW = datetime(2026, 3, 4, 12, 0, 0, 500_000, tzinfo=UTC)
WINDOW_SECONDS = 15 * 60


@pytest.fixture
def store(tmp_path: Path, store_url: str) -> Iterator[StoreBuilder]:
    builder = StoreBuilder(tmp_path, store_url)
    yield builder
    builder.close()


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_empty_store_gives_empty_buckets_and_no_lag(store: StoreBuilder) -> None:
    snapshot = read_snapshot(store.engine, NOW, WINDOW_SECONDS)

    assert snapshot.counts == (0, 0, 0, 0, 0)
    assert len(snapshot.buckets) == 61
    assert (snapshot.rate_per_second, snapshot.rejected, snapshot.lag, snapshot.newest) == (0.0, 0, None, ())
    assert snapshot.worker_seen_at is None


def test_reviews_are_counted_by_class_in_the_bucket_of_their_second(store: StoreBuilder) -> None:
    source = store.add_source("t1")
    store.add_reviews(source, [Scored(ago(20), 1), Scored(ago(19), 5), Scored(ago(18), 5), Scored(ago(100), 3)])

    snapshot = read_snapshot(store.engine, NOW, WINDOW_SECONDS)

    assert [bucket for bucket in snapshot.buckets if bucket.reviews] == [
        Bucket(int(datetime(2026, 3, 4, 11, 58, 15, tzinfo=UTC).timestamp()), (0, 0, 1, 0, 0)),
        Bucket(int(datetime(2026, 3, 4, 11, 59, 30, tzinfo=UTC).timestamp()), (1, 0, 0, 0, 2)),
    ]
    assert snapshot.counts == (1, 0, 1, 0, 2)
    assert snapshot.buckets[-3].mean_stars == pytest.approx(11 / 3)


def test_what_lies_outside_the_window_is_not_counted(store: StoreBuilder) -> None:
    source = store.add_source("t1")
    store.add_reviews(source, [Scored(ago(WINDOW_SECONDS + 20), 1), Scored(ago(5), 2), Scored(ago(-30), 3)])
    store.add_rejections(source, [ago(WINDOW_SECONDS + 20), ago(3), ago(2)])

    snapshot = read_snapshot(store.engine, NOW, WINDOW_SECONDS)

    assert snapshot.counts == (0, 1, 0, 0, 0)
    assert snapshot.rejected == 2


def test_rate_is_over_the_last_ten_whole_seconds(store: StoreBuilder) -> None:
    second = int(NOW.timestamp())
    store.add_counts(Counter({(second, 5): 1000, (second - 1, 5): 30, (second - 10, 1): 20, (second - 11, 1): 1000}))

    assert read_snapshot(store.engine, NOW, WINDOW_SECONDS).rate_per_second == 5.0


def test_lag_sums_partitions_of_the_newest_source_of_each_topic(store: StoreBuilder) -> None:
    store.set_offsets(store.add_source("gone"), [(0, 1000)], ago(900))
    store.set_offsets(store.add_source("new"), [(10, 17), (5, 5)], ago(4))
    store.set_offsets(store.add_source("other", topic="others"), [(1, 4)], ago(2))

    assert read_snapshot(store.engine, NOW, WINDOW_SECONDS).lag == Lag(10, 3, ago(2))


def test_lag_is_of_the_source_that_a_worker_spoke_of_last_even_if_a_newer_one_was_seen_between(
    store: StoreBuilder,
) -> None:
    production, demo = store.add_source("production"), store.add_source("demo")
    store.set_offsets(demo, [(0, 7)], ago(300))
    store.set_offsets(production, [(0, 500)], ago(1))

    assert read_snapshot(store.engine, NOW, WINDOW_SECONDS).lag == Lag(500, 1, ago(1))


def test_a_watermark_older_than_the_offset_does_not_hide_another_partitions_lag(store: StoreBuilder) -> None:
    store.set_offsets(store.add_source("t1"), [(10, 4), (5, 8)], NOW)

    assert read_snapshot(store.engine, NOW, WINDOW_SECONDS).lag == Lag(3, 2, NOW)


def test_newest_reviews_come_first_and_long_ones_are_cut_by_the_store(store: StoreBuilder) -> None:
    source = store.add_source("t1")
    store.add_reviews(source, [Scored(ago(100 - number), 3, text=f"number {number}") for number in range(30)])
    store.add_reviews(source, [Scored(ago(1), 4, text="x" * 5_000_000, title="T", rating=4.5, confidence=0.5)])

    newest = read_snapshot(store.engine, NOW, WINDOW_SECONDS).newest

    assert newest[0] == NewestReview("T", "x" * queries.TEXT_CHARACTERS, "positive", 0.5, 4.5, "tiny v1", ago(1))
    assert [review.text for review in newest[1:]] == [f"number {number}" for number in range(29, 15, -1)]


def test_newest_reviews_are_shown_even_when_they_are_older_than_the_window(store: StoreBuilder) -> None:
    store.add_reviews(store.add_source("t1"), [Scored(ago(86_400), 2)])

    snapshot = read_snapshot(store.engine, NOW, WINDOW_SECONDS)

    assert snapshot.counts == (0, 0, 0, 0, 0)
    assert [review.label for review in snapshot.newest] == ["negative"]
    assert snapshot.worker_seen_at == ago(86_400)


def test_counting_of_rejected_records_stops_at_its_bound(store: StoreBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MOST_REJECTED", 5)
    store.add_rejections(store.add_source("t1"), [ago(number) for number in range(9)])

    assert read_snapshot(store.engine, NOW, WINDOW_SECONDS).rejected == 5


def test_a_snapshot_is_of_one_moment_though_a_worker_writes_meanwhile(store: StoreBuilder) -> None:
    source = store.add_source("t1")
    store.add_reviews(source, [Scored(ago(5), 1)])
    reader = schema.connect(store.url, writable=False)

    @sa.event.listens_for(reader, "after_cursor_execute")
    def write_meanwhile(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("SELECT"):
            return
        store.add_reviews(source, [Scored(ago(4), 5, text="meanwhile")])
        store.add_rejections(source, [ago(3)])

    snapshot = read_snapshot(reader, NOW, WINDOW_SECONDS)
    reader.dispose()

    assert (snapshot.counts, snapshot.rejected) == ((1, 0, 0, 0, 0), 0)
    assert [review.text for review in snapshot.newest] == ["It works."]


def test_no_query_reads_a_whole_table_of_reviews(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    statements = []

    @sa.event.listens_for(store.engine, "before_cursor_execute")
    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        statements.append((statement, parameters))

    read_snapshot(store.engine, NOW, WINDOW_SECONDS)
    sa.event.remove(store.engine, "before_cursor_execute", keep)
    with store.engine.connect() as connection:
        plans = [
            row.detail
            for statement, parameters in statements
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    store.close()

    steps = [plan for plan in plans if any(name in plan for name in ("predictions", "rejections", "by_second"))]
    assert len(steps) == 4
    assert [step for step in steps if "INDEX" not in step] == []


@pytest.mark.parametrize("minutes", [0.05, 1, 15, 60, 1440])
def test_no_window_has_more_buckets_than_a_page_can_show(minutes: float) -> None:
    window = window_at(NOW, minutes * 60)

    assert len(window.bucket_starts) <= MOST_BUCKETS + 2
    assert window.start_second <= NOW.timestamp() - minutes * 60
    assert window.start_second % bucket_width(minutes * 60) == 0
