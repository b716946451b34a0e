"""Paired bootstrap: how far apart two sets of answers to the same reviews are, and how sure that is."""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from reviewpulse.labels import LABELS

RESAMPLES: Final = 2_000
_CLASSES: Final = len(LABELS)


class Difference(msgspec.Struct, frozen=True):
    """How far the one is above the other."""

    macro_f1: float
    """Of the one less that of the other, on the reviews as they are."""
    low: float
    """2.5 % of the resamples lie below."""
    high: float
    """2.5 % of the resamples lie above."""

    @property
    def is_loss(self) -> bool:
        """Whether the one is worse beyond chance: the whole interval is below zero."""
        return self.high < 0


def macro_f1_difference(
    one: npt.NDArray[np.int64], other: npt.NDArray[np.int64], classes: npt.NDArray[np.int64], seed: int = 0
) -> Difference:
    """Return by how much macro-F1 of labels `one` exceeds that of `other` against true classes (rows,).

    one and other are (rows,), or (seeds, rows) for the mean over several trainings. The same rows
    are drawn for both (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

    >>> truth = np.array([0, 1, 2, 3, 4] * 20)
    >>> macro_f1_difference(truth, truth, truth)
    Difference(macro_f1=0.0, low=0.0, high=0.0)
    """
    generator = np.random.default_rng(seed)
    ours, theirs = (np.atleast_2d(given) * _CLASSES + classes for given in (one, other))  # (seeds, rows): matrix cell
    differences = np.empty(RESAMPLES)
    for resample in range(RESAMPLES):
        drawn = generator.integers(0, len(classes), len(classes))
        differences[resample] = _macro_f1(ours[:, drawn]) - _macro_f1(theirs[:, drawn])
    low, high = np.quantile(differences, [0.025, 0.975])
    observed = _macro_f1(ours) - _macro_f1(theirs)
    return Difference(round(observed, 6), round(float(low), 6), round(float(high), 6))


def _macro_f1(cells: npt.NDArray[np.int64]) -> float:
    """Return the mean macro-F1 of (seeds, rows) cells of a flat confusion matrix; a class that nobody has counts 0."""
    scores = []
    for row in cells:
        matrix = np.bincount(row, minlength=_CLASSES**2).reshape(_CLASSES, _CLASSES)  # (given, true)
        hits, both = np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1)
        scores.append((2 * hits / np.maximum(both, 1)).mean())
    return float(np.mean(scores))
