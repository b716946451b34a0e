"""What is known of each offset of a partition: the record that was sent, its rows, and what was published of it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from reviewpulse.records import Review

CONTENT: Final = ("review_id", "title", "text", "asin", "category", "rating", "timestamp")
"""The fields of a review that its row repeats, in the order of StoredRow.content."""


class Sent(Protocol):
    """A record of the reviews topic, as the Kafka client returns it."""

    offset: int
    value: bytes | None


class StoredRow(NamedTuple):
    """A row of predictions or, without an event id, of rejections."""

    offset: int
    event_id: str | None
    content: tuple[object, ...]
    said: bytes
    """The checksum of what has to be published of it as well: the prediction, or the reason."""
    at_ms: int

    @property
    def is_scored(self) -> bool:
        """Whether it is a row of predictions."""
        return self.event_id is not None

    @property
    def review_id(self) -> str:
        """The key of its prediction."""
        return str(self.content[0])


class Published(NamedTuple):
    """What the predictions topic or the rejected topic says of a record, and how many times."""

    offset: int
    is_scored: bool
    said: bytes
    """The checksum of the prediction, or of the reason."""
    value: bytes
    """The checksum of the bytes that were rejected."""
    place: str
    copies: int


class Aligned(NamedTuple):
    """All that is known of one offset."""

    offset: int
    record: Sent | None
    rows: Sequence[StoredRow]
    published: Sequence[Published]


def align(records: Iterable[Sent], rows: Iterable[StoredRow], published: Iterable[Published]) -> Iterator[Aligned]:
    """Join three streams, each ordered by offset, and yield what belongs to each offset that any of them has."""
    sent, stored, told = iter(records), iter(rows), iter(published)
    record, row, saying = next(sent, None), next(stored, None), next(told, None)
    while record is not None or row is not None or saying is not None:
        offset = min(head.offset for head in (record, row, saying) if head is not None)
        record_here = None
        if record is not None and record.offset == offset:
            record_here, record = record, next(sent, None)
        rows_here: list[StoredRow] = []
        while row is not None and row.offset == offset:
            rows_here.append(row)
            row = next(stored, None)
        said_here: list[Published] = []
        while saying is not None and saying.offset == offset:
            said_here.append(saying)
            saying = next(told, None)
        yield Aligned(offset, record_here, rows_here, said_here)


def content_of(review: Review) -> tuple[object, ...]:
    """Return what a row must repeat of a review, in the order of CONTENT."""
    return (
        review.review_id,
        review.title,
        review.text,
        review.asin,
        review.category,
        review.rating,
        review.timestamp,
    )
