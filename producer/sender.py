"""Sends reviews to Kafka with kafka-python and accounts for every one: delivered, or not and why."""

import collections
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from kafka import KafkaProducer
from kafka.errors import (
    InvalidRecordError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from producer.rejects import Place
from reviewpulse.broker import client_options, unreachable
from reviewpulse.records import Review
from reviewpulse.settings import KafkaSettings

MOST_IN_FLIGHT: Final = 10_000
"""Reviews that may be without a delivery report; kafka-python itself sets no bound."""

_MOST_BYTES_IN_FLIGHT: Final = 16 * 1024 * 1024
_GRACE_SECONDS: Final = 5.0  # that kafka-python may take to report a delivery time that is over
_SLICE_SECONDS: Final = 0.5  # of waiting, between two looks at is_urgent
_FAULT_OF_THE_REVIEW: Final = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)


class Delivery(Protocol):
    """What kafka-python's send returns: the delivery report to be."""

    is_done: bool
    exception: BaseException | None

    def get(self, timeout: float | None = None) -> object:
        """Wait for the report; raises KafkaError when the record was not delivered."""


class Client(Protocol):
    """The part of KafkaProducer that a sender uses."""

    def send(self, topic: str, value: bytes, key: bytes) -> Delivery:
        """Take a record to be sent."""


class _InFlight(NamedTuple):
    delivery: Delivery
    review: Review
    place: Place
    value_bytes: int
    deadline: float


OnUndelivered = Callable[[Review, Place, str], None]


class Sender:
    """Keeps a bounded number of reviews in flight and accounts for each one by its delivery report, in order.

    After the first review that Kafka failed to take in time, `outage` says what went wrong: what is
    in flight may still be settled, but nothing more should be sent. While is_urgent() is true it
    waits for nothing.
    """

    def __init__(
        self,
        client: Client,
        topic: str,
        delivery_seconds: float,
        on_undelivered: OnUndelivered,
        is_urgent: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._topic = topic
        self._delivery_seconds = delivery_seconds
        self._on_undelivered = on_undelivered
        self._is_urgent = is_urgent
        self._clock = clock
        self._in_flight: collections.deque[_InFlight] = collections.deque()
        self._bytes_in_flight = 0
        self.sent = 0
        self.undelivered = 0
        self.outage: str | None = None

    @property
    def delivered(self) -> int:
        """How many reviews Kafka has confirmed."""
        return self.sent - self.undelivered - len(self._in_flight)

    def send(self, review: Review, place: Place) -> bool:
        """Hand a review to Kafka; waits while too many are in flight. Return False, and send nothing, in an outage."""
        value = review.encode()
        while self._in_flight and self._in_flight[0].delivery.is_done:
            self._settle_first()
        while len(self._in_flight) >= MOST_IN_FLIGHT or self._bytes_in_flight > _MOST_BYTES_IN_FLIGHT:
            self._settle_first()
        if self.outage is not None:
            return False
        self.sent += 1
        try:
            delivery = self._client.send(self._topic, value=value, key=(review.review_id or "").encode())
        except KafkaError as exc:
            self._lose(review, place, exc)
            return True
        deadline = self._clock() + self._delivery_seconds + _GRACE_SECONDS
        self._in_flight.append(_InFlight(delivery, review, place, len(value), deadline))
        self._bytes_in_flight += len(value)
        return True

    def settle(self) -> None:
        """Wait until every review in flight is delivered or known not to be."""
        while self._in_flight:
            self._settle_first()

    def _settle_first(self) -> None:
        """Wait for the oldest review's report, or for its time to be over, and count it.

        The deadline is our own: while kafka-python 3 asks for a new producer id it expires nothing.
        """
        delivery, review, place, value_bytes, deadline = self._in_flight[0]
        while not (delivery.is_done or self._is_urgent()) and (left_seconds := deadline - self._clock()) > 0:
            with contextlib.suppress(KafkaError):  # the slice's end, or the failure that is looked at below
                delivery.get(timeout=min(left_seconds, _SLICE_SECONDS))
        cause = delivery.exception if delivery.is_done else KafkaTimeoutError("no delivery report in time")
        self._in_flight.popleft()
        self._bytes_in_flight -= value_bytes
        if cause is not None:
            self._lose(review, place, cause)

    def _lose(self, review: Review, place: Place, cause: BaseException) -> None:
        """Count a review as undelivered; unless the review itself is the cause, that is an outage."""
        reason = (
            f"no confirmation within {self._delivery_seconds:g} s"
            if isinstance(cause, KafkaTimeoutError)
            else str(cause)
        )
        self.undelivered += 1
        if self.outage is None and not isinstance(cause, _FAULT_OF_THE_REVIEW):
            self.outage = reason
        self._on_undelivered(review, place, reason)


class _Producer(KafkaProducer):  # type: ignore[misc]  # kafka-python has no types
    """A KafkaProducer that can be closed when Kafka is gone: its own close raises and leaves its thread running."""

    def flush(self, timeout: float | None = None) -> None:
        """Wait for what is in flight, at most timeout seconds, and let close go on."""
        with contextlib.suppress(KafkaTimeoutError):
            super().flush(timeout)


@contextlib.contextmanager
def open_client(kafka: KafkaSettings, delivery_seconds: float) -> Iterator[Client]:
    """Connect a KafkaProducer that waits for all replicas; raises BrokerError when no Kafka answers.

    kafka-python repeats its own log line for every attempt to reach a Kafka that is gone, and would
    bury the report: its loggers are silent meanwhile, unless the logger `kafka` was given a level.
    """
    with silent_kafka_log():
        try:
            client = _Producer(**client_options(kafka), **_producer_options(delivery_seconds))
        except (KafkaError, ValueError, OSError) as exc:
            raise unreachable(kafka, exc) from exc
        try:
            yield client
        finally:
            client.close(timeout=1)


def _producer_options(delivery_seconds: float) -> dict[str, Any]:
    """Return kafka-python's options for sending.

    gzip is what every client can read without a further package; of batches of 128 KiB it leaves
    about a third for the network and the broker's disk.
    """
    delivery_ms = round(delivery_seconds * 1000)
    linger_ms = min(20, delivery_ms // 10)
    return {
        "acks": "all",
        "compression_type": "gzip",
        "batch_size": 128 * 1024,
        "linger_ms": linger_ms,
        "delivery_timeout_ms": delivery_ms,
        "request_timeout_ms": min(30_000, delivery_ms - linger_ms),
        "max_block_ms": delivery_ms,
        "reconnect_backoff_max_ms": 1000,
        "metrics_enabled": False,
    }


@contextlib.contextmanager
def silent_kafka_log() -> Iterator[None]:
    """Hold kafka-python's loggers at CRITICAL, unless they were given a level."""
    logger = logging.getLogger("kafka")
    level = logger.level
    if level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
