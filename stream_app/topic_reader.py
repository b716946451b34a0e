"""Reads what a topic holds now, from its first record to its end, without a consumer group; no wait is endless."""

import heapq
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Final, Self, TypeVar

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from reviewpulse.broker import answers, client_options, unreachable
from reviewpulse.errors import BrokerError
from reviewpulse.settings import KafkaSettings

MOST_RECORDS: Final = 2_000
"""Records taken from the client at once."""

_POLL_MILLISECONDS: Final = 500

T = TypeVar("T")


class TopicReader:
    """The records that a topic holds; used as a context manager. Every method may raise BrokerError.

    Ends are those of the fetches (high watermarks): the embedded broker answers the question for end offsets wrongly.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self.topic = topic
        self._kafka = kafka
        self._wait_seconds = kafka.connect_seconds
        self._consumer: KafkaConsumer = self._asked(self._connect)
        self._ends: dict[TopicPartition, int] = {}
        self._heard_at = 0.0
        found = self._asked(lambda: self._consumer.partitions_for_topic(topic))
        if not found:
            self.close()
            raise BrokerError(
                f"there is no topic {topic} at {kafka.broker}; 'reviewpulse work' and 'reviewpulse publish' make it"
            )
        self.partitions: Sequence[int] = sorted(found)
        self._places = [TopicPartition(topic, partition) for partition in self.partitions]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection without waiting for it."""
        threading.Thread(target=self._consumer.close, name="topic reader end", daemon=True).start()

    def first_offsets(self) -> dict[int, int]:
        """Return the first offset that each partition still holds."""
        milliseconds = round(self._wait_seconds * 1000)
        found = self._asked(lambda: self._consumer.beginning_offsets(self._places, timeout_ms=milliseconds))
        return {place.partition: offset for place, offset in found.items()}

    def ends(self) -> dict[int, int]:
        """Return, for each partition, the offset that its next record will get."""
        self._begin(self._starts())
        while not all(place in self._ends for place in self._places):
            self._poll()
        return {place.partition: end for place, end in self._ends.items()}

    def records(self, partition: int, start: int | None = None) -> Iterator[ConsumerRecord]:
        """Yield a partition's records in order, from start or its first one to its present end."""
        place = TopicPartition(self.topic, partition)
        self._begin({place: self._starts()[place] if start is None else start})
        while not self._is_read(place):
            for records in self._poll().values():
                yield from records

    def all_records(self, starts: Mapping[int, int] | None = None) -> Iterator[ConsumerRecord]:
        """Yield the records of all partitions up to their present ends; only those of one partition are in order."""
        given = {TopicPartition(self.topic, partition): offset for partition, offset in (starts or {}).items()}
        self._begin(self._starts() | given)
        while not all(self._is_read(place) for place in self._places):
            for records in self._poll().values():
                yield from records

    def newest_last(self) -> Iterator[ConsumerRecord]:
        """Yield the records of all partitions by their times; holds a portion of each partition in memory."""
        ends, starts = self.ends(), self._starts()
        parts = [self._portions(place, starts[place], ends[place.partition]) for place in self._places]
        yield from heapq.merge(*parts, key=lambda record: record.timestamp)

    def offsets_at(self, moment_ms: int) -> dict[int, int]:
        """Return, for each partition that has later records, an offset before which all records are older."""
        times = dict.fromkeys(self._places, moment_ms)
        milliseconds = round(self._wait_seconds * 1000)
        found = self._asked(lambda: self._consumer.offsets_for_times(times, timeout_ms=milliseconds))
        return {place.partition: answer.offset for place, answer in found.items() if answer is not None}

    def _connect(self) -> KafkaConsumer:
        if not any(answers(address) for address in self._kafka.addresses):  # else the client leaves a thread
            raise unreachable(self._kafka, "nobody listens there")
        try:
            return KafkaConsumer(
                **client_options(self._kafka),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                enable_incremental_fetch_sessions=False,  # they keep back the end of a partition that was read before
                metrics_enabled=False,
            )
        except (KafkaError, ValueError, OSError) as exc:
            raise unreachable(self._kafka, exc) from exc

    def _starts(self) -> dict[TopicPartition, int]:
        return {TopicPartition(self.topic, partition): offset for partition, offset in self.first_offsets().items()}

    def _begin(self, starts: Mapping[TopicPartition, int]) -> None:
        self._consumer.unsubscribe()  # forget the ends of an earlier reading
        self._consumer.assign(list(starts))
        for place, offset in starts.items():
            self._consumer.seek(place, offset)
        self._ends = {}
        self._heard_at = time.monotonic()

    def _portions(self, place: TopicPartition, start: int, end: int) -> Iterator[ConsumerRecord]:
        """Yield a partition's records from start to end; between two portions the client may read other partitions.

        Each portion is asked for anew: kafka-python may keep for ever what it holds of a partition that it paused.
        """
        while start < end:
            self._begin({place: start})
            portion: list[ConsumerRecord] = []
            while not portion and start < end:
                portion = self._poll().get(place, [])
                start = self._position(place)
            yield from portion

    def _is_read(self, place: TopicPartition) -> bool:
        end = self._ends.get(place)
        return end is not None and self._position(place) >= end

    def _position(self, place: TopicPartition) -> int:
        return self._consumer.position(place, timeout_ms=_POLL_MILLISECONDS) or 0

    def _poll(self) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Return the next records, and note the ends as the first fetch of each partition tells them."""
        try:
            polled: dict[TopicPartition, list[ConsumerRecord]] = self._consumer.poll(
                timeout_ms=_POLL_MILLISECONDS, max_records=MOST_RECORDS
            )
        except KafkaError as exc:
            raise BrokerError(f"Kafka at {self._kafka.broker} stopped answering: {exc}; try again") from exc
        known = len(self._ends)
        for place in self._consumer.assignment():
            end = self._consumer.highwater(place)
            if end is not None:
                self._ends.setdefault(place, end)
        if polled or len(self._ends) > known:
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > self._wait_seconds:
            raise BrokerError(
                f"Kafka at {self._kafka.broker} sent nothing of topic {self.topic} for {self._wait_seconds:g} s; "
                "try again, or set REVIEWPULSE_CONNECT_SECONDS"
            )
        return polled

    def _asked(self, question: Callable[[], T]) -> T:
        """Return the answer to a question for which kafka-python may wait for ever; asked in a thread of its own."""
        answer: Future[T] = Future()

        def ask() -> None:
            try:
                answer.set_result(question())
            except BaseException as exc:  # noqa: BLE001  # raised by the thread that waits
                answer.set_exception(exc)

        threading.Thread(target=ask, name="topic reader", daemon=True).start()
        try:
            return answer.result(2 * self._wait_seconds)
        except TimeoutError as exc:
            raise BrokerError(
                f"Kafka at {self._kafka.broker} did not answer within {2 * self._wait_seconds:g} s"
            ) from exc
        except KafkaError as exc:
            raise BrokerError(f"Kafka at {self._kafka.broker} does not answer: {exc}") from exc
