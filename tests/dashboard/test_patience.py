"""What a client must send to be waited for."""

import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from dashboard.patience import ImpatientProtocol

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


class Hasty(ImpatientProtocol):
    idle_seconds = 0.1


async def answer_late(_scope: Any, _receive: Any, send: Any) -> None:
    await asyncio.sleep(5 * Hasty.idle_seconds)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def answer_to(*pieces: bytes) -> bytes:
    """Return all that comes after so many pieces, each sent when something came for the one before, until it ends."""
    config = uvicorn.Config(answer_late, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: Hasty(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    came = b""
    for number, piece in enumerate(pieces):
        came += await reader.readuntil(b"\r\n\r\n") if number else b""
        writer.write(piece)
    came += await asyncio.wait_for(reader.read(), 4)  # less than uvicorn's own patience after an answer
    writer.close()
    server.close()
    return came


def test_a_connection_that_asks_nothing_or_only_begins_to_is_closed() -> None:
    assert asyncio.run(answer_to(b"")) == b""
    assert asyncio.run(answer_to(b"GET / HTTP/1.1\r\nHost: ")) == b""


def test_an_answer_that_takes_longer_is_waited_for_and_the_next_request_is_not() -> None:
    assert asyncio.run(answer_to(REQUEST, b"GET")).count(b"HTTP/1.1 204") == 1
