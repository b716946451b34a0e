"""A teacher's answers for every review that a student learns from, kept on disk for the next student."""

import hashlib
import itertools
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from reviewpulse.classifier import SentimentClassifier
from reviewpulse.decision import log_probabilities_of
from reviewpulse.errors import TrainingError
from training.corpus import Corpus, Side
from training.seen import fingerprint, read_seen

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


def answers_file(teacher: SentimentClassifier, folder: Path) -> Path:
    """Return where in a folder this teacher's answers are kept."""
    return folder / f"answers-of-{teacher.card.name}-{teacher.card.version}.db"


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


def refuse_leak(teacher: Path, corpus: Corpus) -> None:
    """Raise TrainingError when the teacher learned from a review that this training sets apart."""
    seen = set(read_seen(teacher).training.tolist())
    for side in (Side.validation, Side.test):
        leaked = sum(fingerprint(key) in seen for key, _ in corpus.seen_keys(side))
        if leaked > 1 + len(seen) // 100_000:  # by chance a fingerprint may be the same
            raise TrainingError(
                f"the teacher {teacher} was trained on {leaked} of the reviews that are set apart for {side}: "
                "its student would know them; train both on the same files with the same --split-seed and shares"
            )
