"""By which names a dashboard without a token may be called."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from reviewpulse.access import FOREIGN_NAME, is_own_name


class OwnNames:
    """Lets nothing through to the app that calls it by the name of another site, whose page may have sent it."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        """Guard an app that listens on a host."""
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if is_own_name(Headers(scope=scope).get("host"), self._host):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse(FOREIGN_NAME, 421)(scope, receive, send)
