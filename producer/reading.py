"""Reads files into reviews that know their place, and into rejected rows."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from producer.rejects import Place, RejectedRow, raw_of, rejected_row
from reviewpulse.categories import category_of
from reviewpulse.files import BadRow, OnBytes, read_rows
from reviewpulse.forms import review_from_row
from reviewpulse.records import Review


def read_reviews(files: Sequence[Path], on_bytes: OnBytes) -> Iterator[tuple[Place, Review | RejectedRow]]:
    """Yield what each row of the files turns out to be, in order.

    on_bytes is told now and then how many bytes of all the files together have been read. Raises
    ReviewFileError for a file that is damaged, behind its last good row.
    """
    bytes_before = 0
    for path in files:
        name, category = str(path), category_of(path)
        for row in read_rows(path, _counting_on(on_bytes, bytes_before)):
            place = Place(name, row.line)
            if isinstance(row, BadRow):
                yield place, rejected_row(place, row.raw, row.reason)
                continue
            review = review_from_row(row.fields, category)
            if isinstance(review, str):
                yield place, rejected_row(place, raw_of(row.fields), review)
            else:
                yield place, review
        bytes_before += path.stat().st_size


def _counting_on(on_bytes: OnBytes, bytes_before: int) -> OnBytes:
    """Return a listener for one file that adds the bytes of the files before it."""
    return lambda file_bytes: on_bytes(bytes_before + file_bytes)
