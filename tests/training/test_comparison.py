import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from reviewpulse.card import read_card
from reviewpulse.errors import TrainingError
from reviewpulse.progress import Status
from tests.training.examples import quick_plan, write_reviews
from training.command import Sources
from training.evaluation.comparison import FIGURES, Comparison, Contestant, Standing, compare, table, write_comparison
from training.objectives import Imbalance
from training.split import Side

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Counter:
    """Progress that counts trainings."""

    def __init__(self) -> None:
        self.trainings = 0

    def show(self, status: Status) -> None:
        """Count the last steps."""
        self.trainings += "step" in status.note and status.done == status.total


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("reviews") / "reviews.jsonl", 400)


def test_every_contestant_is_trained_with_every_seed_and_compared_with_the_best(
    tiny_checkpoint: Path, reviews: Path, tmp_path: Path
) -> None:
    plan = quick_plan(tiny_checkpoint)
    plan = msgspec.structs.replace(plan, recipe=msgspec.structs.replace(plan.recipe, epochs=2, patience=0))
    contestants = [Contestant(str(tiny_checkpoint), Imbalance.none), Contestant(str(tiny_checkpoint), Imbalance.focal)]
    first, again = Counter(), Counter()

    def run(progress: Counter) -> Comparison:
        return compare(
            Sources([reviews]), tmp_path, plan, contestants, [0, 1, 2], side=Side.validation, now=NOW, progress=progress
        )

    comparison = run(first)

    assert (first.trainings, len(comparison.standings)) == (6, 2)
    best, other = comparison.standings
    assert best.means["macro_f1"] >= other.means["macro_f1"]
    assert best.against_best is None
    assert other.against_best is not None
    assert other.against_best.macro_f1 == pytest.approx(other.means["macro_f1"] - best.means["macro_f1"], abs=1e-5)
    scores = [figures["macro_f1"] for figures in best.seeds.values()]
    assert best.means["macro_f1"] == pytest.approx(sum(scores) / 3)
    assert list(best.seeds) == ["0", "1", "2"]
    write_comparison(comparison, tmp_path)
    assert json.loads((tmp_path / "comparison.json").read_text())["reviews"] == comparison.reviews > 10
    assert (tmp_path / "comparison.md").read_text() == table(comparison)
    assert table(comparison).count("\n") == 4

    assert run(again) == comparison
    assert again.trainings == 0

    card = read_card(tmp_path / "tiny-none-seed0")
    older = msgspec.structs.replace(card, plan={name: it for name, it in card.plan.items() if name != "train_only"})
    older.write(tmp_path / "tiny-none-seed0")
    assert run(again) == comparison

    other = msgspec.structs.replace(plan, max_tokens=16)
    with pytest.raises(TrainingError, match="tiny-none-seed0 was trained with other options or on other reviews"):
        compare(Sources([reviews]), tmp_path, other, contestants, [0], side=Side.validation, now=NOW, progress=first)


def test_a_base_of_a_hostile_name_does_not_command_the_terminal() -> None:
    standing = Standing("b\x1b[31m\n|", Imbalance.none, *[dict.fromkeys(FIGURES, 0.0)] * 2, {}, None)
    comparison = Comparison(
        compared_at="", files=[], side=Side.test, reviews=0, seeds=[], plan=quick_plan(Path("b")), standings=[standing]
    )

    shown = table(comparison)

    assert (shown.count("\n"), r"| b\x1b[31m\n| |" in shown) == (3, True), shown


def test_contestants_that_cannot_be_told_apart_are_refused(reviews: Path, tmp_path: Path) -> None:
    contestants = [Contestant(base, Imbalance.none) for base in ("one/tiny", "other/tiny")]

    with pytest.raises(TrainingError, match="compared twice: tiny, none"):
        compare(
            Sources([reviews]),
            tmp_path,
            quick_plan(Path("tiny")),
            contestants,
            [0],
            side=Side.validation,
            now=NOW,
            progress=Counter(),
        )


def test_a_base_that_does_not_fit_is_known_before_the_first_training(
    tiny_checkpoint: Path, reviews: Path, tmp_path: Path
) -> None:
    contestants = [Contestant(base, Imbalance.none) for base in (str(tiny_checkpoint), "no/such/base")]

    with pytest.raises(TrainingError, match="cannot load the base no/such/base"):
        compare(
            Sources([reviews]),
            tmp_path / "compare",
            quick_plan(tiny_checkpoint),
            contestants,
            [0, 1, 2],
            side=Side.validation,
            now=NOW,
            progress=Counter(),
        )

    assert not (tmp_path / "compare").exists()


def test_a_disk_without_room_for_the_table_is_named(tmp_path: Path) -> None:
    comparison = Comparison(
        compared_at="", files=[], side=Side.validation, reviews=1, seeds=[0], plan=quick_plan(tmp_path), standings=[]
    )

    with pytest.raises(TrainingError, match="the trainings are kept"):
        write_comparison(comparison, tmp_path / "gone")
