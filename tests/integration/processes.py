"""Runs `reviewpulse ...` in processes of its own, as a user does, and looks at what they leave."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer

from reviewpulse.broker import client_options
from reviewpulse.settings import KafkaSettings

WAIT_SECONDS = 90.0
REPOSITORY = Path(__file__).parents[2]


class Desk:
    """A user's working folder: settings as environment variables, a store, and the processes started there."""

    def __init__(self, folder: Path, kafka: KafkaSettings, checkpoint: Path) -> None:
        self.folder = folder
        self.kafka = kafka
        self.store = folder / "store.db"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = os.environ | {
            "REVIEWPULSE_BROKER": kafka.broker,
            "REVIEWPULSE_REVIEWS_TOPIC": kafka.reviews_topic,
            "REVIEWPULSE_PREDICTIONS_TOPIC": kafka.predictions_topic,
            "REVIEWPULSE_REJECTED_TOPIC": kafka.rejected_topic,
            "REVIEWPULSE_GROUP": f"workers of {kafka.reviews_topic}",
            "REVIEWPULSE_STORE": f"sqlite:///{self.store}",
            "REVIEWPULSE_CHECKPOINT": str(checkpoint),
            "REVIEWPULSE_THREADS": "1",
            "PYTHONPATH": str(REPOSITORY),
            "NO_COLOR": "1",
        }

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start `reviewpulse` with these arguments; settings are more environment variables."""
        return self.start_module("reviewpulse", *arguments, **settings)

    def start_stub(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start a worker with a stub model (tests/integration/stub_worker.py); settings may hold STUB_... as well."""
        return self.start_module("tests.integration.stub_worker", **settings)

    def start_module(self, module: str, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start a Python module, such as a worker with a stub model, like a command."""
        with self._output(len(self._processes)).open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self.folder,
                env=self.environment | settings,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)
        return process

    def output_of(self, process: subprocess.Popen[bytes]) -> str:
        """Return what a process has said so far, on standard output and standard error."""
        return self._output(self._processes.index(process)).read_text()

    def _output(self, number: int) -> Path:
        return self.folder / f"output-{number}.txt"

    def clear(self) -> None:
        """End what a failed test left running."""
        for process in self._processes:
            process.kill()
            process.wait()

    def run(self, *arguments: str, **settings: str) -> tuple[int, str]:
        """Run `reviewpulse` to its end and return its exit code and output."""
        process = self.start(*arguments, **settings)
        return process.wait(WAIT_SECONDS), self.output_of(process)

    @contextmanager
    def worker(self, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker during a block, then stop it and see that it ended in order."""
        process = self.start("work", *arguments, **settings)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(WAIT_SECONDS)
        assert code == 0, self.output_of(process)

    def is_reading(self, worker: subprocess.Popen[bytes]) -> bool:
        """Return whether a worker has joined the group."""
        return "reading topic" in self.output_of(worker)

    def scored_by(self, worker: subprocess.Popen[bytes]) -> int:
        """Return how many reviews a worker that has stopped says it scored."""
        (scored,) = re.findall(r"stopped; scored (\d+) reviews", self.output_of(worker))
        return int(scored)

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Return the rows of a statement on the store; none while the store is not there yet."""
        try:
            connection = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
            try:
                return connection.execute(statement).fetchall()
            finally:
                connection.close()
        except sqlite3.OperationalError:
            return []

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        rows = self.query(f"SELECT count(*) FROM {table}")
        return int(str(rows[0][0])) if rows else 0

    def send(self, *values: bytes, spread: bool = False) -> None:
        """Put these bytes on the reviews topic as they are: in one partition, or spread over all."""
        producer = KafkaProducer(**client_options(self.kafka))
        for number, value in enumerate(values):
            key = b"key %d" % number if spread else b"key"
            producer.send(self.kafka.reviews_topic, key=key, value=value)
        producer.flush()
        producer.close()

    def records(self, topic: str) -> list[tuple[bytes | None, dict[str, str]]]:
        """Return value and headers of all records that a topic holds now."""
        consumer = KafkaConsumer(
            topic, **client_options(self.kafka), auto_offset_reset="earliest", consumer_timeout_ms=3000
        )
        found = [(record.value, {name: value.decode() for name, value in record.headers}) for record in consumer]
        consumer.close()
        return found


def wait_until(is_true: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until something is true, or fail saying what."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


def wait_until_still(measure: Callable[[], int], seconds: float = 2.0) -> None:
    """Wait until a number has not changed for so many seconds."""
    last, since = measure(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.1)
        if (now := measure()) != last:
            last, since = now, time.monotonic()
