import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from reviewpulse.errors import StoreError
from reviewpulse.progress import SilentProgress, Status
from reviewpulse.records import Origin
from reviewpulse.schema import connect, offsets, predictions, sentiment_by_second
from stream_app import backup
from stream_app.backup import back_up
from stream_app.batch import Outcome
from stream_app.store import PredictionStore
from tests.postgres import PASSWORD
from tests.stream_app.places import NOW, SOURCE, scored_at


class Seen:
    """A progress that keeps what it is shown, and takes its time, so that others come to write."""

    def __init__(self) -> None:
        self.pages: list[float] = []
        self.is_begun = threading.Event()

    def show(self, status: Status) -> None:
        self.pages.append(status.done)
        self.is_begun.set()
        time.sleep(0.005)


def write(store: PredictionStore, number: int, batch: int) -> None:
    origins = (Origin(SOURCE, 0, offset) for offset in range(batch * 20, batch * 20 + 20))
    store.write(number, Outcome([scored_at(origin) for origin in origins], []), NOW, {})


def counts(path: Path) -> tuple[int, int, int]:
    """Return rows, the next offset and the roll-up's sum: all equal in a consistent store of one partition."""
    engine = connect(f"sqlite:///{path}", writable=True)
    with engine.connect() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(predictions))
        next_offset = connection.scalar(sa.select(offsets.c.next_offset))
        reviews = connection.scalar(sa.select(sa.func.sum(sentiment_by_second.c.reviews)))
    engine.dispose()
    return rows or 0, next_offset or 0, reviews or 0


def test_a_backup_is_of_one_moment_while_a_worker_writes(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PAGES", 2)
    engine = connect(sqlite_url, writable=True)
    store = PredictionStore(engine)
    number = store.register(SOURCE)
    for batch in range(20):
        write(store, number, batch)
    seen, is_over, written = Seen(), threading.Event(), []

    def work() -> None:
        seen.is_begun.wait(10)
        for batch in range(20, 300):
            write(store, number, batch)
            written.append(batch)
            if is_over.is_set():
                return

    worker = threading.Thread(target=work)
    worker.start()
    back_up(sqlite_url, tmp_path / "copy.db", seen)
    written_meanwhile = len(written)
    is_over.set()
    worker.join()
    engine.dispose()

    assert counts(tmp_path / "copy.db") == (400, 400, 400)
    assert len(seen.pages) > 10
    assert seen.pages == sorted(seen.pages), "the copying began anew"
    assert written_meanwhile >= 2
    rows, next_offset, reviews = counts(tmp_path / "store.db")
    assert rows == next_offset == reviews == 400 + 20 * len(written)


def test_a_backup_is_one_file_for_its_owner_alone(sqlite_url: str, tmp_path: Path) -> None:
    connect(sqlite_url, writable=True).dispose()

    back_up(sqlite_url, tmp_path / "copies.db", SilentProgress())

    assert [path.name for path in tmp_path.iterdir() if "copies" in path.name] == ["copies.db"]
    assert stat.S_IMODE((tmp_path / "copies.db").stat().st_mode) == 0o600


def test_a_file_that_exists_is_not_overwritten(sqlite_url: str, tmp_path: Path) -> None:
    connect(sqlite_url, writable=True).dispose()
    (tmp_path / "copy.db").write_text("dear")

    with pytest.raises(StoreError, match=r"copy\.db exists"):
        back_up(sqlite_url, tmp_path / "copy.db", SilentProgress())

    assert (tmp_path / "copy.db").read_text() == "dear"


def test_a_damaged_store_gives_no_backup(sqlite_url: str, tmp_path: Path) -> None:
    engine = connect(sqlite_url, writable=True)
    store = PredictionStore(engine)
    for batch in range(20):
        write(store, store.register(SOURCE), batch)
    engine.dispose()
    with (tmp_path / "store.db").open("r+b") as file:
        file.seek(-6000, 2)
        file.write(b"\xff" * 3000)

    with pytest.raises(StoreError, match=r"damaged|malformed"):
        back_up(sqlite_url, tmp_path / "copy.db", SilentProgress())

    assert list(tmp_path.glob("*copy*")) == []


def test_a_copy_that_does_not_fit_leaves_nothing_behind(sqlite_url: str, tmp_path: Path) -> None:
    connect(sqlite_url, writable=True).dispose()

    class Full:
        def show(self, _status: Status) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(StoreError, match="disk is full; is there room"):
        back_up(sqlite_url, tmp_path / "copy.db", Full())

    assert list(tmp_path.glob("*copy*")) == []


def test_a_folder_that_is_not_there_is_named(sqlite_url: str, tmp_path: Path) -> None:
    connect(sqlite_url, writable=True).dispose()

    with pytest.raises(StoreError, match=r"nowhere/copy\.db"):
        back_up(sqlite_url, tmp_path / "nowhere" / "copy.db", SilentProgress())


def test_postgresql_has_a_backup_of_its_own(postgres_url: str, tmp_path: Path) -> None:
    connect(postgres_url, writable=True).dispose()

    with pytest.raises(StoreError, match="pg_dump") as raised:
        back_up(postgres_url, tmp_path / "copy.db", SilentProgress())

    assert PASSWORD not in str(raised.value)
