"""The gate of a promotion: a challenger must not lose against the champion on reviews that neither saw."""

from pathlib import Path
from typing import Final

import msgspec

from reviewpulse.classifier import SentimentClassifier, silence_transformers
from reviewpulse.errors import TrainingError
from reviewpulse.progress import Progress
from training.evaluation.bootstrap import Difference, macro_f1_difference
from training.evaluation.evaluate import score
from training.evaluation.metrics import macro_f1
from training.evaluation.run import Reviews, evaluation_corpus
from training.seen import read_seen
from training.split import Side

FEWEST_REVIEWS: Final = 300
"""On fewer reviews hardly any difference is beyond chance: passing would mean nothing."""


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


def judge(challenger: Path, champion: Path, reviews: Reviews, progress: Progress) -> Verdict:
    """Compare two checkpoint folders by paired bootstrap.

    Raises TrainingError when too few reviews are left, ReviewFileError and CheckpointError.
    """
    silence_transformers()
    seen = read_seen(challenger).joined(read_seen(champion))
    with evaluation_corpus(reviews, seen, progress) as corpus:
        texts, classes = list(corpus.texts(Side.test)), corpus.classes(Side.test)
    if len(texts) < FEWEST_REVIEWS:
        raise TrainingError(
            f"{len(texts)} reviews of {', '.join(path.name for path in reviews.files)} were seen by neither "
            f"checkpoint: too few to judge by (at least {FEWEST_REVIEWS}); give more files, or --force"
        )
    ours, theirs = (
        score(SentimentClassifier.load(folder).predict, texts)[0].classes for folder in (challenger, champion)
    )
    return Verdict(
        reviews=len(texts),
        challenger_macro_f1=macro_f1(ours, classes),
        champion_macro_f1=macro_f1(theirs, classes),
        difference=macro_f1_difference(ours, theirs, classes),
    )
