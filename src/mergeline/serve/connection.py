"""HTTP connections whose heads are bounded, in size and in time; bodies have limits of their own (`requests.py`)."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mergeline.serve.joining import Joining

HEAD_TIMEOUT_S = 10.0  # from the connection, or from a request's first byte, to the end of its head
MAX_HEAD_BYTES = 64 << 10
HEAD_END = b"\r\n\r\n"

_OFFER = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which waits for a head for ever and keeps whatever comes; this one closes.

    One timer a connection looks whether a head is late: one a request would cost every request.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_since: float | None = None  # None: no head is being read
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Joining(transport))  # type: ignore[arg-type]
        self._head_since = self.loop.time()
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unset_keepalive_if_required()  # uvicorn's own leaves it where a client resets, and is held by it for long
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        reads_body = getattr(self.cycle, "more_body", False)  # no search there: it takes a third of its decoding
        if not reads_body and data.find(b"pgrade", 0, data.find(HEAD_END)) >= 0:
            data = without_offers(data)
        was_reading = self._head_since is not None
        HttpToolsProtocol.data_received(self, data)
        if self._head_since is None or not was_reading:  # the end of a chunk of finished requests is no long head
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"expected a head of at most {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        HttpToolsProtocol.on_message_begin(self)
        self._head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._head_since, self._head_bytes = None, 0
        HttpToolsProtocol.on_headers_complete(self)

    def _look(self) -> None:
        """Close where a head is late, else look again when the next one could be."""
        now = self.loop.time()
        if self._head_since is not None and now - self._head_since >= HEAD_TIMEOUT_S:
            self.transport.close()
            return
        since = now if self._head_since is None else self._head_since
        self._timer = self.loop.call_later(max(0.01, since + HEAD_TIMEOUT_S - now), self._look)


def without_offers(data: bytes) -> bytes:
    r"""Return a request whose offer of another protocol is gone; the parser would take the body for the other protocol.

    Java's client and `curl --http2` offer HTTP/2 with every first request. Only a head that came whole is changed.

    >>> without_offers(b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\nUpgrade:")
    b'GET / HTTP/1.1\r\nOffered: h2c\r\n\r\nUpgrade:'
    """
    head, end, body = data.partition(HEAD_END)
    return _OFFER.sub(b"\r\nOffered:", head) + end + body if end else data
