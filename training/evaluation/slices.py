"""The figures of one candidate: over all reviews, and over parts of them."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np
import numpy.typing as npt

from reviewpulse.decision import Predictions
from reviewpulse.labels import LABELS
from reviewpulse.visible import visible_line
from training.evaluation.metrics import ClassFigures, measure, measure_classes
from training.titles import says_only_stars

FEWEST_IN_CATEGORY: Final = 50
"""A category with fewer reviews is counted among `other`: its figures would be chance."""

LONGEST_NAME: Final = 80
"""Characters of a category's or file's name that are told."""


class Figures(msgspec.Struct, frozen=True):
    """How well one candidate did."""

    overall: dict[str, float]
    classes: dict[str, ClassFigures]
    confusion: list[list[int]]
    """(true label, given label), in label order."""
    categories: dict[str, dict[str, float]]
    reviews_per_second: float | None
    """On this evaluation's machine, texts in and labels out; None for a candidate that computes nothing."""
    without_star_titles: dict[str, float] | None = None
    """Over the reviews whose title says more than the stars; None where all do, and in earlier versions."""


class Slices(NamedTuple):
    """Which part each review belongs to."""

    categories: npt.NDArray[np.str_]
    """(reviews,); small ones merged into `other`."""
    has_plain_title: npt.NDArray[np.bool_]
    """(reviews,); False where the title says nothing but the stars."""

    @classmethod
    def of(cls, texts: Sequence[str], categories: Sequence[str]) -> Self:
        """Return the parts of reviews, given what the model reads of each and its category."""
        return cls(_merged(categories), np.array([not says_only_stars(text) for text in texts]))


def figures_of(
    predictions: Predictions, reviews_per_second: float | None, classes: npt.NDArray[np.int64], slices: Slices
) -> Figures:
    """Return the figures of a candidate's predictions against the true classes (reviews,)."""
    confusion = np.zeros((len(LABELS), len(LABELS)), dtype=int)
    np.add.at(confusion, (classes, predictions.classes), 1)
    by_category = {}
    for category in sorted(set(slices.categories.tolist())):
        rows = slices.categories == category
        by_category[category] = {"reviews": float(rows.sum()), **_measure(predictions, classes, rows)}
    plain = slices.has_plain_title
    return Figures(
        overall=measure(predictions, classes),
        classes=measure_classes(predictions.classes, classes),
        confusion=confusion.tolist(),
        categories=by_category,
        reviews_per_second=None if reviews_per_second is None else round(reviews_per_second, 1),
        without_star_titles=_measure(predictions, classes, plain) if plain.any() and not plain.all() else None,
    )


def _measure(predictions: Predictions, classes: npt.NDArray[np.int64], rows: npt.NDArray[np.bool_]) -> dict[str, float]:
    return measure(Predictions(predictions.probabilities[rows], predictions.classes[rows]), classes[rows])


def _merged(categories: Sequence[str]) -> npt.NDArray[np.str_]:
    harmless = [visible_line(category, LONGEST_NAME) for category in categories]
    names, places, counts = np.unique(harmless, return_inverse=True, return_counts=True)
    kept = np.where(counts >= FEWEST_IN_CATEGORY, names, "other")
    merged: npt.NDArray[np.str_] = kept[places]
    return merged
