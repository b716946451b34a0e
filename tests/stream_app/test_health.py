"""The health server as those see it who ask it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

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
