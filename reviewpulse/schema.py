"""The store: its tables, its version, and how to open it. See docs/contracts.md."""

import sqlite3
from typing import Any, Final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from reviewpulse.errors import StoreError

SCHEMA_VERSION: Final = 1
BUSY_SECONDS: Final = 30
"""How long one statement waits for another process's SQLite transaction."""

metadata = sa.MetaData()

schema_version = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer, primary_key=True))

sources = sa.Table(
    "sources",
    metadata,
    sa.Column("source_id", sa.Integer, primary_key=True),
    sa.Column("cluster_id", sa.Text, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("topic_id", sa.Text, nullable=False),
    sa.UniqueConstraint("cluster_id", "topic", "topic_id"),
)
"""One row for each topic that was ever read: a topic made anew has a new topic_id, so a new row."""


def _place() -> list[sa.Column[Any]]:
    """Return the key columns that say where a record came from."""
    return [
        sa.Column("source_id", sa.ForeignKey("sources.source_id"), primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("offset", sa.BigInteger, primary_key=True),
    ]


predictions = sa.Table(
    "predictions",
    metadata,
    *_place(),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("review_id", sa.Text, nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("asin", sa.Text),
    sa.Column("category", sa.Text),
    sa.Column("rating", sa.Float),
    sa.Column("stars", sa.SmallInteger, nullable=False),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Column("p_very_negative", sa.Float, nullable=False),
    sa.Column("p_negative", sa.Float, nullable=False),
    sa.Column("p_neutral", sa.Float, nullable=False),
    sa.Column("p_positive", sa.Float, nullable=False),
    sa.Column("p_very_positive", sa.Float, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("reviewed_at_ms", sa.BigInteger),
    sa.Column("scored_at_ms", sa.BigInteger, nullable=False),
    sa.Index("predictions_by_time", "scored_at_ms"),
)
"""One row a scored review."""

rejections = sa.Table(
    "rejections",
    metadata,
    *_place(),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("rejected_at_ms", sa.BigInteger, nullable=False),
    sa.Index("rejections_by_time", "rejected_at_ms"),
)
"""One row a record that was no review; its bytes lie in the rejected topic."""

offsets = sa.Table(
    "offsets",
    metadata,
    sa.Column("source_id", sa.ForeignKey("sources.source_id"), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
    sa.Column("high_watermark", sa.BigInteger, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
)
"""How far each partition is stored; lag = high_watermark - next_offset."""

sentiment_by_second = sa.Table(
    "sentiment_by_second",
    metadata,
    sa.Column("second", sa.BigInteger, primary_key=True),
    sa.Column("stars", sa.SmallInteger, primary_key=True),
    sa.Column("reviews", sa.Integer, nullable=False),
    sa.Column("confidence_sum", sa.Float, nullable=False),
)
"""Roll-up of predictions by the second they were scored in (since 1970, UTC) and the stars given."""


def connect(url: str, *, writable: bool) -> sa.Engine:
    """Return an engine for the store at a SQLAlchemy URL; a writable one makes what is missing.

    A read-only engine cannot write. SQLite runs in WAL mode, each write transaction takes the
    write lock at its start and waits up to BUSY_SECONDS for it. Raises StoreError when the store
    cannot be opened, does not exist (read-only) or was made by another version.
    """
    parsed = _parsed(url)
    name = parsed.render_as_string()
    try:
        engine = _sqlite_engine(parsed, writable) if parsed.get_backend_name() == "sqlite" else sa.create_engine(parsed)
    except (sa.exc.SQLAlchemyError, ImportError) as exc:
        raise StoreError(f"cannot open the store {name}: {exc}; SQLite is what this version is made for") from exc
    try:
        if writable:
            _create(engine)
        with engine.connect() as connection:
            version = connection.scalar(sa.select(schema_version.c.version))
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as exc:
        engine.dispose()
        raise StoreError(f"cannot open the store {name}: {_cause(exc)}{_cure(writable)}") from exc
    if version != SCHEMA_VERSION:
        engine.dispose()
        raise StoreError(
            f"the store {name} has schema version {version}, "
            f"this reviewpulse needs {SCHEMA_VERSION}; name another store by REVIEWPULSE_STORE"
        )
    return engine


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except sa.exc.ArgumentError as exc:
        raise StoreError("REVIEWPULSE_STORE is no SQLAlchemy URL; write for example sqlite:///reviewpulse.db") from exc


def _cause(exc: BaseException) -> str:
    return str(getattr(exc, "orig", None) or exc).splitlines()[0]


def _cure(writable: bool) -> str:
    return (
        "; does its folder exist, and may you write there?"
        if writable
        else "; the worker makes it: run 'reviewpulse work' or 'reviewpulse demo' first"
    )


def _sqlite_engine(url: URL, writable: bool) -> sa.Engine:
    if not writable and url.database:
        url = url.set(database=f"file:{quote(url.database)}", query={"mode": "ro", "uri": "true"})
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the "begin" hook below begins
        if writable:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writable else "BEGIN")

    return engine


def _create(engine: sa.Engine) -> None:
    """Make the missing tables in one transaction, so that several workers may start at once."""
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
        if connection.scalar(sa.select(sa.func.count()).select_from(schema_version)) == 0:
            connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))
