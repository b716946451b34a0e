import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from reviewpulse.card import Decision
from reviewpulse.decision import Predictions, decide, log_probabilities_of
from training.calibration import TAUS, Calibration, calibrated, cross_fitted, with_expected_tau, with_observed_tau
from training.checkpoint import choose_decision
from training.evaluation.bootstrap import macro_f1_difference
from training.evaluation.metrics import (
    ClassFigures,
    chance_calibration_error,
    expected_calibration_error,
    expected_macro_f1,
    macro_f1,
    measure,
    measure_classes,
)
from training.objectives import Imbalance
from training.plan import Plan
from training.recipe import Recipe

CLASSES = np.array([0, 4, 3, 2])


def sure(labels: list[int]) -> Predictions:
    """Return predictions that are certain of these labels."""
    return Predictions(np.eye(5, dtype=np.float32)[labels], np.array(labels))


def test_figures_are_those_of_the_definitions() -> None:
    figures = measure(sure([0, 4, 4, 2]), CLASSES)

    assert figures == pytest.approx(
        {
            "accuracy": 0.75,
            "macro_f1": (1 + 0 + 1 + 0 + 2 / 3) / 5,
            "weighted_f1": (1 + 1 + 0 + 2 / 3) / 4,
            "mae_stars": 0.25,
            "off_by_one_accuracy": 1.0,
            "qwk": 1 - (1 / 16) / 4 / _expected_disagreement([0, 4, 4, 2]),
            "expected_calibration_error": 0.25,
            "log_loss": -np.log(1e-12) / 4,
        }
    )


def _expected_disagreement(labels: list[int]) -> float:
    """Return the mean weight of chance pairs: quadratic, 16 for the far ends."""
    return float(np.mean([(given - true) ** 2 / 16 for given in labels for true in CLASSES]))


@pytest.mark.parametrize("given", [4, 0])
def test_reviews_of_a_single_class_are_measured_without_a_warning(given: int) -> None:
    figures = measure(sure([given] * 9), np.full(9, 4))

    assert (figures["qwk"], figures["accuracy"]) == (0, float(given == 4))


def test_a_label_that_nobody_has_counts_nothing() -> None:
    figures = measure_classes(np.array([0, 0]), np.array([0, 4]))

    assert figures["very negative"] == ClassFigures(precision=0.5, recall=1.0, f1=pytest.approx(2 / 3), reviews=1)
    assert figures["neutral"] == ClassFigures(precision=0, recall=0, f1=0, reviews=0)


def test_calibration_takes_back_what_was_too_sure_and_which_classes_were_favoured() -> None:
    generator = np.random.default_rng(0)
    true_logits = generator.normal(0, 1.5, (4_000, 5))
    classes = np.array([generator.choice(5, p=np.exp(row) / np.exp(row).sum()) for row in true_logits])
    favours = np.array([0.5, 0, 0, -1, 0.5])
    too_sure = (3 * (true_logits + favours)).astype(np.float32)

    decision = calibrated(Decision(), too_sure, classes)

    assert decision.temperature == pytest.approx(3, rel=0.06)
    assert decision.class_biases == pytest.approx(tuple(-favours), abs=0.15)
    assert expected_calibration_error(decide(too_sure, Decision()).probabilities, classes) > 0.1
    assert expected_calibration_error(decide(too_sure, decision).probabilities, classes) < 0.03


def test_calibration_takes_back_what_was_too_sure_of_unsure_answers_alone() -> None:
    generator = np.random.default_rng(0)
    said = generator.normal(0, 2.5, (6_000, 5))
    true = decide(said.astype(np.float32), Decision(temperature=1.8, entropy_exponent=0.6)).probabilities.astype(float)
    classes = np.array([generator.choice(5, p=row / row.sum()) for row in true])
    logits = said.astype(np.float32)

    based = calibrated(Decision(), logits, classes)
    plain = calibrated(Decision(), logits, classes, Calibration.bias_corrected)

    assert (based.temperature, based.entropy_exponent) == pytest.approx((1.8, 0.6), abs=0.1)
    assert plain.entropy_exponent == 0
    errors = [expected_calibration_error(decide(logits, each).probabilities, classes) for each in (based, plain)]
    assert errors[0] < 0.02 < errors[1]


def test_a_temperature_alone_leaves_the_most_probable_class_what_it_was() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1.5, (2_000, 5)).astype(np.float32)
    classes = generator.choice(5, p=[0.1, 0.1, 0.1, 0.1, 0.6], size=2_000)

    decision = calibrated(Decision(), logits, classes, Calibration.temperature)

    assert decision.temperature > 3, "these logits say nothing"
    assert decision.class_biases == (0, 0, 0, 0, 0)
    assert (decide(logits, decision).classes == logits.argmax(axis=1)).all()


def test_chance_makes_a_calibration_error_that_a_calibrated_model_stays_in_and_another_leaves() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet([2, 1, 1, 1, 4], 3_000).astype(np.float32)
    classes = np.array([generator.choice(5, p=row / row.sum()) for row in probabilities.astype(float)])
    too_sure = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)

    chance = chance_calibration_error(probabilities)

    assert 0 < chance.mean < chance.high
    assert expected_calibration_error(probabilities, classes) < chance.high
    assert expected_calibration_error(too_sure, classes) > 2 * chance_calibration_error(too_sure).high


def test_few_reviews_hardly_move_the_biases() -> None:
    decision = calibrated(Decision(), np.zeros((3, 5), dtype=np.float32), np.array([4, 4, 4]))

    assert max(np.abs(decision.class_biases)) < 1.5


def test_few_reviews_hardly_move_the_exponent() -> None:
    sure_and_right_or_unsure_and_wrong = np.array([[0, 0, 0, 0, 6], [0, 0, 0, 0, 1.5], [9, 0, 0, 0, 0]], np.float32)

    decision = calibrated(Decision(), sure_and_right_or_unsure_and_wrong, np.array([4, 0, 0]))

    assert 0 < decision.entropy_exponent < 0.5


def test_corn_is_calibrated_by_a_temperature_alone() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1, (2_000, 4))
    chances = np.exp(log_probabilities_of(logits.astype(np.float32), Decision(head="corn")))
    classes = np.array([generator.choice(5, p=row / row.sum()) for row in chances])

    decision = calibrated(Decision(head="corn"), (2 * logits).astype(np.float32), classes)

    assert decision.temperature == pytest.approx(2, rel=0.1)
    assert (decision.entropy_exponent, decision.class_biases) == (0, (0, 0, 0, 0, 0))


def drawn_rows(rows: int) -> tuple[Decision, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return a decision and logits that are calibrated for a rare class and a common one, and classes as they say."""
    generator = np.random.default_rng(0)
    chances = np.zeros((rows, 5))
    chances[:, 0] = generator.beta(0.4, 2, rows)
    chances[:, 4] = 1 - chances[:, 0]
    classes = np.where(generator.random(rows) < chances[:, 0], 0, 4)
    return Decision(class_shares=(0.15, 0.0, 0.0, 0.0, 0.85)), np.log(chances + 1e-9).astype(np.float32), classes


def test_the_expected_macro_f1_is_what_many_rows_show() -> None:
    decision, logits, classes = drawn_rows(50_000)

    for tau in (0.0, 0.4, 0.9):
        predictions = decide(logits, msgspec.structs.replace(decision, tau=tau))
        assert expected_macro_f1(predictions) == pytest.approx(macro_f1(predictions.classes, classes), abs=0.005)


def test_tau_is_the_one_of_the_best_macro_f1_even_where_few_rows_show_another() -> None:
    decision, logits, classes = drawn_rows(50_000)
    by_tau = {
        tau: macro_f1(decide(logits, msgspec.structs.replace(decision, tau=tau)).classes, classes) for tau in TAUS
    }
    best = with_expected_tau(decision, logits)

    assert 0 < best.tau < max(TAUS)
    assert by_tau[best.tau] == pytest.approx(max(by_tau.values()), abs=0.002)
    assert with_expected_tau(decision, logits[:1_000]).tau == pytest.approx(best.tau, abs=0.11)
    assert with_observed_tau(decision, logits[:1_000], classes[:1_000]).tau == pytest.approx(best.tau + 0.2)


def test_without_biases_tau_is_chosen_by_the_classes_that_are_there() -> None:
    decision, logits, classes = drawn_rows(20_000)
    shifted = logits + np.array([2.0, 0, 0, 0, 0], dtype=np.float32)  # as if the rare class were common
    plan = Plan(name="mine", calibration=Calibration.temperature)

    chosen = choose_decision(plan, decision, shifted, classes)

    assert with_expected_tau(decision, shifted).tau > chosen.tau
    assert chosen.tau == with_observed_tau(chosen, shifted, classes).tau


@pytest.mark.parametrize("imbalance", list(Imbalance))
def test_calibration_never_undoes_a_strategy_that_acts_in_training(imbalance: Imbalance) -> None:
    generator = np.random.default_rng(0)
    classes = generator.choice(5, 2_000, p=[0.1, 0.05, 0.05, 0.2, 0.6])
    evidence = generator.normal(0, 1, (2_000, 5)) + 1.5 * np.eye(5)[classes]  # as of a model that saw all equally often
    logits = (2 * evidence).astype(np.float32)
    plan = Plan(name="mine", recipe=Recipe(imbalance=imbalance))
    if imbalance is Imbalance.corn:
        logits = logits[:, 1:]

    decision = choose_decision(plan, Decision(head="corn" if logits.shape[1] == 4 else "softmax"), logits, classes)

    is_adjusted = imbalance is Imbalance.logit_adjustment
    assert decision.label_by == ("probabilities" if is_adjusted else "logits")
    if not is_adjusted and imbalance is not Imbalance.corn:
        assert decide(logits, decision).classes.tolist() == logits.argmax(axis=1).tolist()
        assert max(np.abs(decision.class_biases)) > 1  # the calibrated probabilities have the natural shares


def test_confidences_as_high_as_the_share_of_right_answers_have_no_calibration_error() -> None:
    probabilities = np.array([[0.5, 0.5, 0, 0, 0]] * 4, dtype=np.float32)

    assert expected_calibration_error(probabilities, np.array([0, 0, 1, 1])) == pytest.approx(0)
    assert expected_calibration_error(probabilities, np.array([1, 1, 1, 1])) == pytest.approx(0.5)


def test_a_difference_beyond_chance_has_an_interval_that_leaves_out_zero() -> None:
    generator = np.random.default_rng(0)
    classes = generator.integers(0, 5, 1_000)
    good, bad = (np.where(generator.random(1_000) < right, classes, 4 - classes) for right in (0.9, 0.6))

    difference, same = macro_f1_difference(bad, good, classes), macro_f1_difference(bad, bad, classes)

    assert difference.low < difference.macro_f1 < difference.high < 0
    assert difference.is_loss
    assert not same.is_loss
    flipped = macro_f1_difference(good, bad, classes)
    assert (flipped.macro_f1, flipped.low, flipped.high) == pytest.approx(
        (-difference.macro_f1, -difference.high, -difference.low), abs=1e-5
    )


def test_several_seeds_are_compared_by_their_means() -> None:
    classes = np.array([0, 1, 2, 3, 4] * 50)
    right, wrong = classes, (classes + 1) % 5

    difference = macro_f1_difference(np.stack([right, wrong]), np.stack([wrong, wrong]), classes)

    assert difference.macro_f1 == pytest.approx(0.5)


def test_each_fifth_is_decided_by_what_the_other_four_choose() -> None:
    logits = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4] * 4] * 3
    classes = np.arange(20) % 5
    chosen_on = list[list[int]]()

    def choose(others: npt.NDArray[np.float32], classes_of_others: npt.NDArray[np.int64]) -> Decision:
        chosen_on.append(sorted(set(classes_of_others.tolist())))
        assert len(others) == len(classes_of_others) == 16
        return Decision(temperature=1.0 + len(chosen_on))

    predictions = cross_fitted(logits, classes, choose)

    assert chosen_on == [[1, 2, 3, 4], [0, 2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3]]
    assert predictions.classes.tolist() == classes.tolist()
    for row in range(5):  # the rows of a fold, in the order given
        alone = decide(logits[[row]], Decision(temperature=2.0 + row)).probabilities
        np.testing.assert_allclose(predictions.probabilities[row::5], np.repeat(alone, 4, axis=0))
