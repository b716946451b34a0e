import json
import logging
import re
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reviewpulse.card import read_card
from reviewpulse.cli import app
from tests.training.examples import write_reviews
from training.resume import Snapshots

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("reviews") / "reviews.jsonl", 600)


@pytest.fixture(scope="module")
def trained(tiny_checkpoint: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what `reviewpulse train` made of the reviews."""
    folder = tmp_path_factory.mktemp("trained") / "mine"
    said = run(
        "train", reviews, "--into", folder, "--base", tiny_checkpoint, "--max-tokens", 32, "--learning-rate", 5e-3
    )
    assert f"checkpoint {folder}: on the reviews of the validation accuracy" in said
    return folder


def run(*words: object) -> str:
    """Run `reviewpulse ...` and return what it printed; a known error is raised."""
    result = RUNNER.invoke(app, list(map(str, words)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_options_of_train_reach_the_card(reviews: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    options = [
        "--imbalance",
        "focal",
        "--epochs",
        1,
        "--max-tokens",
        16,
        "--seed",
        7,
        "--split-seed",
        3,
        "--name",
        "odd",
    ]

    run("train", reviews, "--into", tmp_path / "mine", "--base", tiny_checkpoint, *options)

    card = read_card(tmp_path / "mine")
    assert (card.name, card.max_tokens, card.seed) == ("odd", 16, 7)
    recipe, split = card.plan["recipe"], card.plan["split"]
    assert isinstance(recipe, dict)
    assert isinstance(split, dict)
    assert (recipe["imbalance"], recipe["epochs"], split["seed"]) == ("focal", 1, 3)


def test_an_evaluation_is_printed_and_its_figures_are_copied(trained: Path, reviews: Path, tmp_path: Path) -> None:
    said = run("evaluate", trained, reviews, "--into", tmp_path / "runs", "--json", tmp_path / "mine.json")

    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "metrics.txt").read_text() in said
    assert (tmp_path / "mine.json").read_bytes() == (folder / "metrics.json").read_bytes()
    evaluation = json.loads((tmp_path / "mine.json").read_text())
    assert evaluation["candidates"]["checkpoint"]["overall"]["accuracy"] > 0.9
    assert len(evaluation["reviews_sha256"]) == 64


def test_a_comparison_leaves_its_table(reviews: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    strategies = ["--imbalance", "none", "--imbalance", "corn"]

    said = run("compare", reviews, "--into", tmp_path, "--base", tiny_checkpoint, "--epochs", 1, *strategies)

    table = (tmp_path / "comparison.md").read_text()
    assert table in said
    assert {"| tiny | none |", "| tiny | corn |"} <= {" ".join(line.split()[:5]) for line in table.splitlines()}


def test_a_look_at_files_names_its_report(reviews: Path, tmp_path: Path) -> None:
    said = run("eda", reviews, "--into", tmp_path / "eda")

    assert said.endswith(f"report: {tmp_path / 'eda' / 'report.md'}\n")
    assert (tmp_path / "eda" / "report.md").is_file()


def test_ctrl_c_says_that_the_same_command_goes_on_and_it_does(
    reviews: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = ["train", reviews, "--into", tmp_path / "mine", "--base", tiny_checkpoint, "--max-tokens", 16]
    save = Snapshots.save

    def interrupted(self: Snapshots, *state: object) -> None:
        save(self, *state)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Snapshots, "save", interrupted)
        result = RUNNER.invoke(app, list(map(str, words)))

    assert result.exit_code == 130
    assert "stopped by Ctrl-C: the same command goes on from the last snapshot" in result.output
    assert not (tmp_path / "mine").exists()
    with caplog.at_level(logging.INFO):
        run(*words)
    assert re.search(r"going on from step \d+ of", caplog.text)
    assert (tmp_path / "mine" / "card.json").exists()
