import traceback
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from reviewpulse.errors import StoreError
from reviewpulse.records import Origin, Rejected, Review, Source
from reviewpulse.schema import INSERT_ROWS, connect, offsets, predictions, rejections, sentiment_by_second
from stream_app.batch import Outcome
from stream_app.store import PredictionStore
from tests.postgres import PASSWORD
from tests.stream_app.places import NOW, SOURCE, scored_at


@pytest.fixture
def engine(store_url: str) -> Iterator[sa.Engine]:
    engine = connect(store_url, writable=True)
    yield engine
    engine.dispose()


def rows(engine: sa.Engine, table: sa.Table) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]


def outcome(*places: tuple[int, int], source: Source = SOURCE) -> Outcome:
    """Return reviews at these (partition, offset) places, all five stars."""
    return Outcome([scored_at(Origin(source, *place)) for place in places], [])


def test_a_batch_is_stored_with_its_offsets_and_rollup(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    number = store.register(SOURCE)

    assert store.write(number, outcome((0, 0), (0, 1)), NOW, {0: 9}) == 2

    second = int(NOW.timestamp())
    assert rows(engine, sentiment_by_second) == [(second, 5, 2, 1.2)]
    assert rows(engine, offsets) == [(number, 0, 2, 9, second * 1000, 0)]
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

    with pytest.raises(StoreError, match=r'no such table: rejections|relation "rejections" does not exist'):
        store.write(number, broken, NOW, {})

    assert rows(engine, predictions) == []
    assert store.next_offsets(number) == {}


def test_a_late_copy_of_a_pruned_batch_is_not_stored_again(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    number = store.register(SOURCE)
    first = Outcome(outcome((0, 0), (0, 1)).scored, [(Origin(SOURCE, 0, 2), Rejected(b"{", "r"))])
    store.write(number, first, NOW, {})
    with engine.begin() as connection:
        for table in (predictions, rejections):
            connection.execute(table.delete())
        connection.execute(offsets.update().values(kept_from=3))

    assert store.write(number, first, NOW, {}) == 0

    assert rows(engine, predictions) == rows(engine, rejections) == []
    assert rows(engine, sentiment_by_second)[0][2] == 2
    assert store.write(number, outcome((0, 2), (0, 3)), NOW, {}) == 1


def test_texts_that_a_database_may_refuse_are_stored_with_replacement_characters(engine: sa.Engine) -> None:
    store = PredictionStore(engine)
    number = store.register(SOURCE)
    review = Review(text="a\0b", review_id="r\0", title="\ud800", asin="\0", category="\0")
    rejection = (Origin(SOURCE, 0, 1), Rejected(b"{", "found \0 and \udfff"))

    store.write(number, Outcome([scored_at(Origin(SOURCE, 0, 0), review)], [rejection]), NOW, {})

    assert rows(engine, predictions)[0][4:9] == ("r\ufffd", "\ufffd", "a\ufffdb", "\ufffd", "\ufffd")
    assert rows(engine, rejections)[0][3] == "found \ufffd and \ufffd"


def test_a_server_that_is_gone_is_named_without_its_password(postgres_url: str) -> None:
    engine = connect(postgres_url, writable=True)
    store = PredictionStore(engine)
    other = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    mine = "datname = current_database() AND pid <> pg_backend_pid()"
    with other.connect() as connection:
        assert connection.scalar(sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"))

    with pytest.raises(StoreError, match=r"the store postgresql\+psycopg://postgres:\*\*\*@") as raised:
        store.register(SOURCE)

    assert PASSWORD not in "".join(traceback.format_exception(raised.value))
    assert store.register(SOURCE) == 1  # by a new connection
    engine.dispose()


def test_batches_of_all_sizes_are_few_statements_to_the_driver(engine: sa.Engine) -> None:
    """It keeps each of them: those of hundreds of rows made the worker's memory grow."""
    store, statements, end = PredictionStore(engine), set[str](), 0
    number = store.register(SOURCE)

    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "INTO predictions" in statement:
            statements.add(statement)

    for size in range(1, 200, 3):
        store.write(number, outcome(*((0, end + row) for row in range(size))), NOW, {})
        end += size

    assert len(statements) <= INSERT_ROWS + 1  # a single row has one of its own
