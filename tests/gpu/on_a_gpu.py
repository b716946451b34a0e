"""What a real GPU is asked for by `make gpu`: not part of the suite, which runs where there is none."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from producer.sample import sample_path
from reviewpulse.card import Card, find_checkpoint
from reviewpulse.classifier import SentimentClassifier
from reviewpulse.embedded import EmbeddedBroker
from reviewpulse.errors import TrainingError
from reviewpulse.profile import read_profile
from reviewpulse.progress import Progress, SilentProgress, Status
from tests.brokers import fresh_topics
from tests.integration.processes import Desk, wait_until
from tests.training.examples import quick_plan, write_reviews
from training.command import Sources, train_on_files
from training.history import read_history
from training.plan import Plan
from training.reading import rated_examples
from training.recipe import Recipe

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MIB = 2**20


@pytest.fixture(scope="module", autouse=True)
def _gpu() -> None:
    if not torch.cuda.is_available():
        pytest.fail("no GPU answers: torch.cuda.is_available() is false")


@pytest.fixture
def texts() -> list[str]:
    """Return the reviews of the bundled sample as the model reads them."""
    return [review.text for review in rated_examples(sample_path(), [], SilentProgress())]


@pytest.fixture
def _memory_given_back() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def leave_memory(mebibytes: int) -> None:
    """Let this process take so much of the GPU's memory beyond what it holds now."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + mebibytes * MIB) / total)


def train(reviews: Path, into: Path, plan: Plan, progress: Progress | None = None) -> Card:
    """Train on the GPU, keeping every single step for a restart."""
    progress = progress or SilentProgress()
    return train_on_files(
        Sources([reviews]), into, plan, now=NOW, progress=progress, snapshot_seconds=0, device="cuda"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["default", "fast"])
def test_a_bundled_checkpoint_says_on_the_gpu_what_it_says_on_the_cpu(texts: list[str], name: str) -> None:
    on_cpu = SentimentClassifier.load(find_checkpoint(name), "cpu").predict(texts)
    on_gpu = SentimentClassifier.load(find_checkpoint(name), "auto").predict(texts)

    assert (on_gpu.classes == on_cpu.classes).mean() > 0.98
    np.testing.assert_allclose(on_gpu.probabilities, on_cpu.probabilities, atol=0.06)
    assert abs(on_gpu.probabilities - on_cpu.probabilities).mean() < 0.005


@pytest.mark.usefixtures("_memory_given_back")
def test_texts_that_the_gpu_cannot_hold_at_once_are_scored_in_halves(texts: list[str]) -> None:
    classifier = SentimentClassifier.load(find_checkpoint("default"), "cuda")
    whole, rows, forward = classifier.logits(texts), list[int](), classifier._forward

    def counted(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        rows.append(len(inputs["input_ids"]))
        return forward(inputs)

    classifier._forward = counted  # type: ignore[method-assign]
    leave_memory(48)

    np.testing.assert_allclose(classifier.logits(texts), whole, atol=0.25)  # in bfloat16
    assert sum(rows) > len(texts)


def test_a_training_on_the_gpu_learns_and_goes_on_after_an_interruption(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reviews, plan = write_reviews(tmp_path / "reviews.jsonl", 300), quick_plan(tiny_checkpoint)

    class Interruption:
        """Progress that stops the training like Ctrl-C, at step 15."""

        def show(self, status: Status) -> None:
            if "step" in status.note and status.done == 15:
                raise KeyboardInterrupt

    whole = train(reviews, tmp_path / "whole", plan)
    with pytest.raises(KeyboardInterrupt):
        train(reviews, tmp_path / "resumed", plan, Interruption())
    with caplog.at_level(logging.INFO):
        resumed = train(reviews, tmp_path / "resumed", plan)

    assert "going on from step 14 of " in caplog.text
    assert whole.metrics["macro_f1"] > 0.3  # of five classes two are there, told apart
    assert resumed.metrics["accuracy"] == whole.metrics["accuracy"] == 1
    losses = [[loss for _step, loss in read_history(tmp_path / name).losses] for name in ("whole", "resumed")]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
    assert read_profile(tmp_path / "whole")
    texts = [f"{word} {number}" for number in range(280, 300) for word in ("bad bad bad", "good good good")]
    on_cpu = SentimentClassifier.load(tmp_path / "whole", "cpu").predict(texts)
    assert (on_cpu.classes == [0, 4] * 20).mean() >= 0.9


@pytest.mark.usefixtures("_memory_given_back")
def test_a_batch_that_the_gpu_cannot_hold_is_halved_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reviews = write_reviews(tmp_path / "reviews.jsonl", 6_000)
    recipe = Recipe(epochs=1, batch_rows=4_096, learning_rate=1e-4)
    leave_memory(2_560)

    with caplog.at_level(logging.WARNING):
        card = train(reviews, tmp_path / "mine", Plan(name="mine", base="minilm-l6", recipe=recipe))

    assert "out of memory: going on with " in caplog.text
    assert card.training_reviews > 4_000


@pytest.mark.usefixtures("_memory_given_back")
def test_a_gpu_too_small_for_one_review_ends_with_the_cure(tmp_path: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews.jsonl", 300)
    leave_memory(140)

    with pytest.raises(TrainingError, match="take a smaller --base, or --upper-layers"):
        train(reviews, tmp_path / "mine", Plan(name="mine", base="minilm-l6"))


def test_a_worker_on_the_gpu_stores_and_publishes_every_review(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        desk = Desk(tmp_path, fresh_topics(broker.address), find_checkpoint("default"))
        try:
            with desk.worker() as worker:
                code, output = desk.run("publish", str(sample_path()))
                published = len(sample_path().read_text().splitlines())
                wait_until(lambda: desk.count("predictions") >= published, f"{published} rows")
            assert code == 0, output
            assert " on cuda" in desk.output_of(worker), desk.output_of(worker)
            assert desk.count("predictions") == published
        finally:
            desk.clear()
