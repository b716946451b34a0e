"""What a checkpoint's decision is chosen by, on validation: the temperature, biases and tau."""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from reviewpulse.card import Decision
from reviewpulse.decision import Predictions, decide, log_probabilities_of
from reviewpulse.labels import LABELS
from training.evaluation.metrics import expected_macro_f1


class Calibration(StrEnum):
    """What logits are corrected by, to become probabilities."""

    temperature = "temperature"
    """Divided by one number (Guo et al., 2017)."""
    bias_corrected = "bias-corrected"
    """A bias for each class added as well (Alexandari et al., 2020)."""


FOLDS: Final = 5
TAUS: Final = tuple(round(0.1 * step, 1) for step in range(16))


def calibrated(
    decision: Decision,
    logits: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    calibration: Calibration = Calibration.bias_corrected,
) -> Decision:
    """Return the decision with the temperature and biases of the least log loss on logits (rows, outputs) and classes.

    The biases are held near 0 by a normal prior of deviation 1, which few rows do not overrule. The head corn has a
    temperature only.
    """
    has_biases = calibration is Calibration.bias_corrected and decision.head == "softmax"
    biases = len(LABELS) if has_biases else 0

    def tried(parameters: npt.NDArray[np.float64]) -> Decision:
        log_temperature, *class_biases = parameters.tolist()
        changes = {"class_biases": tuple(class_biases)} if biases else {}
        return msgspec.structs.replace(decision, temperature=math.exp(log_temperature), **changes)

    def penalised_log_loss(parameters: npt.NDArray[np.float64]) -> float:
        log_probabilities = log_probabilities_of(logits, tried(parameters))[np.arange(len(classes)), classes]
        return float(-log_probabilities.mean() + (parameters[1:] ** 2).sum() / (2 * len(classes)))

    bounds = [(-3.0, 3.0)] + [(-10.0, 10.0)] * biases
    found = minimize(penalised_log_loss, np.zeros(1 + biases), method="L-BFGS-B", bounds=bounds)
    best = tried(found.x.round(4))
    return msgspec.structs.replace(best, temperature=round(best.temperature, 4))


def with_tau(decision: Decision, logits: npt.NDArray[np.float32]) -> Decision:
    """Return the calibrated decision with the smallest tau of the highest expected macro-F1 on logits (rows, outputs).

    The classes of few rows would move tau by chance: what the probabilities expect moves it less.
    """
    tried = [msgspec.structs.replace(decision, tau=tau) for tau in TAUS]
    return max(tried, key=lambda candidate: expected_macro_f1(decide(logits, candidate)))


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
