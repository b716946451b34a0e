"""Training from files: reads them, shows how far it is, and leaves a checkpoint folder."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from reviewpulse.card import Card
from reviewpulse.classifier import silence_transformers
from reviewpulse.errors import TrainingError
from reviewpulse.files import BadRow, check_file, read_rows
from reviewpulse.forms import review_from_row
from reviewpulse.progress import Progress, Status
from reviewpulse.records import Review
from training.fit import Step
from training.train import Plan, train

log = logging.getLogger(__name__)


def parse_layers(layers: str) -> tuple[int, ...]:
    """Return layer numbers written as `0,2,5`; raises TrainingError on anything else.

    >>> parse_layers("0,2,5"), parse_layers("")
    ((0, 2, 5), ())
    """
    try:
        return tuple(int(layer) for layer in layers.split(",") if layer)
    except ValueError as exc:
        raise TrainingError(f"--layers {layers} is no list of numbers; write for example 0,2,5") from exc


def train_on_files(files: Sequence[Path], into: Path, plan: Plan, *, now: datetime, progress: Progress) -> Card:
    """Train on the rated reviews of the files, write the checkpoint folder and return its card.

    Raises ReviewFileError and TrainingError.
    """
    silence_transformers()
    for path in files:
        check_file(path)

    def show(step: Step) -> None:
        progress.show(Status(step.number, step.total, f"step {step.number}/{step.total}, loss {step.loss:.3f}"))

    return train(_rated_reviews(files), into, plan, now=now, on_step=show)


def _rated_reviews(files: Sequence[Path]) -> Iterator[Review]:
    """Yield the files' reviews and log how many rows were none."""
    for path in files:
        passed_over = 0
        for row in read_rows(path):
            review = row.reason if isinstance(row, BadRow) else review_from_row(row.fields)
            if isinstance(review, Review):
                yield review
            else:
                passed_over += 1
        if passed_over:
            log.warning("%s: rows passed over because they are no review: %d", path, passed_over)
