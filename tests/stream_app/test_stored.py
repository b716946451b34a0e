"""The store as `verify` reads it, on a real SQLite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from reviewpulse.errors import StoreError
from reviewpulse.records import Origin, Rejected, Review, Source, scored
from reviewpulse.schema import connect, offsets, predictions
from stream_app.batch import Outcome
from stream_app.checksums import reason_checksum
from stream_app.rollup import Rollup, StarsCount, Total
from stream_app.store import PredictionStore
from stream_app.stored import CHUNK_ROWS, StoredRows
from tests.stream_app.fakes import NOW, SOURCE

AGAIN = Source(SOURCE.cluster_id, SOURCE.topic, "topic-id-2")
MANY = 2 * CHUNK_ROWS + 3


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = connect(f"sqlite:///{tmp_path}/store.db", writable=True)
    yield engine
    engine.dispose()


def write(engine: sa.Engine, scored_at: list[int], rejected_at: list[int], source: Source = SOURCE) -> None:
    """Store reviews and rejections at these offsets of partition 1."""
    store = PredictionStore(engine)
    outcome = Outcome(
        [
            (
                origin := Origin(source, 1, offset),
                review := Review(text=f"text {offset}", review_id="r", title="t", asin="a", timestamp=7, rating=2),
                scored(review, (0.1, 0.1, 0.1, 0.1, 0.6), "very positive", ("m", "1"), NOW, origin),
            )
            for offset in scored_at
        ],
        [(Origin(source, 1, offset), Rejected(b"{", "why")) for offset in rejected_at],
    )
    store.write(store.register(source), outcome, NOW, {})


def test_the_rows_of_both_tables_come_in_order_chunk_after_chunk(engine: sa.Engine) -> None:
    rejected = {offset for offset in range(MANY) if offset % 7 == 3}
    write(engine, [offset for offset in range(MANY) if offset not in rejected], sorted(rejected))

    rows = list(StoredRows(engine, SOURCE).rows(1, below=MANY - 1))

    assert [row.offset for row in rows] == list(range(MANY - 1))
    assert {row.offset for row in rows if not row.is_scored} == rejected - {MANY - 1}
    moment_ms = int(NOW.timestamp()) * 1000
    assert rows[1] == (
        1,
        Origin(SOURCE, 1, 1).event_id,
        ("r", "t", "text 1", "a", None, 2.0, 7),
        rows[1].said,
        moment_ms,
    )
    assert rows[3] == (3, None, (), reason_checksum("why"), moment_ms)


def test_rows_of_an_earlier_topic_are_counted_apart(engine: sa.Engine) -> None:
    write(engine, [0, 1], [2])
    write(engine, [0], [], source=AGAIN)

    rows = StoredRows(engine, AGAIN)

    assert [row.offset for row in rows.rows(1, below=9)] == [0]
    assert (rows.rows_of_other_sources(), rows.earlier, rows.next_offsets()) == (3, [SOURCE], {1: 1})


def test_a_source_that_the_store_does_not_know_has_no_rows(engine: sa.Engine) -> None:
    write(engine, [0], [])

    rows = StoredRows(engine, AGAIN)

    assert (list(rows.rows(1, below=9)), rows.next_offsets(), list(rows.rows_ahead())) == ([], {}, [])
    assert rows.rows_of_other_sources() == 1


def test_rows_behind_the_stores_own_position_are_found(engine: sa.Engine) -> None:
    write(engine, [0, 1, 2], [3])
    with engine.begin() as connection:
        connection.execute(offsets.update().values(next_offset=2))

    assert sorted(StoredRows(engine, SOURCE).rows_ahead()) == [(1, 2), (1, 3)]


def test_the_roll_up_comes_with_the_rows_beside_it_by_stars_and_with_what_was_pruned_at_most(store_url: str) -> None:
    engine = connect(store_url, writable=True)
    write(engine, [0, 1, 2], [3])
    write(engine, [0, 1], [], source=AGAIN)
    rows = StoredRows(engine, SOURCE)
    assert rows.rollup() == Rollup([StarsCount(5, Total(5, 3.0), Total(5, 3.0))], 0)

    with engine.begin() as connection:
        connection.execute(predictions.delete().where(predictions.c.offset < 2))
        connection.execute(offsets.update().values(kept_from=2))
        connection.execute(predictions.update().values(stars=4))

    counts = [StarsCount(4, Total(), Total(1, 0.6)), StarsCount(5, Total(5, 3.0), Total())]
    assert rows.rollup() == Rollup(counts, 4)
    engine.dispose()


def test_what_retention_has_pruned_is_known(engine: sa.Engine) -> None:
    write(engine, [0, 1, 2], [])
    rows = StoredRows(engine, SOURCE)
    list(rows.rows(1, below=3))
    assert rows.kept_from == 0

    with engine.begin() as connection:
        connection.execute(offsets.update().values(kept_from=2))
    list(rows.rows(1, below=3))

    assert rows.kept_from == 2


def test_a_store_that_cannot_be_read_is_an_error_that_names_it(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE rejections"))

    with pytest.raises(StoreError, match=r"store\.db cannot be read: no such table: rejections"):
        list(StoredRows(engine, SOURCE).rows(1, below=1))
