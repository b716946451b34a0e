"""What fitting minimises: the imbalance strategies, and the distance to a teacher."""

from enum import StrEnum
from typing import Final

import torch
from torch.nn import functional

from reviewpulse.card import Head

FOCAL_GAMMA: Final = 2.0
"""Lin et al., Focal Loss for Dense Object Detection (2017): the best of their grid."""


class Imbalance(StrEnum):
    """How training answers to classes that are rare."""

    none = "none"
    class_weights = "class-weights"
    focal = "focal"
    sampler = "sampler"
    logit_adjustment = "logit-adjustment"
    corn = "corn"


def class_weights(counts: torch.Tensor) -> torch.Tensor:
    """Return weights (classes,) inverse to the counts (classes,), 1 on average over the examples; 0 for none.

    >>> class_weights(torch.tensor([1, 3, 0]))
    tensor([1.3333, 0.4444, 0.0000])
    """
    weights = counts.sum() / (len(counts) * counts.clamp(min=1))
    return torch.where(counts > 0, weights, 0.0)


class Objective:
    """The loss of a batch: of its classes by the strategy, and of the teacher's logits where there are any."""

    def __init__(
        self, imbalance: Imbalance, counts: torch.Tensor, teacher_weight: float = 0.7, teacher_temperature: float = 2.0
    ) -> None:
        """counts (classes,) are the examples of each class in the training side."""
        self._imbalance = imbalance
        self._weights = class_weights(counts)  # (classes,)
        self._teacher_weight = teacher_weight
        self._teacher_temperature = teacher_temperature

    @property
    def head(self) -> Head:
        """How the model's logits are to be read."""
        return "corn" if self._imbalance is Imbalance.corn else "softmax"

    def losses(self, logits: torch.Tensor, classes: torch.Tensor, teacher_logits: torch.Tensor | None) -> torch.Tensor:
        """Return the loss of each row, in nats: shape (rows,) for logits (rows, outputs) and classes (rows,).

        A row of class -1 has none: it learns from the teacher's logits (rows, labels) alone.
        """
        is_labelled = classes >= 0
        by_class = torch.where(is_labelled, self._by_class(logits, classes.clamp(min=0)), 0.0)
        if teacher_logits is None:
            return by_class
        by_teacher = _divergence(logits, teacher_logits, self._teacher_temperature)
        weight = torch.where(is_labelled, self._teacher_weight, 1.0)
        return (1 - weight) * by_class + weight * by_teacher

    def _by_class(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        match self._imbalance:
            case Imbalance.class_weights:
                weights = self._weights.to(logits.device, logits.dtype)
                return functional.cross_entropy(logits, classes, weight=weights, reduction="none")
            case Imbalance.focal:
                loss = functional.cross_entropy(logits, classes, reduction="none")
                return (1 - torch.exp(-loss)) ** FOCAL_GAMMA * loss
            case Imbalance.corn:
                return corn_losses(logits, classes)
            case _:
                return functional.cross_entropy(logits, classes, reduction="none")


def corn_losses(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the loss of each row for logits (rows, labels - 1) of 'above k, given above k - 1'.

    Shi, Cao and Raschka, Deep Neural Networks for Rank-Consistent Ordinal Regression (2021).
    """
    ranks = torch.arange(logits.shape[1], device=logits.device)  # (labels - 1,)
    is_above = (classes[:, None] > ranks).to(logits.dtype)  # (rows, labels - 1)
    is_asked = classes[:, None] >= ranks
    losses = functional.binary_cross_entropy_with_logits(logits, is_above, reduction="none")
    return torch.where(is_asked, losses, 0.0).sum(dim=1)


def _divergence(logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the Kullback-Leibler divergence from the teacher for each row, times temperature squared.

    Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network (2015).
    """
    student = functional.log_softmax(logits / temperature, dim=-1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=-1)
    return functional.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1) * temperature**2
