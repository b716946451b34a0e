"""The server in its own process: address, signals, refusals, and what it never loads."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dashboard.server import MOST_CONNECTIONS, serve
from reviewpulse.errors import ReviewpulseError, StoreError
from reviewpulse.settings import AccessSettings, DashboardSettings
from tests.dashboard.servers import DashboardProcess


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[DashboardProcess]:
    process = DashboardProcess(f"sqlite:///{tmp_path / 'store.db'}")
    yield process
    process.kill()


def test_it_serves_before_the_store_exists_on_the_address_it_logs(dashboard: DashboardProcess) -> None:
    with urllib.request.urlopen(dashboard.address) as response:
        page = response.read().decode()

    assert dashboard.port != 0
    assert '<html lang="en">' in page
    assert "<title>reviewpulse</title>" in page


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_soon(dashboard: DashboardProcess, number: signal.Signals) -> None:
    with urllib.request.urlopen(dashboard.address):
        pass
    started = time.monotonic()

    assert dashboard.end(number) == 0
    assert time.monotonic() - started < 2


def test_its_process_has_no_child_that_could_outlive_it(dashboard: DashboardProcess) -> None:
    children = Path(f"/proc/{dashboard.process.pid}/task/{dashboard.process.pid}/children").read_text()

    assert children == ""


def test_without_a_token_no_page_of_another_site_is_answered_whatever_its_name_resolves_to(
    dashboard: DashboardProcess,
) -> None:
    for path in ("/", "/_dash-layout", "/assets/page.css"):
        answer = httpx.get(dashboard.address + path, headers={"Host": f"evil.example:{dashboard.port}"})
        assert (answer.status_code, "REVIEWPULSE_TOKEN" in answer.text) == (421, True), path
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]", "192.0.2.7"):
        headers = {"Host": f"{host}:{dashboard.port}"}
        assert httpx.get(f"{dashboard.address}/", headers=headers).status_code == 200, host


def test_a_request_head_that_does_not_end_is_cut_off(dashboard: DashboardProcess) -> None:
    more = (b"X-More: " + b"x" * 8_000 + b"\r\n") * 4_000
    with socket.create_connection(("127.0.0.1", dashboard.port)) as client, pytest.raises(ConnectionError):
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + more)


def test_connections_beyond_the_limit_are_turned_away_until_others_leave(dashboard: DashboardProcess) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(MOST_CONNECTIONS):
            held.enter_context(socket.create_connection(("127.0.0.1", dashboard.port)))
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            urllib.request.urlopen(dashboard.address)
        refused.value.close()

    with urllib.request.urlopen(dashboard.address) as response:
        assert response.status == 200


def test_a_taken_port_is_named_with_the_cure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ReviewpulseError, match=rf"127\.0\.0\.1 port {port}: .*REVIEWPULSE_PORT"):
            serve(DashboardSettings(port=port), f"sqlite:///{tmp_path / 'store.db'}", AccessSettings())


def test_a_host_that_is_no_address_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ReviewpulseError, match=r"nowhere\.invalid.*REVIEWPULSE_HOST"):
        serve(DashboardSettings(host="nowhere.invalid", port=0), f"sqlite:///{tmp_path / 'store.db'}", AccessSettings())


def test_a_store_that_is_no_url_leaves_no_port_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(StoreError):
        serve(DashboardSettings(port=port), "reviewpulse.db", AccessSettings())

    socket.create_server(("127.0.0.1", port)).close()


def test_it_loads_no_other_room_no_model_no_kafka_and_no_pandas() -> None:
    code = (
        "import sys, dashboard.server;"
        "print({name.partition('.')[0] for name in sys.modules}"
        " & {'torch', 'transformers', 'kafka', 'aiokafka', 'faust', 'pandas', 'numpy',"
        " 'producer', 'training', 'stream_app'})"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)

    assert (done.stdout.strip(), done.stderr) == ("set()", "")
