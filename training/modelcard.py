"""A checkpoint's README.md, made from its card."""

from pathlib import Path
from typing import Final

from reviewpulse.card import Card, Decision, Recalibration
from reviewpulse.labels import LABELS

_FIGURES: Final = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "mae_stars": "mean absolute error in stars",
    "off_by_one_accuracy": "at most one star off",
    "qwk": "quadratic weighted kappa",
    "expected_calibration_error": "expected calibration error",
    "log_loss": "log loss in nats",
}


def write_model_card(folder: Path, card: Card) -> None:
    """Write README.md into the folder."""
    (folder / "README.md").write_text(model_card(card, (folder / "model.safetensors").stat().st_size))


def model_card(card: Card, weights_bytes: int) -> str:
    """Return the model card as Markdown."""
    figures = "\n".join(f"| {_FIGURES.get(name, name)} | {value:.3f} |" for name, value in card.metrics.items())
    shares = ", ".join(f"{label} {share:.1%}" for label, share in zip(LABELS, card.decision.class_shares, strict=True))
    unlabelled = f" and {card.unlabelled_reviews:,} without stars, through its teacher" * bool(card.unlabelled_reviews)
    teacher = f"- **Learned from:** the answers of the checkpoint {card.teacher}, beside the stars.\n" * bool(
        card.teacher
    )
    options = ", ".join(_options(card.plan))
    decision = card.decision
    biases = ", and " + ", ".join(f"{bias:g}" for bias in decision.class_biases) + " are added"
    exponent = f"{decision.entropy_exponent:g}"
    times = f" times (H / ln 5)^{exponent}, H being the entropy of their softmax" * bool(decision.entropy_exponent)
    anew = _recalibration(card.recalibration)
    return f"""# Checkpoint `{card.name}`, version {card.version}

Scores a product review as {", ".join(LABELS[:-1])} or {LABELS[-1]} (1 to 5 stars).

- **What it is:** an encoder made from the base `{card.base}`; weights of {weights_bytes / 1e6:.1f} MB in float16.
  It reads the first {card.max_tokens} tokens of title and text.
- **Made from:** {card.training_reviews:,} reviews with stars{unlabelled}. Their classes: {shares}.
  No review is part of the checkpoint; `seen.safetensors` holds eight bytes of a hash for each text and customer, so
  that an evaluation can leave them out. `data_sha256` in card.json stands for all texts and stars that were read.
{teacher}- **Made by:** `reviewpulse train` of commit {card.git_commit or "unknown"}, with {options}.
{anew}- **Probabilities and label:** logits are divided by the temperature
  {decision.temperature:g}{times}{biases * any(decision.class_biases)}.
  {_label_rule(decision)}.
- **Not for:** languages that it was not trained on, sarcasm, decisions about persons.

On the reviews set apart for validation, which also chose the epoch and the decision: expect a little less on
others, and run `reviewpulse evaluate` on reviews it never saw.

| | |
|---|---|
{figures}
"""


def _recalibration(recalibration: Recalibration | None) -> str:
    """Return the line that says how the decision was chosen anew, or nothing."""
    if recalibration is None:
        return ""
    return (
        f"- **Calibrated anew:** {recalibration.calibration}, by `scripts/recalibrate.py` of commit "
        f"{recalibration.git_commit or 'unknown'}; the weights are those of version {recalibration.from_version}.\n"
    )


def _label_rule(decision: Decision) -> str:
    """Return how the label is found, in a sentence without its end."""
    if decision.label_by == "probabilities" and decision.tau == 0:
        return "The label is the most probable one"
    if decision.label_by == "probabilities":
        tau = f"{decision.tau:g} times the log of its class's share"
        return f"The label is the one of the highest log-probability less {tau}: not always the most probable"
    if decision.head == "corn":
        return "The label is the highest one reached with more than even chances, before the temperature"
    return "The label is the one of the highest logit, before that: not always the most probable"


def _options(plan: dict[str, object]) -> list[str]:
    """Return `name value` of every option that says something."""
    options = []
    for name, value in plan.items():
        if isinstance(value, dict):
            options += [f"{name} {option}" if name == "split" else option for option in _options(value)]
        elif value not in (None, [], (), ""):
            options.append(f"{name} {value}")
    return options
