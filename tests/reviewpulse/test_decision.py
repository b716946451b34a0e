import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from reviewpulse.card import Decision
from reviewpulse.decision import decide
from training.objectives import corn_losses

LOGITS = np.array([[-2.0, -2.0, -2.0, 1.0, 1.5], [3.0, 0.0, 0.0, 0.0, 0.0]], dtype=np.float32)
MANY_FIVES = (0.1, 0.05, 0.05, 0.2, 0.6)


def test_without_adjustment_the_label_is_the_most_probable_one() -> None:
    predictions = decide(LOGITS, Decision(class_shares=MANY_FIVES))

    assert predictions.classes.tolist() == [4, 0]
    np.testing.assert_allclose(predictions.probabilities, torch.tensor(LOGITS).softmax(dim=-1).numpy(), rtol=1e-5)


def test_tau_moves_labels_towards_rare_classes_and_leaves_the_probabilities_alone() -> None:
    plain, adjusted = (decide(LOGITS, Decision(tau=tau, class_shares=MANY_FIVES)) for tau in (0.0, 1.0))

    assert adjusted.classes.tolist() == [3, 0]
    np.testing.assert_array_equal(adjusted.probabilities, plain.probabilities)


def test_a_class_that_training_never_saw_is_not_helped() -> None:
    assert decide(LOGITS, Decision(tau=1.5, class_shares=(0.5, 0.0, 0.0, 0.0, 0.5))).classes.tolist() == [4, 0]


def test_a_temperature_above_one_makes_less_sure_and_keeps_the_label() -> None:
    sharp, soft = (decide(LOGITS, Decision(temperature=temperature)) for temperature in (1.0, 2.0))

    assert (soft.probabilities.max(axis=1) < sharp.probabilities.max(axis=1)).all()
    assert soft.classes.tolist() == sharp.classes.tolist()


def test_an_exponent_of_the_entropy_makes_sure_answers_surer_and_unsure_ones_less_sure() -> None:
    logits = np.array([[0.0, 0, 0, 0, 9], [0.0, 0, 1, 0, 1.2]], dtype=np.float32)

    plain, spread = (decide(logits, Decision(temperature=1.3, entropy_exponent=exponent)) for exponent in (0.0, 0.3))

    assert spread.probabilities[0].max() > plain.probabilities[0].max()
    assert (
        spread.probabilities[1].max() > plain.probabilities[1].max()
    )  # any entropy but the highest is a share below 1
    unsure = decide(logits, Decision(temperature=1.6, entropy_exponent=0.3))
    assert unsure.probabilities[0].max() > plain.probabilities[0].max()
    assert unsure.probabilities[1].max() < plain.probabilities[1].max()
    assert spread.classes.tolist() == unsure.classes.tolist() == plain.classes.tolist()


def test_an_answer_without_a_doubt_has_finite_probabilities() -> None:
    certain = np.array([[900.0, 0, 0, 0, -900]], dtype=np.float32)

    for exponent in (-1.0, 1.0):
        (probabilities,) = decide(certain, Decision(entropy_exponent=exponent)).probabilities
        assert probabilities.sum() == pytest.approx(1)
        assert probabilities[0] > 0.99


def test_a_label_by_logits_keeps_what_training_did_for_rare_classes_and_the_probabilities_are_calibrated() -> None:
    restored = Decision(temperature=2.0, class_biases=(0, 0, 0, 0, 3.0), class_shares=MANY_FIVES)
    weighted = np.array([[0.0, 0.0, 2.0, 0.0, 1.0]], dtype=np.float32)

    by_probabilities, by_logits = (
        decide(weighted, msgspec.structs.replace(restored, label_by=rule)) for rule in ("probabilities", "logits")
    )

    assert (by_probabilities.classes.tolist(), by_logits.classes.tolist()) == ([4], [2])
    np.testing.assert_array_equal(by_logits.probabilities, by_probabilities.probabilities)


def test_corn_labels_by_the_ranks_that_are_passed_with_more_than_even_chances() -> None:
    chances = np.array([[0.9, 0.8, 0.6, 0.9], [0.6, 0.9, 0.9, 0.9], [0.4, 0.9, 0.9, 0.9]])
    logits = np.log(chances / (1 - chances)).astype(np.float32)  # above at all: 0.9, 0.72, 0.43; 0.6, 0.54, 0.49; 0.4

    decision = Decision(head="corn", label_by="logits")

    assert decide(logits, decision).classes.tolist() == [2, 2, 0]
    assert decide(logits, msgspec.structs.replace(decision, temperature=9.0)).classes.tolist() == [2, 2, 0]
    assert decide(logits, Decision(head="corn")).classes.tolist() == [4, 4, 0]  # the most probable


@given(
    arrays.arrays(np.float32, (3, 4), elements=st.floats(-60, 60, width=32)),
    st.floats(0.1, 10),
)
def test_corn_gives_probabilities_that_add_up_to_one(logits: np.ndarray, temperature: float) -> None:
    predictions = decide(logits, Decision(head="corn", temperature=temperature))

    assert predictions.probabilities.shape == (3, 5)
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("label", range(5))
def test_corn_probabilities_are_what_its_loss_is_the_logarithm_of(label: int) -> None:
    logits = np.array([[1.0, -0.5, 0.25, 2.0]], dtype=np.float32)

    loss = float(corn_losses(torch.tensor(logits), torch.tensor([label])))

    assert loss == pytest.approx(-np.log(decide(logits, Decision(head="corn")).probabilities[0, label]), rel=1e-5)
