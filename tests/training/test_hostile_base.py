"""A base from somewhere is data: whatever code it carries never runs."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reviewpulse.errors import TrainingError
from tests.hostile_checkpoint import ASKING, HOSTILE, ask, plant
from training.base import load_base


@pytest.mark.parametrize("kind", HOSTILE)
def test_code_in_a_base_never_runs(
    kind: str, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, canary = tmp_path / "hostile", tmp_path / "ran"
    plant(kind, tiny_checkpoint, folder, canary)
    monkeypatch.chdir(folder)  # from where a module of its name could be imported

    if kind == "code for the tokenizer":  # transformers falls back on the tokenizer that tokenizer.json holds
        assert load_base(str(folder)).tokenizer.encode("good").tokens == ["[CLS]", "good", "[SEP]"]
    else:
        with pytest.raises(TrainingError, match="cannot load the base"):
            load_base(str(folder))

    assert not canary.exists()


@pytest.mark.parametrize("kind", ASKING)
def test_a_config_that_asks_for_more_than_its_weights_is_refused(
    kind: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    ask(tiny_checkpoint, tmp_path / "asking", ASKING[kind])

    with pytest.raises(TrainingError, match=r"cannot load the base .*its config\.json (has|asks for) "):
        load_base(str(tmp_path / "asking"))


def test_a_base_without_safetensors_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(tiny_checkpoint, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    with pytest.raises(TrainingError, match=r"cannot load the base .*safetensors"):
        load_base(str(folder))
