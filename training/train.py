"""From rated reviews to a checkpoint folder."""

import importlib.metadata
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from reviewpulse.card import Card
from reviewpulse.classifier import SentimentClassifier
from reviewpulse.errors import TrainingError
from reviewpulse.labels import LABELS
from reviewpulse.records import Review
from reviewpulse.text import CLEANING_VERSION
from training.base import PACKAGED_BASE, Base, keep_layers, keep_words, load_base
from training.corpus import Corpus, Examples, build_corpus
from training.fit import Recipe, Step, fit, tokenize

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy")


class Plan(NamedTuple):
    """What to train and what to call it."""

    name: str
    base: str = PACKAGED_BASE
    layers: tuple[int, ...] = ()
    """Which of the base's layers to keep; empty for all."""
    vocabulary: int = 0
    """How many word pieces to keep; 0 for all."""
    max_tokens: int = 128
    validation_share: float = 0.1
    recipe: Recipe = Recipe()


def train(
    reviews: Iterable[Review],
    folder: Path,
    plan: Plan,
    *,
    now: datetime,
    on_step: Callable[[Step], None],
) -> Card:
    """Fine-tune on the rated reviews, write the checkpoint folder and return its card.

    The folder appears only when it is whole. Raises TrainingError when it exists already or the
    reviews cannot be trained on.
    """
    if folder.exists():
        raise TrainingError(f"{folder} exists already; name another folder by --into, or remove it first")
    corpus = build_corpus(reviews, validation_share=plan.validation_share, seed=plan.recipe.seed)
    _refuse_unusable(corpus)
    torch.manual_seed(plan.recipe.seed)
    base = _prepared_base(plan, corpus.training.texts)
    log.info("training on %d reviews, choosing on %d", len(corpus.training.texts), len(corpus.validation.texts))
    card = _card(plan, corpus, now, metrics={})
    classifier = SentimentClassifier(base.model, base.tokenizer, card)

    def validation_macro_f1(_model: object) -> float:
        metrics = measure(classifier.predict(corpus.validation.texts), corpus.validation.classes)
        log.info("validation: %s", ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
        return metrics["macro_f1"]

    tokens = tokenize(base.tokenizer, corpus.training.texts, plan.max_tokens)
    fit(base.model, tokens, corpus.training.classes, plan.recipe, evaluate=validation_macro_f1, on_step=on_step)
    metrics = measure(classifier.predict(corpus.validation.texts), corpus.validation.classes)
    classifier.card = _card(plan, corpus, now, metrics)
    _save_whole(classifier, folder)
    return classifier.card


def measure(probabilities: npt.NDArray[np.float32], classes: Sequence[int]) -> dict[str, float]:
    """Return accuracy, macro_f1, weighted_f1 and mae_stars for probabilities (reviews, 5) and true classes."""
    predicted = probabilities.argmax(axis=1)
    every = list(range(len(LABELS)))
    return {
        "accuracy": float(accuracy_score(classes, predicted)),
        "macro_f1": float(f1_score(classes, predicted, labels=every, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(classes, predicted, labels=every, average="weighted", zero_division=0)),
        "mae_stars": float(mean_absolute_error(classes, predicted)),
    }


def _refuse_unusable(corpus: Corpus) -> None:
    examples: Examples = corpus.training
    if not examples.texts or not corpus.validation.texts:
        raise TrainingError(
            f"{len(examples.texts)} rated reviews to train on and {len(corpus.validation.texts)} to choose on "
            "are too few; give files with some hundred reviews that carry a rating"
        )
    if len(set(examples.classes)) == 1:
        raise TrainingError(
            f"all reviews to train on are '{LABELS[examples.classes[0]]}'; give files with at least two classes"
        )


def _prepared_base(plan: Plan, texts: Sequence[str]) -> Base:
    base = load_base(plan.base)
    longest = getattr(base.model.config, "max_position_embeddings", plan.max_tokens)
    if plan.max_tokens > longest:
        raise TrainingError(f"--max-tokens {plan.max_tokens}: the base {plan.base} reads at most {longest}")
    if plan.layers:
        base = keep_layers(base, plan.layers)
    if plan.vocabulary:
        base = keep_words(base, texts, plan.vocabulary)
    return base


def _card(plan: Plan, corpus: Corpus, now: datetime, metrics: dict[str, float]) -> Card:
    return Card(
        name=plan.name,
        version=now.strftime("%Y%m%d-%H%M%S"),
        labels=LABELS,
        max_tokens=plan.max_tokens,
        cleaning_version=CLEANING_VERSION,
        base=plan.base,
        seed=plan.recipe.seed,
        training_reviews=len(corpus.training.texts),
        data_sha256=corpus.sha256,
        trained_at=now.isoformat(timespec="seconds"),
        metrics={name: round(value, 4) for name, value in metrics.items()},
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
    )


def _save_whole(classifier: SentimentClassifier, folder: Path) -> None:
    """Write beside the folder, then rename: a reader never sees half a checkpoint."""
    part = folder.with_name(f".{folder.name}.part-{os.getpid()}")
    try:
        classifier.save(part)
        part.rename(folder)
    except OSError as exc:
        shutil.rmtree(part, ignore_errors=True)
        raise TrainingError(f"cannot write the checkpoint {folder}: {exc.strerror or exc}") from exc
