"""Evaluating a checkpoint on files: one timestamped folder a run."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from reviewpulse.card import Card
from reviewpulse.classifier import SentimentClassifier, silence_transformers
from reviewpulse.errors import CheckpointError, TrainingError
from reviewpulse.files import check_file
from reviewpulse.progress import Progress, Status
from training.corpus import Account, Corpus
from training.evaluation.evaluate import Evaluation, Judged, Outcome, Watcher, evaluate
from training.evaluation.figures import draw_evaluation
from training.evaluation.report import text_report
from training.history import HISTORY_FILE, read_history
from training.reading import rated_examples
from training.seen import Seen, read_seen

METRICS_FILE = "metrics.json"


class Reviews(NamedTuple):
    """Which files an evaluation reads."""

    files: Sequence[Path]
    training_files: Sequence[Path] = ()
    """More files, of whose reviews only those of the training side are used: the baseline learns from them."""
    train_only: Sequence[str] = ()

    def as_trained(self, *cards: Card) -> Self:
        """Return the same files, where what one of the checkpoints had for training only is so as well.

        Raises CheckpointError when a card's plan is none.
        """
        try:
            kept = [name for card in cards for name in msgspec.convert(card.plan.get("train_only", []), list[str])]
        except msgspec.ValidationError as exc:
            raise CheckpointError(f"train_only in the card's plan: {exc}; train the checkpoint again") from exc
        return self._replace(train_only=(*self.train_only, *kept))


@contextlib.contextmanager
def evaluation_corpus(reviews: Reviews, seen: Seen, progress: Progress) -> Iterator[tuple[Corpus, Account]]:
    """Give the files' rated reviews, each on the side where the checkpoint had it; test where it never saw it.

    The account is of the files alone, without the training files. Raises ReviewFileError.
    """
    for path in (*reviews.files, *reviews.training_files):
        check_file(path)
    with tempfile.TemporaryDirectory() as folder, Corpus(Path(folder) / "corpus.db") as corpus:
        for path in reviews.files:
            corpus.add(rated_examples(path, reviews.train_only, progress))
        named, repeats = corpus.count(), corpus.repeats
        for path in reviews.training_files:
            corpus.add(rated_examples(path, reviews.train_only, progress))
        corpus.assign(seen.side_of, tests_among_first=named)
        yield corpus, corpus.account(first=named)._replace(repeats=repeats)


def evaluate_on_files(
    checkpoint: Path, reviews: Reviews, into: Path, *, device: str, now: datetime, progress: Progress
) -> tuple[Path, Evaluation]:
    """Evaluate a checkpoint folder and return the folder written, and the figures.

    The folder is into/NAME-TIMESTAMP. Raises ReviewFileError, CheckpointError and TrainingError.
    """
    silence_transformers()
    classifier = SentimentClassifier.load(checkpoint, device)
    written = into / f"{classifier.card.name}-{now:%Y%m%d-%H%M%S}"
    _make(written)
    names = [path.name for path in reviews.files]
    reviews = reviews.as_trained(classifier.card)
    try:
        with evaluation_corpus(reviews, read_seen(checkpoint), progress) as (corpus, account):
            judged = Judged(names, now.isoformat(timespec="seconds"), account)
            outcome = evaluate(classifier, corpus, judged, _watcher(progress))
        _write(outcome, checkpoint, written)
    except BaseException:  # Ctrl-C as well: a folder that is there is whole
        shutil.rmtree(written)
        raise
    return written, outcome.evaluation


def _make(folder: Path) -> None:
    """Make the folder before the work, so that a place that cannot be written is known at once."""
    try:
        folder.mkdir(parents=True)
    except OSError as exc:
        raise TrainingError(f"cannot make {folder}: {exc.strerror or exc}; name another --into") from exc


def _write(outcome: Outcome, checkpoint: Path, folder: Path) -> None:
    try:
        metrics = msgspec.json.format(msgspec.json.encode(outcome.evaluation), indent=2)
        (folder / METRICS_FILE).write_bytes(metrics + b"\n")
        (folder / "metrics.txt").write_text(text_report(outcome.evaluation))
        history = read_history(checkpoint)
        if history is not None:
            shutil.copyfile(checkpoint / HISTORY_FILE, folder / HISTORY_FILE)
        draw_evaluation(outcome, history, folder)
    except OSError as exc:
        raise TrainingError(
            f"cannot write the evaluation {folder}: {exc.strerror or exc}; name another --into"
        ) from exc


def _watcher(progress: Progress) -> Watcher:
    def show_texts(done: int, total: int) -> None:
        progress.show(Status(done, total, f"scoring, {done:,} of {total:,} reviews"))

    def show_baseline(texts: int) -> None:
        progress.show(Status(0, None, f"training TF-IDF + logistic regression on {texts:,} reviews, some minutes"))

    return Watcher(show_texts, show_baseline)
