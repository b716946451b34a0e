"""What browsers are told not to do with the page, and how large and how slow a request may be."""

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS: Final = 10.0
"""How long a client may take to send a body."""

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Referrer-Policy": "same-origin",  # with no-referrer our own forms would name no origin
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def content_policy(script_hashes: Sequence[str] = ()) -> str:
    """Return a Content-Security-Policy: everything from this server alone, and of inline scripts only these.

    Inline styles stay allowed: plotly places and colours everything by them.
    """
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *script_hashes]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "font-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


class SecurityHeaders:
    """Adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._headers = {**_HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class BodyLimit:
    """Reads a request's body before the app does; answers 413 when it is too large, however sent, 408 when too slow."""

    def __init__(self, app: ASGIApp, most_body_bytes: int, body_seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._most_body_bytes = most_body_bytes
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await self._body(scope, receive)
        if isinstance(body, Response):
            await body(scope, receive, send)
        else:
            await self._app(scope, _replayed(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | Response:
        """Return the body, or what to answer instead of taking it."""
        try:
            async with asyncio.timeout(self._body_seconds):
                body = None if self._says_too_much(scope) else await self._read(receive)
        except TimeoutError:
            return _refusal(f"a body may take {self._body_seconds:g} s here", 408)
        return _refusal(f"a body may have {self._most_body_bytes} bytes here", 413) if body is None else body

    def _says_too_much(self, scope: Scope) -> bool:
        length = Headers(scope=scope).get("content-length", "0")
        return not length.isdecimal() or int(length) > self._most_body_bytes

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the body, or None as soon as it is too large. A client that left has sent what there is."""
        body = bytearray()
        is_more = True
        while is_more:
            message = await receive()
            body += message.get("body", b"")
            is_more = message.get("more_body", False)
            if len(body) > self._most_body_bytes:
                return None
        return bytes(body)


def _refusal(why: str, status: int) -> Response:
    return PlainTextResponse(why, status, {"Connection": "close"})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body first and then whatever the client does."""
    is_given = False

    async def replay() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
