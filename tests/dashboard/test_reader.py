"""The reader meets every state that a store's file can be in."""

import gc
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dashboard.queries import Snapshot
from dashboard.reader import Missing, StoreReader, Unreadable
from reviewpulse.errors import StoreError
from tests.dashboard.stores import Scored, StoreBuilder
from tests.postgres import PASSWORD

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[StoreReader]:
    reader = StoreReader(f"sqlite:///{tmp_path / 'store.db'}", 900)
    yield reader
    reader.close()


def make_store(folder: Path, text: str) -> None:
    builder = StoreBuilder(folder)
    builder.add_reviews(builder.add_source("t1"), [Scored(NOW, 3, text=text)])
    builder.close()


def newest_text(reader: StoreReader) -> str:
    reading = reader.read(NOW)
    assert isinstance(reading, Snapshot)
    return reading.newest[0].text


def open_files(path: Path) -> int:
    return sum(link.exists() and link.resolve() == path.resolve() for link in Path("/proc/self/fd").iterdir())


def test_a_store_that_is_not_made_yet_is_missing_and_is_picked_up_when_it_appears(
    reader: StoreReader, tmp_path: Path
) -> None:
    assert reader.read(NOW) == Missing(str(tmp_path / "store.db"))

    make_store(tmp_path, "first")

    assert newest_text(reader) == "first"


def test_a_store_that_was_deleted_and_made_anew_is_read_anew(reader: StoreReader, tmp_path: Path) -> None:
    make_store(tmp_path, "old")
    assert newest_text(reader) == "old"

    for file in tmp_path.glob("store.db*"):
        file.unlink()
    make_store(tmp_path, "new")

    assert newest_text(reader) == "new"


def test_a_deleted_store_is_missing_again(reader: StoreReader, tmp_path: Path) -> None:
    make_store(tmp_path, "old")
    assert newest_text(reader) == "old"

    for file in tmp_path.glob("store.db*"):
        file.unlink()

    assert isinstance(reader.read(NOW), Missing)


def test_many_reads_keep_one_file_open(reader: StoreReader, tmp_path: Path) -> None:
    make_store(tmp_path, "text")
    for _ in range(20):
        reader.read(NOW)

    assert open_files(tmp_path / "store.db") == 1
    reader.close()
    assert open_files(tmp_path / "store.db") == 0


def test_a_file_that_is_no_store_is_unreadable_and_its_reads_leave_no_file_open(
    reader: StoreReader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store.db").write_text("shopping list " * 100)

    for _ in range(5):
        reading = reader.read(NOW)

    assert isinstance(reading, Unreadable)
    assert "file is not a database" in reading.reason
    assert caplog.messages == [reading.reason]  # logged once, not at every refresh
    gc.collect()  # an engine that could not be opened goes with the error that names it
    assert open_files(tmp_path / "store.db") == 0


def test_an_empty_file_names_the_cure(reader: StoreReader, tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()

    reading = reader.read(NOW)

    assert isinstance(reading, Unreadable)
    assert "run 'reviewpulse work'" in reading.reason


def test_a_store_that_breaks_between_two_reads_is_unreadable_and_then_read_again(
    reader: StoreReader, tmp_path: Path
) -> None:
    make_store(tmp_path, "text")
    assert newest_text(reader) == "text"
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.execute("ALTER TABLE offsets RENAME TO elsewhere")

    reading = reader.read(NOW)

    assert reading == Unreadable("cannot read the store: no such table: offsets")
    connection.execute("ALTER TABLE elsewhere RENAME TO offsets")
    connection.close()
    assert newest_text(reader) == "text"


def test_what_is_no_url_is_said_at_once() -> None:
    with pytest.raises(StoreError, match="no SQLAlchemy URL"):
        StoreReader("reviewpulse.db", 900)


def test_a_store_on_a_server_is_read_when_it_is_there_and_its_password_is_never_shown(
    postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = StoreReader(postgres_url, 900)
    nothing_yet = reader.read(NOW)
    builder = StoreBuilder(tmp_path, postgres_url)
    builder.add_reviews(builder.add_source("t1"), [Scored(NOW, 3, text="first")])
    assert newest_text(reader) == "first"
    with builder.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE offsets RENAME TO elsewhere")
    broken = reader.read(NOW)
    reader.close()
    builder.close()

    assert isinstance(nothing_yet, Unreadable)
    assert "run 'reviewpulse work'" in nothing_yet.reason
    assert broken == Unreadable('cannot read the store: relation "offsets" does not exist')
    assert PASSWORD not in f"{nothing_yet} {broken} {caplog.text}"


def test_a_server_that_does_not_answer_is_unreadable_and_named_without_the_password() -> None:
    reading = StoreReader("postgresql://me:hush-hush@127.0.0.1:1/reviews", 900).read(NOW)

    assert isinstance(reading, Unreadable)
    assert "postgresql+psycopg://me:***@127.0.0.1:1/reviews" in reading.reason
    assert PASSWORD not in reading.reason
