"""Compares what a partition of the reviews topic held with what became of it. Pure: iterators in, differences out."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from reviewpulse.records import Origin, Rejected, Review, Source, decode_review
from stream_app.checksums import digest
from stream_app.evidence import CONTENT, Aligned, Published, Sent, StoredRow, content_of
from stream_app.report import Difference, Fault

STORING_MS: Final = 600_000
"""A rejection bears the time at which it was stored, which an outage may make so much later than it was published."""


class Limits(NamedTuple):
    """How far the places of one partition can be checked."""

    next_offset: int
    """Where the store reads on: what lies there or later is not processed yet."""
    kept_from: Callable[[], int]
    """The first offset whose rows are kept: those before it were pruned."""
    held_from: Callable[[], int]
    """The first offset that the reviews topic still holds."""
    predictions_from_ms: Callable[[str], float]
    """By the key: a prediction made before may have been deleted by Kafka's retention."""
    rejected_from_ms: Callable[[str], float]
    """The same for rejected records."""
    longest_text: int
    """Characters after which the workers cut a text or title."""
    is_complete: bool
    """Whether all that is in the topic has to be processed."""


class PartitionAudit:
    """Judges a partition offset by offset; `tally` counts what was found in order as well."""

    def __init__(self, source: Source, partition: int, limits: Limits, tally: Counter[str]) -> None:
        self._source = source
        self._partition = partition
        self._limits = limits
        self._tally = tally

    def differences(self, offsets: Iterable[Aligned]) -> Iterator[Difference]:
        """Yield what is wrong, in the order of the offsets."""
        for here in offsets:
            if here.record is not None:
                self._tally["records"] += 1
            if here.offset >= self._limits.next_offset:
                yield from self._ahead(here)
            elif not here.rows:
                yield from self._without_row(here)
            else:
                yield from self._with_rows(here)

    def _ahead(self, here: Aligned) -> Iterator[Difference]:
        """Judge what the store has not come to yet; its rows there are looked for elsewhere."""
        if here.record is None and here.published and here.offset >= self._limits.held_from():
            yield self._invented(here)
            return
        self._tally["in_flight"] += sum(saying.copies for saying in here.published)
        if here.record is not None:
            self._tally["not_yet_processed"] += 1
            if self._limits.is_complete:
                yield self._fault(Fault.LOST, here.offset, "not processed yet")

    def _invented(self, here: Aligned) -> Difference:
        what = f"published as {here.published[0].place}, but the topic has no such record"
        return self._fault(Fault.FOREIGN, here.offset, what)

    def _without_row(self, here: Aligned) -> Iterator[Difference]:
        if here.offset < self._limits.kept_from():
            self._tally["pruned"] += 1
        elif here.record is not None:
            told = f"; it was published as {here.published[0].place}" if here.published else ""
            yield self._fault(Fault.LOST, here.offset, f"the store has no row for it{told}")
        else:
            yield self._fault(Fault.FOREIGN, here.offset, f"published as {here.published[0].place}, but without a row")

    def _with_rows(self, here: Aligned) -> Iterator[Difference]:
        self._tally["rows"] += len(here.rows)
        if len(here.rows) > 1:
            yield self._fault(Fault.DOUBLED, here.offset, "it has rows in predictions and in rejections")
        for row in here.rows:
            self._tally["scored" if row.is_scored else "rejected"] += 1
            if here.record is not None:
                yield from self._compared(here.record, row)
            elif here.offset < self._limits.held_from():
                self._tally["no_longer_in_topic"] += 1
                yield from self._named(row)
            else:
                yield self._extra(row)
            yield from self._publication(row, here)
        self._tally["repeated"] += max(sum(saying.copies for saying in here.published) - 1, 0)

    def _named(self, row: StoredRow) -> Iterator[Difference]:
        if row.is_scored and row.event_id != self._event_id(row.offset):
            yield self._fault(Fault.DOUBLED, row.offset, f"its row has the event id of another record: {row.event_id}")

    def _extra(self, row: StoredRow) -> Difference:
        if row.is_scored and row.event_id != self._event_id(row.offset):
            what = f"a row with the event id of another record ({row.event_id}); the topic has no record here"
            return self._fault(Fault.DOUBLED, row.offset, what)
        return self._fault(Fault.FOREIGN, row.offset, "a row for which the topic has no record")

    def _compared(self, record: Sent, row: StoredRow) -> Iterator[Difference]:
        """Compare what was sent with what was stored; a review that the model failed on may be rejected."""
        review = decode_review(record.value)
        if not row.is_scored:
            self._tally["rejected_readable"] += isinstance(review, Review)
            return
        yield from self._named(row)
        if isinstance(review, Rejected):
            yield self._fault(Fault.DIFFERING, row.offset, f"scored, but the record is no review: {review.reason}")
        elif (sent := content_of(review)) != row.content:
            fields = zip(CONTENT, sent, row.content, strict=True)
            names = [name for name, was_sent, stored in fields if not self._is_kept(name, was_sent, stored)]
            if names:
                yield self._fault(Fault.DIFFERING, row.offset, f"its row has another {', '.join(names)} than was sent")
            else:
                self._tally["cut"] += 1

    def _is_kept(self, field: str, sent: object, stored: object) -> bool:
        """Return whether a field was stored as it was sent, or is a text or title that was cut where it may be."""
        return sent == stored or (field in {"text", "title"} and is_cut(sent, stored, self._limits.longest_text))

    def _publication(self, row: StoredRow, here: Aligned) -> Iterator[Difference]:
        sayings = [saying for saying in here.published if saying.is_scored == row.is_scored]
        alike = [saying for saying in sayings if saying.said == row.said]
        if not sayings:
            if row.at_ms <= self._published_from_ms(row):
                self._tally["no_longer_published"] += 1
                return
            topic = "predictions" if row.is_scored else "rejected"
            yield self._fault(Fault.UNPUBLISHED, row.offset, f"it has a row, but no record in the {topic} topic")
        elif not alike:
            name = "prediction" if row.is_scored else "reason"
            what = f"its row has another {name} than was published as {sayings[0].place}"
            yield self._fault(Fault.DIFFERING, row.offset, what)
        elif not (row.is_scored or here.record is None or _holds(alike, here.record)):
            what = f"the rejected record {alike[0].place} does not hold the bytes that were sent"
            yield self._fault(Fault.DIFFERING, row.offset, what)

    def _published_from_ms(self, row: StoredRow) -> float:
        if row.is_scored:
            return self._limits.predictions_from_ms(row.review_id)
        return self._limits.rejected_from_ms(self._event_id(row.offset)) + STORING_MS

    def _event_id(self, offset: int) -> str:
        return Origin(self._source, self._partition, offset).event_id

    def _fault(self, fault: Fault, offset: int, what: str) -> Difference:
        return Difference(fault, self._source.topic, self._partition, offset, what)


def _holds(rejections: Iterable[Published], record: Sent) -> bool:
    return digest(record.value) in {rejection.value for rejection in rejections}


def is_cut(sent: object, stored: object, longest_text: int) -> bool:
    """Return whether a text is what was sent, cut after longest_text characters or, at another time, later.

    >>> is_cut("fine", "fin", 3), is_cut("fine", "fin", 2), is_cut("fine", "fi", 3), is_cut("fine", "fun", 3)
    (True, True, False, False)
    """
    if not isinstance(sent, str) or not isinstance(stored, str):
        return False
    return len(stored) >= longest_text and sent.startswith(stored)
