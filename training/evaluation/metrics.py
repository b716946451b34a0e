"""How good predictions are, in the field's standard figures."""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.metrics import cohen_kappa_score, f1_score, precision_recall_fscore_support

from reviewpulse.decision import Predictions
from reviewpulse.labels import LABELS

CHANCE_DRAWS: Final = 200
"""Of answers, for the calibration error that chance makes."""

BINS: Final = 15
"""Of confidence, for the calibration error: as in Guo et al., On Calibration of Modern Neural Networks (2017)."""


class ClassFigures(msgspec.Struct, frozen=True):
    """How well one label was told from the others."""

    precision: float
    recall: float
    f1: float
    reviews: int


class ChanceError(msgspec.Struct, frozen=True):
    """The expected calibration error that a perfectly calibrated model shows, because reviews are few."""

    mean: float
    high: float
    """It stays below this in 95 of 100 draws."""


def measure(predictions: Predictions, classes: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the figures of predictions against true classes (rows,).

    accuracy, macro_f1, weighted_f1, mae_stars (mean absolute error), off_by_one_accuracy (at most
    one star off) and qwk (quadratic weighted kappa) are of the labels; expected_calibration_error
    and log_loss of the probabilities.
    """
    predicted, rows = predictions.classes, np.arange(len(classes))
    every = range(len(LABELS))
    probable = np.clip(predictions.probabilities[rows, classes], 1e-12, 1)
    return {
        "accuracy": float((predicted == classes).mean()),
        "macro_f1": macro_f1(predicted, classes),
        "weighted_f1": float(f1_score(classes, predicted, labels=every, average="weighted", zero_division=0)),
        "mae_stars": float(np.abs(predicted - classes).mean()),
        "off_by_one_accuracy": float((np.abs(predicted - classes) <= 1).mean()),
        "qwk": _quadratic_kappa(predicted, classes),
        "expected_calibration_error": expected_calibration_error(predictions.probabilities, classes),
        "log_loss": float(-np.log(probable).mean()),
    }


def _quadratic_kappa(predicted: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]) -> float:
    """Return the agreement beyond chance; 0 where one class is all that there is, which chance agrees on as well."""
    if len(np.union1d(predicted, classes)) == 1:
        return 0.0
    return float(cohen_kappa_score(classes, predicted, labels=range(len(LABELS)), weights="quadratic"))


def measure_classes(predicted: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]) -> dict[str, ClassFigures]:
    """Return the figures of each label, for given and true classes (rows,)."""
    figures = precision_recall_fscore_support(classes, predicted, labels=range(len(LABELS)), zero_division=0)
    return {
        label: ClassFigures(float(precision), float(recall), float(f1), int(reviews))
        for label, precision, recall, f1, reviews in zip(LABELS, *figures, strict=True)
    }


def macro_f1(predicted: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]) -> float:
    """Return the mean of the five classes' F1; a class that nobody has counts 0."""
    every = range(len(LABELS))
    return float(f1_score(classes, predicted, labels=every, average="macro", zero_division=0))


def expected_macro_f1(predictions: Predictions) -> float:
    """Return the macro-F1 that predictions should have, were each class as probable as they say.

    Of each class the expected hits over the expected rows, which is the expected F1 for many rows. A class that is
    neither given nor probable counts 0. After Ye et al., Optimizing F-Measure: A Tale of Two Approaches (2012).

    >>> sure = np.eye(5, dtype=np.float32)
    >>> expected_macro_f1(Predictions(sure, np.arange(5))), expected_macro_f1(Predictions(sure, np.array([0] * 5)))
    (1.0, 0.06666666666666667)
    """
    given = np.eye(len(LABELS))[predictions.classes]  # (rows, 5)
    probabilities = predictions.probabilities.astype(np.float64)
    hits = (given * probabilities).sum(axis=0)  # (5,)
    both = given.sum(axis=0) + probabilities.sum(axis=0)
    return float(np.mean(2 * hits / np.maximum(both, 1e-12)))


def expected_calibration_error(probabilities: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]) -> float:
    """Return the mean distance of confidence from accuracy over 15 bins of equal width, weighted by their rows.

    The confidence is the highest probability, the answer its label (Guo et al., 2017).

    >>> probabilities = np.array([[0.8, 0.2, 0, 0, 0]] * 5, dtype=np.float32)
    >>> round(expected_calibration_error(probabilities, np.array([0, 0, 0, 0, 1])), 6)
    0.0
    """
    return _calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == classes)


def chance_calibration_error(probabilities: npt.NDArray[np.float32]) -> ChanceError:
    """Return the calibration error of the same probabilities (rows, 5) were each right as often as it says.

    >>> always_right = np.array([[1, 0, 0, 0, 0]] * 9, dtype=np.float32)
    >>> chance_calibration_error(always_right).mean
    0.0
    """
    confidence, generator = probabilities.max(axis=1), np.random.default_rng(0)
    drawn = [
        _calibration_error(confidence, generator.random(len(confidence)) < confidence) for _ in range(CHANCE_DRAWS)
    ]
    return ChanceError(float(np.mean(drawn)), float(np.quantile(drawn, 0.95)))


def _calibration_error(confidence: npt.NDArray[np.float32], is_right: npt.NDArray[np.bool_]) -> float:
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=confidence - is_right, minlength=BINS)
    return float(np.abs(gaps).sum() / max(len(confidence), 1))
