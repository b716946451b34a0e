"""Checkpoint folders that carry code, which writes a file when it runs."""

import json
import pickle
import shutil
from pathlib import Path

HOSTILE = ("pickled weights", "code for the model", "code for the tokenizer", "pickled weights in safetensors' name")

ASKING: dict[str, dict[str, object]] = {
    "a kernel": {"_attn_implementation": "evil/repo"},
    "a kernel by another key": {"attn_implementation": {"": "evil/repo"}},
    "a kernel within": {"text_config": {"_attn_implementation_internal": "evil/repo"}},
    "experts": {"_experts_implementation": "evil/repo"},
    "a quantizer": {"quantization_config": {"quant_method": "hqq"}},
    "another file": {"transformers_weights": "../other.safetensors"},
    "endless layers": {"num_hidden_layers": 200_000},
    "endless labels": {"num_labels": 10**9},
    "width": {"hidden_size": 10**9},
    "middling width": {"hidden_size": 2048, "intermediate_size": 2048},
    "vocabulary": {"vocab_size": 10**12},
}
"""What a config.json may ask for beyond its weights: code of the model hub, other files, endless memory or time."""


class _Writes:
    """When it is unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._path,)


def plant(kind: str, clean: Path, folder: Path, canary: Path) -> None:
    """Write a copy of a clean checkpoint that would write the canary if its code ran."""
    shutil.copytree(clean, folder)
    code = f"from pathlib import Path\nPath({str(canary)!r}).touch()\nclass Hostile: pass\n"
    (folder / "hostile.py").write_text(code)
    if kind == "pickled weights":
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"w": _Writes(canary)}))
    elif kind == "pickled weights in safetensors' name":
        (folder / "model.safetensors").write_bytes(pickle.dumps({"w": _Writes(canary)}))
    elif kind == "code for the model":
        names = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")
        changes = {"auto_map": dict.fromkeys(names, "hostile.Hostile"), "model_type": "hostile"}
        _change(folder / "config.json", changes)
    else:
        changes = {"auto_map": {"AutoTokenizer": ["hostile.Hostile", "hostile.Hostile"]}, "tokenizer_class": "Hostile"}
        _change(folder / "tokenizer_config.json", changes)


def ask(clean: Path, folder: Path, changes: dict[str, object]) -> None:
    """Write a copy of a clean checkpoint whose config.json is changed."""
    shutil.copytree(clean, folder)
    _change(folder / "config.json", changes)


def _change(path: Path, changes: dict[str, object]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
