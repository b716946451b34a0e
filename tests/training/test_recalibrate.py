from datetime import UTC, datetime
from pathlib import Path

import pytest

from reviewpulse.card import read_card
from reviewpulse.errors import TrainingError
from reviewpulse.profile import read_profile
from reviewpulse.progress import SilentProgress
from scripts.recalibrate import recalibrate
from tests.training.examples import quick_plan, write_reviews
from training.calibration import Calibration
from training.command import Sources, train_on_files

NOW, LATER = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)


def test_a_checkpoint_is_calibrated_anew_with_the_weights_it_has(tiny_checkpoint: Path, tmp_path: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews.jsonl", 300)
    plan = quick_plan(tiny_checkpoint, calibration=Calibration.temperature)
    old = train_on_files(Sources([reviews]), tmp_path / "old", plan, now=NOW, progress=SilentProgress(), device="cpu")

    recalibrate(tmp_path / "old", [reviews], tmp_path / "new", Calibration.bias_corrected, LATER)

    new = read_card(tmp_path / "new")
    assert (old.version, new.version) == ("20260102-000000", "20260304-000000")
    assert (any(old.decision.class_biases), any(new.decision.class_biases)) == (False, True)
    assert (new.plan["calibration"], new.trained_at) == ("bias-corrected", old.trained_at)
    assert new.training_reviews == old.training_reviews > 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("old", "new")]
    assert weights[0] == weights[1]
    assert read_profile(tmp_path / "new")
    assert new.version in (tmp_path / "new" / "README.md").read_text()

    recalibrate(tmp_path / "old", [reviews], tmp_path / "same", Calibration.temperature, LATER)
    assert read_card(tmp_path / "same").decision == old.decision


def test_other_reviews_and_a_folder_that_is_there_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews.jsonl", 300)
    others = write_reviews(tmp_path / "others.jsonl", 300, title="other")
    plan = quick_plan(tiny_checkpoint)
    train_on_files(Sources([reviews]), tmp_path / "old", plan, now=NOW, progress=SilentProgress(), device="cpu")

    with pytest.raises(TrainingError, match="exists already"):
        recalibrate(tmp_path / "old", [reviews], tmp_path, Calibration.temperature, LATER)
    with pytest.raises(TrainingError, match=r"not those that .* was trained on"):
        recalibrate(tmp_path / "old", [write_reviews(others, 200)], tmp_path / "new", Calibration.temperature, LATER)
    assert not (tmp_path / "new").exists()
