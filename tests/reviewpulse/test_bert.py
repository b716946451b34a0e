import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from reviewpulse.bert import first_token_logits
from reviewpulse.classifier import pad

ROWS = [[2, 7, 9, 11, 3], [2, 8, 3], [2, 3]]


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]], ids=["padded", "alike in length"])
def test_the_short_way_gives_what_transformers_gives(layers: int, rows: list[list[int]]) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20, hidden_size=24, num_hidden_layers=layers, num_attention_heads=3, intermediate_size=40,
        initializer_range=0.3,
    )  # fmt: skip
    config.num_labels = 5
    model = BertForSequenceClassification(config).eval()

    with torch.inference_mode():
        short, whole = first_token_logits(model, **pad(rows)), model(**pad(rows)).logits

    assert float(whole.std()) > 0.1
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=1e-5)
