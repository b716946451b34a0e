from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from tokenizers import processors

from reviewpulse.classifier import pad
from reviewpulse.errors import TrainingError
from training.base import Base, load_base
from training.cutting import keep_layers, keep_neurons, keep_words, set_dropout, train_upper_layers


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


def test_a_base_that_is_no_folder_while_the_hub_is_away_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(TrainingError, match="the base nope: no such folder, and the model hub cannot be reached; name"):
        load_base("nope")


def test_the_packaged_base_is_there_without_a_hub() -> None:
    base = load_base("minilm-l6")

    assert base.model.config.num_hidden_layers == 6
    assert base.tokenizer.encode("good").tokens == ["[CLS]", "good", "[SEP]"]
    assert keep_words(base, ["good"], 9_000).tokenizer.encode("good").tokens == ["[CLS]", "good", "[SEP]"]
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


@pytest.mark.parametrize("kind", [processors.RobertaProcessing, processors.BertProcessing])
def test_a_tokenizer_with_ends_of_its_own_is_cut_as_well(
    base: Base, kind: Callable[..., processors.PostProcessor]
) -> None:
    """MPNet's, the large recipe's, was a traceback."""
    base.tokenizer.post_processor = kind(("[SEP]", 3), ("[CLS]", 2))

    smaller = keep_words(base, ["good good 1"], 90)

    assert smaller.tokenizer.encode("good").tokens == ["[CLS]", "good", "[SEP]"]


def test_a_tokenizer_with_no_ends_is_not_cut(base: Base) -> None:
    base.tokenizer.post_processor = processors.Sequence([])

    with pytest.raises(TrainingError, match="ends texts by Sequence cannot be cut; leave --vocabulary out"):
        keep_words(base, ["good"], 90)


def test_a_word_whose_piece_is_gone_is_spelled_out(base: Base) -> None:
    smaller = keep_words(base, ["good"], 0)

    tokens = smaller.tokenizer.encode("bad").tokens
    assert tokens == ["[CLS]", "b", "##a", "##d", "[SEP]"]


def test_neurons_that_say_nothing_are_the_first_to_go(base: Base) -> None:
    outgoing = base.model.bert.encoder.layer[0].output.dense.weight
    with torch.no_grad():
        outgoing[:, 1::2] = 0
    before = logits(base, "good 1")

    smaller = keep_neurons(base, ["good 1", "bad"], 16, max_tokens=32)

    assert smaller.model.config.intermediate_size == 16
    assert smaller.model.bert.encoder.layer[0].intermediate.dense.weight.shape == (16, 16)
    torch.testing.assert_close(logits(smaller, "good 1"), before)


def test_a_base_that_was_cut_in_every_way_can_be_trained(base: Base) -> None:
    smaller = keep_neurons(keep_words(keep_layers(base, (0,)), ["good"], 0), ["good"], 16, max_tokens=32)
    before = smaller.model.bert.encoder.layer[0].output.dense.weight.detach().clone()

    smaller.model(torch.tensor([[2, 3]])).logits.sum().backward()
    torch.optim.AdamW(smaller.model.parameters()).step()

    assert not torch.equal(smaller.model.bert.encoder.layer[0].output.dense.weight, before)


def test_more_neurons_than_the_base_has_are_refused(base: Base) -> None:
    with pytest.raises(TrainingError, match="--neurons 33: the base has 32"):
        keep_neurons(base, ["good"], 33, max_tokens=32)


def test_only_the_upper_layers_and_the_head_are_trained(tiny_checkpoint: Path) -> None:
    base = load_base("small-2x64")

    train_upper_layers(base, 1)

    trained = {
        name.split(".weight")[0].split(".bias")[0] for name, w in base.model.named_parameters() if w.requires_grad
    }
    assert {name.split("layer.")[1][0] for name in trained if "encoder.layer." in name} == {"1"}
    assert {"classifier", "bert.pooler.dense"} <= trained  # BERT's head is both
    assert not [name for name in trained if "embeddings" in name]
    with pytest.raises(TrainingError, match="--upper-layers 3: the base has 2"):
        train_upper_layers(base, 3)


def test_a_small_base_has_the_words_of_minilm_and_as_many_outputs_as_asked() -> None:
    base = load_base("small-2x128", outputs=4)

    assert (base.model.config.num_hidden_layers, base.model.config.hidden_size) == (2, 128)
    assert base.model.config.vocab_size == base.tokenizer.get_vocab_size() == 30_522
    assert logits(base, "good").shape == (1, 4)
    vectors = base.model.get_input_embeddings().weight
    good, great, screw = (vectors[base.tokenizer.token_to_id(word)] for word in ("good", "great", "screw"))
    assert torch.cosine_similarity(good, great, dim=0) > torch.cosine_similarity(good, screw, dim=0)


def test_a_width_that_no_head_fits_is_refused() -> None:
    with pytest.raises(TrainingError, match="multiple of 64"):
        load_base("small-2x100")


def test_dropout_is_set_everywhere(base: Base) -> None:
    set_dropout(base, 0.3)

    assert {module.p for module in base.model.modules() if isinstance(module, torch.nn.Dropout)} == {0.3}
