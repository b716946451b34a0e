"""The store as `verify` reads it: beside running workers, in short transactions and chunks of rows."""

import contextlib
import heapq
from collections import defaultdict
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa

from reviewpulse.errors import StoreError
from reviewpulse.records import Source
from reviewpulse.schema import offsets, predictions, rejections, sentiment_by_second, sources
from reviewpulse.store_url import store_fault, store_name
from stream_app.checksums import checksum, reason_checksum
from stream_app.evidence import StoredRow
from stream_app.rollup import Rollup, StarsCount, Total
from stream_app.store import PROBABILITY_COLUMNS

CHUNK_ROWS: Final = 500
"""Rows in memory at once: with the longest texts that there may be, some 50 MB (200 MB where they are emoji)."""

CONTENT: Final = ("review_id", "title", "text", "asin", "category", "rating", "reviewed_at_ms")
"""The columns that repeat the review, in the order of evidence.CONTENT."""

PREDICTED: Final = (
    *("review_id", "rating", "stars", "confidence"),
    *PROBABILITY_COLUMNS,
    *("model_name", "model_version", "reviewed_at_ms", "scored_at_ms"),
)
"""The columns that repeat what was published."""

_content, _predicted = attrgetter(*CONTENT), attrgetter(*PREDICTED)


class StoredRows:
    """The rows of one source. Every method may raise StoreError."""

    def __init__(self, engine: sa.Engine, source: Source) -> None:
        self._engine = engine
        self._kept_from = 0
        with _reading(engine) as connection:
            self._source_id = connection.scalar(
                sa.select(sources.c.source_id).filter_by(
                    cluster_id=source.cluster_id, topic=source.topic, topic_id=source.topic_id
                )
            )
            known = connection.execute(sa.select(sources).filter_by(topic=source.topic))
            self.earlier = [
                Source(row.cluster_id, row.topic, row.topic_id) for row in known if row.source_id != self._source_id
            ]
        """Earlier topics of the same name."""

    def next_offsets(self) -> dict[int, int]:
        """Return where the store reads on, for each partition that it knows."""
        with _reading(self._engine) as connection:
            found = connection.execute(
                sa.select(offsets.c.partition, offsets.c.next_offset).filter_by(source_id=self._source_id)
            )
            return {row.partition: row.next_offset for row in found}

    @property
    def kept_from(self) -> int:
        """The first offset whose rows were kept when `rows` last looked: those before it were pruned."""
        return self._kept_from

    def rows(self, partition: int, below: int) -> Iterator[StoredRow]:
        """Yield a partition's rows of predictions and rejections before an offset, ordered by offset."""
        self._kept_from = 0
        scored, rejected = (self._table_rows(table, partition, below) for table in (predictions, rejections))
        return heapq.merge(scored, rejected, key=attrgetter("offset"))

    def rows_ahead(self) -> Iterator[tuple[int, int]]:
        """Yield the places of rows that lie where the store itself says that it has not read yet."""
        for table in (predictions, rejections):
            is_read = (offsets.c.source_id == table.c.source_id) & (offsets.c.partition == table.c.partition)
            query = (
                sa.select(table.c.partition, table.c.offset)
                .select_from(table.outerjoin(offsets, is_read))
                .where(table.c.source_id == self._source_id)
                .where(table.c.offset >= sa.func.coalesce(offsets.c.next_offset, 0))
            )
            with _reading(self._engine) as connection:
                for row in connection.execution_options(yield_per=CHUNK_ROWS).execute(query):
                    yield row.partition, row.offset

    def rollup(self) -> Rollup:
        """Return the roll-up beside the rows, of all sources."""
        table = sentiment_by_second.c
        counts = sa.select(table.stars, sa.func.sum(table.reviews), sa.func.sum(table.confidence_sum))
        rows = sa.select(predictions.c.stars, sa.func.count(), sa.func.sum(predictions.c.confidence))
        with _reading(self._engine) as connection:
            counted = _by_stars(connection, counts.group_by(table.stars))
            found = _by_stars(connection, rows.group_by(predictions.c.stars))
            pruned = connection.scalar(sa.select(sa.func.sum(offsets.c.kept_from)))
        by_stars = [StarsCount(stars, counted[stars], found[stars]) for stars in sorted({*counted, *found})]
        return Rollup(by_stars, int(pruned or 0))

    def rows_of_other_sources(self) -> int:
        """Return how many rows belong to other topics, or to earlier ones of the same name."""
        counts = [sa.select(sa.func.count()).select_from(table) for table in (predictions, rejections)]
        if self._source_id is not None:
            counts = [count.where(sa.column("source_id") != self._source_id) for count in counts]
        with _reading(self._engine) as connection:
            return sum(connection.scalar(count) or 0 for count in counts)

    def _table_rows(self, table: sa.Table, partition: int, below: int) -> Iterator[StoredRow]:
        start = 0
        while start < below:
            with _reading(self._engine) as connection:
                query = sa.select(table).where(
                    table.c.source_id == self._source_id,
                    table.c.partition == partition,
                    table.c.offset >= start,
                    table.c.offset < below,
                )
                chunk = connection.execute(query.order_by(table.c.offset).limit(CHUNK_ROWS)).all()
                self._kept_from = _kept_from(connection, self._source_id, partition)
            yield from (_stored_row(row, is_scored=table is predictions) for row in chunk)
            if len(chunk) < CHUNK_ROWS:
                return
            start = chunk[-1].offset + 1


@contextlib.contextmanager
def _reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Run a block on one state of the store; a database error comes out as StoreError."""
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.SQLAlchemyError as exc:
        name, fault = store_name(engine.url), store_fault(exc, engine.url)
        raise StoreError(f"the store {name} cannot be read: {fault}") from exc


def _stored_row(row: sa.Row[Any], *, is_scored: bool) -> StoredRow:
    if is_scored:
        return StoredRow(row.offset, row.event_id, _content(row), checksum(_predicted(row)), row.scored_at_ms)
    return StoredRow(row.offset, None, (), reason_checksum(row.reason), row.rejected_at_ms)


def _by_stars(connection: sa.Connection, query: sa.Select[Any]) -> defaultdict[int, Total]:
    """Return how many reviews a query counts with each number of stars, and the sum of their confidences."""
    totals = {stars: Total(int(reviews), float(confidence)) for stars, reviews, confidence in connection.execute(query)}
    return defaultdict(Total, totals)


def _kept_from(connection: sa.Connection, source_id: int | None, partition: int) -> int:
    """Return the first offset whose rows are kept, 0 where nothing is ever pruned."""
    query = sa.select(offsets.c.kept_from).filter_by(source_id=source_id, partition=partition)
    return int(connection.scalar(query) or 0)
