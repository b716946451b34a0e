"""The gate before an app that would serve anything."""

import asyncio
from typing import Any

import pytest
from itsdangerous import TimestampSigner
from pydantic import SecretStr

from dashboard.login import Gate
from reviewpulse.failures import FAILURES_PER_MINUTE

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
