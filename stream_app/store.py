"""The store as the worker writes it: a batch's rows, roll-up and offsets in one transaction."""

import contextlib
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from reviewpulse.errors import StoreError
from reviewpulse.labels import LABELS
from reviewpulse.records import Origin, Rejected, Review, ScoredReview, Source, to_milliseconds
from reviewpulse.schema import offsets, predictions, rejections, sentiment_by_second, sources
from reviewpulse.store_url import store_fault, store_name
from stream_app.batch import Outcome

S = TypeVar("S", str, str | None)

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")

PROBABILITY_COLUMNS = tuple(f"p_{label.replace(' ', '_')}" for label in LABELS)


class PredictionStore:
    """Writes outcomes so that writing one twice changes nothing. Every method may raise StoreError."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # The two inserts have the same methods; their types have no common base that says so.
        self._insert: Callable[[sa.Table], sqlite.Insert] = (
            sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert  # type: ignore[assignment]
        )

    def register(self, source: Source) -> int:
        """Return the store's number for a source, a new one for a source never seen."""
        key = {"cluster_id": source.cluster_id, "topic": source.topic, "topic_id": source.topic_id}
        with transaction(self._engine) as connection:
            connection.execute(self._insert(sources).values(**key).on_conflict_do_nothing())
            return int(connection.scalars(sa.select(sources.c.source_id).filter_by(**key)).one())

    def next_offsets(self, source_id: int) -> dict[int, int]:
        """Return the first offset not stored yet, for each partition that has any stored."""
        with transaction(self._engine) as connection:
            rows = connection.execute(
                sa.select(offsets.c.partition, offsets.c.next_offset).filter_by(source_id=source_id)
            )
            return {row.partition: row.next_offset for row in rows}

    def write(
        self,
        source_id: int,
        outcome: Outcome,
        now: datetime,
        high_watermarks: Mapping[int, int],
        before_commit: Callable[[], None] = lambda: None,
    ) -> int:
        """Store a batch in one transaction and return how many of its reviews were new.

        What lies below its partition's kept_from was stored and pruned: it is not stored again.
        """
        with transaction(self._engine) as connection:
            kept = _without_pruned(outcome, self._lock_offsets(connection, source_id, outcome))
            fresh = self._insert_predictions(connection, source_id, kept.scored)
            self._insert_rejections(connection, source_id, kept.rejected, now)
            self._add_to_rollup(connection, fresh)
            self._move_offsets(connection, source_id, outcome.next_offsets, high_watermarks, now)
            before_commit()
        return len(fresh)

    def note_progress(self, source_id: int, high_watermarks: Mapping[int, int], now: datetime) -> None:
        """Record how far the topic reaches, so that a reader of the store knows the lag and that we live."""
        with transaction(self._engine) as connection:
            self._move_offsets(connection, source_id, dict.fromkeys(high_watermarks, 0), high_watermarks, now)

    def _lock_offsets(self, connection: sa.Connection, source_id: int, outcome: Outcome) -> dict[int, int]:
        """Return kept_from of the batch's partitions, and keep pruning and other writers off them until the end.

        Everyone who locks takes the rows of `offsets` first and in order, so that nobody deadlocks.
        """
        places = sa.select(offsets.c.partition, offsets.c.kept_from).where(
            offsets.c.source_id == source_id, offsets.c.partition.in_(outcome.next_offsets)
        )
        rows = connection.execute(places.order_by(offsets.c.partition).with_for_update())
        return {row.partition: row.kept_from for row in rows}

    def _insert_predictions(
        self, connection: sa.Connection, source_id: int, scored: Sequence[tuple[Origin, Review, ScoredReview]]
    ) -> list[ScoredReview]:
        """Insert the rows that are not there yet and return their predictions."""
        if not scored:
            return []
        rows = [_prediction_row(source_id, *item) for item in scored]
        statement = self._insert(predictions).on_conflict_do_nothing()
        inserted = connection.execute(statement.returning(predictions.c.partition, predictions.c.offset), rows)
        fresh = {(row.partition, row.offset) for row in inserted}
        return [prediction for origin, _, prediction in scored if (origin.partition, origin.offset) in fresh]

    def _insert_rejections(
        self, connection: sa.Connection, source_id: int, rejected: Sequence[tuple[Origin, Rejected]], now: datetime
    ) -> None:
        if rejected:
            rows = [
                _place(source_id, origin) | {"reason": _storable(record.reason), "rejected_at_ms": to_milliseconds(now)}
                for origin, record in rejected
            ]
            connection.execute(self._insert(rejections).on_conflict_do_nothing(), rows)

    def _add_to_rollup(self, connection: sa.Connection, fresh: Sequence[ScoredReview]) -> None:
        counts: Counter[tuple[int, int]] = Counter()
        confidences: defaultdict[tuple[int, int], float] = defaultdict(float)
        for prediction in fresh:
            key = (int(prediction.scored_at.timestamp()), prediction.stars)
            counts[key] += 1
            confidences[key] += prediction.confidence
        table = sentiment_by_second
        for second, stars in sorted(counts):  # in one order everywhere, so that two writers cannot deadlock
            row = self._insert(table).values(
                second=second,
                stars=stars,
                reviews=counts[second, stars],
                confidence_sum=confidences[second, stars],
            )
            grown = {
                "reviews": table.c.reviews + row.excluded.reviews,
                "confidence_sum": table.c.confidence_sum + row.excluded.confidence_sum,
            }
            connection.execute(row.on_conflict_do_update(index_elements=["second", "stars"], set_=grown))

    def _move_offsets(
        self,
        connection: sa.Connection,
        source_id: int,
        next_offsets: Mapping[int, int],
        high_watermarks: Mapping[int, int],
        now: datetime,
    ) -> None:
        """Move each partition forward; a smaller number than the stored one changes nothing."""
        for partition, next_offset in sorted(next_offsets.items()):
            row = self._insert(offsets).values(
                source_id=source_id,
                partition=partition,
                next_offset=next_offset,
                high_watermark=max(high_watermarks.get(partition, 0), next_offset),
                updated_at_ms=to_milliseconds(now),
            )
            moved = {
                "next_offset": _greatest(offsets.c.next_offset, row.excluded.next_offset),
                "high_watermark": _greatest(offsets.c.high_watermark, row.excluded.high_watermark),
                "updated_at_ms": row.excluded.updated_at_ms,
            }
            connection.execute(row.on_conflict_do_update(index_elements=["source_id", "partition"], set_=moved))


@contextlib.contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Run a block in one transaction; a database error comes out as StoreError, but not one over the values given.

    A value that the tables refuse is refused at each new try: a defect, and no outage.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except (sa.exc.IntegrityError, sa.exc.DataError):
        raise
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as exc:  # sqlite3's own: when a new connection is configured
        fault = store_fault(exc, engine.url)
        raise StoreError(f"the store {store_name(engine.url)} failed: {fault}") from exc


def _without_pruned(outcome: Outcome, kept_from: Mapping[int, int]) -> Outcome:
    """Return what lies at or after its partition's kept_from, in the order of partition and offset."""

    def is_kept(origin: Origin) -> bool:
        return origin.offset >= kept_from.get(origin.partition, 0)

    return Outcome(
        sorted((item for item in outcome.scored if is_kept(item[0])), key=lambda item: _order(item[0])),
        sorted((item for item in outcome.rejected if is_kept(item[0])), key=lambda item: _order(item[0])),
    )


def _order(origin: Origin) -> tuple[int, int]:
    """Return the sort key of rows: two writers that insert the same rows in one order cannot deadlock."""
    return origin.partition, origin.offset


def _place(source_id: int, origin: Origin) -> dict[str, int]:
    return {"source_id": source_id, "partition": origin.partition, "offset": origin.offset}


def _prediction_row(source_id: int, origin: Origin, review: Review, prediction: ScoredReview) -> dict[str, object]:
    """Return the row of one scored review."""
    return {
        **_place(source_id, origin),
        "event_id": origin.event_id,
        "review_id": _storable(prediction.review_id),
        "title": _storable(review.title),
        "text": _storable(review.text),
        "asin": _storable(review.asin),
        "category": _storable(review.category),
        "rating": review.rating,
        "stars": prediction.stars,
        "confidence": prediction.confidence,
        **dict(zip(PROBABILITY_COLUMNS, prediction.probabilities.values(), strict=True)),
        "model_name": prediction.model_name,
        "model_version": prediction.model_version,
        "reviewed_at_ms": review.timestamp,
        "scored_at_ms": to_milliseconds(prediction.scored_at),
    }


def _storable(text: S) -> S:
    """Return a text that every database takes: U+FFFD for NUL, which PostgreSQL refuses, and for lone surrogates."""
    return text if text is None else _UNSTORABLE.sub("\ufffd", text)


def _greatest(stored: sa.ColumnElement[int], given: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Return the greater of two columns; SQLite's max() and PostgreSQL's greatest() differ only in name."""
    return sa.case((given > stored, given), else_=stored)
