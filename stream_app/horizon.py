"""How far back topics reach: Kafka's retention may delete their oldest records, also while they are read."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from kafka.consumer.fetcher import ConsumerRecord

from stream_app.topic_reader import TopicReader

_ASK_SECONDS: Final = 1.0


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


class Beginnings:
    """Notes the first record of each partition, to tell what Kafka's retention may have deleted."""

    def __init__(self, reader: TopicReader) -> None:
        self._firsts = reader.first_offsets()
        self._times: dict[int, int] = {}

    def watched(self, records: Iterable[ConsumerRecord]) -> Iterator[ConsumerRecord]:
        """Yield the records and remember the time of each partition's first one."""
        for record in records:
            if record.partition not in self._times:
                self._times[record.partition] = record.timestamp
            yield record

    def held_from_ms(self) -> float:
        """Return the time from which on no partition has lost a record, -inf when none has lost any."""
        cut = (partition for partition, offset in self._firsts.items() if offset > 0)
        return max((self._times.get(partition, float("inf")) for partition in cut), default=float("-inf"))
