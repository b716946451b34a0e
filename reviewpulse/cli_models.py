"""The command `models`: checkpoint versions side by side, and which one is the champion."""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from reviewpulse.card import find_checkpoint
from reviewpulse.errors import RegistryError, ReviewpulseError
from reviewpulse.progress import progress_on
from reviewpulse.registry import Registry
from reviewpulse.settings import RegistrySettings, WorkerSettings, load
from reviewpulse.visible import as_text, visible, visible_line

log = logging.getLogger("reviewpulse")

models = typer.Typer(
    no_args_is_help=True, help="Checkpoint versions side by side in REVIEWPULSE_MODELS, and which one is the champion."
)

BUNDLED: Final = "default"
"""The checkpoint that scores the stream where nobody promoted another."""

VersionArgument = Annotated[str, typer.Argument(help="A version, as `models list` shows it.")]

AliasUri = Annotated[str | None, typer.Option(help="MLflow's tracking URI, where the alias @champion is set as well.")]


def _registry() -> Registry:
    return Registry(Path(load(RegistrySettings).models))


@models.command("add")
def add(checkpoint: Annotated[str, typer.Argument(help="A checkpoint folder, or a bundled name.")]) -> None:
    """Copy a checkpoint into the registry, where it may be promoted."""
    from reviewpulse.classifier import SentimentClassifier, silence_transformers

    silence_transformers()
    folder = find_checkpoint(checkpoint)
    SentimentClassifier.load(folder, "cpu")  # what cannot score must not become a version
    typer.echo(_registry().add(folder))


@models.command("list")
def list_versions() -> None:
    """Show all versions, the oldest first, with their figures on validation."""
    table = Table("version", "trained", "base", "macro-F1", "MAE stars", "reviews", "", box=None, pad_edge=False)
    for version in _registry().versions():
        card = version.card
        figures = (f"{card.metrics.get(name, float('nan')):.3f}" for name in ("macro_f1", "mae_stars"))
        champion = "champion" if version.is_champion else ""
        reviews = f"{card.training_reviews:,}"
        names = (visible_line(name, 80) for name in (version.version, card.trained_at[:16], Path(card.base).name))
        table.add_row(*names, *figures, reviews, champion)
    Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False).print(table)


@models.command("show")
def show(version: VersionArgument) -> None:
    """Show a version's model card, and when it became or ceased to be the champion."""
    registry = _registry()
    card, readme = registry.card(version), registry.path(version) / "README.md"
    said = as_text(readme.read_bytes()) if readme.is_file() else f"{version}: {card.metrics}, trained {card.trained_at}"
    typer.echo(visible(said))
    for change in registry.history():
        if version in {change.version, change.previous}:
            forced = " (FORCED)" if change.is_forced else ""
            typer.echo(visible(f"{change.changed_at} {change.action} to {change.version}{forced}: {change.evidence}"))


@models.command("promote")
def promote(
    version: VersionArgument,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Reviews to judge by: those that neither it nor the champion saw.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote whatever the judgement says, or without one; it is recorded.")
    ] = False,
    tracking_uri: AliasUri = None,
) -> None:
    """Make a version the champion, if it does not lose against the present one.

    It loses when macro-F1 is below the champion's with 95 % certainty, by paired bootstrap on the
    same reviews. Without a champion in the registry the bundled `default` is the one to meet, and becomes the
    champion before, to which a rollback goes back.
    Of the present champion --tracking-uri sets the alias, and nothing else is done.
    """
    registry = _registry()
    if tracking_uri:
        from training.tracking import refuse_unrecorded

        refuse_unrecorded(registry.card(version), tracking_uri)  # before anything changes
        if version == registry.champion():
            _move_alias(registry, registry.history()[-1].previous, version, tracking_uri)
            return
    challenger, changes = registry.path(version), len(registry.history())
    evidence = _evidence(registry, challenger, files or [], is_forced=force)
    previous = registry.champion()
    registry.promote(
        version,
        now=datetime.now(UTC),
        evidence=evidence,
        is_forced=force,
        judged_after=changes,
        bundled=None if changes else find_checkpoint(BUNDLED),
    )
    typer.echo(f"champion: {version}; {evidence}")
    if tracking_uri:
        _move_alias(registry, previous, version, tracking_uri)


@models.command("rollback")
def rollback(tracking_uri: AliasUri = None) -> None:
    """Go back to the champion before the present one.

    It stands also when MLflow cannot be reached: `models promote` of the same version with --tracking-uri moves the
    alias later.
    """
    registry = _registry()
    previous = registry.champion()
    version = registry.rollback(now=datetime.now(UTC))
    typer.echo(f"champion: {version}")
    if tracking_uri:
        from training.tracking import record_training

        record_training(registry.path(version), tracking_uri)  # MLflow may not know the bundled one
        _move_alias(registry, previous, version, tracking_uri)


@models.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="The checkpoint's name, without its version.")],
    tracking_uri: Annotated[str, typer.Option(help="MLflow's tracking URI.")],
    into: Annotated[Path, typer.Option(help="The checkpoint folder to make.")],
) -> None:
    """Download the version of a checkpoint that bears the alias @champion in MLflow."""
    from training.tracking import fetch_champion

    card = fetch_champion(name, into, tracking_uri)
    typer.echo(f"{into}: {card.name} {card.version}; 'reviewpulse models add {into}' puts it into the registry")


def _move_alias(registry: Registry, previous: str | None, version: str, tracking_uri: str) -> None:
    """Let the version bear the alias in MLflow, and the champion before it, by another name, no more."""
    from training.tracking import clear_champion, set_champion

    card = registry.card(version)
    set_champion(card.name, card.version, tracking_uri)
    if previous and (before := registry.name(previous)) not in (None, card.name):
        clear_champion(str(before), tracking_uri)
    typer.echo(f"@champion in MLflow: {version}")


def _evidence(registry: Registry, challenger: Path, files: list[Path], *, is_forced: bool) -> str:
    """Return what speaks for a promotion; raises RegistryError when it must not be."""
    from training.evaluation.promotion import judge
    from training.evaluation.run import Reviews

    device = load(WorkerSettings).device
    if is_forced:
        log.warning("FORCED: promoting whatever the judgement is; this is recorded")
    if not files:
        if is_forced:
            return "not judged"
        raise RegistryError("a promotion is judged on reviews: name files of rated reviews, or --force")
    try:
        champion = registry.champion_path() or find_checkpoint(BUNDLED)
        with progress_on(Console(stderr=True), "promote") as progress:
            verdict = judge(challenger, champion, Reviews(files), progress, device)
    except ReviewpulseError as exc:
        if is_forced:
            return f"not judged: {exc}"
        raise
    if verdict.difference.is_loss and not is_forced:
        raise RegistryError(f"not promoted: {verdict}; train a better one, or --force")
    return str(verdict)
