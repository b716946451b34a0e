import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from training.objectives import Imbalance, Objective, class_weights, corn_losses

COUNTS = torch.tensor([10, 10, 10, 10, 60])
LOGITS = torch.tensor([[2.0, 0.0, 0.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.0, 3.0]])
CLASSES = torch.tensor([0, 2])


@pytest.mark.parametrize("strategy", [Imbalance.none, Imbalance.logit_adjustment, Imbalance.sampler])
def test_strategies_that_act_elsewhere_use_plain_cross_entropy(strategy: Imbalance) -> None:
    losses = Objective(strategy, COUNTS).losses(LOGITS, CLASSES, None)

    torch.testing.assert_close(losses, cross_entropy(LOGITS, CLASSES, reduction="none"))


def test_class_weights_are_inverse_to_the_counts_and_one_on_average() -> None:
    weights = class_weights(COUNTS)

    assert float((weights * COUNTS).sum() / COUNTS.sum()) == pytest.approx(1)
    assert float(weights[0] / weights[4]) == pytest.approx(6)
    losses = Objective(Imbalance.class_weights, COUNTS).losses(LOGITS, CLASSES, None)
    torch.testing.assert_close(losses, cross_entropy(LOGITS, CLASSES, reduction="none") * 2)


def test_focal_loss_nearly_forgets_what_is_already_right() -> None:
    losses = Objective(Imbalance.focal, COUNTS).losses(LOGITS, CLASSES, None)

    plain = cross_entropy(LOGITS, CLASSES, reduction="none")
    torch.testing.assert_close(losses, (1 - torch.exp(-plain)) ** 2 * plain)
    assert losses[0] / plain[0] < losses[1] / plain[1]


def test_corn_asks_only_the_ranks_that_a_review_reached() -> None:
    logits = torch.zeros(3, 4, requires_grad=True)

    losses = corn_losses(logits, torch.tensor([0, 2, 4]))
    losses.sum().backward()

    assert losses.tolist() == pytest.approx([math.log(2), 3 * math.log(2), 4 * math.log(2)])
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0.5, 0, 0, 0])
    assert Objective(Imbalance.corn, COUNTS).head == "corn"


def test_a_student_that_answers_as_its_teacher_has_no_loss_by_it() -> None:
    objective = Objective(Imbalance.none, COUNTS, teacher_weight=1.0, teacher_temperature=2.0)

    same = objective.losses(LOGITS, CLASSES, LOGITS + 3)
    other = objective.losses(LOGITS, CLASSES, LOGITS.flip(0))

    torch.testing.assert_close(same, torch.zeros(2), atol=1e-6, rtol=0)
    assert (other > 0.1).all()


def test_an_unlabelled_row_learns_from_the_teacher_alone() -> None:
    objective = Objective(Imbalance.none, COUNTS, teacher_weight=0.25, teacher_temperature=1.0)

    losses = objective.losses(LOGITS, torch.tensor([-1, 2]), LOGITS)

    assert float(losses[0]) == pytest.approx(0, abs=1e-6)
    assert float(losses[1]) == pytest.approx(0.75 * float(cross_entropy(LOGITS, CLASSES, reduction="none")[1]))
