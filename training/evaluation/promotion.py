"""The gate of a promotion: a challenger must not lose against the champion on reviews that neither saw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from reviewpulse.card import Card, read_card
from reviewpulse.classifier import SentimentClassifier, silence_transformers
from reviewpulse.errors import TrainingError
from reviewpulse.labels import LABELS
from reviewpulse.progress import Progress
from training.evaluation.bootstrap import Difference, macro_f1_difference
from training.evaluation.evaluate import score
from training.evaluation.metrics import macro_f1
from training.evaluation.run import Reviews, evaluation_corpus
from training.seen import read_seen
from training.split import Side

FEWEST_REVIEWS: Final = 300
"""On fewer reviews hardly any difference is beyond chance: passing would mean nothing."""

FEWEST_OF_CLASS: Final = 10
"""Of each class that a training knew: one resample of the bootstrap in 20,000 then lacks it. Reviews of one class
would let pass a model that says nothing else."""


class Verdict(msgspec.Struct, frozen=True):
    """How challenger and champion did on the same reviews."""

    reviews: int
    challenger_macro_f1: float
    champion_macro_f1: float
    difference: Difference

    def __str__(self) -> str:
        return (
            f"macro-F1 {self.challenger_macro_f1:.3f} against the champion's {self.champion_macro_f1:.3f} on "
            f"{self.reviews:,} reviews that neither saw: {self.difference.macro_f1:+.3f} "
            f"(95 % interval {self.difference.low:+.3f} to {self.difference.high:+.3f})"
        )


def judge(challenger: Path, champion: Path, reviews: Reviews, progress: Progress, device: str = "auto") -> Verdict:
    """Compare two checkpoint folders by paired bootstrap, scored on the device.

    Raises TrainingError when too few reviews are left or too few of a class, ReviewFileError and CheckpointError.
    """
    silence_transformers()
    seen = read_seen(challenger).joined(read_seen(champion))
    cards = [read_card(folder) for folder in (challenger, champion)]
    with evaluation_corpus(reviews.as_trained(*cards), seen, progress) as (corpus, account):
        texts, classes = list(corpus.texts(Side.test)), corpus.classes(Side.test)
    if len(texts) < FEWEST_REVIEWS:
        raise TrainingError(
            f"{len(texts)} reviews of {', '.join(path.name for path in reviews.files)} were seen by neither "
            f"checkpoint, and {account.train_only} more are of sources for training only: too few to judge by "
            f"(at least {FEWEST_REVIEWS}); give more files, or --force"
        )
    _refuse_missing_classes(classes, cards)
    ours, theirs = (
        score(SentimentClassifier.load(folder, device).predict, texts)[0].classes for folder in (challenger, champion)
    )
    return Verdict(
        reviews=len(texts),
        challenger_macro_f1=macro_f1(ours, classes),
        champion_macro_f1=macro_f1(theirs, classes),
        difference=macro_f1_difference(ours, theirs, classes),
    )


def _refuse_missing_classes(classes: npt.NDArray[np.int64], cards: Sequence[Card]) -> None:
    known = np.array([card.decision.class_shares for card in cards]).max(axis=0) > 0  # (labels,)
    counts = np.bincount(classes, minlength=len(LABELS))  # (labels,)
    if scarce := [label for label, count in enumerate(counts) if known[label] and count < FEWEST_OF_CLASS]:
        raise TrainingError(
            f"the {len(classes)} reviews that neither checkpoint saw hold too few of "
            f"{', '.join(f'{LABELS[label]} ({counts[label]})' for label in scarce)} to judge by (at least "
            f"{FEWEST_OF_CLASS} of each class that one of them was trained on); give more files, or --force"
        )
