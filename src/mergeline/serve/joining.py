"""An answer in one write: uvicorn hands its head and its body over one after the other, each a call of the system."""

from __future__ import annotations

import asyncio
from typing import Any

HEAD, CONTINUE = b"HTTP/1.1 ", b"HTTP/1.1 1"


class Joining:
    """A transport that holds an answer's head until its body comes or the turn of the event loop ends."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._write = transport.write
        self._soon = asyncio.get_running_loop().call_soon
        self._head = b""

    def write(self, data: bytes) -> None:
        """Hold a head; send everything else, behind the head that is held."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(HEAD) and not data.startswith(CONTINUE):
            self._head = data
            self._soon(self._send_held)  # an answer to HEAD has no body
            return
        self._write(data)

    def close(self) -> None:
        """Send what is held, and close."""
        self._send_held()
        self._transport.close()

    def _send_held(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
