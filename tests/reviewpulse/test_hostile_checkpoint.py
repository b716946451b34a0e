"""A checkpoint from somewhere is data: whatever code it carries never runs."""

import pickle
from pathlib import Path

import pytest

from reviewpulse.classifier import SentimentClassifier
from reviewpulse.errors import CheckpointError
from tests.hostile_checkpoint import ASKING, HOSTILE, ask, plant


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


@pytest.mark.parametrize("kind", ASKING)
def test_a_config_that_asks_for_more_than_its_weights_is_refused(
    kind: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """transformers asked the model hub for a kernel; with 200,000 layers it never answered."""
    ask(tiny_checkpoint, tmp_path / "asking", ASKING[kind])

    with pytest.raises(CheckpointError, match=r"cannot load the checkpoint .*its config\.json (has|asks for) "):
        SentimentClassifier.load(tmp_path / "asking", "cpu")


def test_an_adapter_that_names_another_base_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapted"
    ask(tiny_checkpoint, folder, {})
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/repo"}')

    with pytest.raises(CheckpointError, match=r"cannot load the checkpoint .*adapter_config\.json may fetch"):
        SentimentClassifier.load(folder, "cpu")


def test_the_planted_pickle_would_run(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plant("pickled weights", tiny_checkpoint, tmp_path / "hostile", tmp_path / "ran")

    pickle.loads((tmp_path / "hostile" / "pytorch_model.bin").read_bytes())

    assert (tmp_path / "ran").exists()
