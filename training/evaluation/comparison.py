"""The A/B test of imbalance strategies and bases: the same reviews, several seeds, one table."""

import contextlib
import itertools
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from reviewpulse.card import read_card
from reviewpulse.classifier import SentimentClassifier
from reviewpulse.decision import Predictions, decide
from reviewpulse.errors import TrainingError
from reviewpulse.progress import Progress
from reviewpulse.visible import visible_line
from training.calibration import cross_fitted
from training.checkpoint import choose_decision
from training.command import Sources, train_on_files
from training.corpus import Corpus
from training.evaluation.bootstrap import Difference, macro_f1_difference
from training.evaluation.metrics import measure
from training.evaluation.slices import LONGEST_NAME
from training.objectives import Imbalance
from training.plan import Plan
from training.reading import fill_corpus
from training.split import Side
from training.train import refuse_unfit_base

log = logging.getLogger(__name__)

FIGURES = ("macro_f1", "weighted_f1", "accuracy", "mae_stars", "qwk", "expected_calibration_error")


class Contestant(NamedTuple):
    """What is compared: each is trained once for every seed."""

    base: str
    imbalance: Imbalance

    def __str__(self) -> str:
        return f"{Path(self.base).name}, {self.imbalance}"


class Standing(msgspec.Struct, frozen=True):
    """How a contestant did over its seeds."""

    base: str
    imbalance: Imbalance
    means: dict[str, float]
    deviations: dict[str, float]
    """Standard deviation over the seeds, of the sample."""
    seeds: dict[str, dict[str, float]]
    """The figures of each seed."""
    against_best: Difference | None
    """Macro-F1 less that of the best, by bootstrap over the reviews with the seeds paired; None for the best."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What comparison.json holds, the best macro-F1 first."""

    compared_at: str
    files: list[str]
    side: Side
    reviews: int
    seeds: list[int]
    plan: Plan
    """What all have in common."""
    standings: list[Standing]


def compare(
    sources: Sources,
    into: Path,
    plan: Plan,
    contestants: Sequence[Contestant],
    seeds: Sequence[int],
    *,
    side: Side,
    now: datetime,
    progress: Progress,
    device: str = "auto",
) -> Comparison:
    """Train every contestant with every seed, and return how they did on that side's reviews.

    A checkpoint that lies in the folder already is taken as it is, so a killed comparison goes on.
    The split is the same for all. Raises TrainingError for contestants that cannot be told apart and for a
    checkpoint there that was trained otherwise, and what training raises; an unfit base is known before the first.
    """
    _refuse_alike(contestants)
    for base in dict.fromkeys(contestant.base for contestant in contestants):
        refuse_unfit_base(msgspec.structs.replace(plan, base=base))  # the last of them before hours of training
    answers: dict[Contestant, list[Predictions]] = {}
    with _split_corpus(sources, plan, progress) as corpus:
        data_sha256, texts, classes = corpus.sha256(), list(corpus.texts(side)), corpus.classes(side)
    for number, (contestant, seed) in enumerate(itertools.product(contestants, seeds), start=1):
        own_plan = _plan_of(plan, contestant, seed)
        folder = into / own_plan.name
        log.info("%d of %d: %s, seed %d", number, len(contestants) * len(seeds), contestant, seed)
        if not folder.exists():
            train_on_files(sources, folder, own_plan, now=now, progress=progress, device=device)
        _refuse_trained_otherwise(folder, own_plan, data_sha256)
        predictions = _answers(SentimentClassifier.load(folder, device), own_plan, texts, classes, side)
        answers.setdefault(contestant, []).append(predictions)
    return Comparison(
        compared_at=now.isoformat(timespec="seconds"),
        files=[path.name for path in sources.files],
        side=side,
        reviews=len(classes),
        seeds=list(seeds),
        plan=plan,
        standings=_standings(answers, classes, seeds),
    )


def table(comparison: Comparison) -> str:
    """Return the comparison as a Markdown table."""
    header = "| base | imbalance | " + " | ".join(FIGURES) + " | macro_f1 against the best |"
    lines = [header, "|" + "---|" * (len(FIGURES) + 3)]
    for standing in comparison.standings:
        figures = (f"{standing.means[name]:.3f} ± {standing.deviations[name]:.3f}" for name in FIGURES)
        lines.append(
            f"| {visible_line(standing.base, LONGEST_NAME)} | {standing.imbalance} | {' | '.join(figures)} "
            f"| {_against(standing.against_best)} |"
        )
    return "\n".join(lines) + "\n"


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write comparison.json and comparison.md into the folder; raises TrainingError when the disk has no room."""
    packed = msgspec.json.format(msgspec.json.encode(comparison), indent=2)
    try:
        (folder / "comparison.json").write_bytes(packed + b"\n")
        (folder / "comparison.md").write_text(table(comparison))
    except OSError as exc:
        raise TrainingError(
            f"cannot write the table into {folder} ({exc}); make room and run the same command again: "
            "the trainings are kept"
        ) from exc


def _against(difference: Difference | None) -> str:
    if difference is None:
        return "the best"
    return f"{difference.macro_f1:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


@contextlib.contextmanager
def _split_corpus(sources: Sources, plan: Plan, progress: Progress) -> Iterator[Corpus]:
    """Give the sources' reviews on the sides where every training of the plan has them."""
    with tempfile.TemporaryDirectory() as folder, Corpus(Path(folder) / "corpus.db") as corpus:
        fill_corpus(corpus, sources.files, sources.unlabelled, plan.train_only, progress)
        corpus.split(plan.split)
        yield corpus


def _refuse_alike(contestants: Sequence[Contestant]) -> None:
    names = [str(contestant) for contestant in contestants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrainingError(f"compared twice: {'; '.join(twice)}; give each base (by its last name) and strategy once")


def _refuse_trained_otherwise(folder: Path, plan: Plan, data_sha256: str) -> None:
    card = read_card(folder)
    try:
        is_alike = (msgspec.convert(card.plan, Plan), card.data_sha256) == (plan, data_sha256)
    except msgspec.ValidationError:  # options of another version
        is_alike = False
    if not is_alike:
        raise TrainingError(f"{folder} was trained with other options or on other reviews; name another --into")


def _plan_of(plan: Plan, contestant: Contestant, seed: int) -> Plan:
    name = f"{Path(contestant.base).name}-{contestant.imbalance}-seed{seed}"
    recipe = msgspec.structs.replace(plan.recipe, imbalance=contestant.imbalance, seed=seed)
    return msgspec.structs.replace(plan, name=name, base=contestant.base, recipe=recipe)


def _answers(
    classifier: SentimentClassifier, plan: Plan, texts: Sequence[str], classes: npt.NDArray[np.int64], side: Side
) -> Predictions:
    """Return a checkpoint's predictions for texts (reviews,); on validation none is judged by what it chose.

    The checkpoint's own temperature and tau were chosen on all of the validation: there, each fifth of the
    reviews is decided by what the other four fifths choose (cross-fitting).
    """
    logits = classifier.logits(texts)
    if side is not Side.validation:
        return decide(logits, classifier.card.decision)
    return cross_fitted(logits, classes, lambda *others: choose_decision(plan, classifier.card.decision, *others))


def _standings(
    answers: dict[Contestant, list[Predictions]], classes: npt.NDArray[np.int64], seeds: Sequence[int]
) -> list[Standing]:
    measured = {contestant: [measure(one, classes) for one in given] for contestant, given in answers.items()}
    ranked = sorted(measured, key=lambda contestant: -_mean(measured[contestant], "macro_f1"))
    return [
        Standing(
            base=Path(contestant.base).name,
            imbalance=contestant.imbalance,
            means={name: _mean(measured[contestant], name) for name in FIGURES},
            deviations={name: _deviation(measured[contestant], name) for name in FIGURES},
            seeds={str(seed): figures for seed, figures in zip(seeds, measured[contestant], strict=True)},
            against_best=_difference(answers[contestant], answers[ranked[0]], classes) if place else None,
        )
        for place, contestant in enumerate(ranked)
    ]


def _difference(
    given: Sequence[Predictions], best: Sequence[Predictions], classes: npt.NDArray[np.int64]
) -> Difference:
    ours, theirs = (np.stack([one.classes for one in side]) for side in (given, best))
    return macro_f1_difference(ours, theirs, classes)


def _mean(figures: Iterable[dict[str, float]], name: str) -> float:
    return float(np.mean([each[name] for each in figures]))


def _deviation(figures: Sequence[dict[str, float]], name: str) -> float:
    return float(np.std([each[name] for each in figures], ddof=1)) if len(figures) > 1 else 0.0
