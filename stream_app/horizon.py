"""How far back topics reach: Kafka's retention may delete their oldest records, also while they are read."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol, TypeVar

from kafka.partitioner.default import murmur2

from stream_app.topic_reader import TopicReader

_ASK_SECONDS: Final = 1.0

_ALWAYS: Final = float("-inf")
_NEVER: Final = float("inf")


class Kept(Protocol):
    """A record of a topic, as the Kafka client returns it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None


R = TypeVar("R", bound=Kept)


class FirstOffset:
    """The first offset that a partition still holds; Kafka may delete more while it is read."""

    def __init__(self, reader: TopicReader, partition: int, known: Mapping[int, int]) -> None:
        self._reader = reader
        self._partition = partition
        self._offset = known.get(partition, 0)
        self._asked_at = 0.0

    def __call__(self) -> int:
        if time.monotonic() - self._asked_at > _ASK_SECONDS:
            self._offset = self._reader.first_offsets().get(self._partition, 0)
            self._asked_at = time.monotonic()
        return self._offset


class Horizon:
    """The times from which on a topic still holds all that was published; needs to see its records.

    A key tells the partition, as long as every record lies where its key puts it: partitions that were added later, or
    another way to choose them, are seen by that.
    """

    def __init__(self, firsts: Mapping[int, int]) -> None:
        """Begin with the first offset that each partition still holds."""
        self._partitions = sorted(firsts)
        self._is_seen: set[int] = set()
        self._from_ms = {partition: _ALWAYS if first == 0 else _NEVER for partition, first in firsts.items()}
        self._is_by_key = any(firsts.values())  # the keys of a topic that has lost nothing need no look

    def watched(self, records: Iterable[R]) -> Iterator[R]:
        """Yield the records and remember the time of each partition's first one."""
        for record in records:
            if record.partition not in self._is_seen:
                self._is_seen.add(record.partition)
                self._from_ms[record.partition] = record.timestamp if record.offset > 0 else _ALWAYS
            if self._is_by_key:
                self._is_by_key = record.key is not None and self._partition_of(record.key) == record.partition
            yield record

    def held_from_ms(self, key: str) -> float:
        """Return the time from which on no record with this key was deleted: inf where its partition is empty now."""
        if self._is_by_key:
            return self._from_ms[self._partition_of(key.encode())]
        return max(self._from_ms.values(), default=_ALWAYS)

    def _partition_of(self, key: bytes) -> int:
        """Return where Kafka's clients put a key."""
        number: int = murmur2(key) & 0x7FFFFFFF
        return self._partitions[number % len(self._partitions)]
