"""Which reviews and texts have come before: fingerprints in a SQLite file, so that any number of rows fits."""

import hashlib
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple, Self


class FirstText(NamedTuple):
    """Whether a text is new, and the class (0 to 4, None for unrated) that it came with first."""

    is_new: bool
    label: int | None


class Repeats:
    """The fingerprints of all reviews so far; used as a context manager."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()

    def is_repeated(self, review_id: str) -> bool:
        """Return whether the id has come before, and remember it."""
        key = hashlib.blake2b(review_id.encode(errors="surrogatepass"), digest_size=16).digest()
        return self._connection.execute("INSERT OR IGNORE INTO ids VALUES (?)", (key,)).rowcount == 0

    def first_text(self, text_key: bytes, label: int | None) -> FirstText:
        """Return what is known of a text, given by its key, and remember it with its class when it is new."""
        added = self._connection.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (text_key, label)).rowcount
        if added:
            return FirstText(is_new=True, label=label)
        (first,) = self._connection.execute("SELECT class FROM texts WHERE key = ?", (text_key,)).fetchone()
        return FirstText(is_new=False, label=first)


# The file is thrown away at the end, so nothing has to survive a crash. The cache is the memory this may take.
_TABLES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -32768;
CREATE TABLE ids (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE texts (key BLOB PRIMARY KEY, class INTEGER) WITHOUT ROWID;
BEGIN;
"""
