"""The rejected topic as people look after it: which records there are, what each holds, and its original bytes."""

import base64
import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NamedTuple

import msgspec
from kafka.consumer.fetcher import ConsumerRecord

from reviewpulse.broker import SourceReader
from reviewpulse.errors import RejectedError
from reviewpulse.records import LATEST_TIMESTAMP, from_milliseconds
from reviewpulse.settings import KafkaSettings
from reviewpulse.visible import as_text, visible, visible_line
from stream_app.topic_reader import TopicReader

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_REASON_WIDTH: Final = 32

_NUMBERS: Final = 2**63
"""Kafka's offsets and all other numbers of a record are below."""


class RejectedRecord(NamedTuple):
    """A record of the rejected topic: its place there, when it got there, and what it carries."""

    partition: int
    offset: int
    rejected_at: datetime
    value: bytes | None
    headers: list[tuple[str, bytes]]

    @property
    def place(self) -> str:
        """Where it lies in the rejected topic, as PARTITION/OFFSET."""
        return f"{self.partition}/{self.offset}"

    @property
    def event_id(self) -> str:
        """The event id of the record that was rejected; its place where another program left that out."""
        return self.header("event_id") or self.place

    @property
    def reason(self) -> str:
        """Why it was rejected."""
        return self.header("reason")

    @property
    def value_bytes(self) -> int:
        """How many bytes were rejected, also where they were too many to be sent along."""
        stated = _number(self.header("value_bytes"))
        return stated if stated >= 0 else len(self.value or b"")

    @property
    def is_without_bytes(self) -> bool:
        """Whether its bytes were too many to be sent along."""
        return self.value is None and bool(self.header("value_sha256"))

    def header(self, name: str) -> str:
        """Return a header as text, '' where there is none."""
        return next((as_text(value or b"") for key, value in self.headers if key == name), "")


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rejected record as a line of JSON; its bytes are in value, or, where they are not UTF-8, in value_base64."""

    place: str
    event_id: str
    reason: str
    rejected_at: Annotated[datetime, msgspec.Meta(tz=True)]
    source_topic: str
    source_partition: int
    source_offset: int
    value_bytes: int
    value: str | None = None
    value_base64: str | None = None

    @property
    def raw(self) -> bytes | None:
        """The bytes, None where there are none. Raises RejectedError for a value_base64 that is none."""
        if self.value_base64 is None:
            return None if self.value is None else self.value.encode(errors="surrogatepass")
        try:
            return base64.b64decode(self.value_base64, validate=True)
        except ValueError as exc:
            raise RejectedError(f"value_base64 of {self.place} is no base64 ({exc}); put the text into value") from exc


class Filter(NamedTuple):
    """Which rejected records are meant."""

    places: frozenset[str] = frozenset()
    """None of them: all places."""
    reason: str | None = None
    """A part of the reason, in any case."""
    since: datetime | None = None

    def takes(self, record: RejectedRecord) -> bool:
        """Return whether a record is meant."""
        return (
            (not self.places or record.place in self.places)
            and (self.reason is None or self.reason.casefold() in record.reason.casefold())
            and (self.since is None or record.rejected_at >= self.since)
        )


def read_rejected(kafka: KafkaSettings, wanted: Filter) -> Iterator[RejectedRecord]:
    """Yield the rejected records that are meant, the newest last, with little of them in memory at a time.

    Raises BrokerError when Kafka does not answer.
    """
    with TopicReader(kafka, kafka.rejected_topic) as reader:
        for record in reader.newest_last():
            rejected = as_rejected(record)
            if wanted.takes(rejected):
                yield rejected


def find_rejected(kafka: KafkaSettings, place: str) -> RejectedRecord:
    """Return the rejected record at PARTITION/OFFSET; raises RejectedError when there is none."""
    partition, offset = parse_place(place)
    with TopicReader(kafka, kafka.rejected_topic) as reader:
        if partition in reader.partitions:
            for record in reader.records(partition, start=offset):
                if record.offset == offset:
                    return as_rejected(record)
                break
    raise RejectedError(
        f"topic {kafka.rejected_topic} has no record {place} (any more); 'reviewpulse rejected list' names them"
    )


class OriginalBytes:
    """Finds the bytes of rejected records; used as a context manager. Reads the reviews topic where it has to."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._stack = contextlib.ExitStack()
        self._reader: TopicReader | None = None
        self._topic_id = ""

    def __enter__(self) -> "OriginalBytes":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, record: RejectedRecord) -> bytes | None:
        """Return the bytes that were rejected, None for a record that had none.

        Raises RejectedError when they were not sent along and the reviews topic no longer has them.
        """
        if not record.is_without_bytes:
            return record.value
        value = self._fetched(record)
        if value is None or hashlib.sha256(value).hexdigest() != record.header("value_sha256"):
            raise RejectedError(
                f"the {record.value_bytes:,} bytes of {record.place} were too many to be kept in "
                f"{self._kafka.rejected_topic}, and {visible(record.header('source_topic'))} no longer has them"
            )
        return value

    def _fetched(self, record: RejectedRecord) -> bytes | None:
        if self._reader is None:
            with contextlib.closing(SourceReader(self._kafka)) as which:
                self._topic_id = which.read().topic_id
            self._reader = self._stack.enter_context(TopicReader(self._kafka, self._kafka.reviews_topic))
        if record.header("source_topic_id") != self._topic_id:
            return None
        partition, offset = _number(record.header("source_partition")), _number(record.header("source_offset"))
        if not self._reader.first_offsets().get(partition, offset + 1) <= offset:
            return None
        found = next(self._reader.records(partition, start=offset), None)
        return None if found is None or found.offset != offset else found.value


def parse_place(place: str) -> tuple[int, int]:
    """Return the partition and the offset of PARTITION/OFFSET; raises RejectedError.

    >>> parse_place("2/17")
    (2, 17)
    """
    partition, _, offset = place.partition("/")
    numbers = _number(partition), _number(offset)
    if min(numbers) < 0:
        raise RejectedError(f"'{place}' is no place; write PARTITION/OFFSET, for example 0/17")
    return numbers


def parse_since(since: str, now: datetime) -> datetime:
    """Return the moment that an age (90s, 15m, 2h, 3d) or a time (ISO 8601; without a zone: UTC) names.

    >>> parse_since("2h", datetime(2026, 1, 2, 3, tzinfo=UTC)).isoformat()
    '2026-01-02T01:00:00+00:00'
    >>> parse_since("2026-01-01", datetime(2026, 1, 2, 3, tzinfo=UTC)).isoformat()
    '2026-01-01T00:00:00+00:00'
    """
    if since[:-1].isdecimal() and since[-1:] in _SECONDS:
        with contextlib.suppress(OverflowError, ValueError):  # the latter for thousands of digits
            return now - timedelta(seconds=int(since[:-1]) * _SECONDS[since[-1]])
    else:
        with contextlib.suppress(ValueError):
            moment = datetime.fromisoformat(since)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise RejectedError(f"'{since}' is no time; write 90s, 15m, 2h, 3d or 2026-01-31T12:00")


def json_line(record: RejectedRecord, raw: Callable[[RejectedRecord], bytes | None]) -> Line:
    """Return the record as a line of JSON, with its original bytes where they can be had."""
    try:
        value = raw(record)
    except RejectedError:
        value = None
    text, encoded = _as_utf8(value)
    return Line(
        place=record.place,
        event_id=record.event_id,
        reason=record.reason,
        rejected_at=record.rejected_at,
        source_topic=record.header("source_topic"),
        source_partition=_number(record.header("source_partition")),
        source_offset=_number(record.header("source_offset")),
        value_bytes=record.value_bytes,
        value=text,
        value_base64=encoded,
    )


def list_lines(records: Iterable[RejectedRecord], width: int) -> Iterator[str]:
    """Yield a heading and a line for each record: place, time, size, reason, beginning; harmless for a terminal."""
    known = iter(records)
    first = list(itertools.islice(known, 1))  # without Kafka there is no heading either
    yield f"{'place':<10} {'rejected at (UTC)':<19} {'bytes':>9}  {'reason':<{_REASON_WIDTH}} beginning"
    for record in itertools.chain(first, known):
        moment = f"{record.rejected_at:%Y-%m-%d %H:%M:%S}"
        reason = visible_line(record.reason, _REASON_WIDTH)
        before = f"{record.place:<10} {moment} {record.value_bytes:>9,}  {reason:<{_REASON_WIDTH}} "
        yield before + preview(record, max(width - len(before), 20))


def preview(record: RejectedRecord, most_characters: int) -> str:
    """Return the beginning of a record's bytes as one harmless line."""
    if record.value is None:
        return "(kept in the reviews topic only)" if record.is_without_bytes else "(no value)"
    return visible_line(as_text(record.value[: most_characters * 4]), most_characters)


def show_lines(record: RejectedRecord, raw: bytes | None) -> Iterator[str]:
    """Yield a record's headers and bytes; harmless for a terminal."""
    yield f"place: {record.place}"
    yield f"rejected at: {record.rejected_at:%Y-%m-%d %H:%M:%S} UTC"
    for name, value in record.headers:
        yield visible_line(f"{name}: {as_text(value or b'')}", 1_000)
    yield f"value ({record.value_bytes:,} bytes):"
    yield "(no value)" if raw is None else visible(as_text(raw))


def as_rejected(record: ConsumerRecord) -> RejectedRecord:
    """Return a record of the rejected topic, of the last time that there is where another program made its time up."""
    moment = from_milliseconds(min(max(record.timestamp or 0, 0), LATEST_TIMESTAMP))
    return RejectedRecord(record.partition, record.offset, moment, record.value, list(record.headers))


def _as_utf8(value: bytes | None) -> tuple[str | None, str | None]:
    if value is None:
        return None, None
    try:
        return value.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(value).decode()


def _number(text: str) -> int:
    """Return the number that a header or a place states, -1 where it states none that Kafka could mean.

    >>> _number("17"), _number(""), _number("9" * 5_000), _number(str(2**63))
    (17, -1, -1, -1)
    """
    number = int(text) if text.isdecimal() and len(text) < 20 else -1
    return number if number < _NUMBERS else -1
