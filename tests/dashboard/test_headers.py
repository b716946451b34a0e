"""The limits before an app that would take anything."""

import asyncio
from typing import Any

from dashboard.headers import BodyLimit


def test_a_body_that_does_not_come_is_waited_for_so_long_only() -> None:
    sent = list[dict[str, Any]]()
    first = iter([{"type": "http.request", "body": b"t", "more_body": True}])

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("it never gets to the app")

    async def receive() -> dict[str, Any]:
        return next(first, None) or await asyncio.Future[dict[str, Any]]()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"content-length", b"60000")]}
    asyncio.run(asyncio.wait_for(BodyLimit(app, 65_536, body_seconds=0.01)(scope, receive, send), 5))

    assert (sent[0]["status"], sent[1]["body"]) == (408, b"a body may take 0.01 s here")
    assert (b"connection", b"close") in sent[0]["headers"]
