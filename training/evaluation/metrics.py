"""How good predictions are, in the field's standard figures."""

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.metrics import cohen_kappa_score, f1_score, precision_recall_fscore_support

from reviewpulse.decision import Predictions
from reviewpulse.labels import LABELS
from training.calibration import expected_calibration_error, macro_f1


class ClassFigures(msgspec.Struct, frozen=True):
    """How well one label was told from the others."""

    precision: float
    recall: float
    f1: float
    reviews: int


def measure(predictions: Predictions, classes: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the figures of predictions against true classes (rows,).

    accuracy, macro_f1, weighted_f1, mae_stars (mean absolute error), off_by_one_accuracy (at most
    one star off) and qwk (quadratic weighted kappa) are of the labels; expected_calibration_error
    and log_loss of the probabilities.
    """
    predicted, rows = predictions.classes, np.arange(len(classes))
    every = range(len(LABELS))
    kappa = cohen_kappa_score(classes, predicted, labels=every, weights="quadratic")
    probable = np.clip(predictions.probabilities[rows, classes], 1e-12, 1)
    return {
        "accuracy": float((predicted == classes).mean()),
        "macro_f1": macro_f1(predicted, classes),
        "weighted_f1": float(f1_score(classes, predicted, labels=every, average="weighted", zero_division=0)),
        "mae_stars": float(np.abs(predicted - classes).mean()),
        "off_by_one_accuracy": float((np.abs(predicted - classes) <= 1).mean()),
        "qwk": 0.0 if np.isnan(kappa) else float(kappa),
        "expected_calibration_error": expected_calibration_error(predictions.probabilities, classes),
        "log_loss": float(-np.log(probable).mean()),
    }


def measure_classes(predicted: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]) -> dict[str, ClassFigures]:
    """Return the figures of each label, for given and true classes (rows,)."""
    figures = precision_recall_fscore_support(classes, predicted, labels=range(len(LABELS)), zero_division=0)
    return {
        label: ClassFigures(float(precision), float(recall), float(f1), int(reviews))
        for label, precision, recall, f1, reviews in zip(LABELS, *figures, strict=True)
    }
