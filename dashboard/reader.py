"""Reads the store whatever state it is in: not made yet, made anew, locked, broken."""

import logging
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from dashboard.queries import Snapshot, read_snapshot
from reviewpulse.errors import StoreError
from reviewpulse.schema import connect
from reviewpulse.store_url import parse_store_url, store_fault

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Missing:
    """No store has been made yet at this place."""

    place: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The store is there and cannot be read, for this reason."""

    reason: str


Reading = Snapshot | Missing | Unreadable


class StoreReader:
    """Keeps one engine for as long as the store stays the same file; not for use by two threads at once."""

    def __init__(self, store_url: str, window_seconds: float) -> None:
        """Look at the URL only; the store may come later. Raises StoreError when it is no URL."""
        self._url = store_url
        self._path = _path_of(store_url)
        self._window_seconds = window_seconds
        self._engine: sa.Engine | None = None
        self._file: tuple[int, int] | None = None
        self._trouble: str | None = None

    def read(self, now: datetime) -> Reading:
        """Return what the store holds for the window that ends at `now`, or why that cannot be told."""
        try:
            engine = self._open()
            if engine is None:
                return Missing(str(self._path))
            snapshot = read_snapshot(engine, now, self._window_seconds)
        except StoreError as exc:
            return self._give_up(str(exc))
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as exc:
            return self._give_up(f"cannot read the store: {store_fault(exc, parse_store_url(self._url))}")
        self._trouble = None
        return snapshot

    def close(self) -> None:
        """Close the store; a later read opens it again."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine = None

    def _open(self) -> sa.Engine | None:
        """Return an engine for the store as it is now, None when its file is not there."""
        file = _identity(self._path) if self._path else None
        if file != self._file:  # the open engine keeps the old inode in use, so that a new file has another
            self.close()
            self._file = file
        if self._path and file is None:
            return None
        if self._engine is None:
            self._engine = connect(self._url, writable=False)
        return self._engine

    def _give_up(self, reason: str) -> Unreadable:
        self.close()
        if reason != self._trouble:  # once, not at every refresh
            log.warning("%s", reason)
        self._trouble = reason
        return Unreadable(reason)


def _path_of(store_url: str) -> Path | None:
    """Return the file of an SQLite store, None for a server's store; raises StoreError on what is no URL."""
    url = parse_store_url(store_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database).absolute()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells one file from another of the same name, None when there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
