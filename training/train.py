"""From a corpus to a checkpoint folder."""

import itertools
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from reviewpulse.card import Card, Decision, checkpoint_sha256, find_checkpoint
from reviewpulse.classifier import SentimentClassifier, pad
from reviewpulse.decision import decide, outputs_of
from reviewpulse.errors import TrainingError
from reviewpulse.labels import LABELS
from training.base import Base, load_base
from training.batches import Examples
from training.checkpoint import choose_decision, finish, first_card
from training.corpus import Account, Corpus
from training.cutting import (
    keep_layers,
    keep_neurons,
    keep_words,
    refuse_uncuttable_words,
    set_dropout,
    train_upper_layers,
)
from training.evaluation.metrics import measure
from training.fit import Fitting, Step, autocast
from training.objectives import Objective
from training.plan import Plan
from training.recipe import Recipe
from training.resume import SNAPSHOT_SECONDS, Snapshots
from training.seen import SEEN_FILE
from training.split import Side
from training.teacher import answers_file, refuse_leak, teacher_logits
from training.tokens import Tokens
from training.work import Work

log = logging.getLogger(__name__)

NEURON_TEXTS = 500
"""Texts that say which feed-forward neurons matter."""

TIE_WEIGHT = 1e-7
"""Of the log loss in an epoch's quality: too little to matter but between equals."""

FEW_REVIEWS = 300
"""Fewer reviews to choose on are warned of: macro-F1 then moves by some 0.03 by chance."""


class Watching(NamedTuple):
    """Who is told how far training is, and how often it is kept for a restart."""

    on_step: Callable[[Step], None] = lambda _step: None
    on_teacher_texts: Callable[[int, int], None] = lambda _done, _total: None
    snapshot_seconds: float = SNAPSHOT_SECONDS


def train(corpus: Corpus, work: Work, plan: Plan, *, now: datetime, watching: Watching, device: str) -> Card:
    """Fine-tune on the corpus's training side, write the checkpoint folder and return its card.

    Goes on where a killed run of the same plan on the same reviews stopped. The folder appears only
    when it is whole. device is cpu or cuda, for the teacher and the calibration as well. Raises
    TrainingError when the reviews cannot be trained on, CheckpointError when the teacher cannot be used.
    """
    corpus.split(plan.split)
    _refuse_unusable(corpus)
    teacher = find_checkpoint(plan.teacher) if plan.teacher else None
    work.claim(plan, corpus.sha256(), checkpoint_sha256(teacher) if teacher else None)
    known = [refuse_leak(origin, corpus) for origin in (teacher, _checkpoint_base(plan)) if origin]
    torch.manual_seed(plan.recipe.seed)
    examples, classes = corpus.classes(Side.training, with_unlabelled=True), corpus.classes(Side.training)
    counts = np.bincount(classes, minlength=len(LABELS))
    objective = _objective(plan.recipe, counts)
    base = _prepared_base(plan, corpus, outputs_of(objective.head))
    answers = _teacher_logits(teacher, corpus, work, watching, device) if teacher else None
    tokens = Tokens.of_texts(base.tokenizer, corpus.texts(Side.training, with_unlabelled=True), plan.max_tokens)
    shares = tuple((counts / counts.sum()).round(6).tolist())
    card = first_card(plan, now, Decision(head=objective.head, class_shares=shares))
    classifier = SentimentClassifier(base.model, base.tokenizer, card, device)
    snapshots = Snapshots(work.folder, watching.snapshot_seconds)
    fitting = Fitting(base.model, Examples(tokens, examples, answers), objective, plan.recipe, snapshots)
    position = fitting.run(lambda _model: _validate(classifier, corpus, plan), watching.on_step)
    return finish(classifier, corpus, work, plan, position, known)


def _objective(recipe: Recipe, counts: npt.NDArray[np.int64]) -> Objective:
    return Objective(recipe.imbalance, torch.from_numpy(counts), recipe.teacher_weight, recipe.teacher_temperature)


def _validate(classifier: SentimentClassifier, corpus: Corpus, plan: Plan) -> dict[str, float]:
    """Return the validation's figures as they would be if training ended here, with the quality that chooses the epoch.

    That is macro-F1, and of epochs with the same one the lower log loss.
    """
    classes = corpus.classes(Side.validation)
    with autocast(classifier.device):
        logits = classifier.logits(list(corpus.texts(Side.validation)))
    metrics = measure(decide(logits, choose_decision(plan, classifier.card.decision, logits, classes)), classes)
    log.info("validation: %s", ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    return metrics | {"quality": metrics["macro_f1"] - TIE_WEIGHT * metrics["log_loss"]}


def _refuse_unusable(corpus: Corpus) -> None:
    classes, validation = corpus.classes(Side.training), corpus.classes(Side.validation)
    if not len(classes) or not len(validation):
        raise TrainingError(
            f"{len(classes)} rated reviews to train on and {len(validation)} to choose on are too few; "
            "give files with some hundred reviews that carry a rating"
        )
    if len(set(classes.tolist())) == 1:
        raise TrainingError(
            f"all reviews to train on are '{LABELS[int(classes[0])]}'; give files with at least two classes"
        )
    _say_where_all_are(corpus.account())
    if len(validation) < FEW_REVIEWS:
        log.warning(
            "only %d reviews choose the epoch, the calibration and tau: do not trust the figures", len(validation)
        )


def _prepared_base(plan: Plan, corpus: Corpus, outputs: int) -> Base:
    """Return the plan's base, cut to what it keeps."""
    base = load_base(plan.base, outputs)
    _refuse_too_many_tokens(base, plan)
    if plan.layers:
        base = keep_layers(base, plan.layers)
    if plan.vocabulary:
        base = keep_words(base, corpus.texts(Side.training, with_unlabelled=True), plan.vocabulary)
    if plan.neurons:
        texts = list(itertools.islice(corpus.texts(Side.training), NEURON_TEXTS))
        base = keep_neurons(base, texts, plan.neurons, plan.max_tokens)
    if plan.upper_layers:
        train_upper_layers(base, plan.upper_layers)
    set_dropout(base, plan.recipe.dropout)
    return base


def _say_where_all_are(account: Account) -> None:
    counts = {
        "to train on": account.training,
        "to train on without stars": account.unlabelled,
        "to choose on": account.validation,
        "set apart for a test": account.test,
        "left out as repeats of a text": account.repeats,
        "left out as too near to those set apart": account.left_out,
    }
    told = (f"{count:,} {what}" for what, count in counts.items() if count)
    log.info("of %s reviews %s", f"{sum(counts.values()):,}", ", ".join(told))


def refuse_unfit_base(plan: Plan) -> None:
    """Raise TrainingError when the plan's base cannot be had, reads too few tokens or cannot be cut to its words."""
    base = load_base(plan.base)
    _refuse_too_many_tokens(base, plan)
    if plan.vocabulary:
        refuse_uncuttable_words(base)


@torch.inference_mode()
def _refuse_too_many_tokens(base: Base, plan: Plan) -> None:
    """Raise TrainingError when the base cannot read texts so long: only a try tells that of every kind of encoder."""
    limit = getattr(base.model.config, "max_position_embeddings", plan.max_tokens)
    try:
        if plan.max_tokens <= limit:
            base.model(**pad([[base.model.config.vocab_size - 1] * plan.max_tokens]))
            return
    except (IndexError, RuntimeError):  # a position without a vector
        pass
    raise TrainingError(f"--max-tokens {plan.max_tokens}: the base {plan.base} reads at most {limit}, or fewer")


def _checkpoint_base(plan: Plan) -> Path | None:
    """Return the base's folder when it is a checkpoint, which knows reviews; None for other bases."""
    folder = Path(plan.base)
    return folder if (folder / SEEN_FILE).is_file() else None


def _teacher_logits(
    folder: Path, corpus: Corpus, work: Work, watching: Watching, device: str
) -> npt.NDArray[np.float32]:
    """Return the log-probabilities (examples, labels) of the teacher in the folder, for the training side."""
    teacher = SentimentClassifier.load(folder, device)
    account = corpus.account()
    total = account.training + account.unlabelled
    texts = corpus.texts(Side.training, with_unlabelled=True)
    file = answers_file(folder, work.into.parent)
    return teacher_logits(teacher, texts, file, lambda done: watching.on_teacher_texts(done, total))
