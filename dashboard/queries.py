"""What the page asks of the store: bounded SQL in, frozen rows out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from dashboard.window import Window, window_at
from reviewpulse.labels import LABELS, Label
from reviewpulse.records import from_milliseconds
from reviewpulse.schema import offsets, predictions, rejections, sentiment_by_second, sources

NEWEST_REVIEWS: Final = 15
RATE_SECONDS: Final = 10
MOST_REJECTED: Final = 100_000
"""Counting stops here: a flood of bad records must not make the page slow."""

TITLE_CHARACTERS: Final = 160
TEXT_CHARACTERS: Final = 400
"""How much of a review leaves the store: a review may be megabytes long."""

Counts = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many reviews of each class were scored in some seconds, counts in label order."""

    start_second: int
    counts: Counts

    @property
    def reviews(self) -> int:
        """Reviews of all classes."""
        return sum(self.counts)

    @property
    def mean_stars(self) -> float | None:
        """Mean of the stars (1 to 5) that the model gave, None without reviews."""
        return mean_stars(self.counts)


@dataclass(frozen=True, slots=True)
class Lag:
    """How many records lie in Kafka and are not in the store, as the worker saw it at updated_at."""

    records: int
    partitions: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewestReview:
    """One of the reviews scored last; title and text are cut, and are whatever a stranger wrote."""

    title: str | None
    text: str
    label: Label
    confidence: float
    rating: float | None
    model: str
    scored_at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one refresh shows, read in one transaction."""

    taken_at: datetime
    window: Window
    buckets: tuple[Bucket, ...]
    rate_per_second: float
    rejected: int
    lag: Lag | None
    newest: tuple[NewestReview, ...]

    @property
    def counts(self) -> Counts:
        """Reviews of each class in the window, in label order."""
        one, two, three, four, five = (sum(bucket.counts[index] for bucket in self.buckets) for index in range(5))
        return one, two, three, four, five

    @property
    def worker_seen_at(self) -> datetime | None:
        """When a worker last wrote, None when none ever did."""
        moments = [review.scored_at for review in self.newest[:1]]
        if self.lag is not None:
            moments.append(self.lag.updated_at)
        return max(moments, default=None)


def mean_stars(counts: Counts) -> float | None:
    """Return the mean stars (1 to 5) of counts in label order, None when all are zero.

    >>> mean_stars((1, 0, 0, 0, 1)), mean_stars((0, 0, 0, 0, 0))
    (3.0, None)
    """
    reviews = sum(counts)
    return sum(stars * count for stars, count in enumerate(counts, start=1)) / reviews if reviews else None


def read_snapshot(engine: sa.Engine, now: datetime, window_seconds: float) -> Snapshot:
    """Return what the store holds for the window that ends at `now`; raises sqlalchemy's errors."""
    window = window_at(now, window_seconds)
    with _one_view(engine) as connection:
        return Snapshot(
            taken_at=now,
            window=window,
            buckets=_read_buckets(connection, window),
            rate_per_second=_read_rate(connection, window),
            rejected=_read_rejected(connection, window),
            lag=_read_lag(connection),
            newest=_read_newest(connection),
        )


def _one_view(engine: sa.Engine) -> sa.Connection:
    """Return a connection whose transaction sees one state of the store; SQLite's always does."""
    connection = engine.connect()
    if engine.dialect.name == "sqlite":
        return connection
    return connection.execution_options(isolation_level="REPEATABLE READ")


def _read_buckets(connection: sa.Connection, window: Window) -> tuple[Bucket, ...]:
    second = sentiment_by_second.c.second
    statement = (
        sa.select(
            (second - second % window.bucket_seconds).label("bucket"),
            sentiment_by_second.c.stars,
            sa.func.sum(sentiment_by_second.c.reviews),
        )
        .where(second >= window.start_second, second < window.end_second)
        .group_by("bucket", sentiment_by_second.c.stars)
    )
    found = {(bucket, stars): int(reviews) for bucket, stars, reviews in connection.execute(statement)}
    return tuple(Bucket(start, _counts(found, start)) for start in window.bucket_starts)


def _counts(found: Mapping[tuple[int, int], int], start: int) -> Counts:
    one, two, three, four, five = (found.get((start, stars), 0) for stars in range(1, 6))
    return one, two, three, four, five


def _read_rate(connection: sa.Connection, window: Window) -> float:
    """Return reviews a second over the last whole seconds: the second that still runs is left out."""
    second = sentiment_by_second.c.second
    last = window.end_second - 1
    reviews = connection.scalar(
        sa.select(sa.func.sum(sentiment_by_second.c.reviews)).where(second >= last - RATE_SECONDS, second < last)
    )
    return int(reviews or 0) / RATE_SECONDS


def _read_rejected(connection: sa.Connection, window: Window) -> int:
    some = (
        sa.select(sa.literal(1).label("one"))
        .where(rejections.c.rejected_at_ms >= window.start_second * 1000)
        .limit(MOST_REJECTED)
        .subquery()
    )
    return int(connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0)


def _read_lag(connection: sa.Connection) -> Lag | None:
    """Return the lag over each topic's source that a worker spoke of last: the others are topics that are gone."""
    last_sign = sa.func.max(offsets.c.updated_at_ms)
    ranked = (
        sa.select(
            offsets.c.source_id,
            sa.func.row_number()
            .over(partition_by=sources.c.topic, order_by=[last_sign.desc(), offsets.c.source_id.desc()])
            .label("place"),
        )
        .join_from(offsets, sources)
        .group_by(offsets.c.source_id, sources.c.topic)
        .subquery()
    )
    current = sa.select(ranked.c.source_id).where(ranked.c.place == 1)
    behind = offsets.c.high_watermark - offsets.c.next_offset
    statement = sa.select(
        sa.func.sum(sa.case((behind > 0, behind), else_=0)),
        sa.func.count(),
        sa.func.max(offsets.c.updated_at_ms),
    ).where(offsets.c.source_id.in_(current))
    records, partitions, updated_at_ms = connection.execute(statement).one()
    return Lag(int(records), partitions, from_milliseconds(updated_at_ms)) if partitions else None


def _read_newest(connection: sa.Connection) -> tuple[NewestReview, ...]:
    table = predictions.c
    statement = (
        sa.select(
            sa.func.substr(table.title, 1, TITLE_CHARACTERS).label("title"),
            sa.func.substr(table.text, 1, TEXT_CHARACTERS).label("text"),
            table.stars,
            table.confidence,
            table.rating,
            table.model_name,
            table.model_version,
            table.scored_at_ms,
        )
        .order_by(table.scored_at_ms.desc(), table.source_id.desc(), table.partition.desc(), table.offset.desc())
        .limit(NEWEST_REVIEWS)
    )
    return tuple(
        NewestReview(
            title=row.title,
            text=row.text,
            label=LABELS[row.stars - 1],
            confidence=row.confidence,
            rating=row.rating,
            model=f"{row.model_name} {row.model_version}",
            scored_at=from_milliseconds(row.scored_at_ms),
        )
        for row in connection.execute(statement)
    )
