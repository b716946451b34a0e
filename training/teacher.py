"""A teacher's answers for every review that a student learns from, kept on disk for the next student."""

import hashlib
import itertools
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from reviewpulse.card import checkpoint_sha256
from reviewpulse.classifier import SentimentClassifier
from reviewpulse.decision import log_probabilities_of
from reviewpulse.errors import TrainingError
from training.corpus import Corpus
from training.seen import Seen, read_seen
from training.split import Side

_TEXTS: Final = 1_024


def teacher_logits(
    teacher: SentimentClassifier, texts: Iterable[str], file: Path, on_texts: Callable[[int], None]
) -> npt.NDArray[np.float32]:
    """Return the teacher's calibrated log-probabilities of texts, shape (texts, labels).

    They are kept in the file by a hash of the text, so that neither a killed run nor another student
    of the same teacher asks for them again. on_texts is told how many are there. Raises
    TrainingError when the file cannot be written.
    """
    parts: list[npt.NDArray[np.float32]] = []
    iterator = iter(texts)
    try:
        answers = sqlite3.connect(file, isolation_level=None)
        answers.execute("CREATE TABLE IF NOT EXISTS answers (text BLOB PRIMARY KEY, logits BLOB)")
        while some := list(itertools.islice(iterator, _TEXTS)):
            parts.append(_answers(answers, teacher, some))
            on_texts(sum(map(len, parts)))
        answers.close()
    except sqlite3.Error as exc:
        raise TrainingError(f"cannot keep the teacher's answers in {file} ({exc}); make room, or remove it") from exc
    return np.concatenate(parts)


def answers_file(teacher: Path, folder: Path) -> Path:
    """Return where in a folder a teacher's answers are kept: a name that no other checkpoint has."""
    return folder / f"answers-of-{teacher.name}-{checkpoint_sha256(teacher)[:16]}.db"


def _answers(known: sqlite3.Connection, teacher: SentimentClassifier, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the answers (texts, labels), asking the teacher only for those that are not known."""
    keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
    query = "SELECT logits FROM answers WHERE text = ?"
    found = [known.execute(query, (key,)).fetchone() for key in keys]
    asked = [row for row, answer in enumerate(found) if answer is None]
    if asked:
        made = log_probabilities_of(teacher.logits([texts[row] for row in asked]), teacher.card.decision)
        rows = [(keys[row], logits.astype(np.float32).tobytes()) for row, logits in zip(asked, made, strict=True)]
        with known:
            known.execute("BEGIN")
            known.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)
        found = [known.execute(query, (key,)).fetchone() for key in keys]
    return np.stack([np.frombuffer(logits, dtype=np.float32) for (logits,) in found])


def refuse_leak(origin: Path, corpus: Corpus) -> Seen:
    """Return what a teacher or base knows; raises TrainingError when this training sets some of it apart.

    Nothing of validation or test may come from a text or a customer that it was trained on, and
    nothing of test from its validation.
    """
    seen = read_seen(origin)
    for side, known in ((Side.validation, (Side.training,)), (Side.test, (Side.training, Side.validation))):
        leaked = sum(seen.side_of(*keys) in known for keys in corpus.seen_keys(side))
        if leaked:
            raise TrainingError(
                f"{origin} knows {leaked} of the reviews that are set apart for {side}, or their customers: what "
                "learns from it would know them; train both on the same files with the same --split-seed and shares"
            )
    return seen
