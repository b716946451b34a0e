"""A checkpoint measured on reviews it never saw, beside the baselines, by the path that the stream uses."""

import functools
import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from reviewpulse.card import Card
from reviewpulse.classifier import SentimentClassifier
from reviewpulse.decision import Predictions
from reviewpulse.errors import TrainingError
from reviewpulse.labels import LABELS
from reviewpulse.visible import visible_line
from training.corpus import Account, Corpus
from training.evaluation.baselines import FEWEST_TEXTS, MAJORITY, predict_majority, predict_tfidf, train_tfidf
from training.evaluation.bootstrap import Difference, macro_f1_difference
from training.evaluation.metrics import ChanceError, chance_calibration_error
from training.evaluation.slices import LONGEST_NAME, Figures, Slices, figures_of
from training.split import Side

BATCH_TEXTS: Final = 256
"""Texts scored at once: as many as a full micro-batch of the worker."""

MODEL: Final = "checkpoint"


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What metrics.json holds."""

    checkpoint: str
    version: str
    evaluated_at: str
    files: list[str]
    reviews: int
    reviews_sha256: str
    """Of the texts and true classes in order: evaluations compare where it is the same."""
    left_out_training: int
    """Reviews that the checkpoint was trained on, or that customers of such reviews wrote."""
    left_out_validation: int
    left_out_train_only: int | None = None
    """Reviews that it never saw, of a source that is never evaluated on; None in evaluations of earlier versions."""
    left_out_repeats: int | None = None
    """Reviews whose text came earlier in the files; None in evaluations of earlier versions."""
    training_reviews: int | None = None
    """Reviews with stars that the checkpoint learned from; None in evaluations of earlier versions."""
    baseline_reviews: int
    """Reviews that the TF-IDF baseline learned from; 0 where there were too few for one."""
    star_title_reviews: int | None = None
    """Reviews whose title says nothing but the stars; None in evaluations of earlier versions."""
    candidates: dict[str, Figures]
    above: dict[str, Difference]
    """Macro-F1 of the checkpoint less that of each baseline on the same reviews, by paired bootstrap."""
    weights_bytes: int
    device: str
    processor: str
    threads: int
    chance_calibration_error: ChanceError | None = None
    """What the checkpoint's calibration error on so many reviews is to be seen against; None in evaluations of
    earlier versions."""


class Judged(NamedTuple):
    """What an evaluation says of itself."""

    files: Sequence[str]
    at: str
    """ISO 8601."""
    account: Account
    """Of the files' reviews."""


class Outcome(msgspec.Struct, frozen=True):
    """An evaluation and what its figures are drawn from."""

    evaluation: Evaluation
    classes: npt.NDArray[np.int64]
    """(reviews,)"""
    predictions: Predictions
    """Of the checkpoint."""


class Watcher(msgspec.Struct, frozen=True):
    """Who is told how far an evaluation is."""

    on_texts: Callable[[int, int], None] = lambda _done, _total: None
    on_baseline: Callable[[int], None] = lambda _texts: None


def score(
    predict: Callable[[Sequence[str]], Predictions],
    texts: Sequence[str],
    on_texts: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Predictions, float]:
    """Return the predictions for texts and the reviews scored a second, after a first batch to warm up."""
    predict(texts[:BATCH_TEXTS])
    started = time.perf_counter()
    parts = []
    for batch in _batches(texts):
        parts.append(predict(batch))
        on_texts(sum(len(part.classes) for part in parts), len(texts))
    seconds = time.perf_counter() - started
    predictions = Predictions(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    return predictions, len(texts) / seconds


def evaluate(classifier: SentimentClassifier, corpus: Corpus, judged: Judged, watcher: Watcher) -> Outcome:
    """Measure the checkpoint on the corpus's test side and the baselines beside it.

    The corpus's sides are those of the checkpoint (see Seen). Raises TrainingError when no review
    is left to evaluate on.
    """
    texts, classes = list(corpus.texts(Side.test)), corpus.classes(Side.test)
    account, learned = judged.account, len(corpus.classes(Side.training))
    if not texts:
        raise TrainingError(
            f"no rated review is left to evaluate on: the checkpoint knows {account.training:,} from its training "
            f"and {account.validation:,} from its validation, and {account.train_only:,} are of sources for training "
            "only; give files that it has not seen"
        )
    candidates: dict[str, tuple[Predictions, float | None]] = {
        MODEL: score(classifier.predict, texts, watcher.on_texts),
        MAJORITY: (_majority(corpus, classifier.card, len(texts)), None),
    }
    if learned >= FEWEST_TEXTS and len(set(corpus.classes(Side.training).tolist())) > 1:
        watcher.on_baseline(learned)
        fitted = train_tfidf(list(corpus.texts(Side.training)), corpus.classes(Side.training))
        candidates |= {name: score(functools.partial(predict_tfidf, fitted[name]), texts) for name in fitted}
    slices = Slices.of(texts, list(corpus.categories(Side.test)))
    evaluation = Evaluation(
        checkpoint=classifier.card.name,
        version=classifier.card.version,
        evaluated_at=judged.at,
        files=[visible_line(name, LONGEST_NAME) for name in judged.files],
        reviews=len(texts),
        reviews_sha256=_sha256(texts, classes),
        left_out_training=account.training,
        left_out_validation=account.validation,
        left_out_train_only=account.train_only,
        left_out_repeats=account.repeats,
        training_reviews=classifier.card.training_reviews,
        star_title_reviews=len(texts) - int(slices.has_plain_title.sum()),
        baseline_reviews=learned if len(candidates) > 2 else 0,
        candidates={name: figures_of(*given, classes, slices) for name, given in candidates.items()},
        above=_above(candidates, classes),
        weights_bytes=classifier.weights_bytes,
        processor=processor_name(),
        device=classifier.device.type,
        threads=classifier.threads,
        chance_calibration_error=chance_calibration_error(candidates[MODEL][0].probabilities),
    )
    return Outcome(evaluation, classes, candidates[MODEL][0])


def _sha256(texts: Sequence[str], classes: npt.NDArray[np.int64]) -> str:
    digest = hashlib.sha256(classes.astype("<i8").tobytes())
    for text in texts:
        digest.update(text.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()


def _majority(corpus: Corpus, card: Card, texts: int) -> Predictions:
    """Return the majority baseline: of the training reviews at hand, or of those that the card tells of."""
    counts = np.bincount(corpus.classes(Side.training), minlength=len(LABELS))
    shares = (counts / counts.sum()).tolist() if counts.sum() >= FEWEST_TEXTS else card.decision.class_shares
    return predict_majority(shares, texts)


def _above(
    candidates: Mapping[str, tuple[Predictions, float | None]], classes: npt.NDArray[np.int64]
) -> dict[str, Difference]:
    labels = {name: predictions.classes for name, (predictions, _) in candidates.items()}
    return {name: macro_f1_difference(labels[MODEL], labels[name], classes) for name in labels if name != MODEL}


def processor_name() -> str:
    """Return the processor's name where Linux tells it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), BATCH_TEXTS):
        yield texts[start : start + BATCH_TEXTS]
