"""A copy of an SQLite store that is of one moment, made while workers go on writing."""

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from reviewpulse.durable import sync
from reviewpulse.errors import StoreError
from reviewpulse.progress import Progress, Status
from reviewpulse.schema import connect
from reviewpulse.store_url import parse_store_url, store_name

PAGES: Final = 1_000
"""How many pages (4 KB each) are copied between two reports of progress."""


def back_up(url: str, target: Path, progress: Progress) -> None:
    """Copy the store at a SQLAlchemy URL into a file that is not there yet, and appears only when it is whole.

    The copy is checked by SQLite's integrity check and synced to the disk. Raises StoreError when
    the store is not on SQLite, the file exists, or the copy fails.
    """
    name = store_name(parse_store_url(url))
    engine = connect(url, writable=False)  # a connection that may write would hold the workers up
    try:
        if engine.dialect.name != "sqlite":
            raise StoreError(f"the store {name} is no SQLite file: use the server's own backup, pg_dump")
        _back_up(engine, target, progress)
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as exc:
        fault = getattr(exc, "orig", None) or exc
        raise StoreError(
            f"cannot copy the store {name} to {target}: {fault}; is there room, and may you write?"
        ) from exc
    finally:
        engine.dispose()


def _back_up(engine: sa.Engine, target: Path, progress: Progress) -> None:
    _refuse_existing(target)
    with _temporary_file(target) as partial, contextlib.closing(sqlite3.connect(partial)) as copy:
        _copy(engine, copy, progress)
        _check(copy)
        copy.close()
        sync(partial)
        _refuse_existing(target)
        partial.rename(target)
        sync(target.parent)


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise StoreError(f"{target} exists and is left as it is; name another file")


@contextlib.contextmanager
def _temporary_file(target: Path) -> Iterator[Path]:
    """Yield an empty file beside target that only its owner may read; whatever is left of it is removed."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{name}{suffix}").unlink(missing_ok=True)


def _copy(engine: sa.Engine, copy: sqlite3.Connection, progress: Progress) -> None:
    def show(_status: int, remaining: int, total: int) -> None:
        progress.show(Status(total - remaining, total, f"{total - remaining:,} of {total:,} pages"))

    with engine.connect() as connection:
        # A read transaction that stays open: else each write of a worker would make the copying begin anew.
        connection.exec_driver_sql("SELECT count(*) FROM schema_version")
        source = connection.connection.driver_connection
        if not isinstance(source, sqlite3.Connection):
            raise TypeError(f"an SQLite engine with connections of {type(source)}")
        source.backup(copy, pages=PAGES, progress=show)


def _check(copy: sqlite3.Connection) -> None:
    found = [row[0] for row in copy.execute("PRAGMA integrity_check")]
    if found != ["ok"]:
        raise StoreError(f"the copy is damaged, as the store itself may be: {found[0]}")
