"""A checkpoint from somewhere is data: whatever code it carries never runs."""

import pickle
from pathlib import Path

import pytest

from reviewpulse.classifier import SentimentClassifier
from reviewpulse.errors import CheckpointError
from tests.hostile_checkpoint import HOSTILE, plant


@pytest.mark.parametrize("kind", HOSTILE)
def test_code_in_a_checkpoint_never_runs(kind: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder, canary = tmp_path / "hostile", tmp_path / "ran"
    plant(kind, tiny_checkpoint, folder, canary)

    if kind == "code for the tokenizer":  # the classifier reads tokenizer.json alone
        assert len(SentimentClassifier.load(folder, "cpu").predict(["good"]).classes) == 1
    else:
        with pytest.raises(CheckpointError, match="cannot load the checkpoint"):
            SentimentClassifier.load(folder, "cpu")

    assert not canary.exists()


def test_the_planted_pickle_would_run(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plant("pickled weights", tiny_checkpoint, tmp_path / "hostile", tmp_path / "ran")

    pickle.loads((tmp_path / "hostile" / "pytorch_model.bin").read_bytes())

    assert (tmp_path / "ran").exists()
