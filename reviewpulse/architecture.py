"""What a foreign model's config.json may ask for: an encoder as large as its weights, and nothing that fetches code."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForSequenceClassification, PretrainedConfig

FETCHING: Final = (
    "attn_implementation",
    "experts_implementation",
    "quantization_config",
    "compression_config",
    "fusion_config",
    "distributed_config",
    "transformers_weights",
)
"""Keys, also with an underscore before them, by which transformers fetches kernels of the model hub, loads optional
libraries, or reads other files than the weights."""

_HARMLESS: Final = (None, "eager", "sdpa")
"""Their values that name what torch itself can do."""

ADAPTER: Final = "adapter_config.json"
"""A file by which transformers loads more weights, from wherever it says, where PEFT is installed."""

_COUNTS: Final = ("layer", "expert", "depth", "label")
"""Parts of the keys that say how many of something are made in turn, such as layers: fewer than there are tensors."""

_LARGER: Final = 2
"""How many times as large as its weights an encoder may be: a base's head is made anew."""


class _Weights(NamedTuple):
    """How much a folder's weights hold."""

    tensors: int
    numbers: int


def read_config(source: str | Path, **options: object) -> PretrainedConfig:
    """Return the configuration of a folder, or of a name on the model hub, that a model may be built from.

    options are those of AutoConfig.from_pretrained. Sizes are held against the weights of a folder; those of the hub
    are not here yet. Raises ValueError for what is refused, OSError where there is none.
    """
    asked, _ = PretrainedConfig.get_config_dict(source, **options)
    _refuse_fetching(asked)
    if (Path(source) / ADAPTER).exists():
        raise ValueError(f"its {ADAPTER} may fetch other weights; merge the adapter into the model")
    weights = _weights_in(Path(source))
    if weights is not None:
        _refuse_absurd_numbers(asked, weights)
    config: PretrainedConfig = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
    if weights is not None:
        _refuse_larger(config, weights)
    return config


def _refuse_fetching(asked: dict[str, Any]) -> None:
    for key, value in _entries(asked):
        if key.lstrip("_").removesuffix("_internal") in FETCHING and value not in _HARMLESS:
            raise ValueError(f"its config.json has {key}, by which code or other files may be fetched; take it out")


def _refuse_absurd_numbers(asked: dict[str, Any], weights: _Weights) -> None:
    """Refuse what would be built for ever, before anything is built."""
    for key, value in _entries(asked):
        most = weights.tensors if any(part in key for part in _COUNTS) else weights.numbers
        if type(value) is int and value > most:
            raise ValueError(f"its config.json asks for {key} {value:,}, more than its weights can be meant for")


def _refuse_larger(config: PretrainedConfig, weights: _Weights) -> None:
    with torch.device("meta"):  # shapes without memory
        model = AutoModelForSequenceClassification.from_config(copy.deepcopy(config), attn_implementation=None)
    asked = sum(parameter.numel() for parameter in model.parameters())
    if asked > _LARGER * weights.numbers:
        raise ValueError(f"its config.json asks for {asked:,} weights where {weights.numbers:,} are there")


def _weights_in(folder: Path) -> _Weights | None:
    """Return how much the files of weights hold, None without any: then loading says so."""
    sizes = []
    for path in folder.glob("model*.safetensors"):
        with safe_open(path, "pt") as file:
            sizes += [math.prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    return _Weights(len(sizes), sum(sizes)) if sizes else None


def _entries(asked: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of a configuration and of those within; labels are names, not keys."""
    for key, value in asked.items():
        yield key, value
        if isinstance(value, dict) and key not in ("id2label", "label2id"):
            yield from _entries(value)
