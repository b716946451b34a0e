from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from reviewpulse.decision import Predictions
from training.evaluation.evaluate import MODEL, Evaluation, Outcome
from training.evaluation.figures import _confusion, _reliability, _training
from training.evaluation.metrics import ChanceError
from training.evaluation.slices import Figures
from training.history import History


@pytest.fixture
def outcome() -> Outcome:
    """Return an evaluation of two reviews of five stars, one of them taken for one star."""
    confusion = np.zeros((5, 5), dtype=int)
    confusion[4, [0, 4]] = 1
    figures = Figures({"expected_calibration_error": 0.5}, {}, confusion.tolist(), {}, None)
    fields: dict[str, Any] = {"checkpoint": "mine", "version": "1", "evaluated_at": "", "files": [], "reviews": 2}
    fields |= {"reviews_sha256": "", "left_out_training": 0, "left_out_validation": 0, "baseline_reviews": 0}
    fields |= {"candidates": {MODEL: figures}, "above": {}, "weights_bytes": 0, "device": "cpu", "processor": ""}
    evaluation = Evaluation(**fields, threads=1, chance_calibration_error=ChanceError(0.1, 0.2))
    given = np.array([0, 4])
    return Outcome(evaluation, np.array([4, 4]), Predictions(np.eye(5, dtype=np.float32)[given], given))


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_class_without_reviews_has_no_shares(outcome: Outcome) -> None:
    cells = texts_of(_confusion(outcome))

    assert cells[:5] == ["0"] * 5
    assert cells[20:] == ["1\n50%", "0\n0%", "0\n0%", "0\n0%", "1\n50%"]


def test_bins_that_are_always_wrong_stand_whole_above_the_axis(outcome: Outcome) -> None:
    assert _reliability(outcome).axes[0].get_ylim()[0] == -0.03


def test_the_loss_on_validation_stands_beside_that_of_training() -> None:
    epochs = [{"epoch": 1, "step": 40, "accuracy": 0.5, "macro_f1": 0.3, "log_loss": 0.9}]

    lines = _training(History([(20, 1.2), (40, 1.0)], epochs)).axes[0].lines

    assert [line.get_xydata().tolist() for line in lines] == [[[20, 1.2], [40, 1.0]], [[40, 0.9]]]
