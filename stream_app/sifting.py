"""Finds the reviews that make the model fail, so that they are rejected and all others are scored."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from reviewpulse.decision import Predictions

HARMLESS_TEXT: Final = "Good product, works as described."
"""A model that fails on this as well is broken: then no review is to blame."""

_NO_NUMBERS: Final = "its probabilities are no numbers"


class Sifted(NamedTuple):
    """What the model said of some texts, and which of them it failed on."""

    kept: list[int]
    """Rows of the texts that were scored, in order."""
    predictions: Predictions | None
    """In step with kept; None when nothing was kept."""
    culprits: dict[int, Exception]
    """Why, by row, the others could not be scored."""


def sift(predict: Callable[[Sequence[str]], Predictions], texts: Sequence[str]) -> Sifted:
    """Return the predictions for all texts but those that the model fails on, found by halving.

    It fails by raising, or by probabilities that are no numbers. Takes some 2 * k * log2(n) calls for k texts among n
    that make it raise, one call when there is none. Raises the failure when it fails on a harmless text as well, and a
    lack of memory or an OSError at once: an outage or a defect is not the reviews' fault.

    >>> def predict(texts):
    ...     scores = [1 / len(text) for text in texts]
    ...     return Predictions(np.array([scores]).T, np.zeros(len(texts), dtype=int))
    >>> sifted = sift(predict, ["a", "", "ab"])
    >>> sifted.kept, sifted.predictions.probabilities.ravel().tolist(), sifted.culprits
    ([0, 2], [1.0, 0.5], {1: ZeroDivisionError('division by zero')})
    """
    kept, parts, culprits = list[int](), list[Predictions](), dict[int, Exception]()

    def score(rows: Sequence[int]) -> None:
        try:
            found = predict([texts[row] for row in rows])
        except (MemoryError, OSError):  # the machine's fault, not a review's
            raise
        except Exception as exc:  # noqa: BLE001  # whatever a text makes the model raise
            if len(rows) == 1:
                culprits[rows[0]] = exc
                return
            middle = len(rows) // 2
            score(rows[:middle])
            score(rows[middle:])
        else:
            are_numbers = np.isfinite(found.probabilities.sum(axis=1))  # (rows,)
            parts.append(Predictions(found.probabilities[are_numbers], found.classes[are_numbers]))
            for row, is_scored in zip(rows, are_numbers.tolist(), strict=True):
                if is_scored:
                    kept.append(row)
                else:
                    culprits[row] = FloatingPointError(_NO_NUMBERS)

    score(range(len(texts)))
    if culprits and not np.isfinite(predict([HARMLESS_TEXT]).probabilities).all():
        raise FloatingPointError(_NO_NUMBERS)
    joined = Predictions(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))) if parts else None
    return Sifted(kept, joined, culprits)
