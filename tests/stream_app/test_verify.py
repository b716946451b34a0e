"""What the whole comparison keeps in memory, on topics that are made up while they are read and on a real SQLite."""

import tracemalloc
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from reviewpulse.progress import SilentProgress
from reviewpulse.records import Origin, Review, scored
from reviewpulse.schema import connect
from stream_app.batch import Outcome
from stream_app.published import PublishedTable
from stream_app.store import PredictionStore
from stream_app.stored import StoredRows
from stream_app.topics import prediction_headers
from stream_app.verify import Asked, Readers, Verification
from tests.stream_app.fakes import NOW, SOURCE

MANY = 20_000
MOST_BYTES = 3_000_000
"""In memory at most: 150 for each record, while a text has 980."""

REVIEW = Review(text="good value, arrived on time, would buy it again " * 20, review_id="r")


class Record(NamedTuple):
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class MadeUpTopic:
    """Reads like a topic with one partition whose records come from a function of the offset."""

    def __init__(self, topic: str, end: int, record: Callable[[int], Record]) -> None:
        self.topic = topic
        self._end = end
        self._record = record

    def first_offsets(self) -> dict[int, int]:
        return {0: 0}

    def ends(self) -> dict[int, int]:
        return {0: self._end}

    def records(self, _partition: int) -> Iterator[Record]:
        return map(self._record, range(self._end))

    def all_records(self) -> Iterator[Record]:
        return self.records(0)


def item(offset: int) -> tuple[Origin, Review, object]:
    """Return what a worker makes of the review at an offset."""
    origin = Origin(SOURCE, 0, offset)
    return origin, REVIEW, scored(REVIEW, (0.1, 0.1, 0.1, 0.1, 0.6), "very positive", ("m", "1"), NOW, origin)


def sent(offset: int) -> Record:
    return Record(0, offset, 1_000, b"r", REVIEW.encode(), [])


def published(offset: int) -> Record:
    origin, _, said = item(offset)
    return Record(0, offset, 1_000, b"r", said.encode(), prediction_headers(origin))


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[sa.Engine]:
    engine = connect(sqlite_url, writable=True)
    store = PredictionStore(engine)
    source_id = store.register(SOURCE)
    for start in range(0, MANY, 2_000):
        store.write(source_id, Outcome(list(map(item, range(start, start + 2_000))), []), NOW, {})
    yield engine
    engine.dispose()


def test_what_is_compared_is_not_kept_in_memory(engine: sa.Engine) -> None:
    readers = Readers(
        MadeUpTopic(SOURCE.topic, MANY, sent),
        MadeUpTopic("predictions", MANY, published),
        MadeUpTopic("rejected", 0, sent),
    )
    with PublishedTable() as table:
        verification = Verification(SOURCE, StoredRows(engine, SOURCE), readers, table, SilentProgress())
        tracemalloc.start()
        report = verification.report(Asked(is_complete=True, longest_text=1_000, most_named=20))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert (report.faults, report.records, report.scored) == (dict.fromkeys(report.faults, 0), MANY, MANY)
    assert peak < MOST_BYTES
