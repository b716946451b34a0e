"""A source, a moment, and reviews scored there: without the model's libraries, which take seconds to import."""

from datetime import UTC, datetime

from reviewpulse.records import Origin, Review, ScoredReview, Source, scored

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCE = Source("cluster", "reviews", "topic-id-1")


def scored_at(origin: Origin, review: Review | None = None, now: datetime = NOW) -> tuple[Origin, Review, ScoredReview]:
    """Return a review at this place, scored as very positive with confidence 0.6."""
    review = review or Review(text=f"text {origin.offset}", review_id=f"r{origin.offset}", rating=4, timestamp=1_000)
    return origin, review, scored(review, (0.1, 0.1, 0.1, 0.1, 0.6), "very positive", ("tiny", "1"), now, origin)
