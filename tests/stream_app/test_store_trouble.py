"""Stores that several processes write, that another process locks, and whose disk is full."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from reviewpulse import schema
from reviewpulse.errors import StoreError
from reviewpulse.records import TextLimit
from reviewpulse.schema import connect, offsets, predictions, sentiment_by_second, sources
from reviewpulse.settings import KafkaSettings
from stream_app.batch import Message
from stream_app.pipeline import Model, Pipeline, Sinks
from stream_app.store import PredictionStore, transaction
from tests.stream_app.fakes import ListSender, StarModel, review_bytes
from tests.stream_app.places import NOW, SOURCE
from tests.stream_app.writer import BATCH_REVIEWS

BATCHES = 40


def total(engine: sa.Engine, column: sa.ColumnElement[int]) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(column)) or 0


def rows(engine: sa.Engine) -> int:
    return total(engine, sa.func.count(predictions.c.offset))


def test_a_value_that_the_tables_refuse_is_a_defect_and_no_outage(store_url: str) -> None:
    engine = connect(store_url, writable=True)

    with pytest.raises(sa.exc.IntegrityError), transaction(engine) as connection:
        connection.execute(sources.insert().values(cluster_id="c", topic=None, topic_id="i"))
    engine.dispose()


def test_two_processes_write_one_store_and_lose_nothing(store_url: str) -> None:
    command = [sys.executable, "-m", "tests.stream_app.writer", store_url]
    writers = [
        subprocess.Popen([*command, str(partition), str(BATCHES)], stderr=subprocess.PIPE, text=True)
        for partition in (0, 1)
    ]
    said = [writer.communicate(timeout=60)[1] for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0], said
    engine = connect(store_url, writable=False)
    count = 2 * BATCHES * BATCH_REVIEWS
    assert rows(engine) == total(engine, sa.func.sum(sentiment_by_second.c.reviews)) == count
    assert total(engine, sa.func.sum(offsets.c.next_offset)) == count
    engine.dispose()


def test_two_writers_of_the_same_batches_store_each_review_once(store_url: str) -> None:
    """As when a worker that was taken for dead comes back."""
    command = [sys.executable, "-m", "tests.stream_app.writer", store_url, "0", str(BATCHES)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [writer.communicate(timeout=60)[1] for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0], said
    engine = connect(store_url, writable=False)
    assert rows(engine) == total(engine, sa.func.sum(sentiment_by_second.c.reviews)) == BATCHES * BATCH_REVIEWS
    engine.dispose()


class Line:
    """A pipeline with an engine of its own, whose locks are waited for only shortly."""

    def __init__(self, engine: sa.Engine, executor: ThreadPoolExecutor) -> None:
        self.engine = engine
        self.sender = ListSender()
        model: Future[Model] = Future()
        model.set_result(StarModel())
        sinks = Sinks(self.sender, PredictionStore(engine), lambda: SOURCE)
        self._pipeline = Pipeline(
            model,
            sinks,
            executor,
            KafkaSettings(),
            retry_seconds=20,
            publish_seconds=1,
            clock=lambda: NOW,
            text_limit=TextLimit(),
        )

    async def process(self, first: int, count: int, text: str = "5") -> None:
        """Process some reviews of partition 0 in one batch."""
        if first == 0:
            await self._pipeline.resume()
        messages = [Message(0, offset, review_bytes(text)) for offset in range(first, first + count)]
        await self._pipeline.process(messages, {})


@pytest.fixture
def line(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.2)
    engine = connect(sqlite_url, writable=True)
    with ThreadPoolExecutor(2) as executor:
        yield Line(engine, executor)
    engine.dispose()


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_store_that_another_process_locks_is_retried_until_it_is_free(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(line.process(0, 10))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(line.engine.url.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    free = threading.Timer(1.0, holder.communicate)
    free.start()

    asyncio.run(line.process(10, 10))
    free.join()

    assert rows(line.engine) == len(line.sender.sent) == 20
    assert total(line.engine, sa.func.sum(sentiment_by_second.c.reviews)) == 20
    assert [text for text in caplog.messages if "database is locked" in text]


def test_a_full_disk_is_retried_and_when_there_is_room_again_nothing_is_lost(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(line.process(0, 10))
    with line.engine.connect() as connection:
        used = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    most_pages = used + 5  # SQLite answers as on a full disk

    @sa.event.listens_for(line.engine, "begin")
    def limit(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {most_pages}")

    def make_room() -> None:
        nonlocal most_pages
        most_pages = 100_000

    threading.Timer(1.0, make_room).start()

    asyncio.run(line.process(10, 200, text="5" * 1_000))

    assert rows(line.engine) == len(line.sender.sent) == 210
    assert total(line.engine, sa.func.sum(sentiment_by_second.c.reviews)) == 210
    assert total(line.engine, sa.func.sum(offsets.c.next_offset)) == 210
    assert [text for text in caplog.messages if "database or disk is full" in text]


def test_a_connection_that_cannot_be_made_is_an_outage_too(line: Line) -> None:
    """sqlite3's own errors, from setting a new connection up, come out as the store's."""
    line.engine.dispose()

    @sa.event.listens_for(line.engine, "connect", insert=True)
    def fail(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=(")

    with pytest.raises(StoreError, match="syntax error"):
        PredictionStore(line.engine).register(SOURCE)
