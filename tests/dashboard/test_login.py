"""The gate before an app that would serve anything."""

import asyncio
from typing import Any

import pytest
from itsdangerous import TimestampSigner
from pydantic import SecretStr

from dashboard.login import FAILURES_PER_MINUTE, Failures, Gate

TOKEN = "a token of the tests"


def visit(kind: str, guesses: int = 0, **headers: str) -> tuple[bool, list[dict[str, Any]]]:
    """Return whether a request or a websocket reached the app, and what was answered instead; after so many guesses."""
    reached, sent = list[str](), list[dict[str, Any]]()

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        reached.append(scope["type"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "method": "GET",
        "path": "/_dash-ws-callback",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    gate = Gate(app, SecretStr(TOKEN), login_seconds=60)
    wrong = scope | {"type": "websocket", "headers": [(b"authorization", b"Bearer guess")]}
    for _ in range(guesses):
        asyncio.run(gate(wrong, receive, send))
    sent.clear()
    asyncio.run(gate(scope, receive, send))
    return bool(reached), sent


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": TOKEN},
        {"Cookie": "reviewpulse=let in"},
        {"Cookie": f"reviewpulse={TimestampSigner('another token').sign('let in').decode()}"},
    ],
)
def test_neither_request_nor_websocket_passes_without_the_token(headers: dict[str, str]) -> None:
    is_let_in, answer = visit("http", **headers)
    assert (is_let_in, answer[0]["status"]) == (False, 401)
    assert visit("websocket", **headers) == (False, [{"type": "websocket.close", "code": 1008}])


def test_request_and_websocket_pass_with_the_token() -> None:
    for kind in ("http", "websocket"):
        assert visit(kind, Authorization=f"Bearer {TOKEN}") == (True, [])


def test_guesses_on_websockets_are_counted_like_others() -> None:
    token = {"Authorization": f"Bearer {TOKEN}"}

    assert visit("http", guesses=FAILURES_PER_MINUTE - 1, **token) == (True, [])
    is_let_in, answer = visit("http", guesses=FAILURES_PER_MINUTE, **token)
    assert (is_let_in, answer[0]["status"]) == (False, 429)


def test_an_address_that_failed_too_often_may_try_again_a_minute_after() -> None:
    now = 100.0
    failures = Failures(lambda: now)
    for _ in range(FAILURES_PER_MINUTE):
        assert failures.wait_seconds("a") == 0
        failures.note("a")

    assert (failures.wait_seconds("a"), failures.wait_seconds("b")) == (60, 0)
    now += 59.5
    assert failures.wait_seconds("a") == 1
    now += 0.5
    assert failures.wait_seconds("a") == 0


def test_failures_of_many_addresses_take_bounded_memory_and_the_oldest_are_forgotten() -> None:
    failures = Failures(lambda: 0.0)
    for address in range(20_000):
        failures.note(str(address))

    assert len(failures._moments) == 10_000
    assert "19999" in failures._moments
