from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from reviewpulse.cli import app
from reviewpulse.errors import ReviewpulseError
from reviewpulse.records import Origin, Rejected
from reviewpulse.schema import connect
from stream_app.batch import Outcome
from stream_app.store import PredictionStore
from tests.postgres import PASSWORD
from tests.stream_app.places import NOW, SOURCE, scored_at


def fill(url: str) -> None:
    """Make a store with three old predictions, an old rejection and two of today."""
    engine = connect(url, writable=True)
    store = PredictionStore(engine)
    number = store.register(SOURCE)
    old = [scored_at(Origin(SOURCE, 0, offset)) for offset in range(3)]
    store.write(number, Outcome(old, [(Origin(SOURCE, 0, 3), Rejected(b"{", "r"))]), NOW, {0: 11})
    today = datetime.now(UTC) - timedelta(minutes=1)
    store.write(number, Outcome([scored_at(Origin(SOURCE, 0, offset), now=today) for offset in (4, 5)], []), today, {})
    engine.dispose()


def run(url: str, *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["store", *arguments], env={"REVIEWPULSE_STORE": url})
    assert PASSWORD not in result.output
    return result


def test_info_tells_version_rows_times_and_partitions(store_url: str) -> None:
    fill(store_url)

    shown = run(store_url, "info").output

    assert "schema version 2" in shown
    (table,) = [line.split() for line in shown.splitlines() if line.startswith("predictions")]
    assert table[:4] == ["predictions", "5", "2026-01-02", "03:04:05"]
    (place,) = [line.split() for line in shown.splitlines() if line.startswith("reviews")]
    assert place[:6] == ["reviews", "topic-id-1", "0", "6", "5", "0"]


def test_prune_deletes_what_is_older_and_info_tells_from_where_rows_are_kept(store_url: str) -> None:
    fill(store_url)

    assert run(store_url, "prune", "--keep-days", "1").output == "pruned 4 rows older than 1 days\n"

    assert "topic-id-1  0          6            5    4" in run(store_url, "info").output


def test_prune_without_a_time_asks_for_one(sqlite_url: str) -> None:
    fill(sqlite_url)

    with pytest.raises(ReviewpulseError, match="--keep-days"):
        raise run(sqlite_url, "prune").exception or AssertionError


def test_prune_makes_no_store_where_there_is_none(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(ReviewpulseError, match="run 'reviewpulse work'"):
        raise run(sqlite_url, "prune", "--keep-days", "1").exception or AssertionError

    assert list(tmp_path.iterdir()) == []


def test_backup_writes_a_store_that_info_reads(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url)

    result = run(sqlite_url, "backup", str(tmp_path / "copy.db"))

    assert result.exit_code == 0, result.output
    assert "whole and checked" in result.output
    assert "topic-id-1" in run(f"sqlite:///{tmp_path}/copy.db", "info").output
