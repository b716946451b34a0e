"""The pictures of an evaluation, drawn without any global state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reviewpulse.labels import LABELS
from training.evaluation.evaluate import MODEL, Outcome
from training.evaluation.metrics import BINS
from training.history import History

_RIGHT, _WRONG, _INK = "#0072b2", "#d55e00", "#444444"  # told apart by colour-blind readers as well
_DPI: Final = 130


def draw_evaluation(outcome: Outcome, history: History | None, folder: Path) -> None:
    """Write confusion.png, confidence.png, reliability.png and, where the history is known, training.png."""
    _confusion(outcome).savefig(folder / "confusion.png", dpi=_DPI)
    _confidence(outcome).savefig(folder / "confidence.png", dpi=_DPI)
    _reliability(outcome).savefig(folder / "reliability.png", dpi=_DPI)
    if history is not None:
        _training(history).savefig(folder / "training.png", dpi=_DPI)


def _confusion(outcome: Outcome) -> Figure:
    counts = np.array(outcome.evaluation.candidates[MODEL].confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(f"What {outcome.evaluation.checkpoint} said of {counts.sum():,} reviews", 6.4, 5.6)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for true, given in np.ndindex(counts.shape):
        colour = "white" if shares[true, given] > 0.6 else "black"
        cell = f"{counts[true, given]:,}"
        if counts[true].any():
            cell += f"\n{shares[true, given]:.0%}"
        axes.text(given, true, cell, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(LABELS)), LABELS, rotation=25, ha="right")
    axes.set_yticks(range(len(LABELS)), LABELS)
    axes.set_xlabel("label given")
    axes.set_ylabel("customer's stars, as label (shares of the row)")
    return figure


def _confidence(outcome: Outcome) -> Figure:
    confidence, is_right = _answers(outcome)
    figure, axes = _figure("How sure it was of the most probable label", 6.4, 4.2)
    edges = np.linspace(0.2, 1, 33)
    axes.hist(
        [confidence[is_right], confidence[~is_right]],
        bins=edges.tolist(),
        stacked=True,
        color=[_RIGHT, _WRONG],
        label=["right", "wrong"],
    )
    axes.set_xlabel("highest probability")
    axes.set_ylabel("reviews")
    axes.legend(frameon=False)
    return figure


def _reliability(outcome: Outcome) -> Figure:
    confidence, is_right = _answers(outcome)
    error = outcome.evaluation.candidates[MODEL].overall["expected_calibration_error"]
    figure, axes = _figure(
        f"Is a confidence the share of right answers? Expected calibration error {error:.3f}", 6.4, 4.8
    )
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    used = [number for number in range(BINS) if (bins == number).any()]
    means = [float(confidence[bins == number].mean()) for number in used]
    rights = [float(is_right[bins == number].mean()) for number in used]
    sizes = [20 + 400 * float((bins == number).mean()) for number in used]
    axes.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle="--", label="perfectly calibrated")
    axes.scatter(
        means, rights, s=sizes, color=_RIGHT, label="reviews of about one confidence; area: how many", zorder=2
    )
    axes.set_xlim(0.15, 1.03)
    axes.set_ylim(-0.03, 1.05)
    axes.set_xlabel("mean highest probability")
    axes.set_ylabel("share of right answers")
    axes.legend(frameon=False, loc="lower right")  # the corner that the diagonal leaves free
    return figure


def _training(history: History) -> Figure:
    figure = Figure(figsize=(9, 4), layout="constrained")
    loss, quality = figure.subplots(1, 2)
    loss.plot(*_columns(history.losses), color=_RIGHT, label="training loss, running mean")
    validated = [(epoch["step"], epoch["log_loss"]) for epoch in history.epochs if "log_loss" in epoch]
    loss.plot(*_columns(validated), color=_WRONG, marker="o", label="log loss on validation, calibrated")
    loss.set_xlabel("step")
    loss.set_ylabel("nats")
    loss.legend(frameon=False)
    for name, colour in (("accuracy", _RIGHT), ("macro_f1", _WRONG)):
        points = [(epoch["epoch"], epoch[name]) for epoch in history.epochs]
        quality.plot(*_columns(points), color=colour, marker="o", label=name.replace("macro_f1", "macro-F1"))
    quality.set_xticks([epoch["epoch"] for epoch in history.epochs])
    quality.set_xlabel("epoch")
    quality.set_ylabel("on validation")
    quality.legend(frameon=False)
    for axes in (loss, quality):
        _plain(axes)
    return figure


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [point[0] for point in points], [point[1] for point in points]


def _answers(outcome: Outcome) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the highest probability of each review and whether its label is right, each (reviews,)."""
    probabilities = outcome.predictions.probabilities
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == outcome.classes


def _figure(title: str, width_inches: float, height_inches: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)  # a checkpoint's name may hold a $
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
