import random
import tracemalloc

import numpy as np
import pytest

from tests.tiny import tiny_tokenizer
from training.batches import Examples, bucketed_batches, epoch_batches
from training.objectives import Imbalance
from training.recipe import Recipe
from training.tokens import Tokens


def examples(classes: list[int]) -> Examples:
    lengths = np.array([1 + row % 7 for row in range(len(classes))])
    tokens = Tokens(np.zeros(int(lengths.sum()), dtype=np.int32), lengths.cumsum())
    return Examples(tokens, np.array(classes, dtype=np.int64))


def test_batches_are_alike_in_length() -> None:
    lengths = [random.Random(number).randrange(1, 128) for number in range(3_000)]

    batches = list(bucketed_batches(range(3_000), lengths, 32, random.Random(0)))

    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert sum(lengths) / padded > 0.9
    assert sorted(row for batch in batches for row in batch) == list(range(3_000))


def test_an_epoch_s_batches_depend_on_seed_and_epoch_alone() -> None:
    given, recipe = examples([0, 4] * 100), Recipe(batch_rows=8, seed=1)

    assert epoch_batches(given, recipe, 0) == epoch_batches(given, recipe, 0)
    assert epoch_batches(given, recipe, 0) != epoch_batches(given, recipe, 1)
    assert epoch_batches(given, recipe, 0) != epoch_batches(given, Recipe(batch_rows=8, seed=2), 0)


def test_token_ids_of_many_texts_take_hardly_more_memory_on_the_way_than_in_the_end() -> None:
    tracemalloc.start()
    tokens = Tokens.of_texts(tiny_tokenizer(), (f"good {number}" for number in range(20_000)), 8)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert tokens[12_345].tolist() == [*tiny_tokenizer().encode("good 12345").ids[:7], 3]
    assert (len(tokens), int(tokens.lengths.max())) == (20_000, 8)
    assert peak_bytes < 1.7 * (tokens.ids.nbytes + 2 * tokens.lengths.nbytes)


def test_no_texts_have_no_tokens() -> None:
    assert len(Tokens.of_texts(tiny_tokenizer(), [], 8)) == 0


def test_the_sampler_draws_every_class_equally_often() -> None:
    given = examples([0] * 100 + [4] * 900)

    drawn = [row for batch in epoch_batches(given, Recipe(imbalance=Imbalance.sampler), 0) for row in batch]

    assert len(drawn) == 1_000
    assert sum(row < 100 for row in drawn) / 1_000 == pytest.approx(0.5, abs=0.05)
