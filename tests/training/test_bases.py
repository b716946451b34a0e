"""Encoders of other kinds than BERT, each tiny and random, go the whole way from base to checkpoint."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

from reviewpulse.classifier import SentimentClassifier
from reviewpulse.errors import TrainingError
from reviewpulse.progress import SilentProgress
from tests.tiny import tiny_tokenizer
from tests.training.examples import quick_plan, write_reviews
from training.command import Sources, train_on_files

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WORDS = tiny_tokenizer().get_vocab_size()

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.25,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "distilbert": DistilBertConfig(
        vocab_size=WORDS, dim=16, n_layers=2, n_heads=2, hidden_dim=32, pad_token_id=0, initializer_range=0.25
    ),
    "modernbert": ModernBertConfig(
        vocab_size=WORDS, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3, **SIZES
    ),
    "mpnet": MPNetConfig(vocab_size=WORDS, pad_token_id=0, bos_token_id=2, eos_token_id=3, **SIZES),
    "roberta": RobertaConfig(vocab_size=WORDS, pad_token_id=0, bos_token_id=2, eos_token_id=3, **SIZES),
    "roberta as it comes": RobertaConfig(vocab_size=WORDS, pad_token_id=1, bos_token_id=2, eos_token_id=3, **SIZES),
    "xlm-roberta, multilingual": XLMRobertaConfig(vocab_size=WORDS, pad_token_id=0, bos_token_id=2, **SIZES),
}


@pytest.fixture(params=CONFIGS)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder as the model hub would give it."""
    torch.manual_seed(0)
    folder = tmp_path / "base"
    AutoModelForSequenceClassification.from_config(CONFIGS[request.param]).save_pretrained(folder)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer(), **special).save_pretrained(folder)
    return folder


def test_an_encoder_of_any_kind_is_trained_saved_and_scores(base: Path, tmp_path: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews.jsonl", 300)
    plan = quick_plan(base, upper_layers=1)

    card = train_on_files(Sources([reviews]), tmp_path / "mine", plan, now=NOW, progress=SilentProgress())

    assert card.metrics["accuracy"] > 0.9
    predictions = SentimentClassifier.load(tmp_path / "mine", "cpu").predict(["good good good 7", "bad bad bad 7"])
    assert predictions.classes.tolist() == [4, 0]


def test_more_tokens_than_an_encoder_reads_are_refused_whatever_it_calls_them(base: Path, tmp_path: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews.jsonl", 300)
    plan = msgspec.structs.replace(quick_plan(base), max_tokens=9_000)

    with pytest.raises(TrainingError, match="--max-tokens 9000: the base"):
        train_on_files(Sources([reviews]), tmp_path / "mine", plan, now=NOW, progress=SilentProgress())
