import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from reviewpulse.card import find_checkpoint, read_card
from reviewpulse.classifier import ROWS, SentimentClassifier
from reviewpulse.errors import CheckpointError
from reviewpulse.labels import LABELS
from tests.tiny import tiny_classifier


def test_a_saved_classifier_loads_and_predicts_the_same(tiny_checkpoint: Path) -> None:
    texts = ["good", "a bad | bad thing", "", "x" * 500]

    loaded = SentimentClassifier.load(tiny_checkpoint, "cpu").predict(texts)

    assert loaded.shape == (4, len(LABELS))
    np.testing.assert_allclose(loaded.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(loaded, tiny_classifier().predict(texts), atol=5e-3)


def test_results_stand_in_the_order_of_the_texts(tiny_checkpoint: Path) -> None:
    classifier = tiny_classifier()
    texts = [f"{'good ' * (number % 7)}{number}" for number in range(3 * ROWS + 5)]

    together = classifier.predict(texts)

    alone = np.concatenate([classifier.predict([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_no_texts_give_no_rows() -> None:
    assert tiny_classifier().predict([]).shape == (0, len(LABELS))


def test_transformers_loads_the_folder_as_well(tiny_checkpoint: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)

    logits = model(**tokenizer("good", return_tensors="pt")).logits.detach()
    probabilities = logits.float().softmax(dim=-1).numpy()

    assert list(model.config.id2label.values()) == list(LABELS)
    np.testing.assert_allclose(probabilities, tiny_classifier().predict(["good"]), atol=5e-3)
    assert not list(tiny_checkpoint.glob("*.bin"))


@pytest.mark.parametrize("missing", ["card.json", "model.safetensors", "tokenizer.json", "config.json"])
def test_a_folder_that_lacks_a_part_is_refused_by_name(tiny_checkpoint: Path, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / missing).unlink()

    with pytest.raises(CheckpointError, match="broken"):
        SentimentClassifier.load(folder, "cpu")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("labels", list(reversed(LABELS)), "labels"),
        ("cleaning_version", 999, "cleaned by version 999"),
        ("max_tokens", "many", "no card of this version"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_with_the_reason(
    tiny_checkpoint: Path, tmp_path: Path, field: str, value: object, reason: str
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {field: value}))

    with pytest.raises(CheckpointError, match=reason):
        read_card(folder)


def test_damaged_weights_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(tiny_checkpoint, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])

    with pytest.raises(CheckpointError, match="cut"):
        SentimentClassifier.load(folder, "cpu")


def test_an_unknown_name_lists_the_bundled_ones() -> None:
    with pytest.raises(CheckpointError, match="there is: default"):
        find_checkpoint("no-such-checkpoint")


def test_the_bundled_checkpoint_is_light_and_knows_praise_from_blame() -> None:
    folder = find_checkpoint("default")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 25_000_000

    praise, blame = SentimentClassifier.load(folder, "cpu").predict(
        ["Love it | Works perfectly, best purchase this year!", "Broken | Died after one day, waste of money."]
    )

    assert LABELS[int(praise.argmax())] == "very positive"
    assert LABELS[int(blame.argmax())] == "very negative"
