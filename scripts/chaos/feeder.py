"""The load: reviews that go on being published whatever happens to the broker."""

import contextlib
import threading
from collections.abc import Iterator

from kafka import KafkaProducer
from kafka.errors import KafkaError

from reviewpulse.broker import client_options
from reviewpulse.settings import KafkaSettings

LAST_SECONDS = 60.0
"""How long Kafka may take to confirm what is left at the end."""


class Feeder:
    """Publishes reviews, and now and then bytes that are none, from a thread until it is closed.

    A review that Kafka does not confirm fails the scenario at the end, unless it was told that some may be lost.
    """

    def __init__(self, kafka: KafkaSettings, per_second: float) -> None:
        self.sent = 0
        self.confirmed: set[int] = set()
        """The numbers of the reviews that Kafka has confirmed; each is in its record's text."""
        self._may_lose = False
        self._error: Exception | None = None
        self._kafka = kafka
        self._pause = 1 / per_second
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Feeder":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._is_over.set()
        self._thread.join()
        if self._error is not None:
            raise AssertionError("without its load the scenario proves nothing") from self._error

    @contextlib.contextmanager
    def losing(self) -> Iterator[None]:
        """Let reviews go unconfirmed during a block, because the broker loses what it holds."""
        self._may_lose = True
        try:
            yield
        finally:
            self._may_lose = False

    def counts(self) -> dict[str, int]:
        """Return how many were sent, and how many of these Kafka confirmed."""
        return {"sent": self.sent, "confirmed": len(self.confirmed)}

    def _run(self) -> None:
        producer = KafkaProducer(**client_options(self._kafka), acks="all", linger_ms=20, max_block_ms=120_000)
        try:
            while not self._is_over.wait(self._pause):
                self._send(producer, self.sent)
                self.sent += 1
            producer.flush(timeout=LAST_SECONDS)
        except KafkaError as exc:
            self._lost(exc)
        finally:
            producer.close(timeout=LAST_SECONDS)

    def _send(self, producer: KafkaProducer, number: int) -> None:
        value = b"{broken %d" % number if is_broken(number) else b'{"text": "review %d"}' % number
        try:
            delivery = producer.send(self._kafka.reviews_topic, key=b"%d" % number, value=value)
        except KafkaError as exc:
            self._lost(exc)
        else:
            delivery.add_callback(lambda _: self.confirmed.add(number))
            delivery.add_errback(self._lost)

    def _lost(self, error: Exception) -> None:
        if not self._may_lose:
            self._error = error


def is_broken(number: int) -> bool:
    """Return whether what is sent under a number is no review."""
    return number % 50 == 49
