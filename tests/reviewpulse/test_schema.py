import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from reviewpulse.errors import StoreError
from reviewpulse.schema import connect, schema_version, sources


def test_a_read_only_store_cannot_be_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    connect(url, writable=True).dispose()
    reader = connect(url, writable=False)

    with reader.connect() as connection, pytest.raises(sa.exc.OperationalError, match="readonly"):
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


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    engine = connect(url, writable=True)
    with engine.begin() as connection:
        connection.execute(schema_version.update().values(version=99))
    engine.dispose()

    with pytest.raises(StoreError, match="schema version 99"):
        connect(url, writable=True)


def test_a_url_that_is_none_names_the_setting() -> None:
    with pytest.raises(StoreError, match="REVIEWPULSE_STORE"):
        connect("reviews.db", writable=True)


def test_a_password_in_the_url_is_not_shown() -> None:
    with pytest.raises(StoreError) as raised:
        connect("postgresql://me:secret@127.0.0.1:1/reviews", writable=True)

    assert "secret" not in str(raised.value)


def test_several_workers_may_make_the_store_at_once(tmp_path: Path) -> None:
    failures: list[Exception] = []

    def make() -> None:
        try:
            connect(f"sqlite:///{tmp_path}/store.db", writable=True).dispose()
        except StoreError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_the_store_runs_in_wal_mode(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/store.db", writable=True)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()
