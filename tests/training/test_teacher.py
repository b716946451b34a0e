import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from reviewpulse.card import Decision, read_card
from reviewpulse.errors import TrainingError
from tests.cards import tiny_card
from training.teacher import answers_file, teacher_logits


class Teacher:
    """Answers by the length of a text and notes what it is asked."""

    card = tiny_card(name="wise", version="7", decision=Decision(temperature=2.0))

    def __init__(self) -> None:
        self.asked: list[str] = []

    def logits(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return a row a text."""
        self.asked += texts
        return np.array([[len(text), 0, 0, 0, 0] for text in texts], dtype=np.float32)


def ask(teacher: Teacher, texts: list[str], file: Path, told: list[int]) -> npt.NDArray[np.float32]:
    return teacher_logits(teacher, texts, file, told.append)  # type: ignore[arg-type]


def test_a_teacher_is_asked_once_for_a_text_whoever_its_students_are(tmp_path: Path) -> None:
    teacher, told = Teacher(), list[int]()
    file = tmp_path / "answers.db"
    first = ask(teacher, ["aa", "b", "cccc"], file, told)

    again = ask(teacher, ["cccc", "dd", "aa"], file, told)

    assert teacher.asked == ["aa", "b", "cccc", "dd"]
    assert told == [3, 3]
    np.testing.assert_array_equal(again[[2, 0]], first[[0, 2]])


def test_the_answers_of_another_teacher_of_the_same_name_are_kept_apart(tiny_checkpoint: Path, tmp_path: Path) -> None:
    file = answers_file(tiny_checkpoint, tmp_path)
    other = tmp_path / tiny_checkpoint.name
    shutil.copytree(tiny_checkpoint, other)

    assert file.parent == tmp_path
    assert answers_file(other, tmp_path) == file
    msgspec.structs.replace(read_card(other), decision=Decision(temperature=2.0)).write(other)
    assert answers_file(other, tmp_path) != file


def test_answers_are_log_probabilities_by_the_teacher_s_temperature(tmp_path: Path) -> None:
    answers = ask(Teacher(), ["aa"], tmp_path / "answers.db", [])

    np.testing.assert_allclose(np.exp(answers).sum(axis=1), 1, rtol=1e-6)
    assert float(answers[0, 0] - answers[0, 1]) == pytest.approx(2 / 2.0)


def test_a_file_that_is_no_store_of_answers_is_named(tmp_path: Path) -> None:
    (tmp_path / "answers.db").write_text("x" * 4_096)

    with pytest.raises(TrainingError, match=r"answers\.db \(file is not a database\)"):
        ask(Teacher(), ["aa"], tmp_path / "answers.db", [])
