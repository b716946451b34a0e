"""A checkpoint in MLflow: its training, its evaluations, and a version in the model registry.

A tracking URI names a server, or a database such as `sqlite:///mlflow.db` that needs none. All of this
runs after the checkpoint is on disk and only reads it.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from reviewpulse.card import Card, read_card
from reviewpulse.errors import TrainingError
from training.history import read_history

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities.model_registry import ModelVersion

EXPERIMENT: Final = "reviewpulse"
CHAMPION: Final = "champion"
VERSION_TAG: Final = "checkpoint_version"
CHECKPOINT, EVALUATION = "checkpoint", "evaluation"
"""Where a run keeps its artifacts."""

MLFLOW_SETTINGS: Final = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # its own 7 wait four minutes for a server that is away
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""For a command line that shows its own progress; a variable that is set already stays."""


def record_training(folder: Path, tracking_uri: str) -> str:
    """Log a checkpoint's training as a run, register the checkpoint, and return its version in the registry.

    One that is registered already is left as it is. Raises CheckpointError and TrainingError.
    """
    with _connected(tracking_uri) as client:
        return str(_registered(client, folder, tracking_uri).version)


def record_evaluation(folder: Path, metrics_file: Path, tracking_uri: str) -> None:
    """Log all numbers of metrics.json, and the figures and texts beside it, to the run of this checkpoint.

    Those of each evaluation lie in a folder of its own; of the numbers MLflow shows the newest and keeps all.

    A checkpoint that is not registered, such as one whose training found no MLflow, is recorded first.
    Raises CheckpointError and TrainingError.
    """
    try:
        figures = msgspec.json.decode(metrics_file.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as exc:
        raise TrainingError(f"cannot read {metrics_file} ({exc}); run 'reviewpulse evaluate' to make it") from exc
    with _connected(tracking_uri) as client:
        run_id = str(_registered(client, folder, tracking_uri).run_id)
        client.log_batch(run_id, metrics=_metrics("test", figures))
        for path in sorted(metrics_file.parent.iterdir()):
            if path.suffix in (".png", ".json", ".txt"):
                client.log_artifact(run_id, str(path), f"{EVALUATION}/{metrics_file.parent.name}")


def set_champion(name: str, checkpoint_version: str, tracking_uri: str) -> None:
    """Point the alias `champion` of `reviewpulse-NAME` at a checkpoint's version; raises TrainingError."""
    with _connected(tracking_uri) as client:
        version = _recorded(client, name, checkpoint_version, tracking_uri)
        client.set_registered_model_alias(_model(name), CHAMPION, version.version)


def clear_champion(name: str, tracking_uri: str) -> None:
    """Take the alias `champion` from `reviewpulse-NAME`, which may not bear it; raises TrainingError."""
    with _connected(tracking_uri) as client:
        if client.search_registered_models(f'name="{_model(name)}"'):
            client.delete_registered_model_alias(_model(name), CHAMPION)


def refuse_unrecorded(card: Card, tracking_uri: str) -> None:
    """Raise TrainingError when set_champion would for this checkpoint."""
    with _connected(tracking_uri) as client:
        _recorded(client, card.name, card.version, tracking_uri)


def fetch_champion(name: str, into: Path, tracking_uri: str) -> Card:
    """Download the champion of `reviewpulse-NAME` as a checkpoint folder and return its card.

    Raises CheckpointError and TrainingError.
    """
    if into.exists():
        raise TrainingError(f"{into} exists already; name another folder, or remove it first")
    with _connected(tracking_uri) as client:
        from mlflow.artifacts import download_artifacts

        version = client.get_model_version_by_alias(_model(name), CHAMPION)
        unfinished = into.with_name(f"{into.name}.download")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        Path(download_artifacts(version.source, dst_path=str(unfinished), tracking_uri=tracking_uri)).rename(into)
        unfinished.rmdir()
    return read_card(into)


@contextlib.contextmanager
def _connected(tracking_uri: str) -> Iterator["MlflowClient"]:
    """Give MLflow's client, its usage reports off; its errors become TrainingError."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before the import, which starts the reports
    for variable, value in MLFLOW_SETTINGS.items():
        os.environ.setdefault(variable, value)
    try:
        from mlflow import MlflowClient, MlflowException
    except ImportError as exc:
        raise TrainingError(f"MLflow is not here ({exc}); run: pip install 'reviewpulse[mlflow]'") from exc
    try:
        yield MlflowClient(tracking_uri)
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as exc:  # ImportError: a store's own library
        reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise TrainingError(
            f"MLflow at {_without_password(tracking_uri)}: {_without_password(reason)}; mend that or "
            "name another URI (sqlite:///mlflow.db needs no server). No checkpoint on disk was touched: "
            "'reviewpulse evaluate' with --tracking-uri records it"
        ) from exc


def _registered(client: "MlflowClient", folder: Path, tracking_uri: str) -> "ModelVersion":
    """Return the checkpoint's version in the registry, recorded now if it was not."""
    card = read_card(folder)
    if (known := _find_version(client, card.name, card.version)) is not None:
        return known
    tags = {VERSION_TAG: card.version, "data_sha256": card.data_sha256, "git_commit": card.git_commit or "unknown"}
    experiment = _experiment(client, tracking_uri)
    run = client.create_run(experiment, run_name=f"{card.name}-{card.version}", tags={"checkpoint": card.name} | tags)
    run_id, outcome = run.info.run_id, "FAILED"
    try:
        _log(client, run_id, folder, card)
        if not client.search_registered_models(f'name="{_model(card.name)}"'):
            client.create_registered_model(_model(card.name))
        source = f"{run.info.artifact_uri}/{CHECKPOINT}"
        version = client.create_model_version(_model(card.name), source, run_id, tags=tags)
        outcome = "FINISHED"
    finally:
        client.set_terminated(run_id, outcome)
    return version


def _log(client: "MlflowClient", run_id: str, folder: Path, card: Card) -> None:
    from mlflow.entities import Param

    metrics = _metrics("validation", card.metrics)
    if (history := read_history(folder)) is not None:
        for step, loss in history.losses:
            metrics += _metrics("training", {"loss": loss}, step)
        for epoch in history.epochs:
            metrics += _metrics("epoch", epoch, epoch["step"])
    params = [Param(name, str(value)) for name, value in _leaves(card.plan, lists=False)]
    client.log_batch(run_id, metrics=metrics, params=params)
    client.log_artifacts(run_id, str(folder), CHECKPOINT)


def _experiment(client: "MlflowClient", tracking_uri: str) -> str:
    """Return the experiment's id; a new one in a SQLite file keeps its artifacts beside that file."""
    if (known := client.get_experiment_by_name(EXPERIMENT)) is not None:
        return str(known.experiment_id)
    artifacts = None
    if tracking_uri.startswith("sqlite:") and (database := make_url(tracking_uri).database):
        artifacts = Path(database).absolute().with_name("mlartifacts").as_uri()
    return str(client.create_experiment(EXPERIMENT, artifacts))


def _recorded(client: "MlflowClient", name: str, checkpoint_version: str, tracking_uri: str) -> "ModelVersion":
    if (version := _find_version(client, name, checkpoint_version)) is None:
        raise TrainingError(
            f"{_without_password(tracking_uri)} has no version {checkpoint_version} of {_model(name)}; "
            "'reviewpulse evaluate' with --tracking-uri records it"
        )
    return version


def _find_version(client: "MlflowClient", name: str, checkpoint_version: str) -> "ModelVersion | None":
    versions = client.search_model_versions(f'name="{_model(name)}"')
    return next((version for version in versions if version.tags.get(VERSION_TAG) == checkpoint_version), None)


def _model(name: str) -> str:
    return f"reviewpulse-{name}"


def _metrics(prefix: str, figures: Mapping[str, object], step: float = 0) -> list["Metric"]:
    """Return MLflow's metrics of all numbers among the figures."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [
        Metric(f"{prefix}.{name}", float(value), now, int(step))
        for name, value in _leaves(figures)
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _leaves(value: object, name: str = "", *, lists: bool = True) -> Iterator[tuple[str, object]]:
    """Yield what is no object (nor list) in a JSON value, under dotted names that MLflow takes.

    >>> list(_leaves({"f1": {"tf-idf + C": 0.5}, "confusion": [[3, 1]]}))
    [('f1.tf-idf _ C', 0.5), ('confusion.0.0', 3), ('confusion.0.1', 1)]
    """
    if isinstance(value, Mapping):
        parts: list[tuple[object, object]] = list(value.items())
    elif isinstance(value, list) and lists:
        parts = list(enumerate(value))
    else:
        yield name, value
        return
    for key, part in parts:
        accepted = re.sub(r"[^\w .-]", "_", str(key))
        yield from _leaves(part, f"{name}.{accepted}" if name else accepted, lists=lists)


def _without_password(text: str) -> str:
    """Return the text without the passwords of the URIs in it.

    >>> _without_password("https://ann:secret@mlflow.example.org")
    'https://ann:***@mlflow.example.org'
    """
    return re.sub(r"(//[^\s/:@]*):[^\s/@]+@", r"\1:***@", text)
