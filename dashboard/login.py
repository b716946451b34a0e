"""Who is let in: a bearer token for programs, a login page and a signed cookie for browsers."""

import hashlib
import hmac
import html
import math
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

from itsdangerous import BadSignature, TimestampSigner
from pydantic import SecretStr
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.origin import is_cross_site
from reviewpulse.access import is_authorised, is_token
from reviewpulse.failures import Failures

LOGIN_PATH: Final = "/login"
LOGOUT_PATH: Final = "/logout"
COOKIE: Final = "reviewpulse"

_SIGNED: Final = b"let in"

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>reviewpulse: log in</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-content: center; min-height: 90vh; margin: 0 1rem }}
input, button {{ font: inherit; padding: .4em .6em }}
input {{ width: 20em; max-width: 100%; box-sizing: border-box }}
</style>
</head>
<body>
<main>
<h1>reviewpulse</h1>
<form method="post" action="/login">
<p><label for="token">Token</label><br>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus></p>
<p role="alert">{notice}</p>
<p><button type="submit">Log in</button></p>
</form>
</main>
</body>
</html>
"""


class Gate:
    """Lets nothing through to the app without the token or a login; a login ends after login_seconds."""

    def __init__(
        self, app: ASGIApp, token: SecretStr, login_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._token = token
        self._login_seconds = login_seconds
        # Sessions outlive a restart of the server and end with a change of the token.
        self._signer = TimestampSigner(token.get_secret_value(), salt="reviewpulse login", digest_method=hashlib.sha256)
        self._failures = Failures(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] == "http":
            answer = await self._answer(Request(scope, receive))
            await (answer or self._app)(scope, receive, send)
        elif scope["type"] == "websocket" and not self._may_connect(HTTPConnection(scope)):
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._app(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        """Return what to say to a request, or None to let it through."""
        if request.method == "POST" and request.url.path in (LOGIN_PATH, LOGOUT_PATH):
            if is_cross_site(request.headers):  # not counted: else any page could lock its visitor out
                return PlainTextResponse("log in and out by this server's own page", 403)
            return await self._log_in(request) if request.url.path == LOGIN_PATH else _log_out()
        if self._has_cookie(request):
            return RedirectResponse("/", 303) if request.url.path == LOGIN_PATH else None
        if "authorization" in request.headers:
            return self._judge_header(request)
        if request.url.path == LOGIN_PATH:
            return login_page()
        if request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(LOGIN_PATH, 303)
        return _unauthorised()

    def _may_connect(self, connection: HTTPConnection) -> bool:
        if self._has_cookie(connection):
            return True
        return "authorization" in connection.headers and self._judge_header(connection) is None

    def _judge_header(self, request: HTTPConnection) -> Response | None:
        address = _address(request)
        if wait_seconds := self._failures.wait_seconds(address):
            return PlainTextResponse("too many wrong tokens", 429, {"Retry-After": str(wait_seconds)})
        if is_authorised(request.headers["authorization"], self._token):
            return None
        self._failures.note(address)
        return _unauthorised()

    async def _log_in(self, request: Request) -> Response:
        address = _address(request)
        if wait_seconds := self._failures.wait_seconds(address):
            refused = login_page(f"Too many wrong tokens. Try again in {wait_seconds} s.", 429)
            refused.headers["Retry-After"] = str(wait_seconds)
            return refused
        form = parse_qs((await request.body()).decode(errors="replace"))
        if not is_token(form.get("token", [""])[0].strip(), self._token):
            self._failures.note(address)
            return login_page("That is not the token (REVIEWPULSE_TOKEN).", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE,
            self._signer.sign(_SIGNED).decode(),
            max_age=math.ceil(self._login_seconds),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    def _has_cookie(self, connection: HTTPConnection) -> bool:
        try:
            cookie = connection.cookies.get(COOKIE, "")
            return hmac.compare_digest(self._signer.unsign(cookie, max_age=math.ceil(self._login_seconds)), _SIGNED)
        except (BadSignature, ValueError):
            return False


def login_page(notice: str = "", status: int = 200) -> Response:
    """Return the login page with a notice, which is shown as text."""
    return HTMLResponse(_PAGE.format(notice=html.escape(notice)), status, {"Cache-Control": "no-store"})


def _log_out() -> Response:
    answer = RedirectResponse(LOGIN_PATH, 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _unauthorised() -> Response:
    return PlainTextResponse("send 'Authorization: Bearer TOKEN'", 401, {"WWW-Authenticate": "Bearer"})


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""
