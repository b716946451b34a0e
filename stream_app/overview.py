"""What a store holds, in figures: rows, sizes, times, and how far each partition is."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from reviewpulse.records import from_milliseconds
from reviewpulse.schema import metadata, offsets, predictions, rejections, schema_version, sources
from stream_app.store import transaction


class Rows(NamedTuple):
    """How many rows a table has, and when the oldest and the newest of them were made; None without rows."""

    table: str
    rows: int
    oldest: datetime | None
    newest: datetime | None


class Place(NamedTuple):
    """How far a partition of a topic is stored, and from which offset on its rows are kept."""

    topic: str
    topic_id: str
    partition: int
    next_offset: int
    high_watermark: int
    kept_from: int
    updated_at: datetime

    @property
    def lag(self) -> int:
        """Records that lie in Kafka and not in the store, as a worker saw it at updated_at."""
        return max(self.high_watermark - self.next_offset, 0)


class Overview(NamedTuple):
    """What a store holds."""

    version: int
    size_bytes: int
    rows: tuple[Rows, ...]
    places: tuple[Place, ...]


def read_overview(engine: sa.Engine) -> Overview:
    """Return what a store holds, as of one moment on SQLite; counting takes seconds for millions of rows.

    Raises StoreError.
    """
    with transaction(engine) as connection:
        return Overview(
            version=connection.scalars(sa.select(schema_version.c.version)).one(),
            size_bytes=_size_bytes(connection),
            rows=(
                _rows(connection, predictions, predictions.c.scored_at_ms),
                _rows(connection, rejections, rejections.c.rejected_at_ms),
            ),
            places=_places(connection),
        )


def _rows(connection: sa.Connection, table: sa.Table, at_ms: sa.Column[int]) -> Rows:
    count = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    # Two statements: SQLite takes min and max from an index only when they are asked for singly.
    oldest, newest = (connection.scalar(sa.select(bound(at_ms))) for bound in (sa.func.min, sa.func.max))
    return Rows(table.name, count, _moment(oldest), _moment(newest))


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_milliseconds(milliseconds)


def _places(connection: sa.Connection) -> tuple[Place, ...]:
    statement = (
        sa.select(sources.c.topic, sources.c.topic_id, offsets)
        .join_from(offsets, sources)
        .order_by(offsets.c.source_id, offsets.c.partition)
    )
    return tuple(
        Place(
            row.topic,
            row.topic_id,
            row.partition,
            row.next_offset,
            row.high_watermark,
            row.kept_from,
            from_milliseconds(row.updated_at_ms),
        )
        for row in connection.execute(statement)
    )


def _size_bytes(connection: sa.Connection) -> int:
    """Return the bytes on the disk: SQLite's file and its log, or PostgreSQL's tables with their indexes."""
    if connection.dialect.name == "sqlite":
        path = connection.exec_driver_sql("PRAGMA database_list").one().file
        return sum(file.stat().st_size for file in (Path(path), Path(f"{path}-wal")) if file.exists())
    sizes = (sa.func.pg_total_relation_size(table) for table in metadata.tables)
    return sum(connection.scalar(sa.select(size)) or 0 for size in sizes)
