"""What a worker's store goes through: PostgreSQL under two workers, a full disk, a foreign lock, pruning."""

import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from kafka import KafkaProducer

from reviewpulse.broker import client_options, ensure_topics
from reviewpulse.settings import KafkaSettings
from tests.brokers import fresh_topics
from tests.integration.processes import Desk, wait_until
from tests.postgres import PASSWORD, PostgresServer


class PostgresDesk(Desk):
    """A desk whose store is on a server."""

    def __init__(self, folder: Path, kafka: KafkaSettings, checkpoint: Path, url: str) -> None:
        super().__init__(folder, kafka, checkpoint)
        self.environment["REVIEWPULSE_STORE"] = url
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)

    def send(self, *values: bytes) -> None:
        """Put these bytes on all partitions of the reviews topic."""
        producer = KafkaProducer(**client_options(self.kafka))
        for number, value in enumerate(values):
            producer.send(self.kafka.reviews_topic, value=value, partition=number % self.kafka.partitions)
        producer.flush()
        producer.close()

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Return the rows of a statement on the store; none while its tables are not there yet."""
        try:
            with self._engine.connect() as connection:
                return [tuple(row) for row in connection.exec_driver_sql(statement)]
        except sa.exc.ProgrammingError:
            return []


@pytest.fixture
def desk(tmp_path: Path, embedded_address: str, tiny_checkpoint: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, fresh_topics(embedded_address), tiny_checkpoint)
    ensure_topics(desk.kafka)
    yield desk
    desk.clear()


@pytest.fixture
def postgres_desk(
    tmp_path: Path, kafka: KafkaSettings, tiny_checkpoint: Path, postgres_server: PostgresServer
) -> Iterator[PostgresDesk]:
    desk = PostgresDesk(tmp_path, kafka, tiny_checkpoint, postgres_server.new_database())
    ensure_topics(desk.kafka)
    yield desk
    desk.clear()


def reviews(count: int) -> list[bytes]:
    return [b'{"text": "review %d"}' % number for number in range(count)]


def test_two_workers_on_one_postgresql_lose_nothing_and_store_nothing_twice(postgres_desk: PostgresDesk) -> None:
    desk = postgres_desk
    settings = {"REVIEWPULSE_BATCH_REVIEWS": "16"}
    with desk.worker(**settings) as first, desk.worker(**settings) as second:
        wait_until(lambda: desk.is_reading(first) and desk.is_reading(second), "both workers read")
        desk.send(*reviews(3_000))
        wait_until(lambda: desk.count("predictions") >= 3_000, "3,000 rows")

    assert desk.count("predictions") == 3_000
    assert desk.query("SELECT sum(reviews) FROM sentiment_by_second") == [(3_000,)]
    assert desk.query("SELECT sum(next_offset) FROM offsets") == [(3_000,)]
    event_ids = [headers["event_id"] for _, headers in desk.records(desk.kafka.predictions_topic)]
    assert len(set(event_ids)) == 3_000
    assert {row[0] for row in desk.query("SELECT event_id FROM predictions")} == set(event_ids)
    assert desk.scored_by(first) + desk.scored_by(second) == 3_000
    assert min(desk.scored_by(first), desk.scored_by(second)) > 0
    for worker in (first, second):
        assert "deadlock" not in desk.output_of(worker)
        assert PASSWORD not in desk.output_of(worker)


def test_a_server_that_ends_all_connections_is_an_outage_and_the_password_is_not_shown(
    tmp_path: Path, embedded_address: str, tiny_checkpoint: Path, postgres_url: str
) -> None:
    desk = PostgresDesk(tmp_path, fresh_topics(embedded_address), tiny_checkpoint, postgres_url)
    ensure_topics(desk.kafka)
    with desk.worker(REVIEWPULSE_BATCH_REVIEWS="16") as worker:
        desk.send(*reviews(1_500))
        wait_until(lambda: desk.count("predictions") >= 16, "a batch")
        mine = "datname = current_database() AND pid <> pg_backend_pid()"
        for _ in range(3):
            desk.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
            time.sleep(0.3)
        wait_until(lambda: desk.count("predictions") >= 1_500, "1,500 rows")

    assert desk.query("SELECT sum(reviews) FROM sentiment_by_second") == [(1_500,)]
    assert "postgres:***@127.0.0.1" in desk.output_of(worker)
    assert PASSWORD not in desk.output_of(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="the size of another process's files is limited on Linux only")
def test_a_worker_whose_disk_is_full_goes_on_when_there_is_room_and_loses_nothing(desk: Desk) -> None:
    with desk.worker(REVIEWPULSE_BATCH_REVIEWS="64") as worker:
        wait_until(lambda: desk.is_reading(worker), "the worker reads")
        most_bytes = 200_000  # for each file that the worker writes: the store's log reaches it first
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
        desk.send(*(b'{"text": "review %d %s"}' % (number, b"good " * 100) for number in range(1_000)))
        wait_until(lambda: "outage" in desk.output_of(worker), "the worker notices")
        time.sleep(1)
        stored = desk.count("predictions")
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_until(lambda: desk.count("predictions") >= 1_000, "1,000 rows")

    assert stored < 1_000
    assert desk.count("predictions") == 1_000
    assert desk.query("SELECT sum(reviews) FROM sentiment_by_second") == [(1_000,)]
    assert desk.query("PRAGMA integrity_check") == [("ok",)]
    assert len({headers["event_id"] for _, headers in desk.records(desk.kafka.predictions_topic)}) == 1_000


def test_a_worker_whose_store_is_locked_for_long_waits_and_loses_nothing(desk: Desk) -> None:
    with desk.worker(REVIEWPULSE_BATCH_REVIEWS="64") as worker:
        wait_until(lambda: desk.is_reading(worker), "the worker reads")
        holder = sqlite3.connect(desk.store, isolation_level=None, timeout=30)
        holder.execute("BEGIN EXCLUSIVE")
        desk.send(*reviews(500))
        wait_until(lambda: "database is locked" in desk.output_of(worker), "the worker notices")
        assert desk.count("predictions") == 0
        holder.execute("ROLLBACK")
        holder.close()
        wait_until(lambda: desk.count("predictions") >= 500, "500 rows")

    assert desk.count("predictions") == 500
    assert desk.query("SELECT sum(reviews) FROM sentiment_by_second") == [(500,)]


def test_what_a_worker_pruned_is_not_stored_again_by_the_next_one(desk: Desk) -> None:
    """The first worker dies at once; the second reads on after what was pruned."""
    keep = {"REVIEWPULSE_KEEP_DAYS": "0.00001", "REVIEWPULSE_BATCH_REVIEWS": "16"}
    desk.send(*reviews(300))
    killed = desk.start("work", **keep)
    wait_until(lambda: desk.query("SELECT sum(next_offset) FROM offsets") == [(300,)], "all is stored")
    wait_until(lambda: desk.count("predictions") == 0, "all is pruned")
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    with desk.worker(**keep):
        desk.send(*reviews(10))
        wait_until(lambda: desk.query("SELECT sum(kept_from) FROM offsets") == [(310,)], "the new ones are pruned too")

    assert desk.query("SELECT sum(reviews) FROM sentiment_by_second") == [(310,)]
    assert len(desk.records(desk.kafka.predictions_topic)) == 310
