"""The last step of a training: calibrate on validation as the stream scores, and write the whole folder."""

import functools
import importlib.metadata
import logging
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from reviewpulse.card import Card, Decision, find_checkpoint, read_card
from reviewpulse.classifier import SentimentClassifier
from reviewpulse.decision import decide
from reviewpulse.errors import TrainingError
from reviewpulse.labels import LABELS
from reviewpulse.profile import Profile
from reviewpulse.text import CLEANING_VERSION
from training.calibration import Calibration, calibrated, with_expected_tau, with_observed_tau
from training.corpus import Corpus
from training.evaluation.metrics import measure
from training.fit import Position
from training.history import History
from training.modelcard import write_model_card
from training.objectives import Imbalance
from training.plan import Plan
from training.seen import Seen
from training.split import Side
from training.tokens import Tokens
from training.work import Work

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy")


def first_card(plan: Plan, now: datetime, decision: Decision) -> Card:
    """Return the card of a checkpoint whose training begins now."""
    return Card(
        name=plan.name,
        version=now.strftime("%Y%m%d-%H%M%S"),
        labels=LABELS,
        max_tokens=plan.max_tokens,
        cleaning_version=CLEANING_VERSION,
        base=plan.base,
        decision=decision,
        seed=plan.recipe.seed,
        training_reviews=0,
        data_sha256="",
        plan=msgspec.to_builtins(plan),
        trained_at=now.isoformat(timespec="seconds"),
        git_commit=git_commit(),
        metrics={},
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
    )


def finish(
    classifier: SentimentClassifier, corpus: Corpus, work: Work, plan: Plan, position: Position, known: Sequence[Seen]
) -> Card:
    """Write the trained classifier's folder and return its card; raises TrainingError when the disk has no room.

    known is what its teacher and base were trained on, which it knows as well.
    The decision, metrics and reference profile come from the saved folder, loaded and run as the stream runs it.
    """
    try:
        shutil.rmtree(work.unfinished, ignore_errors=True)
        classifier.save(work.unfinished)
        saved = SentimentClassifier.load(work.unfinished, classifier.device.type)
        card = _measured(saved, corpus, plan)
        profile_of(saved, card, list(corpus.texts(Side.validation))).write(work.unfinished)
        functools.reduce(Seen.joined, known, Seen.of_corpus(corpus)).write(work.unfinished)
        History([(step, loss) for step, loss in position.losses], position.epochs).write(work.unfinished)
        card.write(work.unfinished)
        write_model_card(work.unfinished, card)
        work.finish()
    except (OSError, SafetensorError) as exc:
        raise TrainingError(
            f"cannot write the checkpoint {work.into} ({exc}); make room and run the same command again: "
            "it goes on from the trained weights"
        ) from exc
    return card


def choose_decision(
    plan: Plan, decision: Decision, logits: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]
) -> Decision:
    """Return the decision with the calibration and, for logit adjustment, the tau that suit validation best.

    The label of a strategy that acts in training is the model's own: the biases give back to common classes what
    weights or a sampler took from them, and with a label by calibrated probabilities they would have done nothing.
    """
    decision = calibrated(decision, logits, classes, plan.calibration)
    if plan.recipe.imbalance is Imbalance.logit_adjustment:
        if plan.calibration is Calibration.temperature:
            return with_observed_tau(decision, logits, classes)
        return with_expected_tau(decision, logits)
    return msgspec.structs.replace(decision, label_by="logits")


def _measured(saved: SentimentClassifier, corpus: Corpus, plan: Plan) -> Card:
    """Return the saved classifier's card with all that is known at the end."""
    learned = corpus.classes(Side.training, with_unlabelled=True)
    cutoffs = corpus.split(plan.split)
    return msgspec.structs.replace(
        decided(saved, corpus, plan),
        training_reviews=int((learned >= 0).sum()),
        unlabelled_reviews=int((learned < 0).sum()),
        teacher=_teacher_name(plan),
        data_sha256=corpus.sha256(),
        validation_after=cutoffs.validation,
        test_after=cutoffs.test,
    )


def decided(saved: SentimentClassifier, corpus: Corpus, plan: Plan) -> Card:
    """Return the saved classifier's card with the decision that suits the corpus's validation best, and its metrics."""
    classes = corpus.classes(Side.validation)
    logits = saved.logits(list(corpus.texts(Side.validation)))
    decision = choose_decision(plan, saved.card.decision, logits, classes)
    predictions = decide(logits, decision)
    _warn_of_one_answer(predictions.classes)
    metrics = {name: round(value, 4) for name, value in measure(predictions, classes).items()}
    return msgspec.structs.replace(saved.card, decision=decision, metrics=metrics)


def _warn_of_one_answer(predicted: npt.NDArray[np.int64]) -> None:
    """Warn of a checkpoint that has learned to tell nothing apart, whatever its accuracy."""
    if len(set(predicted.tolist())) == 1:
        log.warning(
            "the checkpoint calls every review of the validation '%s': that is no better than always saying the "
            "commonest label; train on more reviews or for more epochs",
            LABELS[int(predicted[0])],
        )


def profile_of(saved: SentimentClassifier, card: Card, texts: list[str]) -> Profile:
    """Return the reference for drift: what the classifier says of texts by the card's decision, and how they are."""
    predictions = decide(saved.logits(texts), card.decision)
    tokens = Tokens.of_texts(saved.tokenizer, texts, max_tokens=None)
    ids = (saved.tokenizer.token_to_id(token) for token in ("[UNK]", "<unk>"))
    unknown = [each for each in ids if each is not None]
    return Profile.of(predictions, tokens.lengths, int(np.isin(tokens.ids, unknown).sum()))


def _teacher_name(plan: Plan) -> str | None:
    if plan.teacher is None:
        return None
    card = read_card(find_checkpoint(plan.teacher))
    return f"{card.name} {card.version}"


def git_commit() -> str | None:
    """Return the commit that this code was checked out at, or None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
