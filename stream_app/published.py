"""What the predictions and the rejected topic say of a source's records, sorted on disk rather than in memory."""

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from reviewpulse.errors import StoreError
from reviewpulse.labels import stars_of_label
from reviewpulse.records import NOT_JSON, Origin, Source, decode_scored
from stream_app.checksums import digest, prediction_checksum, reason_checksum
from stream_app.evidence import Published
from stream_app.report import Difference, Fault

_BATCH: Final = 2_000

_OFFSETS: Final = 2**63
"""Kafka's offsets are below."""

_TABLE: Final = """
CREATE TABLE published (
    partition INTEGER, position INTEGER, is_scored INTEGER, said BLOB, value BLOB,
    place TEXT NOT NULL, copies INTEGER NOT NULL,
    PRIMARY KEY (partition, position, is_scored, said, value)
) WITHOUT ROWID
"""
_ADD: Final = """
INSERT INTO published VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET copies = copies + 1
"""
_OF_PARTITION: Final = """
SELECT position, is_scored, said, value, place, copies FROM published WHERE partition = ? ORDER BY position
"""


class Received(Protocol):
    """A record of the predictions or the rejected topic, as the Kafka client returns it."""

    partition: int
    offset: int
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Saying(NamedTuple):
    """What one record says: of which place, a prediction or a rejection, its checksums, and where it was said."""

    partition: int
    offset: int
    is_scored: bool
    said: bytes
    value: bytes
    place: str


class Sources(NamedTuple):
    """The source that is checked, and earlier topics of the same name, told apart by their ids."""

    checked: Source
    earlier: list[Source]


class PublishedTable:
    """Sayings in a temporary file, ordered by the place that they speak of; used as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="reviewpulse-verify-")
        self._connection = sqlite3.connect(Path(self._folder.name) / "published.db", isolation_level=None)
        self._connection.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_TABLE}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._folder.cleanup()

    def add(self, sayings: Iterable[Saying]) -> None:
        """Keep sayings; equal ones are counted. Raises StoreError when the disk is full."""
        batch: list[Saying] = []
        for saying in sayings:
            batch.append(saying)
            if len(batch) >= _BATCH:
                self._write(batch)
                batch = []
        self._write(batch)

    def of_partition(self, partition: int) -> Iterator[Published]:
        """Yield what was said of a partition's records, ordered by their offsets."""
        return (
            Published(row[0], bool(row[1]), *row[2:]) for row in self._connection.execute(_OF_PARTITION, (partition,))
        )

    def partitions(self) -> set[int]:
        """Return the partitions of which anything was said."""
        return {row[0] for row in self._connection.execute("SELECT DISTINCT partition FROM published")}

    def _write(self, batch: list[Saying]) -> None:
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany(_ADD, batch)
            self._connection.execute("COMMIT")
        except sqlite3.Error as exc:
            raise StoreError(
                f"cannot write {self._folder.name} ({exc}); verify needs some 60 bytes a prediction there, "
                "set TMPDIR to a folder with room"
            ) from exc


class Sorting:
    """Sorts out which published records speak of the checked source; counts and names the others."""

    def __init__(
        self, sources: Sources, topic: str, tally: Counter[str], on_difference: Callable[[Difference], None]
    ) -> None:
        self._sources = sources
        self._topic = topic
        self._tally = tally
        self._on_difference = on_difference

    def predictions(self, records: Iterable[Received]) -> Iterator[Saying]:
        """Yield what the records of the predictions topic say of the checked source."""
        for record in records:
            self._tally["predictions"] += 1
            try:
                prediction = decode_scored(record.value or b"")
                said = prediction_checksum(prediction)
            except (*NOT_JSON, ValueError, OverflowError) as exc:
                self._note(record, Fault.FOREIGN, f"no prediction: {exc}")
                continue
            place = (prediction.source_partition, prediction.source_offset)
            if not self._is_checked(record, prediction.source_topic, place):
                continue
            if stars_of_label(prediction.label) != prediction.stars:
                self._note(record, Fault.DIFFERING, f"'{prediction.label}' with {prediction.stars} stars")
            else:
                yield Saying(*place, True, said, b"", self._place(record))

    def rejections(self, records: Iterable[Received]) -> Iterator[Saying]:
        """Yield what the records of the rejected topic say of the checked source."""
        for record in records:
            self._tally["rejected_records"] += 1
            headers = dict(record.headers)
            try:
                place = int(headers["source_partition"]), int(headers["source_offset"])
                topic = headers["source_topic"].decode()
                said = reason_checksum(headers["reason"].decode())
                value = _value_checksum(record, headers)
            except (KeyError, ValueError, AttributeError) as exc:
                self._note(record, Fault.FOREIGN, f"no rejected record: its headers lack or garble {exc}")
                continue
            if self._is_checked(record, topic, place):
                yield Saying(*place, False, said, value, self._place(record))

    def _is_checked(self, record: Received, topic: str, place: tuple[int, int]) -> bool:
        """Return whether a record speaks of the checked source; counts one of another source or of none."""
        if topic != self._sources.checked.topic:
            self._tally["of_other_sources"] += 1
            return False
        event_id = (dict(record.headers).get("event_id") or b"").decode(errors="replace")
        if event_id == Origin(self._sources.checked, *place).event_id and max(place) < _OFFSETS:
            return True
        if any(event_id == Origin(source, *place).event_id for source in self._sources.earlier):
            self._tally["of_other_sources"] += 1
        else:
            what = f"its event id ('{event_id}') belongs to no record {place[0]}/{place[1]} of a source in the store"
            self._note(record, Fault.FOREIGN, what)
        return False

    def _note(self, record: Received, fault: Fault, what: str) -> None:
        self._on_difference(Difference(fault, self._topic, record.partition, record.offset, what))

    def _place(self, record: Received) -> str:
        return f"{self._topic} {record.partition}/{record.offset}"


def _value_checksum(record: Received, headers: dict[str, bytes]) -> bytes:
    """Return the checksum of the bytes that were rejected, also where they were too many to be sent along."""
    stated = headers.get("value_sha256")
    return digest(record.value) if stated is None or record.value is not None else bytes.fromhex(stated.decode())
