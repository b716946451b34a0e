"""How long the dashboard waits for a client that asks nothing."""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle


class ImpatientProtocol(H11Protocol):
    """HTTP that hangs up; uvicorn's own waits for ever for the rest of a request's head, or for its first byte.

    h11 takes no more than 16 KiB of a head; httptools, which uvicorn prefers, takes all that a client sends.
    """

    idle_seconds: ClassVar = 15.0
    """A connection without a whole request for so long is closed, at the latest after twice that."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look whether the client asks anything."""
        super().connection_made(transport)
        self.loop.call_later(self.idle_seconds, self._look, self.cycle)

    def _look(self, last: RequestResponseCycle | None) -> None:
        """Hang up when no request is in hand and none was since the last look."""
        if self not in self.connections:
            return  # it is gone, or a websocket's now
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is last:
            self.transport.close()
        else:
            self.loop.call_later(self.idle_seconds, self._look, self.cycle)
