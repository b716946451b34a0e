"""Stand-ins for the model, the producer and the clock; the store in these tests is a real one."""

import asyncio
from collections.abc import Awaitable, Sequence

import numpy as np
from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError

from reviewpulse.card import Card
from reviewpulse.decision import Predictions
from reviewpulse.records import Review
from tests.cards import tiny_card
from tests.stream_app.places import NOW as NOW
from tests.stream_app.places import SOURCE as SOURCE


class QuickModel:
    """Gives every text containing a digit 1 to 5 that many stars with confidence 0.6; others 3 stars."""

    def __init__(self) -> None:
        self.card: Card = tiny_card()

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Return the predictions for some texts."""
        probabilities = np.full((len(texts), 5), 0.1, dtype=np.float32)
        for row, text in enumerate(texts):
            stars = next((int(letter) for letter in text if letter in "12345"), 3)
            probabilities[row, stars - 1] = 0.6
        return Predictions(probabilities, probabilities.argmax(axis=1))


class StarModel(QuickModel):
    """The same, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.poison: str | None = None
        """Texts that contain it make the model raise."""
        self.vapour: str | None = None
        """Texts that contain it get probabilities that are no numbers."""

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Return the predictions for some texts."""
        self.batches.append(list(texts))
        if self.poison and any(self.poison in text for text in texts):
            raise IndexError("index 7 is out of range")
        predictions = super().predict(texts)
        if self.vapour:
            predictions.probabilities[[self.vapour in text for text in texts]] = np.nan
        return predictions


class ListSender:
    """Keeps what was sent, or behaves like a Kafka in trouble."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bytes | None, list[tuple[str, bytes]]]] = []
        self.failures = 0
        """How many more sends fail as with an unreachable broker."""
        self.is_silent = False
        """Whether deliveries are never confirmed."""
        self.most_bytes = 1_000_000
        self.is_behind = False
        """Whether the broker's clock is, by more than it lets pass."""

    async def __call__(
        self, topic: str, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> Awaitable[object]:
        """Keep one record."""
        if self.failures:
            self.failures -= 1
            raise ConnectionError("broker is away")
        delivery: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if len(value or b"") > self.most_bytes:
            delivery.set_exception(MessageSizeTooLargeError())
        elif self.is_behind:
            delivery.set_exception(InvalidTimestampError())
        elif not self.is_silent:
            self.sent.append((topic, key, value, headers))
            delivery.set_result(None)
        return delivery


def review_bytes(text: str, **fields: object) -> bytes:
    """Return the value of a record that holds this review."""
    return Review(text=text, **fields).encode()  # type: ignore[arg-type]
