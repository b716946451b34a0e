import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reviewpulse.card import Card, read_card
from reviewpulse.errors import TrainingError
from reviewpulse.profile import read_profile
from reviewpulse.progress import SilentProgress
from scripts.recalibrate import recalibrate
from tests.training.examples import quick_plan, write_reviews
from training.calibration import Calibration
from training.command import Sources, train_on_files

NOW, LATER = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return write_reviews(tmp_path / "reviews.jsonl", 300, timestamp=None)


@pytest.fixture
def old(reviews: Path, tiny_checkpoint: Path, tmp_path: Path) -> Card:
    """Return the card of a checkpoint of that name."""
    plan = quick_plan(tiny_checkpoint, calibration=Calibration.temperature)
    return train_on_files(Sources([reviews]), tmp_path / "old", plan, now=NOW, progress=SilentProgress(), device="cpu")


def test_a_checkpoint_is_calibrated_anew_with_the_weights_it_has(old: Card, reviews: Path, tmp_path: Path) -> None:
    new = recalibrate(tmp_path / "old", Sources([reviews]), tmp_path / "new", Calibration.bias_corrected, LATER)

    assert new == read_card(tmp_path / "new")
    assert (old.version, new.version) == ("20260102-000000", "20260304-000000")
    assert (any(old.decision.class_biases), any(new.decision.class_biases)) == (False, True)
    assert (new.plan, new.trained_at, new.training_reviews) == (old.plan, old.trained_at, old.training_reviews)
    assert new.recalibration is not None
    assert (new.recalibration.from_version, new.recalibration.calibration) == (old.version, "bias-corrected")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("old", "new")]
    assert weights[0] == weights[1]
    assert read_profile(tmp_path / "new")
    assert "**Calibrated anew:** bias-corrected" in (tmp_path / "new" / "README.md").read_text()
    same = recalibrate(tmp_path / "old", Sources([reviews]), tmp_path / "not" / "there", Calibration.temperature, LATER)
    assert same.decision == old.decision


def test_other_reviews_are_refused_and_leave_nothing(old: Card, reviews: Path, tmp_path: Path) -> None:
    lines = reviews.read_text().splitlines()
    (tmp_path / "half.jsonl").write_text("\n".join(lines[:150]))
    (tmp_path / "threes.jsonl").write_text("\n".join(json.dumps(json.loads(line) | {"rating": 3}) for line in lines))
    before = sorted(path.name for path in tmp_path.iterdir())

    for name in ("half.jsonl", "threes.jsonl"):
        with pytest.raises(TrainingError, match="not the reviews that mine was trained on"):
            recalibrate(tmp_path / "old", Sources([tmp_path / name]), tmp_path / "new", Calibration.temperature, LATER)

    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_folder_that_is_there_is_left_as_it_is(old: Card, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="exists already; name another folder by --into"):
        recalibrate(tmp_path / "old", Sources([reviews]), tmp_path / "old", Calibration.bias_corrected, LATER)

    assert read_card(tmp_path / "old") == old
