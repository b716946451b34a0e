"""`reviewpulse tail` on both brokers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reviewpulse.broker import ensure_topics
from reviewpulse.settings import KafkaSettings
from tests.integration.processes import Desk, wait_until


@pytest.fixture
def desk(tmp_path: Path, kafka: KafkaSettings) -> Iterator[Desk]:
    desk = Desk(tmp_path, kafka, Path("default"))
    ensure_topics(kafka)
    yield desk
    desk.clear()


def test_tail_from_the_beginning_shows_all_records_and_then_new_ones(desk: Desk) -> None:
    desk.send(*(b'{"text": "old %d"}' % number for number in range(20)))
    tail = desk.start("tail", "reviews", "--from-beginning", "--limit", "21")
    wait_until(lambda: desk.output_of(tail).count("\n") >= 20, "the old records")
    desk.send(b'{"text": "new"}')

    assert tail.wait(30) == 0
    texts = [json.loads(line)["text"] for line in desk.output_of(tail).splitlines()]
    assert sorted(texts) == sorted(["new", *(f"old {number}" for number in range(20))])


def test_tail_shows_only_what_comes_after_it_began(desk: Desk) -> None:
    desk.send(*(b'{"text": "old %d"}' % number for number in range(50)))
    tail = desk.start("tail", "reviews", "--limit", "1")

    def came() -> bool:
        desk.send(b'{"text": "new"}')
        return tail.poll() is not None

    wait_until(came, "a new record is shown", seconds=30)

    assert json.loads(desk.output_of(tail))["text"] == "new"


def test_a_topic_that_is_not_there_is_named(desk: Desk) -> None:
    code, output = desk.run("tail", "reviews", REVIEWPULSE_REVIEWS_TOPIC="nowhere")

    assert code == 1
    assert output.startswith("error: there is no topic nowhere")


def test_a_reader_that_goes_away_is_no_error(desk: Desk) -> None:
    desk.send(*(b'{"text": "%s"}' % (b"x" * 5_000) for _ in range(100)))
    done = subprocess.run(
        f"{sys.executable} -m reviewpulse tail reviews --from-beginning | head -n 1",
        shell=True,
        env=desk.environment,
        cwd=desk.folder,
        capture_output=True,
        timeout=60,
    )

    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr
