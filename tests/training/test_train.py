import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from reviewpulse.card import Card, read_card
from reviewpulse.classifier import SentimentClassifier
from reviewpulse.errors import CheckpointError, TrainingError
from reviewpulse.profile import read_profile
from reviewpulse.progress import Progress, SilentProgress, Status
from tests.training.examples import quick_plan, write_reviews
from training.command import Sources, parse_imbalance, parse_layers, train_on_files
from training.fit import Fitting
from training.history import read_history
from training.objectives import Imbalance
from training.plan import Plan
from training.split import SplitPlan

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def plan(tiny_checkpoint: Path) -> Plan:
    return quick_plan(tiny_checkpoint)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return write_reviews(tmp_path / "reviews.jsonl", 300)


def with_recipe(plan: Plan, **changes: object) -> Plan:
    return msgspec.structs.replace(plan, recipe=msgspec.structs.replace(plan.recipe, **changes))


def run(
    reviews: Path, into: Path, plan: Plan, progress: Progress | None = None, unlabelled: Sequence[Path] = ()
) -> Card:
    """Train, keeping every single step for a restart."""
    sources, progress = Sources([reviews], unlabelled), progress or SilentProgress()
    return train_on_files(sources, into, plan, now=NOW, progress=progress, snapshot_seconds=0)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


class Stopper:
    """Progress that ends the training like Ctrl-C, at the given step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def show(self, status: Status) -> None:
        """Interrupt at the step."""
        if "step" in status.note and status.done == self.step:
            raise KeyboardInterrupt


class FirstStep:
    """Progress that notes with which step a training began."""

    step = 0.0

    def show(self, status: Status) -> None:
        """Note the step if it is the first."""
        if "step" in status.note and not self.step:
            self.step = status.done


def test_training_learns_and_leaves_a_whole_checkpoint(
    plan: Plan, reviews: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    card = run(reviews, tmp_path / "mine", plan)

    assert "calls every review" not in caplog.text
    assert read_card(tmp_path / "mine") == card
    assert card.metrics["accuracy"] > 0.9
    assert (card.name, card.version, card.training_reviews) == ("mine", "20260102-000000", 247)
    assert card.decision.class_shares == pytest.approx((0.5, 0, 0, 0, 0.5), abs=0.04)
    predictions = SentimentClassifier.load(tmp_path / "mine", "cpu").predict(["good good good 7", "bad bad bad 7"])
    assert predictions.classes.tolist() == [4, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "reviews.jsonl"]
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "README.md",
        "card.json",
        "config.json",
        "model.safetensors",
        "profile.json",
        "seen.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training_history.json",
    ]
    history = read_history(tmp_path / "mine")
    assert history is not None
    assert history.losses[0][1] > history.losses[-1][1]
    assert [epoch["epoch"] for epoch in history.epochs] == list(range(1, len(history.epochs) + 1))
    profile = read_profile(tmp_path / "mine")
    assert profile.reviews > 10
    assert [sum(shares) for shares in (profile.class_shares, profile.confidence_shares, profile.length_shares)] == (
        pytest.approx([1, 1, 1], abs=1e-4)
    )


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(
    plan: Plan, reviews: Path, tmp_path: Path
) -> None:
    plan = with_recipe(plan, epochs=1)
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        run(reviews, tmp_path / name, with_recipe(plan, seed=seed))

    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert weights(tmp_path / "one") != weights(tmp_path / "other")


def test_of_epochs_with_one_macro_f1_the_one_of_the_least_log_loss_is_kept(
    plan: Plan, reviews: Path, tmp_path: Path
) -> None:
    card = run(reviews, tmp_path / "mine", plan)

    epochs = read_history(tmp_path / "mine").epochs
    best = [epoch for epoch in epochs if epoch["macro_f1"] == max(each["macro_f1"] for each in epochs)]
    losses = [epoch["log_loss"] for epoch in best]
    assert losses[0] > 2 * min(losses), "the first one is as good: nothing is proven"
    assert card.metrics["log_loss"] == pytest.approx(min(losses), abs=0.05)


@pytest.mark.parametrize("step", [7, 15, 29])
def test_an_interrupted_training_goes_on_to_the_same_weights(
    plan: Plan, reviews: Path, tmp_path: Path, step: int
) -> None:
    plan = with_recipe(plan, epochs=3)
    run(reviews, tmp_path / "whole", plan)
    with pytest.raises(KeyboardInterrupt):
        run(reviews, tmp_path / "resumed", plan, Stopper(step))
    first = FirstStep()

    run(reviews, tmp_path / "resumed", plan, first)

    assert first.step == step
    assert weights(tmp_path / "resumed") == weights(tmp_path / "whole")
    histories = [read_history(tmp_path / name) for name in ("whole", "resumed")]
    assert histories[0] == histories[1]


def test_a_training_killed_without_warning_goes_on(plan: Plan, reviews: Path, tmp_path: Path) -> None:
    code = """
import sys; from pathlib import Path; from tests.training.test_train import *
torch.set_num_threads(1)
files, into, base = map(Path, sys.argv[1:])
run(files, into, with_recipe(quick_plan(base), epochs=8, patience=0))
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(reviews), str(tmp_path / "mine"), plan.base])
    while not (tmp_path / "mine.training" / "best.safetensors").exists():
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "mine").exists()
    first = FirstStep()

    run(reviews, tmp_path / "mine", with_recipe(plan, epochs=8, patience=0), first)

    assert first.step > 1
    run(reviews, tmp_path / "whole", with_recipe(plan, epochs=8, patience=0))
    assert weights(tmp_path / "mine") == weights(tmp_path / "whole")


def test_other_options_never_go_on_from_a_killed_training(plan: Plan, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(reviews, tmp_path / "mine", plan, Stopper(3))

    with pytest.raises(TrainingError, match=r"mine\.training holds an unfinished training with other options"):
        run(reviews, tmp_path / "mine", with_recipe(plan, learning_rate=1e-3))


def test_a_training_that_failed_before_its_first_snapshot_claims_no_folder(
    plan: Plan, reviews: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.training").mkdir()
    (tmp_path / "mine.training" / "notes.txt").write_text("mine")

    for into in (tmp_path / "other", tmp_path / "mine"):
        with pytest.raises(TrainingError, match="cannot load the base nope"):
            run(reviews, into, msgspec.structs.replace(plan, base="nope"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.training", "reviews.jsonl"]
    assert [path.name for path in (tmp_path / "mine.training").iterdir()] == ["notes.txt"]


def test_a_training_killed_before_its_first_snapshot_leaves_the_folder_to_other_options(
    plan: Plan, reviews: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.training").mkdir()
    (tmp_path / "mine.training" / "plan.json").write_text("{}")

    assert run(reviews, tmp_path / "mine", with_recipe(plan, epochs=1)).name == "mine"


def test_a_second_training_into_one_folder_is_refused_and_the_first_is_none_the_worse(
    plan: Plan, reviews: Path, tmp_path: Path
) -> None:
    plan, refusals = with_recipe(plan, epochs=1), list[str]()

    class Intruder:
        def show(self, status: Status) -> None:
            """Start the same training in the middle of the first."""
            if "step" in status.note and status.done == 3:
                with pytest.raises(TrainingError) as refused:
                    run(reviews, tmp_path / "mine", plan)
                refusals.append(str(refused.value))

    assert run(reviews, tmp_path / "mine", plan, Intruder()).name == "mine"

    work = tmp_path / "mine.training"
    assert refusals == [f"another training works in {work}; wait for it, or name another folder by --into"]
    assert not work.exists()


def test_a_folder_that_exists_is_never_overwritten(plan: Plan, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="exists already"):
        run(reviews, tmp_path, plan)


def test_too_few_reviews_are_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="0 rated reviews to train on"):
        run(write_reviews(tmp_path / "a.jsonl", 5, rating=None), tmp_path / "mine", plan)


def test_a_single_class_is_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="all reviews to train on are 'very positive'"):
        run(write_reviews(tmp_path / "a.jsonl", 200, rating=5), tmp_path / "mine", plan)


def test_few_reviews_to_choose_on_are_warned_of(
    plan: Plan, reviews: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run(reviews, tmp_path / "mine", with_recipe(plan, epochs=1))

    assert "reviews choose the epoch" in caplog.text


def test_a_checkpoint_that_knows_one_answer_only_is_warned_of(
    plan: Plan, reviews: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It ended like success."""
    with caplog.at_level(logging.WARNING):
        run(reviews, tmp_path / "mine", with_recipe(plan, epochs=1, learning_rate=0.0, imbalance=Imbalance.none))

    assert re.search(r"calls every review of the validation '[a-z ]+': .* more epochs", caplog.text)


def test_more_tokens_than_the_base_reads_are_refused(plan: Plan, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="reads at most 64"):
        run(reviews, tmp_path / "mine", msgspec.structs.replace(plan, max_tokens=65))


def test_training_stops_when_validation_gains_nothing_any_more(plan: Plan, reviews: Path, tmp_path: Path) -> None:
    run(reviews, tmp_path / "mine", with_recipe(plan, epochs=50, patience=2))

    history = read_history(tmp_path / "mine")
    assert history is not None
    assert 3 <= len(history.epochs) < 50
    qualities = [epoch["quality"] for epoch in history.epochs]
    assert qualities.index(max(qualities)) == len(qualities) - 3


@pytest.mark.parametrize("imbalance", list(Imbalance))
def test_every_strategy_learns(plan: Plan, reviews: Path, tmp_path: Path, imbalance: Imbalance) -> None:
    card = run(reviews, tmp_path / "mine", with_recipe(plan, imbalance=imbalance))

    assert card.metrics["accuracy"] > 0.9
    assert card.decision.head == ("corn" if imbalance is Imbalance.corn else "softmax")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "mine")
    assert model.config.num_labels == (4 if imbalance is Imbalance.corn else 5)


class Losses:
    """Progress that notes the running loss of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def show(self, status: Status) -> None:
        """Note the loss."""
        if found := re.search(r"loss (\S+),", status.note):
            self.losses.append(float(found[1]))


def test_a_batch_that_memory_cannot_hold_is_halved_and_the_steps_stay_the_same(
    plan: Plan, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan, whole, halved = with_recipe(plan, dropout=0.0, epochs=1), Losses(), Losses()
    run(reviews, tmp_path / "whole", plan, whole)
    plain = Fitting._losses

    def small_memory(self: Fitting, rows: list[int]) -> torch.Tensor:
        if len(rows) > 4:
            raise torch.OutOfMemoryError
        return plain(self, rows)

    monkeypatch.setattr(Fitting, "_losses", small_memory)
    with caplog.at_level(logging.WARNING):
        run(reviews, tmp_path / "halved", plan, halved)

    assert "out of memory: going on with 4 rows at a time" in caplog.text
    assert len(whole.losses) == 16
    assert halved.losses == pytest.approx(whole.losses, rel=0.02)


def test_a_full_disk_ends_with_the_cure_and_the_training_goes_on_later(
    plan: Plan, reviews: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "reviewpulse", "train", str(reviews), "--into", str(tmp_path / "mine")]
    command += ["--base", plan.base, "--max-tokens", "32", "--epochs", "2"]
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY)); "
        "from reviewpulse.cli import main; sys.argv = sys.argv[1:]; main()"
    )
    limited = [sys.executable, "-c", f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); {code}"]
    full = subprocess.run([*limited, *command[2:]], capture_output=True, text=True, check=False)

    assert full.returncode == 1, full.stderr
    assert full.stderr.splitlines()[-1].startswith("error: cannot"), full.stderr
    assert not (tmp_path / "mine").exists()
    subprocess.run(command, capture_output=True, check=True)
    assert read_card(tmp_path / "mine").name == "mine"


def test_a_student_learns_from_its_teacher_what_no_star_told_it(plan: Plan, reviews: Path, tmp_path: Path) -> None:
    run(reviews, tmp_path / "teacher", plan)
    silent = write_reviews(tmp_path / "silent.jsonl", 600, rating=1, user_id=None, timestamp=None)  # wrong stars
    plan = msgspec.structs.replace(plan, teacher=str(tmp_path / "teacher"), name="student")

    card = run(reviews, tmp_path / "student", plan, unlabelled=[silent])

    assert card.teacher == "mine 20260102-000000"
    assert card.unlabelled_reviews > 200
    assert card.metrics["accuracy"] > 0.9


def test_a_teacher_that_knows_the_reviews_set_apart_is_refused(plan: Plan, reviews: Path, tmp_path: Path) -> None:
    run(reviews, tmp_path / "teacher", with_recipe(plan, epochs=1))
    other = msgspec.structs.replace(plan, teacher=str(tmp_path / "teacher"), split=SplitPlan(seed=9))

    with pytest.raises(TrainingError, match=r"teacher knows \d+ of the reviews that are set apart for validation"):
        run(reviews, tmp_path / "student", other)


def test_a_training_that_diverges_is_ended_with_the_cure(plan: Plan, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the training diverged"):
        run(reviews, tmp_path / "mine", with_recipe(plan, learning_rate=1e30))

    assert not (tmp_path / "mine").exists()


def test_options_that_contradict_each_other_are_refused(plan: Plan, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="without a --teacher"):
        run(reviews, tmp_path / "mine", plan, unlabelled=[reviews])
    taught = msgspec.structs.replace(with_recipe(plan, imbalance=Imbalance.corn), teacher="default")
    with pytest.raises(TrainingError, match="corn"):
        run(reviews, tmp_path / "mine", taught)


def test_training_reads_the_files_that_publish_reads_and_says_what_it_passes_over(
    plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reviews = write_reviews(tmp_path / "a.jsonl", 200)
    with reviews.open("a") as file:
        file.write('{broken\n{"text": "no stars"}\n{"text": "restored", "rating": 1, "source": "finefood_recovered"}\n')
    with caplog.at_level(logging.WARNING):
        card = run(reviews, tmp_path / "mine", with_recipe(plan, epochs=1))

    assert 140 <= card.training_reviews <= 190
    assert "rows passed over because they are no review: 1" in caplog.text
    assert "carry no rating: 1" in caplog.text


def test_words_that_are_no_option_are_refused_with_those_that_are() -> None:
    with pytest.raises(TrainingError, match="--layers a,b"):
        parse_layers("a,b")
    with pytest.raises(TrainingError, match="none, class-weights, focal"):
        parse_imbalance("smote")


def test_a_gpu_that_is_not_there_is_named_before_a_file_is_read(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train` took no notice of REVIEWPULSE_DEVICE."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sources = Sources([tmp_path / "missing.jsonl"])

    with pytest.raises(CheckpointError, match="no GPU answers for REVIEWPULSE_DEVICE=cuda"):
        train_on_files(sources, tmp_path / "mine", plan, now=NOW, progress=SilentProgress(), device="cuda")

    assert not list(tmp_path.iterdir())
