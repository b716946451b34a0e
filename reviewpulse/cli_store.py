"""The command `store`: what the store holds, pruning by hand, and backup."""

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from reviewpulse.errors import SettingsError
from reviewpulse.progress import progress_on
from reviewpulse.schema import connect
from reviewpulse.settings import StoreSettings, load
from reviewpulse.store_url import parse_store_url, store_name

store = typer.Typer(no_args_is_help=True, help="What the store holds, pruning by hand, and backup.")


@store.command("info")
def info() -> None:
    """Show the store's version, size, rows, their times, and how far each partition is stored."""
    from stream_app.overview import read_overview

    url = load(StoreSettings).store
    engine = connect(url, writable=False)
    try:
        overview = read_overview(engine)
    finally:
        engine.dispose()
    megabytes = overview.size_bytes / 1e6
    typer.echo(f"{store_name(parse_store_url(url))}: schema version {overview.version}, {megabytes:,.1f} MB")
    tables = Table("table", "rows", "oldest", "newest", box=None, pad_edge=False)
    for rows in overview.rows:
        tables.add_row(rows.table, f"{rows.rows:,}", _shown(rows.oldest), _shown(rows.newest))
    places = Table(
        "topic", "topic id", "partition", "next offset", "lag", "kept from", "as of", box=None, pad_edge=False
    )
    for place in overview.places:
        numbers = (place.partition, place.next_offset, place.lag, place.kept_from)
        shown = (f"{number:,}" for number in numbers)
        places.add_row(place.topic, place.topic_id, *shown, _shown(place.updated_at))
    console = Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False)
    console.print(tables)
    console.print(places)


@store.command("prune")
def prune(
    keep_days: Annotated[
        float | None, typer.Option(help="Age in days at which rows go; default: REVIEWPULSE_KEEP_DAYS.")
    ] = None,
) -> None:
    """Delete predictions and rejections older than so many days; roll-ups and offsets stay. Workers may run."""
    from stream_app import retention

    settings = load(StoreSettings, keep_days=keep_days)
    if not settings.keep_days:
        raise SettingsError("how many days of rows are to stay? Name --keep-days, or set REVIEWPULSE_KEEP_DAYS")
    connect(settings.store, writable=False).dispose()  # it must be there: a writable one would be made
    engine = connect(settings.store, writable=True)
    try:
        rows = retention.prune(engine, datetime.now(UTC) - timedelta(days=settings.keep_days), _pause)
    finally:
        engine.dispose()
    typer.echo(f"pruned {rows:,} rows older than {settings.keep_days:g} days")


@store.command("backup")
def backup(target: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")]) -> None:
    """Copy an SQLite store as it is at this moment into a file, and check the copy. Workers may run."""
    from stream_app.backup import back_up

    with progress_on(Console(stderr=True), "backup") as progress:
        back_up(load(StoreSettings).store, target, progress)
    typer.echo(f"{target}: {target.stat().st_size / 1e6:,.1f} MB, whole and checked")


def _pause(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _shown(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else ""
