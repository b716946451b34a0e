"""Reads the rows of tables: separated values, workbooks, Parquet."""

import collections
import contextlib
import csv
import importlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Final
from xml.etree.ElementTree import ParseError

from reviewpulse.errors import ReviewFileError
from reviewpulse.rows import BATCH_ROWS, BUFFER_BYTES, BadRow, OnBytes, Row, Rows, bad_row, numbered_lines

_UNQUOTED: Final = {"star_rating", "review_body"}  # Amazon Customer Reviews: "without quote or escape characters"


class _Record:
    """The lines that csv.reader takes for one record: it asks for more only while a quote is open."""

    def __init__(self, lines: Iterator[tuple[int, bytes]]) -> None:
        self._lines = lines
        self._again: collections.deque[tuple[int, bytes]] = collections.deque()
        self.taken: list[tuple[int, bytes]] = []
        self.is_utf8 = True
        self.has_ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            number, line = self._again.popleft() if self._again else next(self._lines)
        except StopIteration:
            self.has_ended = True
            raise
        self.taken.append((number, line))
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.is_utf8 = False
            return line.decode(errors="replace")

    def begin(self) -> None:
        """Forget the last record."""
        self.taken, self.is_utf8, self.has_ended = [], True, False

    def put_back(self, kept_lines: int) -> None:
        """Keep only the first lines of this record: the others are read again."""
        self._again.extendleft(reversed(self.taken[kept_lines:]))
        del self.taken[kept_lines:]

    def bad(self, reason: str) -> BadRow:
        """Return the record as it was taken, as a bad row."""
        return bad_row(self.taken[0][0], b"".join(line for _, line in self.taken), reason)


def csv_rows(file: IO[bytes], path: Path, on_bytes: OnBytes) -> Rows:
    """Read comma-, semicolon- or tab-separated rows below a header; a quoted field may hold line ends."""
    record = _Record(numbered_lines(file, path, on_bytes))
    cells = _csv_cells(record, path)
    header: list[str] = []
    while (values := _next_values(cells, record)) is not None:
        if isinstance(values, BadRow):
            if not header:
                raise ReviewFileError(f"the header of {path} cannot be read ({values.reason}); export it again")
            yield values
        elif not header:
            header = [name.strip() for name in values]
        elif len(values) != len(header):
            yield record.bad(f"{len(values)} columns where the header has {len(header)}")
        else:
            yield Row(record.taken[0][0], dict(zip(header, values, strict=True)))


def _csv_cells(record: _Record, path: Path) -> Iterator[list[str]]:
    """Return a csv.reader in the dialect that the extension and the header call for."""
    header = next(record, "")
    record.put_back(kept_lines=0)
    is_tsv = path.name.lower().removesuffix(".gz").endswith(".tsv")
    delimiter = "\t" if is_tsv else next((mark for mark in ",;\t" if mark in header), ",")
    is_unquoted = delimiter == "\t" and _UNQUOTED.issubset(header.strip().split(delimiter))
    return csv.reader(record, delimiter=delimiter, quoting=csv.QUOTE_NONE if is_unquoted else csv.QUOTE_MINIMAL)


def _next_values(cells: Iterator[list[str]], record: _Record) -> list[str] | BadRow | None:
    """Return the values of the next record that is not blank, why it has none, or None at the end.

    Of a record whose quote is never closed only the first line is bad: the next one starts behind it.
    """
    while True:
        record.begin()
        try:
            values = next(cells)
        except StopIteration:
            return None
        except csv.Error as exc:
            record.put_back(kept_lines=1)
            return record.bad(f"a field that is too long, or a quote that is never closed ({exc})")
        if record.has_ended:
            record.put_back(kept_lines=1)
            return record.bad("a quote that is never closed")
        if not record.is_utf8:
            return record.bad("not UTF-8")
        if len(values) > 1 or any(value.strip() for value in values):
            return values


def xlsx_rows(file: IO[bytes], path: Path, on_bytes: OnBytes) -> Rows:
    """Read the rows of a workbook's first sheet below a header."""
    openpyxl = _package("openpyxl", path)
    header: list[str] = []
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        with contextlib.closing(book):
            for number, values in _sheet_values(book.worksheets[0], path, on_bytes):
                if header:
                    yield _sheet_row(number, header, values)
                else:
                    header = [str(value).strip() for value in values]
    except (KeyError, IndexError, ValueError, ParseError) as exc:
        raise ReviewFileError(f"{path} is no workbook that can be read ({exc}); save it again as .xlsx") from exc


def _sheet_values(sheet: Any, path: Path, on_bytes: OnBytes) -> Iterator[tuple[int, tuple[object, ...]]]:  # noqa: ANN401 (openpyxl has no types)
    """Yield (row number, cells) of the rows that are not blank; the position is told by the share of rows read."""
    size_bytes, last = path.stat().st_size, sheet.max_row or 1
    sheet.reset_dimensions()  # some programs write wrong ones
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        if number % BATCH_ROWS == 0:
            on_bytes(min(size_bytes, size_bytes * number // last))
        if any(value is not None for value in values):
            yield number, values


def _sheet_row(number: int, header: list[str], values: tuple[object, ...]) -> Row | BadRow:
    """Return a sheet's row; cells that are missing at its end are None."""
    if any(value is not None for value in values[len(header) :]):
        return BadRow(number, repr(values).encode(), f"{len(values)} columns where the header has {len(header)}")
    return Row(number, dict(itertools.zip_longest(header, values[: len(header)])))


def parquet_rows(_file: IO[bytes], path: Path, on_bytes: OnBytes) -> Rows:
    """Read a Parquet file a small batch at a time."""
    arrow, parquet = _package("pyarrow", path), _package("pyarrow.parquet", path)
    size_bytes = path.stat().st_size
    number = 0
    try:
        with parquet.ParquetFile(path, buffer_size=BUFFER_BYTES) as table:
            for batch in table.iter_batches(batch_size=BATCH_ROWS):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(number, fields)
                on_bytes(size_bytes * number // max(table.metadata.num_rows, 1))
    except (ValueError, arrow.ArrowException) as exc:
        raise ReviewFileError(f"{path} is damaged after row {number} ({exc}); export it again") from exc


def _package(name: str, path: Path) -> ModuleType:
    """Return the package that reads path's kind, which a worker's installation has no need of."""
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise ReviewFileError(f"reading {path} needs {name}; run: pip install 'reviewpulse[producer]'") from exc
