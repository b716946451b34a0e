"""Members of the consumer group that are killed, come back, leave, or go by the same name; on Apache Kafka."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reviewpulse.broker import ensure_topics
from tests.brokers import fresh_topics
from tests.integration.processes import REPOSITORY, Desk, wait_until

SESSION = {"REVIEWPULSE_SESSION_SECONDS": "20"}
"""So long that a member whose name is not known could not be back within the tests' bounds."""


@pytest.fixture
def desk(tmp_path: Path, apache_address: str) -> Iterator[Desk]:
    desk = Desk(tmp_path, fresh_topics(apache_address), Path("default"))
    ensure_topics(desk.kafka)
    yield desk
    desk.clear()


def slowdown() -> float:
    """Return how many times longer than it computes a start of Python takes just now; on an idle machine, once."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-c", "import stream_app.worker"], check=True, cwd=REPOSITORY)
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return max(seconds / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), 1)


def test_a_killed_worker_with_a_lasting_name_stores_the_next_row_within_three_seconds_of_the_kill(desk: Desk) -> None:
    """The start of Python and all imports count; torch's does not, for the model is a stub.

    Three seconds of a machine that has nothing else to do, and one of at most five kills will do.
    """
    settings, seconds = {**SESSION, "REVIEWPULSE_INSTANCE": "shop-1"}, list[float]()
    worker = desk.start_stub(**settings)
    wait_until(lambda: desk.is_reading(worker), "the first reads")
    while len(seconds) < 5 and min(seconds, default=3.0) >= 3:
        before = slowdown()
        worker.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        worker.wait()
        desk.send(b'{"text": "after"}')
        worker = desk.start_stub(**settings)
        wait_until(lambda: desk.count("predictions") > len(seconds), "the next row")
        seconds.append((time.monotonic() - killed) / max(before, slowdown()))

    assert min(seconds) < 3, f"seconds from each kill to the next row: {seconds}"
    worker.terminate()
    assert worker.wait(60) == 0


def test_of_two_workers_with_one_name_the_first_says_so_and_ends(desk: Desk) -> None:
    first = desk.start_stub(REVIEWPULSE_INSTANCE="shop-1")
    wait_until(lambda: desk.is_reading(first), "the first reads")
    second = desk.start_stub(REVIEWPULSE_INSTANCE="shop-1")

    assert first.wait(20) == 1
    assert "goes by the name shop-1" in desk.output_of(first)
    assert "REVIEWPULSE_INSTANCE" in desk.output_of(first)
    desk.send(b'{"text": "after"}')
    wait_until(lambda: desk.count("predictions") == 1, "a row")
    second.terminate()
    assert second.wait(60) == 0, desk.output_of(second)


def test_workers_that_join_and_leave_under_load_score_no_review_twice(desk: Desk) -> None:
    settings = {"REVIEWPULSE_BATCH_REVIEWS": "32", "STUB_SECONDS": "0.8"}  # a rebalance takes some 0.2 s
    reviews = 1_200
    desk.send(*(b'{"text": "review %d"}' % number for number in range(reviews)), spread=True)
    steady = desk.start_stub(**settings)
    wait_until(lambda: desk.count("predictions") > 0, "a row")
    for _ in range(2):
        guest = desk.start_stub(**settings)
        wait_until(lambda one=guest: desk.is_reading(one), "the guest reads")  # type: ignore[misc]
        time.sleep(1)
        guest.terminate()
        assert guest.wait(60) == 0
        assert desk.scored_by(guest) > 0
    assert desk.count("predictions") < reviews, "all was done too early to prove anything"
    wait_until(lambda: desk.count("predictions") == reviews, f"{reviews} rows")
    steady.terminate()
    assert steady.wait(60) == 0

    event_ids = [headers["event_id"] for _, headers in desk.records(desk.kafka.predictions_topic)]
    assert (len(event_ids), len(set(event_ids))) == (reviews, reviews)
