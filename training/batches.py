"""Batches of reviews alike in length, so that little of a batch is padding; the same ones for a seed."""

import random
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from training.objectives import Imbalance
from training.recipe import Recipe
from training.tokens import Tokens

BUCKET_BATCHES: Final = 50
"""Batches whose rows are sorted by length together: enough that a batch is hardly padded, few enough to stay random."""


class Examples(NamedTuple):
    """What fitting reads, in step: one row a review."""

    tokens: Tokens
    classes: npt.NDArray[np.int64]
    """(rows,); -1 where there is no class."""
    teacher_logits: npt.NDArray[np.float32] | None = None
    """(rows, labels)"""


def epoch_batches(examples: Examples, recipe: Recipe, epoch: int) -> list[list[int]]:
    """Return the row indices of an epoch's batches: always the same ones for a seed and an epoch.

    Each row comes once, except with the weighted sampler: it draws as many rows with replacement,
    every class equally often.
    """
    shuffler = random.Random(f"{recipe.seed}/{epoch}")  # noqa: S311  # for batches, not for secrets
    rows = list(range(len(examples.tokens)))
    if recipe.imbalance is Imbalance.sampler:
        counts = np.bincount(examples.classes, minlength=1)
        rows = shuffler.choices(rows, weights=(1 / counts[examples.classes]).tolist(), k=len(rows))
    return list(bucketed_batches(rows, examples.tokens.lengths, recipe.batch_rows, shuffler))


def bucketed_batches(
    rows: Sequence[int], lengths: Sequence[int] | npt.NDArray[np.int64], batch_rows: int, shuffler: random.Random
) -> Iterator[list[int]]:
    """Yield the row indices in batches of rows alike in length, in random order.

    >>> sorted(sum(bucketed_batches([0, 1, 2, 3], [5, 1, 9, 2], 2, random.Random(0)), []))
    [0, 1, 2, 3]
    """
    rows = list(rows)
    shuffler.shuffle(rows)
    span = batch_rows * BUCKET_BATCHES
    batches = []
    for start in range(0, len(rows), span):
        bucket = sorted(rows[start : start + span], key=lengths.__getitem__)
        batches += [bucket[at : at + batch_rows] for at in range(0, len(bucket), batch_rows)]
    shuffler.shuffle(batches)
    yield from batches
