"""Serves the page from this very process until it is told to stop."""

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Final

import uvicorn
from dash import Dash
from pydantic import SecretStr
from starlette.types import ASGIApp

from dashboard.headers import BodyLimit, SecurityHeaders, content_policy
from dashboard.login import Gate
from dashboard.names import OwnNames
from dashboard.page import build_app
from dashboard.patience import ImpatientProtocol
from reviewpulse.access import danger_of
from reviewpulse.errors import ReviewpulseError
from reviewpulse.settings import AccessSettings, DashboardSettings

log = logging.getLogger(__name__)

MOST_CONNECTIONS: Final = 500
"""Connections at a time; each browser keeps one or two. More would use up the files that a process may open."""

_GRACE_SECONDS: Final = 1
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound to


def serve(settings: DashboardSettings, store_url: str, access: AccessSettings) -> None:
    """Serve the dashboard of a store until SIGTERM or SIGINT, then return.

    The address is logged once the server listens. Raises ReviewpulseError when it cannot listen
    and StoreError when store_url is no URL.
    """
    with _listen(settings.host, settings.port) as listener:
        app = build_app(settings, store_url, has_login=access.token is not None)
        if danger := danger_of(listener.getsockname()[0], access.token, "the reviews"):
            log.warning("%s", danger)
        config = uvicorn.Config(
            guarded(app, settings, access.token),
            http=ImpatientProtocol,
            limit_concurrency=MOST_CONNECTIONS,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            proxy_headers=settings.trusted_proxies is not None,
            forwarded_allow_ips=settings.trusted_proxies,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        _Server(config).run(sockets=[listener])


def guarded(app: Dash, settings: DashboardSettings, token: SecretStr | None) -> ASGIApp:
    """Return the dashboard behind its login, without a token under its own names alone, with its limits and headers."""
    policy = content_policy(app.csp_hashes())
    server: ASGIApp = app.server
    server = OwnNames(server, settings.host) if token is None else Gate(server, token, settings.login_hours * 3600)
    return SecurityHeaders(BodyLimit(server, settings.most_body_bytes), policy)


class _Server(uvicorn.Server):
    """Says where it listens, and takes a signal as a wish to stop, not as a failure."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            log.info("dashboard: %s", _address(listener))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT; uvicorn's own would raise the signal again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may have handlers
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; raises ReviewpulseError naming it and the cure."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as exc:
        raise ReviewpulseError(f"{host} is no address of this machine; set REVIEWPULSE_HOST to one") from exc
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as exc:
        listener.close()
        raise ReviewpulseError(
            f"cannot listen on {host} port {port}: {exc.strerror}; "
            "set REVIEWPULSE_PORT to a free port, or to 0 for any (and REVIEWPULSE_HOST to an address of this machine)"
        ) from exc
    return listener


def _address(listener: socket.socket) -> str:
    """Return the URL to open in a browser on this machine."""
    host, port = listener.getsockname()[:2]
    shown = "localhost" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
