"""Reads files of reviews row by row at constant memory; what the fields mean is the business of forms.py."""

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from reviewpulse.errors import ReviewFileError
from reviewpulse.rows import BUFFER_BYTES, MAX_LINE_BYTES, BadRow, OnBytes, Row, Rows, bad_row, numbered_lines
from reviewpulse.tables import csv_rows, parquet_rows, xlsx_rows

__all__ = ["BadRow", "OnBytes", "Row", "Rows", "check_file", "read_rows"]

_DECODER: Final = msgspec.json.Decoder(dict[str, Any])


def check_file(path: Path) -> None:
    """Raise ReviewFileError, with the cure, unless path is a non-empty file of a kind that can be read.

    Cheap, so that the wrong name of a second file shows before the first one is sent.
    """
    if path.is_dir():
        raise ReviewFileError(f"{path} is a directory; name the files in it")
    _kind(path)
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except OSError as exc:
        raise ReviewFileError(f"cannot read {path}: {exc.strerror}; check its name and who may read it") from exc
    if is_empty:
        raise ReviewFileError(f"{path} is empty; download or export it again")


def read_rows(path: Path, on_bytes: OnBytes | None = None) -> Rows:
    """Return the rows of a .jsonl, .csv, .tsv, .txt (each also .gz), .xlsx or .parquet file, in order.

    on_bytes is told now and then how many of the file's bytes have been read. Blank lines count but
    are skipped. Of a workbook the first sheet is read; its texts (1,048,576 rows at most) are the one
    thing that is held in memory. Raises ReviewFileError at once when the file cannot be read at all,
    and later when it turns out damaged: the rows before the damage are delivered first.
    """
    check_file(path)
    return _guarded(path, on_bytes or (lambda _bytes: None))


def _guarded(path: Path, on_bytes: OnBytes) -> Rows:
    """Deliver the rows; what a damaged file raises becomes a ReviewFileError with the last good row."""
    line = 0
    try:
        with path.open("rb", buffering=BUFFER_BYTES) as file:
            for row in _READERS[_kind(path)](file, path, on_bytes):
                line = row.line
                yield row
            on_bytes(file.seek(0, io.SEEK_END))
    except EOFError as exc:
        raise ReviewFileError(f"{path} ends in the middle, after row {line}; download it again") from exc
    except (OSError, zlib.error, zipfile.BadZipFile) as exc:
        raise ReviewFileError(f"{path} is damaged after row {line} ({exc}); download or export it again") from exc
    if line == 0:
        raise ReviewFileError(f"{path} holds no rows; download or export it again")


def _kind(path: Path) -> str:
    """Return the file's extension without .gz; raises ReviewFileError for one that is not known."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    is_packed = suffixes[-1:] == [".gz"]
    kind = "".join(suffixes[-2:-1] if is_packed else suffixes[-1:])
    if kind in _READERS and not (is_packed and kind in {".xlsx", ".parquet"}):
        return kind
    raise ReviewFileError(f"{path} is of no known kind; save it as one of {', '.join(_READERS)} (the text ones or .gz)")


def _json_rows(file: IO[bytes], path: Path, on_bytes: OnBytes) -> Rows:
    """Read one JSON object a line."""
    for number, line in numbered_lines(file, path, on_bytes):
        try:
            yield Row(number, _DECODER.decode(line))
        except UnicodeDecodeError:
            yield bad_row(number, line, "not UTF-8")
        except (msgspec.DecodeError, RecursionError) as exc:
            if number == 1 and (line.strip() == b"[" or line.lstrip().startswith(b"[{")):
                raise ReviewFileError(f"{path} is one JSON array; write one object a line: jq -c '.[]'") from exc
            if line.strip():
                yield bad_row(number, line, f"not a JSON object: {exc}")


def _text_rows(file: IO[bytes], path: Path, on_bytes: OnBytes) -> Rows:
    """Read one review's text a line."""
    for number, line in numbered_lines(file, path, on_bytes):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            yield bad_row(number, line, "not UTF-8")
            continue
        if text:
            yield Row(number, {"text": text}) if len(line) <= MAX_LINE_BYTES else bad_row(number, line, "")


_READERS: Final[dict[str, Callable[[IO[bytes], Path, OnBytes], Rows]]] = {
    ".jsonl": _json_rows,
    ".json": _json_rows,
    ".csv": csv_rows,
    ".tsv": csv_rows,
    ".txt": _text_rows,
    ".xlsx": xlsx_rows,
    ".parquet": parquet_rows,
}
