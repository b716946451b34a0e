"""The health server as those see it who ask it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from pydantic import SecretStr

from reviewpulse.errors import SettingsError
from reviewpulse.failures import FAILURES_PER_MINUTE
from stream_app.health import HealthServer
from stream_app.pulse import Pulse

TOKEN = SecretStr("a token of the tests")


@contextmanager
def listening(host: str = "127.0.0.1", token: SecretStr | None = None) -> Iterator[int]:
    """Run a health server, give its port."""
    server = HealthServer(Pulse(10, 60, lambda: None), host, 0, token)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("host", "token", "is_warned_of"),
    [("0.0.0.0", None, True), ("0.0.0.0", TOKEN, False), ("127.0.0.1", None, False)],
)
def test_listening_on_other_addresses_without_a_token_is_warned_of(
    caplog: pytest.LogCaptureFixture, host: str, token: SecretStr | None, is_warned_of: bool
) -> None:
    with caplog.at_level(logging.WARNING), listening(host, token):
        pass

    warned = "everyone who can reach 0.0.0.0 reads the worker's health; set REVIEWPULSE_TOKEN, or listen on 127.0.0.1"
    assert caplog.messages == [warned] * is_warned_of


def test_a_server_whose_port_is_taken_ends_in_order() -> None:
    """Its loop was stopped before it had cleaned up, which counted as a defect."""
    with listening() as port:
        for _ in range(50):
            server = HealthServer(Pulse(10, 60, lambda: None), "127.0.0.1", port)
            with pytest.raises(SettingsError, match=f"port {port}: Address already in use; set REVIEWPULSE_"):
                server.start()
            server.stop()


def test_a_name_that_is_no_address_is_named() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on nowhere\.invalid port 0: "):
        HealthServer(Pulse(10, 60, lambda: None), "nowhere.invalid", 0).start()


def test_wrong_tokens_are_limited_and_asking_without_one_is_not_counted() -> None:
    with listening(token=TOKEN) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:

        def statuses(**headers: str) -> list[int]:
            return [client.get("/health/live", headers=headers).status_code for _ in range(FAILURES_PER_MINUTE)]

        right = {"Authorization": f"Bearer {TOKEN.get_secret_value()}"}
        assert statuses() == [401] * FAILURES_PER_MINUTE
        assert statuses(**right) == [200] * FAILURES_PER_MINUTE
        assert statuses(Authorization="Bearer wrong") == [401] * FAILURES_PER_MINUTE
        refused = client.get("/health/live", headers=right)
        assert (refused.status_code, 0 < int(refused.headers["retry-after"]) <= 60) == (429, True)


def test_without_a_token_it_is_told_to_nobody_who_calls_by_a_foreign_name() -> None:
    foreign = {"Host": "evil.example"}
    with listening() as port:
        address = f"http://127.0.0.1:{port}/health/live"
        assert httpx.get(address).status_code == httpx.get(f"http://localhost:{port}/health/live").status_code == 200
        answer = httpx.get(address, headers=foreign)
        assert (answer.status_code, "REVIEWPULSE_TOKEN" in answer.text) == (421, True)
    with listening(token=TOKEN) as port:
        right = {"Authorization": f"Bearer {TOKEN.get_secret_value()}"}
        assert httpx.get(f"http://127.0.0.1:{port}/health/live", headers=foreign | right).status_code == 200
