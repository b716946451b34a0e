"""`reviewpulse demo` as a newcomer runs it: from its own folder, stopped by Ctrl-C."""

import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from reviewpulse.embedded import free_port
from reviewpulse.settings import KafkaSettings
from tests.integration.processes import Desk, wait_until


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, KafkaSettings(), Path("default"))
    yield desk
    desk.clear()


def play(desk: Desk, *arguments: str, at_least: int) -> str:
    """Run the demo until the store has so many rows, press Ctrl-C, and return what it printed."""
    port = free_port()
    demo = desk.start("demo", *arguments, "--port", str(port))
    try:
        wait_until(lambda: desk.count("predictions") >= at_least or demo.poll() is not None, f"{at_least} rows")
        assert demo.poll() is None, desk.output_of(demo)
        parts = psutil.Process(demo.pid).children(recursive=True)
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}").read()
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)
    output = desk.output_of(demo)
    assert demo.returncode == 0, output
    assert b"reviewpulse" in page
    assert len(parts) >= 3  # a replay of a short file has ended by now
    assert not [part for part in parts if part.is_running()]
    return output


def test_two_demos_over_one_store_score_and_keep_both(desk: Desk) -> None:
    first = play(desk, at_least=20)

    seconds = re.search(r"first prediction on the page (\d+\.\d) s after the start", first)
    assert seconds is not None, first
    assert float(seconds[1]) < 20
    after_first = desk.count("predictions")
    assert f"{after_first:,} reviews scored" in first
    assert f"sqlite:///{desk.store}" in first

    second = play(desk, at_least=after_first + 20)

    assert f"{desk.count('predictions') - after_first:,} reviews scored" in second
    assert desk.count("sources") == 2


def test_everything_published_before_ctrl_c_is_scored(desk: Desk) -> None:
    output = play(desk, "--rate", "50", at_least=60)

    delivered = re.search(r"delivered ([\d,]+) of", (desk.folder / "demo-logs" / "replay.log").read_text())
    assert delivered is not None
    assert desk.count("predictions") == int(delivered[1].replace(",", ""))
    assert "not scored" not in output


def test_a_file_of_your_own_is_replayed_once(desk: Desk) -> None:
    (desk.folder / "mine.csv").write_text('text,rating\nlovely,5\nawful,1\n"fine, really",4\n')

    output = play(desk, "mine.csv", at_least=3)

    assert "replay: delivered 3 of 3 reviews" in output
    assert "3 reviews scored" in output
    assert sorted(desk.query("SELECT text FROM predictions")) == [("awful",), ("fine, really",), ("lovely",)]


def test_a_file_without_any_review_ends_the_demo(desk: Desk) -> None:
    """It sat over an empty page, silent, until Ctrl-C."""
    (desk.folder / "mine.csv").write_text("review_id,body,stars,when\nR1,lovely,5,2020-01-01\n")

    code, output = desk.run("demo", "mine.csv", "--port", "0")

    assert code == 1, output
    assert "no row of the files is a review, most often for fields of no known form (1)" in output


def test_a_missing_file_is_named_before_anything_starts(desk: Desk) -> None:
    code, output = desk.run("demo", "missing.jsonl")

    assert code == 1
    assert output.startswith("error:")
    assert "missing.jsonl" in output
    assert not (desk.folder / "demo-logs").exists()
