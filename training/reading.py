"""Review files as examples: the rows that publish reads, with what training must know of each."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from reviewpulse.categories import category_of
from reviewpulse.files import check_file, read_rows
from reviewpulse.forms import review_from_row
from reviewpulse.progress import Progress, Status
from reviewpulse.records import Review
from reviewpulse.rows import BadRow
from training.corpus import Corpus
from training.example import Example, example_of

log = logging.getLogger(__name__)

TRAIN_ONLY = ("finefood_recovered",)
"""Values of a row's field `source` whose rows are never evaluated on, whatever else is named: they were restored
from a damaged archive."""


def fill_corpus(
    corpus: Corpus, files: Sequence[Path], unlabelled: Sequence[Path], train_only: Sequence[str], progress: Progress
) -> None:
    """Read the files into the corpus, the unlabelled ones without their stars; raises ReviewFileError."""
    for path in (*files, *unlabelled):
        check_file(path)
    for path in files:
        corpus.add(rated_examples(path, train_only, progress))
    for path in unlabelled:
        corpus.add(_examples(path, train_only, progress, is_labelled=False))


def rated_examples(path: Path, train_only: Sequence[str], progress: Progress) -> Iterator[Example]:
    """Yield the file's reviews that carry stars, and log how many rows are passed over and why."""
    unrated = 0
    for example in _examples(path, train_only, progress, is_labelled=True):
        if example.rating is None:
            unrated += 1
        else:
            yield example
    if unrated:
        log.warning("%s: reviews passed over because they carry no rating: %d", path, unrated)


def _examples(path: Path, train_only: Sequence[str], progress: Progress, *, is_labelled: bool) -> Iterator[Example]:
    passed_over, category = 0, category_of(path)
    for row in read_rows(path, _shower(path, progress)):
        review = row.reason if isinstance(row, BadRow) else review_from_row(row.fields)
        if isinstance(review, Review) and not isinstance(row, BadRow):
            is_train_only = row.fields.get("source") in (*TRAIN_ONLY, *train_only)
            if category and not review.category:
                review = msgspec.structs.replace(review, category=category)
            yield example_of(review, is_train_only=is_train_only, is_labelled=is_labelled)
        else:
            passed_over += 1
    if passed_over:
        log.warning("%s: rows passed over because they are no review: %d", path, passed_over)


def _shower(path: Path, progress: Progress) -> Callable[[int], None]:
    size_bytes = path.stat().st_size
    return lambda done_bytes: progress.show(Status(done_bytes, size_bytes, f"reading {path.name}"))
