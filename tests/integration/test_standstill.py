"""A worker that stands still ends itself and says where; one that is idle or in an outage does not."""

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from reviewpulse.broker import ensure_topics
from reviewpulse.embedded import free_port
from tests.brokers import fresh_topics
from tests.integration.processes import Desk, wait_until

STALL_SECONDS = 3.0
STALL = {"REVIEWPULSE_STALL_SECONDS": str(STALL_SECONDS)}


@pytest.fixture
def desk(tmp_path: Path, embedded_address: str) -> Iterator[Desk]:
    desk = Desk(tmp_path, fresh_topics(embedded_address), Path("default"))
    ensure_topics(desk.kafka)
    yield desk
    desk.clear()


def ask(port: int, page: str, token: str | None = None) -> tuple[int, dict[str, object]]:
    """Return status and JSON of a health page; status 0 when nobody answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/health/{page}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)
    except OSError:
        return 0, {}


def test_a_model_that_never_answers_ends_the_worker_which_says_where_it_hung(desk: Desk) -> None:
    desk.send(b'{"text": "fine"}', b'{"text": "hang"}')
    process = desk.start_stub(**STALL, REVIEWPULSE_BATCH_REVIEWS="1")

    assert process.wait(60) == 1
    output = desk.output_of(process)
    assert "the worker stands still: 1 reviews waiting and no batch done for" in output
    assert "threading.Event().wait()" in output.partition("thread pipeline")[2]  # the model's own line
    assert "Pipeline.note_progress" in output.partition("task Task-")[2]  # it waits for the batch
    assert desk.count("predictions") == 1


def test_a_blocked_event_loop_ends_the_worker_while_its_health_is_told(desk: Desk) -> None:
    port = free_port()
    process = desk.start_stub(**STALL, REVIEWPULSE_HEALTH_PORT=str(port))
    wait_until(lambda: ask(port, "ready")[0] == 200, "the worker is ready")
    assert ask(port, "live") == (200, {"ok": True, "why": None, "partitions": 4, "waiting_reviews": 0})

    process.send_signal(signal.SIGUSR1)
    time.sleep(STALL_SECONDS / 3)

    assert ask(port, "live")[0] == 200
    assert process.wait(60) == 1
    output = desk.output_of(process)
    assert "the event loop has not come round for" in output
    assert "time.sleep(10_000)" in output.split("thread MainThread")[1]


def test_an_interpreter_that_nobody_else_gets_ends_all_the_same(desk: Desk) -> None:
    process = desk.start_stub(**STALL)
    wait_until(lambda: desk.is_reading(process), "the worker reads")
    time.sleep(1)

    process.send_signal(signal.SIGUSR2)

    assert process.wait(60) == 1
    assert "Timeout (" in desk.output_of(process)
    assert "stub_worker.py" in desk.output_of(process)


def test_an_idle_worker_and_one_that_was_stopped_for_a_while_go_on(desk: Desk) -> None:
    port = free_port()
    process = desk.start_stub(**STALL, REVIEWPULSE_HEALTH_PORT=str(port))
    wait_until(lambda: ask(port, "ready")[0] == 200, "the worker is ready")
    time.sleep(STALL_SECONDS * 2)
    desk.send(b'{"text": "fine"}')
    wait_until(lambda: desk.count("predictions") == 1, "a row")

    process.send_signal(signal.SIGSTOP)
    time.sleep(STALL_SECONDS * 1.5)
    process.send_signal(signal.SIGCONT)
    desk.send(b'{"text": "fine"}')
    wait_until(lambda: desk.count("predictions") == 2, "another row")

    assert ask(port, "live")[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, desk.output_of(process)


def test_health_is_told_only_to_those_who_show_the_token(desk: Desk) -> None:
    port, token = free_port(), "of sixteen letters"
    process = desk.start_stub(REVIEWPULSE_HEALTH_PORT=str(port), REVIEWPULSE_TOKEN=token)
    wait_until(lambda: ask(port, "ready", token)[0] == 200, "the worker is ready")

    assert ask(port, "ready")[0] == ask(port, "live", "another of 16 letters")[0] == 401
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert token not in desk.output_of(process)


def test_a_health_port_that_is_taken_is_named(desk: Desk) -> None:
    port = int(desk.kafka.broker.rpartition(":")[2])
    process = desk.start_stub(REVIEWPULSE_HEALTH_PORT=str(port))

    assert process.wait(60) == 1
    output = desk.output_of(process)
    assert f"error: cannot listen on 127.0.0.1 port {port}: Address already in use; set REVIEWPULSE_HEALTH_P" in output
    assert "Traceback" not in output
    assert "defect" not in output
