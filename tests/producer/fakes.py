"""Stand-ins for Kafka and the clock, so that no test sleeps or needs a broker."""

from collections.abc import Callable

from kafka.errors import KafkaError, KafkaTimeoutError

from reviewpulse.records import Review, decode_review


class FakeDelivery:
    """A delivery report that is there at once, or comes, or fails, when the test says so."""

    def __init__(self) -> None:
        self.is_done = False
        self.exception: BaseException | None = None

    def confirm(self) -> None:
        self.is_done = True

    def fail(self, error: KafkaError) -> None:
        self.exception = error
        self.is_done = True

    def get(self, timeout: float | None = None) -> object:
        if not self.is_done:
            raise KafkaTimeoutError("not yet")
        if self.exception is not None:
            raise self.exception
        return None


class FakeKafka:
    """Keeps what it was sent; on_send decides what becomes of each record."""

    def __init__(self, on_send: Callable[[FakeDelivery, int], None] = lambda delivery, _: delivery.confirm()) -> None:
        self._on_send = on_send
        self.sent: list[tuple[str, bytes, Review]] = []
        self.deliveries: list[FakeDelivery] = []

    def send(self, topic: str, value: bytes, key: bytes) -> FakeDelivery:
        review = decode_review(value)
        assert isinstance(review, Review)
        delivery = FakeDelivery()
        self._on_send(delivery, len(self.sent))
        self.sent.append((topic, key, review))
        self.deliveries.append(delivery)
        return delivery

    @property
    def texts(self) -> list[str]:
        return [review.text for _, _, review in self.sent]


class FakeClock:
    """A clock that goes on only when someone sleeps."""

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.now = 0.0
        self._step_seconds = step_seconds

    def __call__(self) -> float:
        self.now += self._step_seconds
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
