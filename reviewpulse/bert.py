"""BERT's forward pass where only the first token is wanted: the last layer is computed for that one alone.

The head reads the first token, so the last layer's other tokens are keys and values and nothing
else. Of three layers that saves a quarter of the work. transformers computes them all.
"""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import BertForSequenceClassification, BertModel
from transformers.models.bert.modeling_bert import BertLayer


def first_token_logits(
    model: BertForSequenceClassification, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """Return what `model(...).logits` returns in eval mode, (rows, outputs), for ids and mask (rows, tokens)."""
    bert: BertModel = model.bert
    hidden = bert.embeddings(input_ids=input_ids)  # (rows, tokens, width)
    mask = None if bool(attention_mask.all()) else attention_mask[:, None, None, :].bool()
    layers: Sequence[BertLayer] = bert.encoder.layer  # type: ignore[assignment]
    *lower, last = layers
    for layer in lower:
        hidden = _layer(layer, hidden, hidden, mask)
    first = _layer(last, hidden[:, :1], hidden, mask)  # (rows, 1, width)
    pooled = bert.pooler(first) if bert.pooler is not None else first[:, 0]  # (rows, width)
    logits: torch.Tensor = model.classifier(pooled)
    return logits


def _layer(layer: BertLayer, queries: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return a layer's output for queries (rows, some tokens, width) that attend to hidden (rows, tokens, width)."""
    attention = layer.attention.self
    shape = (len(hidden), -1, attention.num_attention_heads, attention.attention_head_size)
    query, key, value = (
        project(states).view(shape).transpose(1, 2)  # (rows, heads, some tokens, head width)
        for project, states in ((attention.query, queries), (attention.key, hidden), (attention.value, hidden))
    )
    context = _attend(query, key, value, mask)
    attended = layer.attention.output(context.transpose(1, 2).flatten(2), queries)
    return layer.output(layer.intermediate(attended), attended)  # type: ignore[no-any-return]


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the context (rows, heads, queries, head width); mask (rows, 1, 1, tokens) is true where a token counts.

    On a CPU torch's own attention takes longer than two products and a softmax, for texts as short as reviews.
    """
    if query.is_cuda:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    rows, heads, queries, width = query.shape
    query, key, value = (states.flatten(0, 1) for states in (query, key, value))  # (rows * heads, tokens, head width)
    bias = query.new_zeros(1)
    if mask is not None:
        hidden = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -math.inf)
        bias = hidden.expand(-1, heads, -1, -1).flatten(0, 1)  # (rows * heads, 1, tokens)
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=1 / math.sqrt(width))
    return (scores.softmax(dim=-1) @ value).view(rows, heads, queries, width)
