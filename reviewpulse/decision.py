"""From a model's logits to calibrated probabilities and, apart from them, the label. Plain numpy, for every room."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reviewpulse.card import Decision, Head
from reviewpulse.labels import LABELS

LOWEST_ENTROPY: Final = 0.01
"""As a share of the highest one: surer answers than that are divided by the same temperature."""


class Predictions(NamedTuple):
    """What a model says of some texts."""

    probabilities: npt.NDArray[np.float32]
    """(texts, 5) in label order, calibrated."""
    classes: npt.NDArray[np.int64]
    """(texts,) class index of the label, which need not be the most probable one."""


def decide(logits: npt.NDArray[np.float32], decision: Decision) -> Predictions:
    """Return the predictions for logits (texts, outputs of the head)."""
    log_probabilities = log_probabilities_of(logits, decision)
    probabilities = np.exp(log_probabilities).astype(np.float32)
    if decision.label_by == "logits":
        return Predictions(probabilities, _own_classes(logits, decision.head))
    shares = np.array(decision.class_shares)
    log_shares = np.log(np.where(shares > 0, shares, 1))  # a class that training never saw is not helped
    adjusted = log_probabilities - decision.tau * log_shares  # (texts, 5)
    return Predictions(probabilities, adjusted.argmax(axis=1))


def log_probabilities_of(logits: npt.NDArray[np.float32], decision: Decision) -> npt.NDArray[np.float64]:
    """Return the natural logarithms of the calibrated probabilities, shape (texts, 5).

    >>> even = log_probabilities_of(np.zeros((1, 4), dtype=np.float32), Decision(head="corn"))
    >>> np.exp(even).round(4).tolist()
    [[0.5, 0.25, 0.125, 0.0625, 0.0625]]
    """
    exact = logits.astype(np.float64)
    if decision.head == "softmax":
        temperatures = decision.temperature * entropy_shares(exact) ** decision.entropy_exponent  # (texts, 1)
        return _log_softmax(exact / temperatures + np.array(decision.class_biases))
    scaled = exact / decision.temperature
    nothing = np.zeros((len(scaled), 1))
    is_above, is_not_above = -np.logaddexp(0, -scaled), -np.logaddexp(0, scaled)  # log P, given at least label k
    reached = np.concatenate([nothing, is_above.cumsum(axis=1)], axis=1)  # log P(at least label k)
    return np.asarray(reached + np.concatenate([is_not_above, nothing], axis=1))


def entropy_shares(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the entropy of softmax(logits) as a share of the highest one, at least LOWEST_ENTROPY, (texts, 1).

    >>> entropy_shares(np.array([[0.0, 0, 0, 0, 0], [9, 9, -99, -99, -99], [99, 0, 0, 0, 0]])).round(3).tolist()
    [[1.0], [0.431], [0.01]]
    """
    log_probabilities = _log_softmax(logits)
    entropy = -(np.exp(log_probabilities) * log_probabilities).sum(axis=1, keepdims=True)
    return np.asarray(np.maximum(entropy / np.log(len(LABELS)), LOWEST_ENTROPY))


def _log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


def _own_classes(logits: npt.NDArray[np.float32], head: Head) -> npt.NDArray[np.int64]:
    """Return the classes (texts,) that logits (texts, outputs of the head) stand for as they were trained.

    >>> _own_classes(np.array([[2, 1, -1, 9]], dtype=np.float32), "corn").tolist()  # 0.88, 0.64, 0.17, 0.17
    [2]
    """
    if head == "softmax":
        return np.asarray(logits.argmax(axis=1))
    is_above = -np.logaddexp(0, -logits.astype(np.float64))  # log P(above label k, given at least k)
    return np.asarray((is_above.cumsum(axis=1) > np.log(0.5)).sum(axis=1))


def outputs_of(head: Head) -> int:
    """Return how many logits a head gives for a text.

    >>> outputs_of("softmax"), outputs_of("corn")
    (5, 4)
    """
    return len(LABELS) - 1 if head == "corn" else len(LABELS)
