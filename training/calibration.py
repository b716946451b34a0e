"""What a checkpoint's decision is chosen by, on validation: the temperature and tau."""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from sklearn.metrics import f1_score

from reviewpulse.card import Decision
from reviewpulse.decision import decide, log_probabilities_of
from reviewpulse.labels import LABELS

BINS: Final = 15
TAUS: Final = tuple(round(0.1 * step, 1) for step in range(16))


def with_temperature(decision: Decision, logits: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]) -> Decision:
    """Return the decision with the temperature of the least log loss on logits (rows, outputs) and classes (rows,).

    Guo et al., On Calibration of Modern Neural Networks (2017).
    """

    def log_loss(log_temperature: float) -> float:
        tried = msgspec.structs.replace(decision, temperature=float(np.exp(log_temperature)))
        return float(-log_probabilities_of(logits, tried)[np.arange(len(classes)), classes].mean())

    found = minimize_scalar(log_loss, bounds=(-3.0, 3.0), method="bounded")
    return msgspec.structs.replace(decision, temperature=round(float(np.exp(found.x)), 4))


def with_tau(decision: Decision, logits: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]) -> Decision:
    """Return the decision with the smallest tau of the highest macro-F1."""
    tried = [msgspec.structs.replace(decision, tau=tau) for tau in TAUS]
    return max(tried, key=lambda candidate: macro_f1(decide(logits, candidate).classes, classes))


def macro_f1(predicted: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]) -> float:
    """Return the mean of the five classes' F1; a class that nobody has counts 0."""
    every = range(len(LABELS))
    return float(f1_score(classes, predicted, labels=every, average="macro", zero_division=0))


def expected_calibration_error(probabilities: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]) -> float:
    """Return the mean distance of confidence from accuracy over 15 bins of equal width, weighted by their rows.

    The confidence is the highest probability, the answer its label (Guo et al., 2017).

    >>> probabilities = np.array([[0.8, 0.2, 0, 0, 0]] * 5, dtype=np.float32)
    >>> round(expected_calibration_error(probabilities, np.array([0, 0, 0, 0, 1])), 6)
    0.0
    """
    confidence, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == classes
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=confidence - is_right, minlength=BINS)
    return float(np.abs(gaps).sum() / max(len(classes), 1))
