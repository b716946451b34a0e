"""What a checkpoint's decision is chosen by, on validation: the temperature and tau."""

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from reviewpulse.card import Decision
from reviewpulse.decision import Predictions, decide, log_probabilities_of
from training.evaluation.metrics import macro_f1

FOLDS: Final = 5
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


def cross_fitted(
    logits: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    choose: Callable[[npt.NDArray[np.float32], npt.NDArray[np.int64]], Decision],
) -> Predictions:
    """Return predictions for logits (rows, outputs), each fifth of the rows by what the others choose."""
    fold_of = np.arange(len(classes)) % FOLDS
    parts = [
        decide(logits[fold_of == fold], choose(logits[fold_of != fold], classes[fold_of != fold]))
        for fold in range(FOLDS)
    ]
    place = np.argsort(np.concatenate([np.flatnonzero(fold_of == fold) for fold in range(FOLDS)]))
    return Predictions(*(np.concatenate(arrays)[place] for arrays in zip(*parts, strict=True)))
