import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from reviewpulse.card import read_card
from reviewpulse.classifier import SentimentClassifier
from reviewpulse.errors import TrainingError
from reviewpulse.progress import SilentProgress
from reviewpulse.records import Review
from training.command import parse_layers, train_on_files
from training.fit import Recipe, Step, bucketed_batches
from training.train import Plan, measure, train

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def reviews(count: int) -> list[Review]:
    """Return reviews whose stars can be told from their words."""
    words = {1: "bad bad bad", 5: "good good good"}
    return [
        Review(text=f"{words[1 + 4 * (number % 2)]} {number}", rating=1 + 4 * (number % 2)) for number in range(count)
    ]


@pytest.fixture
def plan(tiny_checkpoint: Path) -> Plan:
    recipe = Recipe(epochs=6, batch_rows=16, learning_rate=5e-3, seed=3)
    return Plan("mine", base=str(tiny_checkpoint), max_tokens=32, validation_share=0.2, recipe=recipe)


def test_training_learns_and_leaves_a_checkpoint_that_the_worker_loads(plan: Plan, tmp_path: Path) -> None:
    steps: list[Step] = []

    card = train(reviews(300), tmp_path / "mine", plan, now=NOW, on_step=steps.append)

    assert card.metrics["accuracy"] > 0.9
    assert steps[-1].number == steps[-1].total == len(steps)
    assert steps[-1].loss < steps[0].loss
    assert read_card(tmp_path / "mine") == card
    assert (card.name, card.version) == ("mine", "20260102-000000")
    praise, blame = SentimentClassifier.load(tmp_path / "mine", "cpu").predict(["good good good 7", "bad bad bad 7"])
    assert (int(praise.argmax()), int(blame.argmax())) == (4, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_same_seed_gives_the_same_checkpoint(plan: Plan, tmp_path: Path) -> None:
    cards = [train(reviews(100), tmp_path / name, plan, now=NOW, on_step=lambda _step: None) for name in ("one", "two")]

    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    assert cards[0].metrics == cards[1].metrics


def test_a_folder_that_exists_is_never_overwritten(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="exists already"):
        train(reviews(10), tmp_path, plan, now=NOW, on_step=lambda _step: None)


@pytest.mark.parametrize(
    ("given", "reason"),
    [([], "too few"), ([Review(text=f"t{n}", rating=5) for n in range(50)], "at least two classes")],
)
def test_reviews_that_cannot_be_trained_on_are_refused(
    plan: Plan, tmp_path: Path, given: list[Review], reason: str
) -> None:
    with pytest.raises(TrainingError, match=reason):
        train(given, tmp_path / "mine", plan, now=NOW, on_step=lambda _step: None)


def test_more_tokens_than_the_base_reads_are_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="reads at most 64"):
        train(reviews(50), tmp_path / "mine", plan._replace(max_tokens=65), now=NOW, on_step=lambda _step: None)


def test_training_reads_the_files_that_publish_reads(plan: Plan, tmp_path: Path) -> None:
    rows = [f'{{"text": "{review.text}", "rating": {review.rating}}}' for review in reviews(80)]
    (tmp_path / "a.jsonl").write_text("\n".join([*rows[:40], "{broken"]))
    (tmp_path / "b.csv").write_text("text,rating\n" + "\n".join(f"{r.text},{r.rating}" for r in reviews(80)[40:]))

    files = [tmp_path / "a.jsonl", tmp_path / "b.csv"]
    card = train_on_files(files, tmp_path / "mine", plan, now=NOW, progress=SilentProgress())

    assert 50 <= card.training_reviews <= 75


def test_layers_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(TrainingError, match="--layers a,b"):
        parse_layers("a,b")


def test_batches_are_alike_in_length_and_differ_from_epoch_to_epoch() -> None:
    lengths = [random.Random(number).randrange(1, 128) for number in range(3_000)]
    shuffler = random.Random(0)

    first, second = ([*bucketed_batches(lengths, 32, shuffler)] for _ in range(2))

    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in first)
    assert sum(lengths) / padded > 0.9
    assert first != second


def test_metrics_are_those_of_the_definition() -> None:
    probabilities = np.eye(5, dtype=np.float32)[[0, 4, 4, 2]]

    assert measure(probabilities, [0, 4, 3, 2]) == pytest.approx(
        {
            "accuracy": 0.75,
            "macro_f1": (1 + 0 + 1 + 0 + 2 / 3) / 5,
            "weighted_f1": (1 + 1 + 0 + 2 / 3) / 4,
            "mae_stars": 0.25,
        }
    )
