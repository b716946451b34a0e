from pathlib import Path

import pytest
import torch

from reviewpulse.classifier import pad
from reviewpulse.errors import TrainingError
from training.base import Base, keep_layers, keep_words, load_base


@pytest.fixture
def base(tiny_checkpoint: Path) -> Base:
    return load_base(str(tiny_checkpoint))


def logits(base: Base, text: str) -> torch.Tensor:
    base.tokenizer.no_padding()
    base.model.eval()
    with torch.inference_mode():
        return base.model(**pad([base.tokenizer.encode(text).ids])).logits  # (1, labels)


def test_a_base_that_cannot_be_had_is_named_with_the_cure() -> None:
    with pytest.raises(TrainingError, match=r"no/such/base.*minilm-l6"):
        load_base("no/such/base")


def test_the_packaged_base_is_there_without_a_hub() -> None:
    base = load_base("minilm-l6")

    assert base.model.config.num_hidden_layers == 6
    assert keep_layers(base, (0, 2, 5)).model.config.num_hidden_layers == 3
    assert logits(base, "good").shape == (1, 5)


def test_a_layer_that_the_base_lacks_is_refused(base: Base) -> None:
    with pytest.raises(TrainingError, match="layers 0 to 0"):
        keep_layers(base, (0, 3))


def test_a_smaller_vocabulary_reads_the_kept_words_as_before(base: Base) -> None:
    before = logits(base, "good 1")

    smaller = keep_words(base, ["good good 1"], 90)

    assert smaller.tokenizer.get_vocab_size() == 90
    assert smaller.tokenizer.token_to_id("bad") is None
    assert smaller.model.config.vocab_size == smaller.tokenizer.get_vocab_size()
    torch.testing.assert_close(logits(smaller, "good 1"), before)


def test_a_word_whose_piece_is_gone_is_spelled_out(base: Base) -> None:
    smaller = keep_words(base, ["good"], 0)

    tokens = smaller.tokenizer.encode("bad").tokens
    assert tokens == ["[CLS]", "b", "##a", "##d", "[SEP]"]
