"""A transformer small enough to build in every test run."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification

from reviewpulse.classifier import SentimentClassifier
from reviewpulse.labels import LABELS
from tests.cards import tiny_card

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789|.,!?'"


def tiny_tokenizer() -> Tokenizer:
    """Return a WordPiece tokenizer that knows letters only."""
    pieces = [*PIECES, *LETTERS, *(f"##{letter}" for letter in LETTERS), "good", "bad"]
    tokenizer = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(PIECES)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def tiny_classifier(**changes: object) -> SentimentClassifier:
    """Return a classifier with random weights, the same ones each time."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.25,  # BERT's 0.02 is for wide layers: here all texts would look alike
        num_labels=len(LABELS),
    )
    return SentimentClassifier(BertForSequenceClassification(config), tokenizer, tiny_card(**changes), "cpu")


def save_tiny_checkpoint(folder: Path) -> Path:
    """Write the tiny classifier and return its folder."""
    tiny_classifier().save(folder)
    return folder
