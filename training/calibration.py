"""What a checkpoint's decision is chosen by, on validation: the temperature, its exponent, biases and tau."""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from reviewpulse.card import ENTROPY_EXPONENTS, Decision
from reviewpulse.decision import Predictions, decide, log_probabilities_of
from reviewpulse.labels import LABELS
from training.evaluation.metrics import expected_macro_f1, macro_f1


class Calibration(StrEnum):
    """What logits are corrected by, to become probabilities."""

    temperature = "temperature"
    """Divided by one number (Guo et al., 2017)."""
    bias_corrected = "bias-corrected"
    """A bias for each class added as well (Alexandari et al., 2020)."""
    entropy_based = "entropy-based"
    """And the temperature grows with the entropy of the answer (after Balanya et al., 2022)."""


FOLDS: Final = 5
TAUS: Final = tuple(round(0.1 * step, 1) for step in range(16))


def calibrated(
    decision: Decision,
    logits: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    calibration: Calibration = Calibration.entropy_based,
) -> Decision:
    """Return the decision with the corrections of the least log loss on logits (rows, outputs) and classes.

    The exponent of the entropy and the biases are held near 0 by a normal prior of deviation 1, which few rows do
    not overrule. The exponent stays within its bounds in the card. The head corn has a temperature only.
    """
    is_softmax = decision.head == "softmax"
    has_exponent = is_softmax and calibration is Calibration.entropy_based
    has_biases = is_softmax and calibration is not Calibration.temperature
    bounds = [(-3.0, 3.0)] + [ENTROPY_EXPONENTS] * has_exponent + [(-10.0, 10.0)] * len(LABELS) * has_biases

    def tried(parameters: npt.NDArray[np.float64]) -> Decision:
        log_temperature, *others = parameters.tolist()
        return msgspec.structs.replace(
            decision,
            temperature=math.exp(log_temperature),
            entropy_exponent=others.pop(0) if has_exponent else 0.0,
            class_biases=tuple(others) if has_biases else (0.0,) * len(LABELS),
        )

    def penalised_log_loss(parameters: npt.NDArray[np.float64]) -> float:
        log_probabilities = log_probabilities_of(logits, tried(parameters))[np.arange(len(classes)), classes]
        return float(-log_probabilities.mean() + (parameters[1:] ** 2).sum() / (2 * len(classes)))

    found = minimize(penalised_log_loss, np.zeros(len(bounds)), method="L-BFGS-B", bounds=bounds)
    best = tried(found.x.round(4))
    return msgspec.structs.replace(best, temperature=round(best.temperature, 4))


def with_expected_tau(decision: Decision, logits: npt.NDArray[np.float32]) -> Decision:
    """Return the decision with the smallest tau of the highest expected macro-F1 on logits (rows, outputs).

    The classes of few rows would move tau by chance: what the probabilities expect moves it less. They must have the
    right share of each class, so the decision is to be calibrated with biases.
    """
    return max(_with_taus(decision), key=lambda candidate: expected_macro_f1(decide(logits, candidate)))


def with_observed_tau(decision: Decision, logits: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]) -> Decision:
    """Return the decision with the smallest tau of the highest macro-F1 on logits (rows, outputs) and classes."""
    return max(_with_taus(decision), key=lambda candidate: macro_f1(decide(logits, candidate).classes, classes))


def _with_taus(decision: Decision) -> list[Decision]:
    return [msgspec.structs.replace(decision, tau=tau) for tau in TAUS]


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
