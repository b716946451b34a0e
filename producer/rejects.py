"""What did not get through and why: rows that are no review, reviews that Kafka did not confirm."""

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from reviewpulse.errors import ReviewFileError
from reviewpulse.reasons import kind_of
from reviewpulse.records import Review

_MOST_CHARACTERS: Final = 10_000
_FIRST_PLACES: Final = 5


class Place(msgspec.Struct, frozen=True):
    """Where a row came from."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class RejectedRow(msgspec.Struct, frozen=True):
    r"""A row that is no review. In `raw`, bytes that are not UTF-8 stand as \xNN; it ends after 10,000 characters."""

    file: str
    line: int
    reason: str
    raw: str


class UndeliveredReview(Review, frozen=True, kw_only=True):
    """A review that Kafka did not confirm, and why; a file of these can be published as it is."""

    file: str
    line: int
    reason: str


class RowFile:
    """A file of JSON objects, one a line, made when there is something to write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._file: IO[bytes] | None = None

    def write(self, row: RejectedRow | UndeliveredReview) -> None:
        """Append a row. Raises ReviewFileError when it cannot."""
        try:
            if self._file is None:
                self._file = self.path.open("xb")
            self._file.write(_ENCODER.encode(row) + b"\n")
        except OSError as exc:
            raise ReviewFileError(
                f"cannot write {self.path}: {exc.strerror}; make room there or set REVIEWPULSE_REJECTS_FILE"
            ) from exc
        self.rows += 1

    def close(self) -> None:
        """Write out what is buffered."""
        if self._file is not None:
            self._file.close()


class Ledger:
    """Accounts for all that did not get through; used as a context manager."""

    def __init__(self, rejects_path: Path) -> None:
        self.rejects = RowFile(free_name(rejects_path))
        self.undelivered = RowFile(free_name(rejects_path.with_name("undelivered.jsonl")))
        self.first_undelivered: list[str] = []
        self.kinds: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rejects.close()
        self.undelivered.close()

    def reject(self, row: RejectedRow) -> None:
        """Keep a row that is no review, and count the kind of its reason."""
        self.rejects.write(row)
        self.kinds[kind_of(row.reason)] += 1

    def lose(self, review: Review, place: Place, reason: str) -> None:
        """Keep a review that was not delivered."""
        if len(self.first_undelivered) < _FIRST_PLACES:
            self.first_undelivered.append(str(place))
        fields = msgspec.structs.asdict(review)
        self.undelivered.write(UndeliveredReview(**fields, file=place.file, line=place.line, reason=reason))


_ENCODER: Final = msgspec.json.Encoder()


def rejected_row(place: Place, raw: bytes, reason: str) -> RejectedRow:
    r"""Return the record of a rejected row.

    >>> rejected_row(Place("a.txt", 3), b"caf\xe9", "not UTF-8").raw
    'caf\\xe9'
    """
    return RejectedRow(place.file, place.line, reason, raw.decode(errors="backslashreplace")[:_MOST_CHARACTERS])


def raw_of(fields: dict[str, object]) -> bytes:
    """Return a row's fields as JSON, for a rejected row whose own bytes are gone.

    >>> raw_of({"rating": 7, "photo": complex(1)})
    b'{"rating":7,"photo":"(1+0j)"}'
    """
    return msgspec.json.encode(fields, enc_hook=str)


def free_name(path: Path) -> Path:
    """Return path, or the first of path-2, path-3, ... that does not exist: nothing is overwritten."""
    names = (path if number == 1 else path.with_stem(f"{path.stem}-{number}") for number in range(1, 1_000_000))
    return next(name for name in names if not name.exists())
