"""Training from files: reads them, shows how far it is, and leaves a checkpoint folder."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from reviewpulse.card import Card
from reviewpulse.classifier import available_device, silence_transformers
from reviewpulse.errors import TrainingError
from reviewpulse.progress import Progress, RateMeter, Status
from training.calibration import Calibration
from training.corpus import Corpus
from training.fit import Step
from training.objectives import Imbalance
from training.plan import Plan
from training.reading import fill_corpus
from training.resume import SNAPSHOT_SECONDS
from training.split import Side
from training.train import Watching, train
from training.work import Work

log = logging.getLogger(__name__)


class Sources(NamedTuple):
    """Which files a training reads."""

    files: Sequence[Path]
    unlabelled: Sequence[Path] = ()
    """Their stars are not looked at: they are learned from through the teacher."""


def parse_layers(layers: str) -> tuple[int, ...]:
    """Return layer numbers written as `0,2,5`; raises TrainingError on anything else.

    >>> parse_layers("0,2,5"), parse_layers("")
    ((0, 2, 5), ())
    """
    try:
        return tuple(int(layer) for layer in layers.split(",") if layer)
    except ValueError as exc:
        raise TrainingError(f"--layers {layers} is no list of numbers; write for example 0,2,5") from exc


def parse_imbalance(name: str) -> Imbalance:
    """Return the strategy of a name; raises TrainingError that lists the names."""
    try:
        return Imbalance(name)
    except ValueError as exc:
        raise TrainingError(f"--imbalance {name} is none of: {', '.join(Imbalance)}") from exc


def parse_calibration(name: str) -> Calibration:
    """Return the calibration of a name; raises TrainingError that lists the names."""
    try:
        return Calibration(name)
    except ValueError as exc:
        raise TrainingError(f"--calibration {name} is none of: {', '.join(Calibration)}") from exc


def parse_side(name: str) -> Side:
    """Return the side to report on; raises TrainingError for any other than validation and test."""
    if name not in {Side.validation, Side.test}:
        raise TrainingError(f"--side {name} is none of: validation, test")
    return Side(name)


def train_on_files(
    sources: Sources,
    into: Path,
    plan: Plan,
    *,
    now: datetime,
    progress: Progress,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
    device: str = "auto",
) -> Card:
    """Train on the rated reviews of the files, write the checkpoint folder and return its card.

    device is as in WorkerSettings: auto, cpu or cuda.
    Raises ReviewFileError, TrainingError and CheckpointError.
    """
    silence_transformers()
    _refuse_contradictions(sources, plan)
    device = available_device(device)
    log.info("training on %s", device)
    with Work(into) as work, Corpus(work.corpus_file) as corpus:
        fill_corpus(corpus, sources.files, sources.unlabelled, plan.train_only, progress)
        watching = _watching(progress, snapshot_seconds)
        return train(corpus, work, plan, now=now, watching=watching, device=device)


def _refuse_contradictions(sources: Sources, plan: Plan) -> None:
    if not plan.name.isprintable():
        raise TrainingError("the checkpoint's name has signs that cannot be printed; name another by --name")
    if sources.unlabelled and not plan.teacher:
        raise TrainingError("--unlabelled files teach nothing without a --teacher; name one")
    if sources.unlabelled and plan.recipe.imbalance is Imbalance.sampler:
        raise TrainingError("--imbalance sampler draws by class, which --unlabelled reviews lack; choose another")
    if plan.teacher and plan.recipe.imbalance is Imbalance.corn:
        raise TrainingError("--imbalance corn has other outputs than a --teacher; leave one of them out")


def _watching(progress: Progress, snapshot_seconds: float) -> Watching:
    meter, rows = RateMeter(), 0

    def show_step(step: Step) -> None:
        nonlocal rows
        rows += step.rows
        rate = meter.rate_per_second(rows, time.monotonic())
        note = f"epoch {step.epoch}, step {step.number:,}/{step.total:,}, loss {step.loss:.3f}, {rate:.0f} reviews/s"
        progress.show(Status(step.number, step.total, note))

    def show_teacher(done: int, total: int) -> None:
        progress.show(Status(done, total, f"asking the teacher, {done:,} of {total:,} reviews"))

    return Watching(show_step, show_teacher, snapshot_seconds)
