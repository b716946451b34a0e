from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from reviewpulse.errors import StoreError
from reviewpulse.records import Origin, Rejected, Review, ScoredReview, Source, scored
from reviewpulse.schema import connect, offsets, predictions, rejections, sentiment_by_second
from stream_app.batch import Outcome
from stream_app.store import PredictionStore
from tests.stream_app.fakes import NOW, SOURCE


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = connect(f"sqlite:///{tmp_path}/store.db", writable=True)
    yield engine
    engine.dispose()


def rows(engine: sa.Engine, table: sa.Table) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table))]


def outcome(*places: tuple[int, int], source: Source = SOURCE) -> Outcome:
    """Return reviews at these (partition, offset) places, all five stars."""
    return Outcome([_scored(Origin(source, *place)) for place in places], [])


def _scored(origin: Origin) -> tuple[Origin, Review, ScoredReview]:
    review = Review(text=f"text {origin.offset}", review_id=f"r{origin.offset}", rating=4, timestamp=1_000)
    return origin, review, scored(review, (0.1, 0.1, 0.1, 0.1, 0.6), "very positive", ("tiny", "1"), NOW, origin)


def test_a_batch_is_stored_with_its_offsets_and_rollup(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    number = store.register(SOURCE)

    assert store.write(number, outcome((0, 0), (0, 1)), NOW, {0: 9}) == 2

    second = int(NOW.timestamp())
    assert rows(engine, sentiment_by_second) == [(second, 5, 2, 1.2)]
    assert rows(engine, offsets) == [(number, 0, 2, 9, second * 1000)]
    first = rows(engine, predictions)[0]
    event_id = Origin(SOURCE, 0, 0).event_id
    assert first == (
        *(number, 0, 0, event_id, "r0", None, "text 0", None, None, 4.0, 5, 0.6),
        *(0.1, 0.1, 0.1, 0.1, 0.6, "tiny", "1", 1_000, second * 1000),
    )


def test_a_redelivered_batch_changes_nothing_but_the_time_of_the_last_sign(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    number = store.register(SOURCE)
    store.write(number, outcome((0, 0), (0, 1)), NOW, {})
    before = [rows(engine, table) for table in (predictions, sentiment_by_second, offsets)]

    assert store.write(number, outcome((0, 0), (0, 1)), NOW, {}) == 0

    assert [rows(engine, table) for table in (predictions, sentiment_by_second, offsets)] == before


def test_a_batch_that_overlaps_a_stored_one_adds_only_what_is_new(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    number = store.register(SOURCE)
    store.write(number, outcome((0, 0), (0, 1)), NOW, {})

    assert store.write(number, outcome((0, 1), (0, 2)), NOW, {}) == 1

    assert rows(engine, sentiment_by_second)[0][2] == 3
    assert store.next_offsets(number) == {0: 3}


def test_a_topic_made_anew_is_another_source(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    again = Source(SOURCE.cluster_id, SOURCE.topic, "topic-id-2")
    first, second = store.register(SOURCE), store.register(again)
    store.write(first, outcome((0, 0)), NOW, {})

    assert store.next_offsets(second) == {}
    assert store.write(second, outcome((0, 0), source=again), NOW, {}) == 1
    assert store.register(SOURCE) == first
    event_ids = {row[3] for row in rows(engine, predictions)}
    assert len(event_ids) == 2


def test_rejects_are_kept_with_their_reason_and_move_the_offset(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    number = store.register(SOURCE)

    store.write(number, Outcome([], [(Origin(SOURCE, 1, 4), Rejected(b"{", "not a review"))]), NOW, {})

    assert rows(engine, rejections) == [(number, 1, 4, "not a review", int(NOW.timestamp()) * 1000)]
    assert store.next_offsets(number) == {1: 5}


def test_progress_never_moves_an_offset_back(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    number = store.register(SOURCE)
    store.write(number, outcome((0, 0), (0, 1)), NOW, {0: 50})

    store.note_progress(number, {0: 40, 1: 7}, NOW)

    lags = [(row[1], row[2], row[3]) for row in rows(engine, offsets)]
    assert lags == [(0, 2, 50), (1, 0, 7)]


def test_a_failed_write_leaves_nothing_behind(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    number = store.register(SOURCE)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE rejections"))
    broken = Outcome(outcome((0, 0)).scored, [(Origin(SOURCE, 0, 1), Rejected(b"{", "r"))])

    with pytest.raises(StoreError, match="no such table: rejections"):
        store.write(number, broken, NOW, {})

    assert rows(engine, predictions) == []
    assert store.next_offsets(number) == {}
