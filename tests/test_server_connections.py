"""What the server keeps of a connection that is over: nothing, however it ended."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mergeline.serve.connection import Connection

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no second
PATIENCE_S = 10.0


async def answer(
    _scope: Mapping[str, Any], _receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """Answer with two bytes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def kept(protocol: type[HttpToolsProtocol], *, reset: bool) -> bool:
    """Whether a connection of this kind is still there once its client has got an answer and left."""
    config = uvicorn.Config(answer, http=protocol, interface="asgi3", lifespan="off", log_config=None)
    config.load()
    state, made = ServerState(), []

    def make() -> HttpToolsProtocol:
        one = protocol(config=config, server_state=state, app_state={})
        made.append(weakref.ref(one))
        return one

    loop = asyncio.get_running_loop()
    async with await loop.create_server(make, "127.0.0.1", 0) as server:
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.setblocking(False)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            await loop.sock_sendall(client, REQUEST)
            while not (await loop.sock_recv(client, 1000)).endswith(b"ok"):
                pass
        async with asyncio.timeout(PATIENCE_S):
            while state.connections:
                await asyncio.sleep(0.01)
        gc.collect()
        await asyncio.sleep(0)  # the loop lets go of what it called last
        gc.collect()
        return made[0]() is not None


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_nothing_is_kept_of_a_connection_that_is_over(*, reset: bool) -> None:
    assert not asyncio.run(kept(Connection, reset=reset))


def test_the_twin_uvicorns_own_keeps_one_that_was_reset_as_long_as_it_would_have_waited_for_a_request() -> None:
    assert asyncio.run(kept(HttpToolsProtocol, reset=True))
