"""What a worker does when its broker goes away; the embedded broker forgets everything, so these stop at the error."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reviewpulse.broker import ensure_topics
from reviewpulse.embedded import EmbeddedBroker
from tests.brokers import fresh_topics
from tests.integration.processes import Desk, wait_until

RETRY = {"REVIEWPULSE_RETRY_SECONDS": "3", "REVIEWPULSE_CONNECT_SECONDS": "2"}


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def desk(tmp_path: Path, broker: EmbeddedBroker, tiny_checkpoint: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, fresh_topics(broker.address), tiny_checkpoint)
    ensure_topics(desk.kafka)
    yield desk
    desk.clear()


def test_an_idle_worker_says_that_the_broker_is_gone_and_ends_with_an_error(desk: Desk, broker: EmbeddedBroker) -> None:
    process = desk.start("work", **RETRY)
    wait_until(lambda: desk.is_reading(process), "the worker reads")

    broker.stop()

    assert process.wait(60) == 1
    output = desk.output_of(process)
    assert output.count("outage") == 1
    assert re.search(r"error: (no Kafka answers at|Kafka at|the Kafka client gave up)", output)


def test_a_worker_whose_broker_goes_while_it_joins_ends_with_an_error(desk: Desk, broker: EmbeddedBroker) -> None:
    process = desk.start("work", REVIEWPULSE_SESSION_SECONDS="30", **RETRY)  # a long session: joining takes long
    time.sleep(5)
    assert not desk.is_reading(process)

    broker.stop()

    assert process.wait(60) == 1
    assert "error: " in desk.output_of(process)


def test_tail_says_that_the_broker_is_gone(desk: Desk, broker: EmbeddedBroker) -> None:
    desk.send(b'{"text": "x"}')
    process = desk.start("tail", "reviews", "--from-beginning", REVIEWPULSE_CONNECT_SECONDS="2")
    wait_until(lambda: '"x"' in desk.output_of(process), "the record is shown")

    broker.stop()

    assert process.wait(60) == 1
    assert "is gone" in desk.output_of(process)


def test_a_busy_worker_ends_with_an_error_too(desk: Desk, broker: EmbeddedBroker) -> None:
    process = desk.start("work", REVIEWPULSE_BATCH_REVIEWS="8", **RETRY)
    desk.send(*(b'{"text": "review %d"}' % number for number in range(3_000)))
    wait_until(lambda: desk.count("predictions") >= 8, "a batch")

    broker.stop()

    assert process.wait(60) == 1
    assert desk.count("predictions") < 3_000
    assert "error: " in desk.output_of(process)


def test_a_worker_in_an_outage_stops_when_told(desk: Desk, broker: EmbeddedBroker) -> None:
    process = desk.start("work", REVIEWPULSE_RETRY_SECONDS="600", REVIEWPULSE_CONNECT_SECONDS="2")
    wait_until(lambda: desk.is_reading(process), "the worker reads")
    broker.stop()
    wait_until(lambda: "outage" in desk.output_of(process), "the worker notices")

    process.send_signal(signal.SIGTERM)
    started = time.monotonic()

    assert process.wait(60) == 0, desk.output_of(process)
    assert time.monotonic() - started < 30


def handles_sigterm(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a process has a handler for SIGTERM, as Linux tells it."""
    (caught,) = re.findall(r"SigCgt:\t(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_a_worker_told_to_stop_while_it_starts_stops_in_order(desk: Desk) -> None:
    for seconds in (0, 2.5, 4.5):
        process = desk.start("work")
        wait_until(lambda process=process: handles_sigterm(process), "Python is up")  # type: ignore[misc]
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM)

        assert process.wait(60) == 0, f"after {seconds} s: {desk.output_of(process)}"
        assert "Traceback" not in desk.output_of(process)


def test_a_defect_ends_the_worker_with_its_traceback_and_an_error_code(desk: Desk) -> None:
    folder = desk.folder / "broken"  # a word piece beyond the model's vocabulary: scoring raises IndexError
    shutil.copytree(desk.environment["REVIEWPULSE_CHECKPOINT"], folder)
    tokenizer = (folder / "tokenizer.json").read_text()
    assert '"good": 89,' in tokenizer
    (folder / "tokenizer.json").write_text(tokenizer.replace('"good": 89,', '"good": 890000,'))
    desk.send(b'{"text": "good"}')

    process = desk.start("work", REVIEWPULSE_CHECKPOINT=str(folder))

    assert process.wait(60) == 1
    assert "defect" in desk.output_of(process)
    assert "Traceback" in desk.output_of(process)
    assert desk.count("predictions") == 0
