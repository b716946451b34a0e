"""Making a base smaller: fewer layers, fewer word pieces, fewer feed-forward neurons; or training only a part of it."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import torch
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification, PreTrainedModel
from transformers.models.bert.modeling_bert import BertLayer

from reviewpulse.errors import TrainingError
from training.base import Base, word_vectors

_END_PROCESSORS: Final = {"TemplateProcessing", "BertProcessing", "RobertaProcessing"}
"""What puts the first and the last token to a text, as tokenizers calls it, and can be renumbered."""


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


@torch.no_grad()  # not inference_mode: what is made here is trained afterwards
def keep_neurons(base: Base, texts: Sequence[str], neurons: int, max_tokens: int) -> Base:
    """Return the base with so many feed-forward neurons a layer: those that weigh most on these texts.

    A neuron weighs its mean absolute activation times the norm of its outgoing weights.
    Raises TrainingError when the base is no BERT or has fewer neurons.
    """
    if not isinstance(base.model, BertForSequenceClassification):
        raise TrainingError("only a BERT base can be cut to some of its neurons; leave --neurons out")
    if neurons > base.model.config.intermediate_size:
        raise TrainingError(f"--neurons {neurons}: the base has {base.model.config.intermediate_size} a layer")
    layers: Sequence[BertLayer] = base.model.bert.encoder.layer  # type: ignore[assignment]
    activations = [torch.zeros(base.model.config.intermediate_size) for _ in layers]
    hooks = [
        layer.intermediate.register_forward_hook(
            lambda _module, _inputs, output, total=total: total.add_(output.abs().sum(dim=(0, 1)))
        )
        for layer, total in zip(layers, activations, strict=True)
    ]
    base.model.eval()
    for text in texts:
        base.model(torch.tensor([base.tokenizer.encode(text).ids[:max_tokens]]))
    for layer, activation, hook in zip(layers, activations, hooks, strict=True):
        hook.remove()
        weight = activation * layer.output.dense.weight.norm(dim=0)  # (neurons,)
        kept = weight.topk(neurons).indices.sort().values
        inner, outer = layer.intermediate.dense, layer.output.dense
        layer.intermediate.dense = _linear(inner.weight[kept], inner.bias[kept])
        layer.output.dense = _linear(outer.weight[:, kept], outer.bias)
    base.model.config.intermediate_size = neurons
    return base


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> torch.nn.Linear:
    """Return a layer with this weight (outputs, inputs) and bias (outputs,)."""
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight.data, linear.bias.data = weight.clone(), bias.clone()
    return linear


def set_dropout(base: Base, share: float) -> None:
    """Set the share of activations that training drops, everywhere in the model."""
    for module in base.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share


def train_upper_layers(base: Base, layers: int) -> None:
    """Freeze the embeddings and all but so many of the encoder's upper layers; the head is trained always.

    Raises TrainingError when the base has fewer layers.
    """
    encoder_layers = _encoder_layers(base)
    if layers > len(encoder_layers):
        raise TrainingError(f"--upper-layers {layers}: the base has {len(encoder_layers)} layers")
    base.model.base_model.requires_grad_(requires_grad=False)  # with what layers share, such as relative positions
    for layer in encoder_layers[len(encoder_layers) - layers :]:
        layer.requires_grad_(requires_grad=True)
    if (pooler := getattr(base.model.base_model, "pooler", None)) is not None:  # BERT's head begins with it
        pooler.requires_grad_(requires_grad=True)


def _encoder_layers(base: Base) -> torch.nn.ModuleList:
    """Return the encoder's layers, whatever its kind: the longest list of modules of one class."""
    lists = [module for module in base.model.modules() if isinstance(module, torch.nn.ModuleList)]
    if not lists:
        raise TrainingError("the base has no list of layers; leave --upper-layers out")
    return max(lists, key=len)


def keep_words(base: Base, texts: Iterable[str], words: int) -> Base:
    """Return the base with a vocabulary of about this many word pieces: those that the texts use most.

    Single characters stay, so that a word whose piece is gone is spelled out instead of lost.
    Raises TrainingError when the tokenizer is none that can be cut (see refuse_uncuttable_words).
    """
    refuse_uncuttable_words(base)
    base.tokenizer.no_padding()
    description = json.loads(base.tokenizer.to_str())
    vocabulary: dict[str, int] = description["model"]["vocab"]
    kept = _kept_pieces(base.tokenizer, vocabulary, texts, words)
    renumbered = {piece: index for index, piece in enumerate(kept)}
    description["model"]["vocab"] = renumbered
    for token in description["added_tokens"]:
        token["id"] = renumbered[token["content"]]
    processor = description["post_processor"]
    for token in processor.get("special_tokens", {}).values():  # of TemplateProcessing
        token["ids"] = [renumbered[piece] for piece in token["tokens"]]
    for end in {"cls", "sep"} & processor.keys():  # of BertProcessing and RobertaProcessing: [piece, id]
        processor[end] = [processor[end][0], renumbered[processor[end][0]]]
    _select_embeddings(base.model, [vocabulary[piece] for piece in kept])
    return Base(base.model, Tokenizer.from_str(json.dumps(description)))


def refuse_uncuttable_words(base: Base) -> None:
    """Raise TrainingError when the base's vocabulary is none that keep_words can cut."""
    description = json.loads(base.tokenizer.to_str())
    if description["model"]["type"] != "WordPiece":
        raise TrainingError(
            f"only a WordPiece vocabulary can be cut, not {description['model']['type']}; leave --vocabulary out"
        )
    processor = description["post_processor"] or {"type": "none"}
    if processor["type"] not in _END_PROCESSORS:
        raise TrainingError(f"a tokenizer that ends texts by {processor['type']} cannot be cut; leave --vocabulary out")


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
    """Keep the vectors of these word pieces; the padding's, one of the first, keeps its id."""
    padding = model.config.pad_token_id or 0
    vectors = word_vectors(model).detach()[old_ids].clone()
    model.set_input_embeddings(torch.nn.Embedding.from_pretrained(vectors, freeze=False, padding_idx=padding))
    model.config.vocab_size = len(old_ids)
    model.config.pad_token_id = padding
