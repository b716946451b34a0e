import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from reviewpulse.records import Origin, Rejected
from reviewpulse.schema import connect, offsets, predictions, rejections, sentiment_by_second
from stream_app import retention
from stream_app.batch import Outcome
from stream_app.retention import Pruned, Pruner, prune, prune_chunk
from stream_app.store import PredictionStore
from tests.stream_app.places import NOW, SOURCE, scored_at

DAY = timedelta(days=1)


@pytest.fixture
def engine(store_url: str) -> Iterator[sa.Engine]:
    engine = connect(store_url, writable=True)
    yield engine
    engine.dispose()


@pytest.fixture
def number(engine: sa.Engine) -> int:
    """Return the source_id of a store with two days of rows: of each ten in partition 0 the last one is a reject."""
    store = PredictionStore(engine)
    number = store.register(SOURCE)
    for start, moment in ((0, NOW - 2 * DAY), (30, NOW)):
        store.write(number, batch(0, range(start, start + 30), moment), moment, {0: 100})
    store.write(number, batch(1, range(5), NOW), NOW, {})
    return number


def batch(partition: int, places: range, moment: datetime) -> Outcome:
    origins = [Origin(SOURCE, partition, offset) for offset in places]
    return Outcome(
        [scored_at(origin, now=moment) for origin in origins if origin.offset % 10 != 9],
        [(origin, Rejected(b"{", "r")) for origin in origins if origin.offset % 10 == 9],
    )


def never(_seconds: float) -> bool:
    return False


def kept(engine: sa.Engine, partition: int) -> list[int]:
    """Return the offsets of the rows that a partition still has."""
    tables = (predictions, rejections)
    with engine.connect() as connection:
        return sorted(
            offset
            for table in tables
            for offset in connection.scalars(sa.select(table.c.offset).filter_by(partition=partition))
        )


def kept_from(engine: sa.Engine) -> dict[int, int]:
    with engine.connect() as connection:
        return {row.partition: row.kept_from for row in connection.execute(sa.select(offsets))}


def reviews_in_rollup(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.sum(sentiment_by_second.c.reviews))) or 0


def test_old_rows_go_and_the_rollup_and_the_offsets_stay(engine: sa.Engine, number: int) -> None:
    reviews = reviews_in_rollup(engine)

    assert prune(engine, NOW - DAY, never) == 30

    assert (kept(engine, 0), kept(engine, 1)) == (list(range(30, 60)), list(range(5)))
    assert kept_from(engine) == {0: 30, 1: 0}
    assert PredictionStore(engine).next_offsets(number) == {0: 60, 1: 5}
    assert reviews_in_rollup(engine) == reviews
    assert prune(engine, NOW - DAY, never) == 0


def test_a_partition_of_which_all_is_old_is_pruned_to_its_last_row(engine: sa.Engine, number: int) -> None:
    assert prune(engine, NOW + DAY, never) == 65

    assert kept_from(engine) == {0: 60, 1: 5}


def test_a_chunk_takes_the_oldest_rows_of_both_tables_and_notes_how_far_it_came(engine: sa.Engine, number: int) -> None:
    assert prune_chunk(engine, number, 0, NOW - DAY, most_rows=12) == Pruned(12, is_last=False)

    assert kept(engine, 0) == list(range(12, 60))
    assert kept_from(engine)[0] == 12


def test_a_row_stays_while_one_before_it_is_young(engine: sa.Engine, number: int) -> None:
    """As after a clock that jumped."""
    with engine.begin() as connection:
        connection.execute(predictions.update().where(predictions.c.offset == 3).values(scored_at_ms=2**45))

    prune(engine, NOW - DAY, never)

    assert kept_from(engine)[0] == 3
    assert kept(engine, 0) == list(range(3, 60))


def test_a_chunk_that_fails_deletes_nothing_and_notes_nothing(
    engine: sa.Engine, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK_ROWS", 10)

    @sa.event.listens_for(engine, "before_cursor_execute")
    def die(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE offsets"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(engine, NOW - DAY, never)

    assert (kept(engine, 0), kept_from(engine)[0]) == (list(range(60)), 0)


def test_a_store_is_left_to_others_twice_as_long_as_it_was_locked_and_pruning_stops_when_told(
    engine: sa.Engine, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []
    chunk = retention.prune_chunk

    def small_chunk(engine: sa.Engine, source_id: int, partition: int, before: datetime) -> Pruned:
        time.sleep(0.1)
        return chunk(engine, source_id, partition, before, 10)

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) == 2

    monkeypatch.setattr(retention, "prune_chunk", small_chunk)

    assert prune(engine, NOW - DAY, pause) == 20
    assert min(pauses) >= 0.2


def test_redelivered_messages_that_were_pruned_are_not_stored_or_counted_again(engine: sa.Engine, number: int) -> None:
    reviews = reviews_in_rollup(engine)
    prune(engine, NOW - DAY, never)

    late = PredictionStore(engine).write(number, batch(0, range(25, 35), NOW), NOW, {})

    assert late == 0
    assert kept(engine, 0) == list(range(30, 60))
    assert reviews_in_rollup(engine) == reviews


def test_pruning_reads_and_deletes_by_the_primary_keys(sqlite_url: str) -> None:
    engine = connect(sqlite_url, writable=True)
    store = PredictionStore(engine)
    store.write(store.register(SOURCE), batch(0, range(20), NOW), NOW, {})
    statements = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def keep(_connection: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        statements.append((statement, parameters))

    prune(engine, NOW + DAY, never)
    sa.event.remove(engine, "before_cursor_execute", keep)
    with engine.connect() as connection:
        plans = [
            row.detail
            for statement, parameters in statements
            if "predictions" in statement or "rejections" in statement
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    engine.dispose()

    assert len(plans) == 4
    assert [plan for plan in plans if "(source_id=? AND partition=? AND offset" not in plan] == []


def test_a_pruner_keeps_a_store_pruned_while_it_is_written(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    number = store.register(SOURCE)

    with Pruner(engine, keep_days=0.3 / 86_400):
        for start in range(0, 400, 10):
            now = datetime.now(UTC)
            store.write(number, batch(0, range(start, start + 10), now), now, {})
            time.sleep(0.02)
        deadline = time.monotonic() + 10
        while kept(engine, 0) and time.monotonic() < deadline:
            time.sleep(0.05)

    assert kept(engine, 0) == []
    assert kept_from(engine) == {0: 400}
    assert reviews_in_rollup(engine) == 360


def test_a_pruner_that_cannot_prune_says_so_once_and_goes_on_when_it_can(
    engine: sa.Engine, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE rejections RENAME TO elsewhere")

    with Pruner(engine, keep_days=1, now=lambda: NOW) as pruner:
        for _ in range(3):
            pruner._prune()
        assert len([text for text in caplog.messages if "old rows stay" in text]) == 1
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO rejections")
        pruner._prune()

    assert kept_from(engine)[0] == 30


def test_without_a_time_to_keep_nothing_is_pruned(engine: sa.Engine) -> None:
    with Pruner(engine, keep_days=0):
        assert "pruner" not in [thread.name for thread in threading.enumerate()]


def test_a_clock_that_jumps_ahead_deletes_nothing(engine: sa.Engine, number: int) -> None:
    wall = [NOW - DAY, NOW + 300 * DAY]
    pruner = Pruner(engine, keep_days=1.5, now=lambda: wall.pop(0), monotonic=lambda: 0.0)

    pruner._prune()

    assert kept_from(engine) == {0: 0, 1: 0}
