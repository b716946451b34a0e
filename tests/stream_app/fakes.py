"""Stand-ins for the model, the producer and the clock; the store in these tests is a real SQLite."""

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from reviewpulse.card import Card
from reviewpulse.records import Review, Source
from tests.tiny import tiny_card

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCE = Source("cluster", "reviews", "topic-id-1")


class StarModel:
    """Gives every text containing a digit 1 to 5 that many stars with confidence 0.6; others 3 stars."""

    def __init__(self) -> None:
        self.card: Card = tiny_card()
        self.batches: list[list[str]] = []

    def predict(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return probabilities (texts, 5)."""
        self.batches.append(list(texts))
        probabilities = np.full((len(texts), 5), 0.1, dtype=np.float32)
        for row, text in enumerate(texts):
            stars = next((int(letter) for letter in text if letter in "12345"), 3)
            probabilities[row, stars - 1] = 0.6
        return probabilities


class ListSender:
    """Keeps what was sent; fails the first `failures` sends as an unreachable broker does."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[tuple[str, bytes, bytes | None, list[tuple[str, bytes]]]] = []
        self.failures = failures

    async def __call__(
        self, topic: str, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> Awaitable[object]:
        """Keep one record."""
        if self.failures:
            self.failures -= 1
            raise ConnectionError("broker is away")
        self.sent.append((topic, key, value, headers))
        return _delivered()


async def _delivered() -> None:
    return None


def review_bytes(text: str, **fields: object) -> bytes:
    """Return the value of a record that holds this review."""
    return Review(text=text, **fields).encode()  # type: ignore[arg-type]
