import sqlite3
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from reviewpulse import schema
from reviewpulse.errors import StoreError
from reviewpulse.schema import SCHEMA_VERSION, connect, metadata, offsets, rejections, schema_version, sources
from reviewpulse.settings import StoreSettings, load
from reviewpulse.store_url import parse_store_url
from tests.postgres import PASSWORD
from tests.reviewpulse.version1 import make_version1


def test_a_read_only_store_cannot_be_written(store_url: str) -> None:
    connect(store_url, writable=True).dispose()
    reader = connect(store_url, writable=False)

    with reader.connect() as connection, pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
        connection.execute(sources.insert().values(cluster_id="c", topic="t", topic_id="i"))
    reader.dispose()


def test_a_path_with_characters_of_urls_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "50% #1").mkdir()
    url = f"sqlite:///{tmp_path}/50% #1/store.db"
    connect(url, writable=True).dispose()

    connect(url, writable=False).dispose()


def test_reading_a_store_that_is_not_there_names_it_and_the_cure(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"missing\.db.*reviewpulse work"):
        connect(f"sqlite:///{tmp_path}/missing.db", writable=False)


def test_reading_a_database_without_a_store_names_it_and_the_cure(postgres_url: str) -> None:
    with pytest.raises(StoreError, match=r"schema_version.*does not exist.*reviewpulse work") as raised:
        connect(postgres_url, writable=False)

    assert PASSWORD not in str(raised.value)


def test_a_store_of_a_newer_version_is_refused_and_left_alone(store_url: str) -> None:
    engine = connect(store_url, writable=True)
    with engine.begin() as connection:
        connection.execute(schema_version.update().values(version=99))
        connection.exec_driver_sql("DROP TABLE rejections")
    engine.dispose()

    for writable in (True, False):
        with pytest.raises(StoreError, match=r"schema version 99.*update reviewpulse"):
            connect(store_url, writable=writable)

    engine = sa.create_engine(store_url, poolclass=sa.NullPool)
    assert not sa.inspect(engine).has_table("rejections")


def test_a_store_of_version_1_is_brought_up_to_date_with_its_rows(store_url: str) -> None:
    make_version1(store_url)

    engine = connect(store_url, writable=True)

    with engine.connect() as connection:
        assert connection.execute(sa.select(offsets)).all() == [(1, 0, 7, 9, 1000, 0)]
        assert connection.execute(sa.select(rejections)).all() == [(1, 0, 6, "no text", 1000)]
        assert connection.scalars(sa.select(schema_version.c.version)).all() == [SCHEMA_VERSION]
    engine.dispose()


def test_a_migrated_store_has_the_columns_of_a_new_one(store_url: str, tmp_path: Path) -> None:
    make_version1(store_url)
    migrated, new = connect(store_url, writable=True), connect(f"sqlite:///{tmp_path}/new.db", writable=True)

    assert columns(migrated) == columns(new)
    migrated.dispose()
    new.dispose()


def columns(engine: sa.Engine) -> dict[str, list[tuple[str, bool]]]:
    """Return each table's columns in order: name and whether it may be NULL."""
    inspector = sa.inspect(engine)
    return {
        table: [(column["name"], column["nullable"]) for column in inspector.get_columns(table)]
        for table in metadata.tables
    }


def test_a_reader_of_a_version_1_store_is_told_who_brings_it_up_to_date(store_url: str) -> None:
    make_version1(store_url)

    with pytest.raises(StoreError, match=r"schema version 1.*'reviewpulse work' brings it up to date"):
        connect(store_url, writable=False)


def test_several_workers_may_migrate_the_store_at_once(store_url: str) -> None:
    make_version1(store_url)

    assert failures_of_threads(lambda: connect(store_url, writable=True).dispose()) == []


def test_a_url_that_is_none_names_the_setting() -> None:
    with pytest.raises(StoreError, match="REVIEWPULSE_STORE"):
        connect("reviews.db", writable=True)


@pytest.mark.parametrize("writable", [True, False])
def test_what_is_no_store_is_not_to_be_made_one(tmp_path: Path, writable: bool) -> None:
    """A text file or a folder was answered with: run 'reviewpulse work'."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("these are notes, and no database\n" * 100)

    for name in ("folder", "notes.txt"):
        with pytest.raises(StoreError, match=rf"{name}: .*name another file by REVIEWPULSE_STORE") as raised:
            connect(f"sqlite:///{tmp_path}/{name}", writable=writable)
        assert "reviewpulse work" not in str(raised.value)


def test_an_sqlite_file_without_a_store_is_one_that_the_worker_completes(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "new.db").close()

    with pytest.raises(StoreError, match=r"no such table.*the worker makes it"):
        connect(f"sqlite:///{tmp_path}/new.db", writable=False)


@pytest.mark.parametrize(
    "address", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"]
)
def test_a_store_in_memory_is_refused(address: str) -> None:
    """It was opened, and then failed like an outage."""
    with pytest.raises(StoreError, match=r"no file that others can read; write for example sqlite:///reviewpulse\.db"):
        connect(address, writable=True)


def test_another_database_is_refused_with_those_that_may_be() -> None:
    with pytest.raises(StoreError, match="SQLite or PostgreSQL"):
        connect("mysql://me@127.0.0.1/reviews", writable=True)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hush-hush@127.0.0.1:1/reviews",
        "postgresql+psycopg://me@127.0.0.1:1/reviews?password=hush-hush",
        "postgresql+psycopg://me:x@hush-hush@127.0.0.1/reviews",
        "postgresql+psycopg://me:x@127.0.0.1:hush-hush@127.0.0.1/reviews",
        "postgresql://me:p@s/hush-hush@127.0.0.1:1/reviews",
        "postgresql://me:p@s?hush-hush@127.0.0.1:1/reviews",
        "postgresql://me:p@s?x=hush-hush@127.0.0.1:1/reviews",
        "postgresql://m/e:hush-hush@127.0.0.1:1/reviews",
        "postgresql://m/e:1@2/hush-hush@127.0.0.1:1/reviews",
        "nonsense://me:hush-hush@127.0.0.1/reviews",
    ],
)
@pytest.mark.parametrize("writable", [True, False])
def test_a_password_in_the_url_is_not_shown(url: str, writable: bool) -> None:
    with pytest.raises(StoreError) as raised:
        connect(url, writable=writable)

    assert PASSWORD not in "".join(traceback.format_exception(raised.value))
    assert PASSWORD not in repr(load(StoreSettings, store=url))


def test_a_password_with_signs_of_urls_is_one_when_they_are_escaped() -> None:
    url = parse_store_url("postgresql://m%2Fe:p%40s%2Fhush@db.example.org:1/reviews")

    assert (url.username, url.password, url.host, url.database) == ("m/e", "p@s/hush", "db.example.org", "reviews")
    with pytest.raises(StoreError, match="write %40 for @ and %2F for /"):
        parse_store_url("postgresql://me:p@s/hush@db.example.org:1/reviews")


def test_a_wrong_password_is_named_as_such_and_not_shown(postgres_url: str) -> None:
    url = postgres_url.replace(PASSWORD, "guess-guess")

    with pytest.raises(StoreError, match="password authentication failed") as raised:
        connect(url, writable=True)

    assert "guess" not in str(raised.value)


def add_source(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sources.insert().values(cluster_id="c", topic="t", topic_id="i"))


def test_a_lock_that_another_holds_for_long_ends_a_statement(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_SECONDS", 1)
    engine, other = connect(store_url, writable=True), connect(store_url, writable=True)
    lock = "SELECT 1" if other.dialect.name == "sqlite" else "LOCK TABLE sources"

    with other.begin() as holder:
        holder.exec_driver_sql(lock)
        with pytest.raises(sa.exc.OperationalError, match="lock"):
            add_source(engine)
    engine.dispose()
    other.dispose()


def test_several_workers_may_make_the_store_at_once(store_url: str) -> None:
    assert failures_of_threads(lambda: connect(store_url, writable=True).dispose()) == []


def test_a_new_file_waits_for_a_writer_before_it_enters_wal_mode(tmp_path: Path) -> None:
    """SQLite asks no busy handler there: of several workers, at their first start, one found the file locked."""
    file = tmp_path / "store.db"
    writer = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    ends = threading.Timer(0.3, writer.commit)
    ends.start()

    connect(f"sqlite:///{file}", writable=True).dispose()

    ends.join()
    writer.close()


def failures_of_threads(action: Callable[[], None]) -> list[Exception]:
    """Return what was raised when six threads did the same at once."""
    failures: list[Exception] = []

    def act() -> None:
        try:
            action()
        except Exception as exc:  # noqa: BLE001  # whatever it is, the test fails with it
            failures.append(exc)

    threads = [threading.Thread(target=act) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_the_store_runs_in_wal_mode(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/store.db", writable=True)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()
