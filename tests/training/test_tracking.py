import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from reviewpulse.card import read_card
from reviewpulse.classifier import SentimentClassifier
from reviewpulse.cli import app
from reviewpulse.embedded import free_port
from reviewpulse.errors import TrainingError
from reviewpulse.registry import Registry
from tests.tiny import tiny_classifier
from training.tracking import fetch_champion, record_evaluation, record_training, set_champion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PLAN = {"name": "tiny", "layers": [0, 2], "teacher": None, "recipe": {"epochs": 2, "learning_rate": 6e-5}}
EPOCHS = [{"epoch": 1, "step": 40, "quality": 0.4}, {"epoch": 2, "step": 80, "quality": 0.6}]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with MLflow's tables, which take it seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    stored(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path) -> str:
    (tmp_path / "tracking").mkdir()
    shutil.copyfile(empty_store, tmp_path / "tracking" / "mlflow.db")
    return f"sqlite:///{tmp_path}/tracking/mlflow.db"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "ck")


def save_checkpoint(folder: Path, version: str = "20260102-000000", losses: int = 2, name: str = "tiny") -> Path:
    """Write a checkpoint as a training leaves it, with its curves."""
    card = {"data_sha256": "ab" * 32, "git_commit": "c0ffee", "plan": PLAN, "metrics": {"quality": 0.6, "ece": 0.02}}
    tiny_classifier(name=name, version=version, **card).save(folder)
    history = {"losses": [[20 * number, 1 / number] for number in range(1, losses + 1)], "epochs": EPOCHS}
    (folder / "training_history.json").write_text(json.dumps(history))
    return folder


def save_evaluation(folder: Path) -> Path:
    """Write an evaluation's folder and return its metrics file."""
    folder.mkdir()
    metrics = {
        "version": "20260102-000000",
        "reviews": 4,
        "candidates": {"tf-idf + regression": {"macro_f1": 0.25, "confusion": [[1, 0], [2, 1]]}},
        "above_tfidf": None,
        "is_last": True,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    for name in ("confusion.png", "metrics.txt", "notes.log"):
        (folder / name).write_text("x")
    return folder / "metrics.json"


def stored(uri: str) -> "MlflowClient":
    """Return a client of the store; imported here because MLflow would report its import while tests are collected."""
    from mlflow import MlflowClient

    return MlflowClient(uri)


def run_of(uri: str, version: str = "1") -> "Run":
    return stored(uri).get_run(str(stored(uri).get_model_version("reviewpulse-tiny", version).run_id))


def artifacts_of(uri: str, run: "Run", folder: str) -> list[str]:
    files = stored(uri).list_artifacts(run.info.run_id, folder)
    return [Path(file.path).name for file in files]


def test_a_training_becomes_a_run_and_a_registered_version(checkpoint: Path, uri: str) -> None:
    assert record_training(checkpoint, uri) == "1"

    run, version = run_of(uri), stored(uri).get_model_version("reviewpulse-tiny", "1")
    assert run.data.params == {
        "name": "tiny",
        "layers": "[0, 2]",
        "teacher": "None",
        "recipe.epochs": "2",
        "recipe.learning_rate": "6e-05",
    }
    assert run.data.metrics == {
        "validation.quality": 0.6,
        "validation.ece": 0.02,
        "training.loss": 0.5,
        "epoch.epoch": 2,
        "epoch.step": 80,
        "epoch.quality": 0.6,
    }
    quality = stored(uri).get_metric_history(run.info.run_id, "epoch.quality")
    assert [(point.step, point.value) for point in quality] == [(40, 0.4), (80, 0.6)]
    assert version.tags == {
        "checkpoint_version": "20260102-000000",
        "data_sha256": "ab" * 32,
        "git_commit": "c0ffee",
    }
    assert run.data.tags.items() >= version.tags.items()
    assert run.info.status == "FINISHED"
    assert artifacts_of(uri, run, "checkpoint") == sorted(path.name for path in checkpoint.iterdir())


def test_a_long_loss_curve_arrives_whole(tmp_path: Path, uri: str) -> None:
    record_training(save_checkpoint(tmp_path / "long", losses=2500), uri)

    losses = stored(uri).get_metric_history(run_of(uri).info.run_id, "training.loss")
    assert [point.step for point in losses] == [20 * number for number in range(1, 2501)]


def test_a_checkpoint_is_recorded_once(checkpoint: Path, uri: str) -> None:
    assert [record_training(checkpoint, uri), record_training(checkpoint, uri)] == ["1", "1"]

    client = stored(uri)
    assert len(client.search_model_versions()) == 1
    assert len(client.search_runs([run_of(uri).info.experiment_id])) == 1


def test_artifacts_lie_beside_the_database_whatever_folder_one_is_in(
    checkpoint: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    record_training(checkpoint, uri)

    assert sorted(path.name for path in (tmp_path / "tracking").iterdir()) == ["mlartifacts", "mlflow.db"]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_evaluation_goes_to_the_run_of_its_checkpoint(checkpoint: Path, uri: str, tmp_path: Path) -> None:
    record_training(checkpoint, uri)
    record_training(save_checkpoint(tmp_path / "next", "20260103-000000"), uri)

    record_evaluation(checkpoint, save_evaluation(tmp_path / "first"), uri)
    record_evaluation(checkpoint, save_evaluation(tmp_path / "second"), uri)

    assert {name: value for name, value in run_of(uri).data.metrics.items() if name.startswith("test.")} == {
        "test.reviews": 4,
        "test.candidates.tf-idf _ regression.macro_f1": 0.25,
        "test.candidates.tf-idf _ regression.confusion.0.0": 1,
        "test.candidates.tf-idf _ regression.confusion.0.1": 0,
        "test.candidates.tf-idf _ regression.confusion.1.0": 2,
        "test.candidates.tf-idf _ regression.confusion.1.1": 1,
    }
    assert artifacts_of(uri, run_of(uri), "evaluation/first") == ["confusion.png", "metrics.json", "metrics.txt"]
    assert artifacts_of(uri, run_of(uri), "evaluation") == ["first", "second"]
    assert artifacts_of(uri, run_of(uri, "2"), "evaluation") == []


def test_an_evaluation_records_a_training_that_found_no_mlflow(checkpoint: Path, uri: str, tmp_path: Path) -> None:
    record_evaluation(checkpoint, save_evaluation(tmp_path / "evaluation"), uri)

    metrics = run_of(uri).data.metrics
    assert (metrics["validation.quality"], metrics["test.reviews"]) == (0.6, 4)


def test_the_champion_comes_back_as_a_checkpoint_that_loads(checkpoint: Path, uri: str, tmp_path: Path) -> None:
    newer = save_checkpoint(tmp_path / "newer", "20260103-000000")
    for folder in (checkpoint, newer):
        record_training(folder, uri)
    set_champion("tiny", "20260103-000000", uri)
    set_champion("tiny", "20260102-000000", uri)

    card = fetch_champion("tiny", tmp_path / "deep" / "fetched", uri)

    assert card == read_card(checkpoint)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["fetched"]
    fetched, ours = (SentimentClassifier.load(folder, "cpu") for folder in (tmp_path / "deep" / "fetched", checkpoint))
    assert (fetched.logits(["good bad"]) == ours.logits(["good bad"])).all()
    with pytest.raises(TrainingError, match="exists already"):
        fetch_champion("tiny", tmp_path / "deep" / "fetched", uri)


def test_a_champion_that_was_never_recorded_is_refused(checkpoint: Path, uri: str, tmp_path: Path) -> None:
    record_training(checkpoint, uri)

    with pytest.raises(TrainingError, match="has no version 7 of reviewpulse-tiny"):
        set_champion("tiny", "7", uri)
    with pytest.raises(TrainingError, match="alias champion not found"):
        fetch_champion("tiny", tmp_path / "fetched", uri)
    assert not (tmp_path / "fetched").exists()


def test_the_alias_follows_promotions_and_rollbacks_and_an_unrecorded_version_is_not_promoted(
    checkpoint: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVIEWPULSE_MODELS", str(tmp_path / "models"))
    newer = save_checkpoint(tmp_path / "newer", "20260103-000000")
    registry, first, second = Registry(tmp_path / "models"), "tiny-20260102-000000", "tiny-20260103-000000"
    for folder in (checkpoint, newer):
        registry.add(folder)
    record_training(checkpoint, uri)

    assert models("promote", first, "--force", "--tracking-uri", uri) == f"@champion in MLflow: {first}"
    with pytest.raises(TrainingError, match="has no version 20260103-000000 of reviewpulse-tiny"):
        models("promote", second, "--force", "--tracking-uri", uri)
    assert registry.champion() == first
    record_training(newer, uri)
    models("promote", second, "--force")
    assert champion_of(uri) == "20260102-000000"
    models("promote", second, "--tracking-uri", uri)  # the champion already: the alias alone
    assert (champion_of(uri), len(registry.history())) == ("20260103-000000", 3)
    models("rollback", "--tracking-uri", uri)
    assert (champion_of(uri), registry.champion()) == ("20260102-000000", first)


def test_a_champion_before_by_another_name_bears_the_alias_no_more(
    checkpoint: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It bore it for ever, and `models fetch` of that name gave what no longer was the champion."""
    monkeypatch.setenv("REVIEWPULSE_MODELS", str(tmp_path / "models"))
    other = save_checkpoint(tmp_path / "other", name="other")
    for folder in (checkpoint, other):
        Registry(tmp_path / "models").add(folder)
        record_training(folder, uri)

    models("promote", "tiny-20260102-000000", "--force", "--tracking-uri", uri)
    models("promote", "other-20260102-000000", "--force", "--tracking-uri", uri)
    assert bearers_of(uri) == ["reviewpulse-other"]
    models("rollback")  # without MLflow
    models("promote", "tiny-20260102-000000", "--tracking-uri", uri)  # the alias, later
    assert bearers_of(uri) == ["reviewpulse-tiny"]
    models("promote", "other-20260102-000000", "--force", "--tracking-uri", uri)
    models("rollback", "--tracking-uri", uri)
    assert bearers_of(uri) == ["reviewpulse-tiny"]
    assert models("rollback", "--tracking-uri", uri).startswith("@champion in MLflow: default-")
    assert bearers_of(uri) == ["reviewpulse-default"]


def bearers_of(uri: str) -> list[str]:
    """Return the registered models with the alias."""
    return [model.name for model in stored(uri).search_registered_models() if "champion" in model.aliases]


def models(*words: str) -> str:
    """Run `reviewpulse models ...` and return the last line that it printed; a known error is raised."""
    result = CliRunner().invoke(app, ["models", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output.splitlines()[-1]


def champion_of(uri: str) -> str:
    """Return the checkpoint version that bears the alias."""
    return str(stored(uri).get_model_version_by_alias("reviewpulse-tiny", "champion").tags["checkpoint_version"])


def test_a_server_that_is_away_is_named_without_its_password(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = free_port()
    before = {path: path.read_bytes() for path in checkpoint.iterdir()}

    with pytest.raises(TrainingError, match=rf"MLflow at http://ann:\*\*\*@127.0.0.1:{port}.*sqlite:///") as error:
        record_training(checkpoint, f"http://ann:secret@127.0.0.1:{port}")

    assert "secret" not in str(error.value)
    assert {path: path.read_bytes() for path in checkpoint.iterdir()} == before


def test_the_file_store_that_mlflow_gave_up_is_refused_with_a_cure(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"name another URI \(sqlite:///mlflow.db"):
        record_training(checkpoint, (tmp_path / "mlruns").as_uri())


def test_a_recording_that_breaks_off_leaves_a_failed_run(tmp_path: Path, uri: str) -> None:
    with pytest.raises(TrainingError, match="a:b"):
        record_training(save_checkpoint(tmp_path / "ck", name="a:b"), uri)

    client = stored(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    assert [run.info.status for run in client.search_runs(experiments)] == ["FAILED"]
    assert not client.search_model_versions()


def test_an_evaluation_that_cannot_be_read_is_refused(checkpoint: Path, uri: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("[1]")

    for missing in (tmp_path / "metrics.json", tmp_path / "none.json"):
        with pytest.raises(TrainingError, match=f"cannot read {missing}"):
            record_evaluation(checkpoint, missing, uri)


def test_without_mlflow_the_extra_is_named(checkpoint: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as Python does for a module that is not there

    with pytest.raises(TrainingError, match=r"pip install 'reviewpulse\[mlflow\]'"):
        record_training(checkpoint, uri)


WATCHED = """
import os, sys
def watch(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        os.write(2, f"{event} {details}".encode())
sys.addaudithook(watch)
from pathlib import Path
from training.tracking import fetch_champion, record_training, set_champion
record_training(Path(sys.argv[1]), sys.argv[2])
set_champion("tiny", "20260102-000000", sys.argv[2])
fetch_champion("tiny", Path(sys.argv[3]), sys.argv[2])
"""


def test_nothing_is_contacted_and_nothing_printed_not_even_for_a_new_store(checkpoint: Path, tmp_path: Path) -> None:
    hidden = ("CI", "DO_NOT_TRACK", "PYTEST_CURRENT_TEST")  # each would silence MLflow's reports by itself
    environment = {name: value for name, value in os.environ.items() if name not in hidden and "MLFLOW" not in name}

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WATCHED,
            str(checkpoint),
            f"sqlite:///{tmp_path}/new/mlflow.db",
            str(tmp_path / "fetched"),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
