"""Fine-tuning: length-bucketed batches, AdamW, warm-up and linear decay, the best epoch kept."""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from reviewpulse.classifier import compute_dtype, pad

BUCKET_BATCHES = 50
"""Batches whose rows are sorted by length together: enough that a batch is hardly padded, few enough to stay random."""


class Recipe(NamedTuple):
    """How to fine-tune."""

    epochs: int = 2
    batch_rows: int = 32
    learning_rate: float = 6e-5
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    seed: int = 0


class Step(NamedTuple):
    """Where fitting stands after a step; loss is the cross-entropy in nats, a running mean."""

    number: int
    total: int
    loss: float


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return each text's token ids, at most max_tokens of them."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]


def fit(
    model: PreTrainedModel,
    tokens: Sequence[Sequence[int]],
    classes: Sequence[int],
    recipe: Recipe,
    *,
    evaluate: Callable[[PreTrainedModel], float],
    on_step: Callable[[Step], None],
) -> None:
    """Fine-tune the model in place and leave it at the epoch where evaluate was highest.

    tokens and classes are in step, one row a review. bfloat16 autocast where the device has it.
    """
    shuffler = random.Random(recipe.seed)  # noqa: S311  # for batches, not for secrets
    steps = recipe.epochs * -(-len(tokens) // recipe.batch_rows)
    optimizer = _optimizer(model, recipe)
    schedule = get_linear_schedule_with_warmup(optimizer, round(steps * recipe.warmup_share), steps)
    best, best_weights, number, running_loss = -1.0, None, 0, 0.0
    for _ in range(recipe.epochs):
        model.train()
        for rows in bucketed_batches([len(row) for row in tokens], recipe.batch_rows, shuffler):
            loss = _step(model, [tokens[row] for row in rows], [classes[row] for row in rows], recipe.clip_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            number += 1
            running_loss = loss if number == 1 else 0.98 * running_loss + 0.02 * loss
            on_step(Step(number, steps, running_loss))
        model.eval()
        quality = evaluate(model)
        if quality > best:
            best, best_weights = quality, copy.deepcopy(model.state_dict())
    if best_weights is not None:
        model.load_state_dict(best_weights)


def bucketed_batches(lengths: Sequence[int], batch_rows: int, shuffler: random.Random) -> Iterator[list[int]]:
    """Yield every row index once, in batches of rows alike in length, in random order.

    >>> sorted(sum(bucketed_batches([5, 1, 9, 2], 2, random.Random(0)), []))
    [0, 1, 2, 3]
    """
    rows = list(range(len(lengths)))
    shuffler.shuffle(rows)
    span = batch_rows * BUCKET_BATCHES
    batches = []
    for start in range(0, len(rows), span):
        bucket = sorted(rows[start : start + span], key=lengths.__getitem__)
        batches += [bucket[at : at + batch_rows] for at in range(0, len(bucket), batch_rows)]
    shuffler.shuffle(batches)
    yield from batches


def _step(model: PreTrainedModel, tokens: list[Sequence[int]], classes: list[int], clip_norm: float) -> float:
    """Add the gradients of one batch and return its loss."""
    device = model.device
    inputs = {name: tensor.to(device) for name, tensor in pad(tokens).items()}  # (rows, tokens)
    targets = torch.tensor(classes, device=device)  # (rows,)
    with torch.autocast(device.type, torch.bfloat16, enabled=compute_dtype(device.type) == torch.bfloat16):
        logits = model(**inputs).logits  # (rows, labels)
    loss = torch.nn.functional.cross_entropy(logits.float(), targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    return float(loss.detach())


def _optimizer(model: PreTrainedModel, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW that decays matrices but neither biases nor layer norms."""
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)
