import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Encoding
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from reviewpulse.card import Decision, find_checkpoint, read_card
from reviewpulse.classifier import PASS_TOKENS, SentimentClassifier, alike_in_length
from reviewpulse.errors import CheckpointError
from reviewpulse.labels import LABELS
from tests.cards import tiny_card
from tests.tiny import tiny_classifier, tiny_tokenizer


def test_a_saved_classifier_loads_and_predicts_the_same(tiny_checkpoint: Path) -> None:
    texts = ["good", "a bad | bad thing", "", "x" * 500]

    loaded = SentimentClassifier.load(tiny_checkpoint, "cpu").predict(texts).probabilities

    assert loaded.shape == (4, len(LABELS))
    np.testing.assert_allclose(loaded.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(loaded, tiny_classifier().predict(texts).probabilities, atol=5e-3)


def test_results_stand_in_the_order_of_the_texts(tiny_checkpoint: Path) -> None:
    classifier = tiny_classifier()
    texts = [f"{'good ' * (number % 7)}{number}" for number in range(PASS_TOKENS["cpu"])]

    threads, together = torch.get_num_threads(), classifier.logits(texts)

    assert torch.get_num_threads() == threads

    alone = np.concatenate([classifier.logits([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_many_texts_are_tokenized_in_slices_and_stand_in_their_order() -> None:
    classifier, encoded = tiny_classifier(), list[int]()
    tokenizer = classifier.tokenizer

    class Watched:
        def encode_batch_fast(self, texts: list[str]) -> list[Encoding]:
            """Encode, and note how many at once."""
            encoded.append(len(texts))
            return tokenizer.encode_batch_fast(texts)

    classifier.tokenizer = Watched()  # type: ignore[assignment]
    texts = [("good", "bad bad")[number % 2] for number in range(4_100)]

    logits = classifier.logits(texts)

    assert encoded == [4_096, 4]
    np.testing.assert_allclose(logits, np.tile(classifier.logits(texts[:2]), (2_050, 1)), atol=1e-5)


def test_rows_alike_in_length_are_grouped_and_no_group_is_larger_than_asked() -> None:
    assert alike_in_length([3, 9, 1, 2, 4], tokens=8) == [[1], [4, 0], [3, 2]]
    assert alike_in_length([], tokens=8) == []


def test_an_error_of_one_forward_pass_reaches_the_caller(tiny_checkpoint: Path) -> None:
    classifier = SentimentClassifier.load(tiny_checkpoint, "cpu")
    forward, passes = classifier._forward, list[int]()

    def broken_once(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        passes.append(len(inputs["input_ids"]))
        if len(passes) == 2:
            raise RuntimeError("broken")
        return forward(inputs)

    classifier._forward = broken_once  # type: ignore[method-assign]

    with pytest.raises(RuntimeError, match="broken"):
        classifier.logits(["good bad"] * PASS_TOKENS["cpu"])


def test_every_lane_computes_in_the_precision_of_its_caller(tiny_checkpoint: Path) -> None:
    classifier = tiny_classifier()  # in float32, as in training
    forward, seen = classifier._forward, set[bool]()

    def watched(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.add(torch.is_autocast_enabled("cpu"))
        return forward(inputs)

    classifier._forward = watched  # type: ignore[method-assign]
    texts = ["good bad"] * PASS_TOKENS["cpu"]

    with torch.autocast("cpu", torch.bfloat16):
        classifier.logits(texts)
    assert seen == {True}

    seen.clear()
    classifier.logits(texts)
    assert seen == {False}


def test_no_texts_give_no_rows() -> None:
    assert tiny_classifier().predict([]).probabilities.shape == (0, len(LABELS))


def test_transformers_loads_the_folder_as_well(tiny_checkpoint: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)

    logits = model(**tokenizer("good", return_tensors="pt")).logits.detach()
    probabilities = logits.float().softmax(dim=-1).numpy()

    assert list(model.config.id2label.values()) == list(LABELS)
    np.testing.assert_allclose(probabilities, tiny_classifier().predict(["good"]).probabilities, atol=5e-3)
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
        ("max_tokens", 2, "no card of this version"),
        ("decision", {"temperature": 0}, "no card of this version"),
        ("decision", {"class_shares": [0.5, 0.5, -1, 0, 0]}, "no card of this version"),
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


def changed_weights(source: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """Copy a checkpoint and change its weights."""
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_folder_without_all_weights_is_refused_instead_of_filled_with_chance(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = changed_weights(tiny_checkpoint, tmp_path / "headless", lambda weights: weights.pop("classifier.weight"))

    with pytest.raises(CheckpointError, match=r"headless lacks weights \(classifier.weight\)"):
        SentimentClassifier.load(folder, "cpu")


def test_weights_that_are_no_numbers_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = changed_weights(
        tiny_checkpoint, tmp_path / "nan", lambda weights: weights["classifier.bias"].fill_(np.nan)
    )

    with pytest.raises(CheckpointError, match="weights that are no numbers"):
        SentimentClassifier.load(folder, "cpu")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_tokens": 65}, "read 65 tokens but its encoder has 64 positions"),
        ({"decision": Decision(head="corn")}, "has 5 outputs where its head corn has 4"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(
    tiny_checkpoint: Path, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, folder)
    tiny_card(**changes).write(folder)

    with pytest.raises(CheckpointError, match=reason):
        SentimentClassifier.load(folder, "cpu")


def test_more_word_pieces_than_vectors_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, folder)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["unheard-of"])
    tokenizer.save(str(folder / "tokenizer.json"))

    with pytest.raises(CheckpointError, match="word pieces but vectors for"):
        SentimentClassifier.load(folder, "cpu")


def test_an_unknown_name_lists_the_bundled_ones() -> None:
    with pytest.raises(CheckpointError, match="there is: default, fast"):
        find_checkpoint("no-such-checkpoint")


def test_a_path_is_a_folder_even_where_it_ends_like_a_bundled_name(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "default")
    monkeypatch.chdir(tmp_path)

    assert read_card(find_checkpoint("./default")).name == "tiny"
    assert read_card(find_checkpoint("default")).name == "default"


@pytest.mark.parametrize(("name", "most_bytes"), [("default", 25_000_000), ("fast", 10_000_000)])
def test_a_bundled_checkpoint_is_light_and_knows_praise_from_blame(name: str, most_bytes: int) -> None:
    folder = find_checkpoint(name)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= most_bytes

    predictions = SentimentClassifier.load(folder, "cpu").predict(
        ["Love it | Works perfectly, best purchase this year!", "Broken | Died after one day, waste of money."]
    )

    assert [LABELS[label] for label in predictions.classes] == ["very positive", "very negative"]


def test_texts_that_memory_cannot_hold_at_once_are_scored_in_halves(tiny_checkpoint: Path) -> None:
    classifier = SentimentClassifier.load(tiny_checkpoint, "cpu")
    texts = ["good", "bad", "good bad", "bad bad good"]
    whole, forward, rows = classifier.logits(texts), classifier._forward, list[int]()

    def short_of_memory(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        rows.append(len(inputs["input_ids"]))
        if rows[-1] > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(inputs)

    classifier._forward = short_of_memory  # type: ignore[method-assign]

    np.testing.assert_allclose(classifier.logits(texts), whole, atol=1e-5)
    assert rows == [4, 2, 1, 1, 2, 1, 1]
