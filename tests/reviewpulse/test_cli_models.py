import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import torch
from typer.testing import CliRunner, Result

from reviewpulse.card import read_card
from reviewpulse.cli import app
from reviewpulse.errors import ReviewpulseError
from reviewpulse.progress import SilentProgress
from reviewpulse.registry import Registry
from tests.training.examples import quick_plan, write_reviews
from training.command import Sources, train_on_files
from training.split import SplitPlan

NOW = datetime(2026, 1, 2, tzinfo=UTC)

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def trained(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with reviews.jsonl and two checkpoints: `good` and, hardly trained at all, `bad`."""
    folder = tmp_path_factory.mktemp("trained")
    reviews = write_reviews(folder / "reviews.jsonl", 2_000)
    for name, rate in (("good", 5e-3), ("bad", 1e-9)):
        plan = quick_plan(tiny_checkpoint, name=name, split=SplitPlan(test_share=0.2))
        recipe = msgspec.structs.replace(plan.recipe, epochs=1, learning_rate=rate)
        plan = msgspec.structs.replace(plan, recipe=recipe)
        train_on_files(Sources([reviews]), folder / name, plan, now=NOW, progress=SilentProgress())
    return folder


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the commands use a registry of this test."""
    monkeypatch.setenv("REVIEWPULSE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def run(*words: object) -> str:
    """Run `reviewpulse models ...` and return what it printed; a known error is raised."""
    result: Result = RUNNER.invoke(app, ["models", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_versions_stand_side_by_side_and_one_is_the_champion(trained: Path, models: Path) -> None:
    for name in ("good", "bad"):
        assert run("add", trained / name).strip() == f"{name}-20260102-000000"
    run("promote", "good-20260102-000000", "--force")

    lines = run("list").splitlines()

    assert lines[0].split() == ["version", "trained", "base", "macro-F1", "MAE", "stars", "reviews"]
    *others, bundled = (line.split()[0] for line in lines[1:])
    assert bundled.startswith("default-")
    assert others == ["bad-20260102-000000", "good-20260102-000000"]
    assert [line.endswith("champion") for line in lines[1:]] == [False, True, False]
    shown = run("show", "good-20260102-000000")
    assert "# Checkpoint `good`" in shown
    assert "promote to good-20260102-000000 (FORCED): not judged" in shown


def test_a_challenger_that_loses_is_not_promoted_and_a_forced_one_is_recorded_as_such(
    trained: Path, models: Path
) -> None:
    run("add", trained / "good")
    run("add", trained / "bad")
    run("promote", "good-20260102-000000", "--force")

    with pytest.raises(ReviewpulseError, match=r"not promoted: macro-F1 .* reviews that neither saw: -0"):
        run("promote", "bad-20260102-000000", trained / "reviews.jsonl")
    assert Registry(models).champion() == "good-20260102-000000"

    run("promote", "bad-20260102-000000", trained / "reviews.jsonl", "--force")
    change = Registry(models).history()[-1]
    assert (change.version, change.is_forced) == ("bad-20260102-000000", True)
    assert "that neither saw" in change.evidence

    run("promote", "good-20260102-000000", trained / "reviews.jsonl")
    assert not Registry(models).history()[-1].is_forced
    assert "champion: bad-20260102-000000" in run("rollback")


def test_the_first_promotion_can_be_taken_back_to_the_bundled_checkpoint(trained: Path, models: Path) -> None:
    """There was nothing to go back to, though the stream had been scored by `default` until then."""
    run("add", trained / "good")
    run("promote", "good-20260102-000000", "--force")

    assert "champion: default-" in run("rollback")
    assert Registry(models).history()[0].evidence == "bundled with reviewpulse"
    with pytest.raises(ReviewpulseError, match="has no champion before default-"):
        run("rollback")


def test_the_bundled_checkpoint_is_promoted_as_any_other(models: Path) -> None:
    version = run("add", "default").strip()
    run("promote", version, "--force")

    assert [change.version for change in Registry(models).history()] == [version]


def test_a_promotion_is_judged_on_the_device_of_the_settings(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("good", "bad"):
        run("add", trained / name)
    run("promote", "bad-20260102-000000", "--force")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("REVIEWPULSE_DEVICE", "cuda")

    with pytest.raises(ReviewpulseError, match="no GPU answers for REVIEWPULSE_DEVICE=cuda"):
        run("promote", "good-20260102-000000", trained / "reviews.jsonl")


def test_a_promotion_without_reviews_to_judge_by_is_refused(trained: Path) -> None:
    run("add", trained / "good")

    with pytest.raises(ReviewpulseError, match="name files of rated reviews, or --force"):
        run("promote", "good-20260102-000000")


def test_a_forced_promotion_on_too_few_reviews_records_why_it_was_not_judged(trained: Path, models: Path) -> None:
    run("add", trained / "good")
    few = write_reviews(trained / "few.jsonl", 20)

    with pytest.raises(ReviewpulseError, match="too few to judge by"):
        run("promote", "good-20260102-000000", few)
    run("promote", "good-20260102-000000", few, "--force")

    assert "not judged: " in Registry(models).history()[-1].evidence


def test_a_champion_whose_folder_is_gone_is_replaced_by_force(trained: Path, models: Path) -> None:
    for name in ("good", "bad"):
        run("add", trained / name)
    run("promote", "good-20260102-000000", "--force")
    shutil.rmtree(models / "good-20260102-000000")

    with pytest.raises(ReviewpulseError, match="there is no version 'good-20260102-000000'"):
        run("promote", "bad-20260102-000000", trained / "reviews.jsonl")
    run("promote", "bad-20260102-000000", trained / "reviews.jsonl", "--force")

    assert Registry(models).champion() == "bad-20260102-000000"
    assert "not judged: there is no version 'good-" in Registry(models).history()[-1].evidence


def test_a_version_without_a_model_card_is_shown_by_its_figures(trained: Path, models: Path) -> None:
    run("add", trained / "good")
    (models / "good-20260102-000000" / "README.md").unlink()

    assert "good-20260102-000000: {'accuracy': " in run("show", "good-20260102-000000")


def test_nothing_in_a_foreign_checkpoint_commands_the_terminal(trained: Path, models: Path, tmp_path: Path) -> None:
    """Its README.md and card.json reached the terminal as they were; one not UTF-8 was a traceback."""
    foreign = tmp_path / "foreign"
    shutil.copytree(trained / "good", foreign)
    hostile = "[red]x\x1b[2J\x9b31m"
    card = msgspec.structs.replace(read_card(foreign), base=hostile, trained_at=hostile)
    card.write(foreign)
    (foreign / "README.md").write_bytes(f"{hostile} fine".encode() + b"\n\xff\n")
    run("add", foreign)

    listed, shown = run("list"), run("show", "good-20260102-000000")
    (models / "good-20260102-000000" / "README.md").unlink()
    without = run("show", "good-20260102-000000")

    for output in (listed, shown, without):
        assert all(letter.isprintable() or letter == "\n" for letter in output), output
    assert r"[red]x\x1b[2J\x9b31m" in listed
    assert shown == "[red]x\\x1b[2J\\x9b31m fine\n\\xff\n\n"


def test_a_checkpoint_that_cannot_score_is_not_added(trained: Path, models: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(trained / "good", broken)
    (broken / "model.safetensors").write_bytes(b"no weights")

    with pytest.raises(ReviewpulseError, match="broken"):
        run("add", broken)

    assert not models.exists()
