"""The load: reviews that go on being published whatever happens to the broker."""

import threading

from kafka import KafkaProducer
from kafka.errors import KafkaError

from reviewpulse.broker import client_options
from reviewpulse.settings import KafkaSettings


class Feeder:
    """Publishes reviews, and now and then bytes that are none, from a thread until it is closed."""

    def __init__(self, kafka: KafkaSettings, per_second: float) -> None:
        self.sent = 0
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

    def _run(self) -> None:
        producer = KafkaProducer(**client_options(self._kafka), acks="all", linger_ms=20, max_block_ms=120_000)
        try:
            while not self._is_over.wait(self._pause):
                value = b"{broken" if self.sent % 50 == 49 else b'{"text": "review %d"}' % self.sent
                producer.send(self._kafka.reviews_topic, key=b"%d" % self.sent, value=value)
                self.sent += 1
            producer.flush()
        except KafkaError as exc:
            self._error = exc
        finally:
            producer.close()
