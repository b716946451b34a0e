"""An evaluation as text for people: one table of candidates, one of labels, one of categories."""

from collections.abc import Iterable, Sequence

from training.evaluation.baselines import MAJORITY
from training.evaluation.evaluate import MODEL, Evaluation

COLUMNS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "mae_stars": "MAE stars",
    "off_by_one_accuracy": "off by <= 1",
    "qwk": "QWK",
    "expected_calibration_error": "ECE",
}


def text_report(evaluation: Evaluation) -> str:
    """Return what metrics.txt holds and the command prints."""
    parts = [_heading(evaluation), _candidates(evaluation), _labels(evaluation), _categories(evaluation)]
    return "\n\n".join(parts) + "\n"


def _heading(evaluation: Evaluation) -> str:
    lines = [
        f"checkpoint {evaluation.checkpoint}, version {evaluation.version}, on {evaluation.reviews:,} reviews of "
        f"{', '.join(evaluation.files)}",
        f"left out: {evaluation.left_out_training:,} that its training knew (the text or the customer), "
        f"{evaluation.left_out_validation:,} that its validation knew, {evaluation.left_out_train_only or 0:,} for "
        f"training only, {evaluation.left_out_repeats or 0:,} repeats of an earlier text",
        f"weights of {evaluation.weights_bytes / 1e6:.1f} MB; speed on {evaluation.processor}, {evaluation.device}, "
        f"{evaluation.threads} threads",
    ]
    lines += [
        f"macro-F1 {above.macro_f1:+.3f} against {name} (95 % interval {above.low:+.3f} to {above.high:+.3f})"
        f"{_handicap(evaluation) if name != MAJORITY else ''}"
        for name, above in evaluation.above.items()
    ]
    if chance := evaluation.chance_calibration_error:
        lines.append(
            f"ECE {evaluation.candidates[MODEL].overall['expected_calibration_error']:.3f}, where so many reviews of a "
            f"perfectly calibrated model show {chance.mean:.3f} (95 of 100 times below {chance.high:.3f})"
        )
    if (plain := _without_star_titles(evaluation)) is not None:
        lines.append(plain)
    if evaluation.baseline_reviews:
        lines.append(f"TF-IDF was trained on {evaluation.baseline_reviews:,} reviews of the checkpoint's training")
    else:
        lines.append(
            "no TF-IDF baseline: these files hold hardly any review that the checkpoint was trained on; "
            "name the files of its training by --training-files"
        )
    return "\n".join(lines)


def _handicap(evaluation: Evaluation) -> str:
    """Return that the baseline learned from much less than the checkpoint, where it did."""
    learned, known = evaluation.baseline_reviews, evaluation.training_reviews or 0
    return f", which learned from only {learned:,} of the checkpoint's {known:,} reviews" * (2 * learned < known)


def _without_star_titles(evaluation: Evaluation) -> str | None:
    """Return the macro-F1 where no title gives the stars away; None where there is no such title, or nothing else."""
    plain = {name: figures.without_star_titles for name, figures in evaluation.candidates.items()}
    shown = [f"{name} {figures['macro_f1']:.3f}" for name, figures in plain.items() if figures]
    if not shown:
        return None
    return (
        f"macro-F1 without the {evaluation.star_title_reviews:,} reviews whose title says nothing but the stars "
        f"('Five Stars'): {', '.join(shown)}"
    )


def _candidates(evaluation: Evaluation) -> str:
    rows = [
        [
            name,
            *(f"{evaluation.candidates[name].overall[key]:.3f}" for key in COLUMNS),
            _rate(evaluation.candidates[name].reviews_per_second),
        ]
        for name in evaluation.candidates
    ]
    return _table(["", *COLUMNS.values(), "reviews/s"], rows)


def _rate(reviews_per_second: float | None) -> str:
    return "" if reviews_per_second is None else f"{reviews_per_second:,.0f}"


def _labels(evaluation: Evaluation) -> str:
    rows = [
        [label, f"{figures.precision:.3f}", f"{figures.recall:.3f}", f"{figures.f1:.3f}", f"{figures.reviews:,}"]
        for label, figures in evaluation.candidates[MODEL].classes.items()
    ]
    return _table(["label", "precision", "recall", "F1", "reviews"], rows)


def _categories(evaluation: Evaluation) -> str:
    rivals = [name for name in evaluation.candidates if name != MODEL]
    header = ["category", "reviews", "accuracy", "macro-F1", "MAE stars", *(f"macro-F1 of {name}" for name in rivals)]
    rows = []
    for category, figures in evaluation.candidates[MODEL].categories.items():
        others = (evaluation.candidates[name].categories[category]["macro_f1"] for name in rivals)
        shown = (figures["accuracy"], figures["macro_f1"], figures["mae_stars"], *others)
        rows.append([category, f"{figures['reviews']:,.0f}", *(f"{value:.3f}" for value in shown)])
    return _table(header, rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return columns in step: the first to the left, the others to the right.

    >>> print(_table(["", "F1"], [["mine", "0.5"]]))
          F1
    mine 0.5
    """
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        " ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )
