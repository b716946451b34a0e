"""Tells over HTTP whether the worker is ready and whether it gets anywhere; in a thread and a loop of its own."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from errno import errorcode
from typing import Final

from aiohttp import web
from pydantic import SecretStr

from reviewpulse.access import FOREIGN_NAME, danger_of, is_authorised, is_own_name
from reviewpulse.errors import SettingsError
from reviewpulse.failures import Failures
from stream_app.pulse import Pulse

log = logging.getLogger(__name__)

MOST_BODY_BYTES: Final = 1024
"""A question about health has no body."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HealthServer:
    """Answers /health/ready and /health/live with 200 or 503 and a small JSON object that says why.

    It has its own thread, so that it answers while the model computes and when the worker's event loop is blocked.
    """

    def __init__(self, pulse: Pulse, host: str, port: int, token: SecretStr | None = None) -> None:
        self._app = health_app(pulse, host, token)
        self._token = token
        self._host = host
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="health server", daemon=True)
        self._listening: Future[tuple[str, int]] = Future()

    def start(self) -> int:
        """Listen and return the port; raises SettingsError when the address cannot be had."""
        self._thread.start()
        try:
            address, port = self._listening.result()
        except OSError as exc:
            raise SettingsError(
                f"cannot listen on {self._host} port {self._port}: {_reason(exc)}; "
                "set REVIEWPULSE_HEALTH_PORT to a free port, or to 0 for none "
                "(and REVIEWPULSE_HEALTH_HOST to an address of this machine)"
            ) from exc
        log.info("health at http://%s:%d/health/ready and /health/live", self._host, port)
        if danger := danger_of(address, self._token, "the worker's health"):
            log.warning("%s", danger)
        return port

    def stop(self) -> None:
        """Listen no more; a server that could not listen ends by itself."""
        is_listening = self._listening.done() and self._listening.exception() is None
        if is_listening and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(1)

    def _serve(self) -> None:
        runner = web.AppRunner(self._app, access_log=None, handle_signals=False)
        try:
            self._loop.run_until_complete(runner.setup())
            site = web.TCPSite(runner, self._host, self._port)
            self._loop.run_until_complete(site.start())
        except OSError as exc:
            self._listening.set_exception(exc)
        else:
            self._listening.set_result(runner.addresses[0][:2])
            self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()


def _reason(error: OSError) -> str:
    """Return why the system refused an address; asyncio's own words say the address once more.

    >>> _reason(OSError(98, "error while attempting to bind on address ('127.0.0.1', 80): address already in use"))
    'Address already in use'
    """
    if error.errno is None or error.errno not in errorcode:  # not the system but the look-up of a name
        return error.strerror or str(error)
    return os.strerror(error.errno)


def health_app(pulse: Pulse, host: str, token: SecretStr | None) -> web.Application:
    """Return the two pages as an aiohttp application that listens on a host."""
    failures = Failures(time.monotonic)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token is None and not is_own_name(request.headers.get("Host"), host):
            return _refusal(FOREIGN_NAME, 421, {})
        header, address = request.headers.get("Authorization"), request.remote or ""
        if wait_seconds := failures.wait_seconds(address) if header else 0:
            return _refusal("too many wrong tokens", 429, {"Retry-After": str(wait_seconds)})
        if is_authorised(header, token):
            return await handler(request)
        if header:
            failures.note(address)
        return _refusal("no or wrong token", 401, {"WWW-Authenticate": "Bearer"})

    async def ready(_request: web.Request) -> web.StreamResponse:
        return _answer(pulse, pulse.unreadiness())

    async def live(_request: web.Request) -> web.StreamResponse:
        return _answer(pulse, pulse.standstill())

    app = web.Application(middlewares=[guard], client_max_size=MOST_BODY_BYTES)
    app.add_routes([web.get("/health/ready", ready), web.get("/health/live", live)])
    return app


def _refusal(why: str, status: int, headers: dict[str, str]) -> web.StreamResponse:
    return web.json_response({"error": why}, status=status, headers=headers)


def _answer(pulse: Pulse, fault: str | None) -> web.StreamResponse:
    facts = {
        "ok": fault is None,
        "why": fault,
        "partitions": pulse.last.partitions,
        "waiting_reviews": pulse.last.waiting_reviews,
    }
    return web.json_response(facts, status=200 if fault is None else 503)
