"""The rows that a file of reviews consists of, and the lines of a text file at constant memory."""

import codecs
import gzip
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

from reviewpulse.errors import ReviewFileError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A longer line is no review: it becomes a BadRow, and reading goes on behind it."""

BUFFER_BYTES: Final = 256 * 1024
BATCH_ROWS: Final = 200
"""Rows between two reports of progress, and rows taken at once from a Parquet file."""

_KEPT_BYTES: Final = 1000  # of a line that is too long


class Row(msgspec.Struct, frozen=True):
    """One row's fields as the file has them, and the line or sheet row it starts on (from 1)."""

    line: int
    fields: dict[str, object]


class BadRow(msgspec.Struct, frozen=True):
    """A row that cannot be taken apart: where it starts, its bytes (the first of absurdly many) and why."""

    line: int
    raw: bytes
    reason: str


Rows = Iterator[Row | BadRow]
OnBytes = Callable[[int], None]


class _Unpacked(io.RawIOBase):
    """The content of a gzip file; a buffer around it gets all there is before a truncation raises EOFError.

    A buffer around GzipFile itself would lose what it had just gathered.
    """

    def __init__(self, packed: IO[bytes]) -> None:
        super().__init__()
        self._content = gzip.GzipFile(fileobj=packed)

    def readable(self) -> bool:
        """Say that this can be read from."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill buffer with what one step of unpacking gives; return how many bytes that was, 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self._content.read1(len(view))
        view[: len(data)] = data
        return len(data)


def numbered_lines(file: IO[bytes], path: Path, on_bytes: OnBytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line); a line over MAX_LINE_BYTES comes as its first MAX_LINE_BYTES + 1 bytes."""
    is_packed = path.suffix.lower() == ".gz"
    content = io.BufferedReader(_Unpacked(file), BUFFER_BYTES) if is_packed else file
    for number in itertools.count(1):
        line = content.readline(MAX_LINE_BYTES + 1)
        if not line:
            return
        yield number, (_without_mark(line, path) if number == 1 else line)
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = content.readline(MAX_LINE_BYTES + 1)  # the rest of a line that is too long
        if number % BATCH_ROWS == 0:
            on_bytes(file.tell())


def _without_mark(line: bytes, path: Path) -> bytes:
    """Return a file's first line without UTF-8's byte order mark; raises ReviewFileError for UTF-16's."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ReviewFileError(f"{path} is UTF-16; save it as UTF-8")
    return line.removeprefix(codecs.BOM_UTF8)


def bad_row(line: int, raw: bytes, reason: str) -> BadRow:
    """Return the bad row, with the reason and the bytes of a line that is too long cut to size."""
    if len(raw) > MAX_LINE_BYTES:
        return BadRow(line, raw[:_KEPT_BYTES], f"longer than {MAX_LINE_BYTES:,} bytes")
    return BadRow(line, raw.rstrip(b"\r\n"), reason)
