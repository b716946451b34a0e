"""Builds stores for tests, row by row, as a worker would leave them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from reviewpulse import schema
from reviewpulse.records import to_milliseconds


@dataclass(frozen=True)
class Scored:
    """A scored review: when, and what the model gave."""

    at: datetime
    stars: int
    text: str = "It works."
    title: str | None = None
    rating: float | None = None
    confidence: float = 0.75
    asin: str | None = None
    category: str | None = None
    model: str = "tiny"


@dataclass
class StoreBuilder:
    """A writable store in a folder, or at a URL."""

    folder: Path
    given_url: str | None = None
    engine: sa.Engine = field(init=False)
    _offset: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.engine = schema.connect(self.url, writable=True)

    @property
    def path(self) -> Path:
        """The store's file."""
        return self.folder / "store.db"

    @property
    def url(self) -> str:
        """What REVIEWPULSE_STORE would name."""
        return self.given_url or f"sqlite:///{self.path}"

    def close(self) -> None:
        """Let go of the file."""
        self.engine.dispose()

    def add_source(self, topic_id: str, topic: str = "reviews") -> int:
        """Add a topic that was read, return its source_id."""
        with self.engine.begin() as connection:
            done = connection.execute(sa.insert(schema.sources).values(cluster_id="c1", topic=topic, topic_id=topic_id))
            assert done.inserted_primary_key is not None
            return int(done.inserted_primary_key[0])

    def add_reviews(self, source_id: int, reviews: Sequence[Scored]) -> None:
        """Add scored reviews and what they change in the roll-up."""
        if not reviews:
            return
        rows = [self._row(source_id, review) for review in reviews]
        with self.engine.begin() as connection:
            connection.execute(sa.insert(schema.predictions), rows)
        self.add_counts(Counter((int(review.at.timestamp()), review.stars) for review in reviews))

    def add_counts(self, counts: Counter[tuple[int, int]]) -> None:
        """Add to the roll-up alone: counts by (second, stars)."""
        table = schema.sentiment_by_second
        with self.engine.begin() as connection:
            for (second, stars), reviews in counts.items():
                place = (table.c.second == second) & (table.c.stars == stars)
                change = {"reviews": table.c.reviews + reviews, "confidence_sum": table.c.confidence_sum + reviews}
                if connection.execute(sa.update(table).where(place).values(change)).rowcount == 0:
                    row = {"second": second, "stars": stars, "reviews": reviews, "confidence_sum": reviews}
                    connection.execute(sa.insert(table).values(row))

    def add_rejections(self, source_id: int, moments: Iterable[datetime]) -> None:
        """Add rejected records."""
        rows = []
        for moment in moments:
            self._offset += 1
            place = {"source_id": source_id, "partition": 0, "offset": self._offset}
            rows.append({**place, "reason": "no text", "rejected_at_ms": to_milliseconds(moment)})
        with self.engine.begin() as connection:
            connection.execute(sa.insert(schema.rejections), rows)

    def set_offsets(self, source_id: int, next_offsets: Sequence[tuple[int, int]], at: datetime) -> None:
        """Set (next_offset, high_watermark) of partitions 0, 1, ... of a source."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(schema.offsets).where(schema.offsets.c.source_id == source_id))
            for partition, (next_offset, high_watermark) in enumerate(next_offsets):
                row = {
                    "source_id": source_id,
                    "partition": partition,
                    "next_offset": next_offset,
                    "high_watermark": high_watermark,
                    "updated_at_ms": to_milliseconds(at),
                }
                connection.execute(sa.insert(schema.offsets).values(row))

    def _row(self, source_id: int, review: Scored) -> dict[str, Any]:
        self._offset += 1
        rest = (1 - review.confidence) / 4
        names = ("p_very_negative", "p_negative", "p_neutral", "p_positive", "p_very_positive")
        chances = {name: review.confidence if stars == review.stars else rest for stars, name in enumerate(names, 1)}
        return {
            "source_id": source_id,
            "partition": 0,
            "offset": self._offset,
            "event_id": f"event-{source_id}-{self._offset}",
            "review_id": f"review-{self._offset}",
            "title": review.title,
            "text": review.text,
            "rating": review.rating,
            "stars": review.stars,
            "confidence": review.confidence,
            **chances,
            "asin": review.asin,
            "category": review.category,
            "model_name": review.model,
            "model_version": "v1",
            "scored_at_ms": to_milliseconds(review.at),
        }
