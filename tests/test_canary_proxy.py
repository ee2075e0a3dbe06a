"""The canary's proxy, byte by byte: what clients may send, and what a server may do to a connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import pytest

from mergeline.canary.proxy import Proxy
from mergeline.canary.template import STABLE

HEAD = b"Host: test\r\nContent-Type: application/json\r\nConnection: close\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
NOBODY = "http://127.0.0.1:9"

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """The head of the next request, whose body is read over; raises `IncompleteReadError` where none comes."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    await reader.readexactly(int(length))
    return head


def told(client: Callable[[int, Proxy], Awaitable[bytes]], talk: Talk) -> bytes:
    """What a client of a proxy gets before one server that talks as told."""

    async def both() -> bytes:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        stable = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        proxy = Proxy(stable, NOBODY, "0" * 64, None)
        url = await proxy.start(0)
        try:
            return await client(int(url.rpartition(":")[2]), proxy)
        finally:
            await proxy.close()
            server.close()

    return asyncio.run(both())


def sending(data: bytes) -> Callable[[int, Proxy], Awaitable[bytes]]:
    async def client(port: int, _proxy: Proxy) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        found = await reader.read()
        writer.close()
        return found

    return client


async def echoing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the first line of the request; of HEAD, with the length that the answer would have."""
    line = (await request_of(reader)).partition(b"\r\n")[0]
    writer.write(ANSWER % len(line) + (b"" if line.startswith(b"HEAD") else line))
    writer.close()


@pytest.mark.parametrize(
    ("target", "passed_on"),
    [
        ("/readyz", "/readyz"),
        ("/%70ath?a=b%20c", "/%70ath?a=b%20c"),
        ("http://example.org/readyz?a=b", "/readyz?a=b"),
        ("http://example.org:81/%70ath", "/%70ath"),
    ],
)
def test_a_target_is_passed_on_by_its_path_and_query_alone(target: str, passed_on: str) -> None:
    found = told(sending(f"GET {target} HTTP/1.1\r\n".encode() + HEAD + b"\r\n"), echoing)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.endswith(f"\r\n\r\nGET {passed_on} HTTP/1.1".encode())


def test_the_length_that_head_asks_for_is_the_server_s() -> None:
    found = told(sending(b"HEAD /readyz HTTP/1.1\r\n" + HEAD + b"\r\n"), echoing)
    assert b"content-length: %d\r\n" % len("HEAD /readyz HTTP/1.1") in found.lower()
    assert found.endswith(b"\r\n\r\n")


def test_a_client_that_goes_before_its_body_ends_leaves_nothing_on_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def leaving(port: int, proxy: Proxy) -> bytes:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /predict HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await asyncio.sleep(0.2)
        return await sending(b"GET /readyz HTTP/1.1\r\n" + HEAD + b"\r\n")(port, proxy)

    with caplog.at_level(logging.INFO):
        assert told(leaving, echoing).startswith(b"HTTP/1.1 200 ")
    assert caplog.records == []


@pytest.mark.parametrize(("path", "asked", "status"), [(b"/predict", 3, b"200"), (b"/labels", 2, b"502")])
def test_a_prediction_on_a_connection_that_the_stable_server_has_just_ended_is_asked_once_more(
    path: bytes, asked: int, status: bytes
) -> None:
    """What is no prediction may have done its work, and is not asked again: the twin."""
    heads: list[bytes] = []

    async def ends_after_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await request_of(reader))
        writer.write(ANSWER % 2 + b"ok")
        await writer.drain()
        with contextlib.suppress(asyncio.IncompleteReadError):  # the proxy closes
            heads.append(await request_of(reader))
        writer.close()

    async def twice(port: int, proxy: Proxy) -> bytes:
        request = sending(b"POST " + path + b" HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}")
        assert (await request(port, proxy)).endswith(b"ok")
        found = await request(port, proxy)
        assert proxy.traffic.answered[STABLE] == (2 if path == b"/predict" else 0)
        return found

    assert told(twice, ends_after_one).startswith(b"HTTP/1.1 " + status)
    assert len(heads) == asked
