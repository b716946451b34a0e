"""The store: its tables, its version, and how to open it. See docs/contracts.md."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL

from reviewpulse.errors import StoreError
from reviewpulse.store_url import parse_store_url, store_fault, store_name

SCHEMA_VERSION: Final = 2
BUSY_SECONDS: Final = 5
"""How long one statement waits for another's lock. What lasts longer is an outage, and a batch that waits for a lock
does not hear that it is to stop: so this is less than a worker's stop may take."""

SILENT_SECONDS: Final = 30
"""How long a PostgreSQL server may leave what was sent unconfirmed before the connection counts as broken."""

INSERT_ROWS: Final = 64
"""Rows of one INSERT: the driver keeps 128 statements, one for each number of rows, and those of hundreds are large."""

_WAL_RETRY_SECONDS: Final = 0.02

_SCHEMA_LOCK: Final = 0x7265_7669_6577
"""The PostgreSQL advisory lock of whoever makes or migrates the tables."""

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
    sa.Column("kept_from", sa.BigInteger, nullable=False, server_default="0"),
)
"""How far each partition is stored; lag = high_watermark - next_offset. Rows below kept_from were pruned."""

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

    A writable one also brings a store of an older version up to date. A read-only engine cannot
    write. A statement waits up to BUSY_SECONDS for another's lock; on SQLite, in WAL mode, each
    write transaction takes the write lock at its start. Raises StoreError when the store cannot be
    opened, does not exist (read-only) or was made by a version that does not fit.
    """
    parsed = parse_store_url(url)
    name = store_name(parsed)
    try:
        engine = _engine(parsed, writable)
    except (sa.exc.SQLAlchemyError, ImportError) as exc:
        raise StoreError(f"cannot open the store {name}: {store_fault(exc, parsed)}{_driver_cure(parsed)}") from exc
    try:
        if writable:
            _prepare(engine)
        with engine.connect() as connection:
            version = connection.scalar(sa.select(schema_version.c.version))
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as exc:
        engine.dispose()
        fault = store_fault(exc, parsed)
        cure = "; another process may hold it locked" if "locked" in fault else _cure(parsed, writable, fault)
        raise StoreError(f"cannot open the store {name}: {fault}{cure}") from exc
    if version != SCHEMA_VERSION:
        engine.dispose()
        raise StoreError(
            f"the store {name} has schema version {version}, this reviewpulse needs {SCHEMA_VERSION}; "
            + _version_cure(version)
        )
    return engine


def _engine(url: URL, writable: bool) -> sa.Engine:
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite_engine(url, writable)
    if backend == "postgresql":
        return _postgresql_engine(url, writable)
    raise sa.exc.ArgumentError("a store is on SQLite or PostgreSQL")


def _driver_cure(url: URL) -> str:
    is_missing_driver = url.drivername == "postgresql+psycopg"
    return "; the driver is the extra 'postgres': pip install 'reviewpulse[postgres]'" if is_missing_driver else ""


def _cure(url: URL, writable: bool, fault: str) -> str:
    is_server = url.get_backend_name() != "sqlite"
    if not is_server and Path(url.database or "").exists() and "no such table" not in fault:
        return "; is it a store that you may use? If not, name another file by REVIEWPULSE_STORE"
    if not writable:
        asked = "does the server run? Then" if is_server else "the worker makes it:"
        return f"; {asked} run 'reviewpulse work' or 'reviewpulse demo' first"
    if is_server:
        return "; does the server run, does the database exist, and may you make tables there?"
    return "; does its folder exist, and may you write there?"


def _version_cure(version: int | None) -> str:
    if version is not None and version < SCHEMA_VERSION:
        return "'reviewpulse work' brings it up to date when it starts"
    return "it was made by a newer one: update reviewpulse, or name another store by REVIEWPULSE_STORE"


def _sqlite_engine(url: URL, writable: bool) -> sa.Engine:
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}}
    if not writable and url.database:  # by a creator, so that messages name the URL that was given
        file = f"file:{quote(url.database)}?mode=ro"
        connect_file = partial(sqlite3.connect, file, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        options = {"creator": connect_file}
    engine = sa.create_engine(url, hide_parameters=True, insertmanyvalues_page_size=INSERT_ROWS, **options)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the "begin" hook below begins
        if writable:
            _enter_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writable else "BEGIN")

    return engine


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Put the file into WAL mode, waiting up to BUSY_SECONDS for a writer: SQLite's busy handler does not wait here."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_SECONDS)
        else:
            return


def _postgresql_engine(url: URL, writable: bool) -> sa.Engine:
    defaults = {
        "connect_timeout": BUSY_SECONDS,
        "tcp_user_timeout": SILENT_SECONDS * 1000,
        "application_name": "reviewpulse",
    }
    engine = sa.create_engine(
        url,
        connect_args={name: value for name, value in defaults.items() if name not in url.query},
        # A reader sees one moment's state in each transaction, as on SQLite.
        isolation_level="READ COMMITTED" if writable else "REPEATABLE READ",
        execution_options={} if writable else {"postgresql_readonly": True},
        hide_parameters=True,
        insertmanyvalues_page_size=INSERT_ROWS,
    )

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'")

    return engine


def _prepare(engine: sa.Engine) -> None:
    """Make the tables or migrate them, in one transaction that only one of several starting workers is in."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # SQLite's write lock is held already
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        if not sa.inspect(connection).has_table(schema_version.name):
            metadata.create_all(connection)
            connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))
            return
        version = connection.scalar(sa.select(schema_version.c.version))
        for step in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
            for statement in _MIGRATIONS[step]:
                connection.exec_driver_sql(statement)
            connection.execute(schema_version.update().values(version=step + 1))


_MIGRATIONS: Final[Mapping[int, Sequence[str]]] = {
    1: ["ALTER TABLE offsets ADD COLUMN kept_from BIGINT NOT NULL DEFAULT 0"],
}
"""What brings a store of a version to the next one, on SQLite and on PostgreSQL."""
