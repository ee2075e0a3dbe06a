"""What every request that brings work goes through: the API key, and its body within the limits."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mergeline.errors import ConfigurationError
from mergeline.serve.problems import Problem
from mergeline.serve.settings import Limits

JSON = b"application/json"
SHORTEST_KEY = 16
CLOSE = {"Connection": "close"}  # the rest of the body is not read

Receive = Callable[[], Awaitable[dict[str, Any]]]


class Gone(Exception):
    """The client left before its request was whole."""


class ApiKey:
    """The key that clients send as `Authorization: Bearer KEY` or `X-API-Key: KEY`; None of a file lets everybody in.

    The comparison takes as long for a wrong key as for the right one. Raises `ConfigurationError` for a file that
    cannot be read and for a key of fewer than 16 characters.
    """

    def __init__(self, path: Path | None) -> None:
        self.is_set = path is not None
        self._key = _read(path) if path else b""

    def check(self, headers: dict[bytes, bytes]) -> None:
        """Raise `Problem` 401 where the key is not sent."""
        if not self.is_set:
            return
        sent = headers.get(b"x-api-key")
        if sent is None:
            scheme, _, sent = headers.get(b"authorization", b"").partition(b" ")
            sent = sent.strip() if scheme.lower() == b"bearer" else b""
        if not hmac.compare_digest(sent, self._key):
            raise Problem(
                401,
                "expected the API key, as Authorization: Bearer KEY or X-API-Key: KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )


class Bodies:
    """Reads the bodies of requests, as JSON, within the limits of size and time.

    `sweep`, called every second, ends those that take too long; a timer for each request would cost every request.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._digits = len(str(limits.max_body_bytes))  # a shorter number is a smaller one
        self._reading: dict[str, tuple[float, asyncio.Task[Any] | None]] = {}
        self._late: set[str] = set()

    async def read(self, receive: Receive, headers: dict[bytes, bytes], request_id: str, started: float) -> bytes:
        """Return a body; raise `Problem` 415, 413 or 408, and `Gone` where the client left."""
        media_type = headers.get(b"content-type", b"")
        if media_type != JSON and media_type.partition(b";")[0].strip().lower() != JSON:
            raise Problem(415, "expected a body with Content-Type: application/json")
        declared = headers.get(b"content-length", b"")
        if len(declared) >= self._digits and declared.isdigit() and int(declared) > self._limits.max_body_bytes:
            raise self._too_large()
        self._reading[request_id] = started, asyncio.current_task()
        try:
            message = await receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body"):
                body = await self._rest(receive, body)
            elif message["type"] == "http.disconnect":
                raise Gone
        except asyncio.CancelledError:
            if request_id not in self._late:
                raise
            raise self._too_late() from None
        finally:
            del self._reading[request_id]
            if self._late:
                self._late.discard(request_id)
        if len(body) > self._limits.max_body_bytes:
            raise self._too_large()
        return body

    def sweep(self, now: float) -> None:
        """End the reading of bodies that began more than `body_timeout_s` before `now` (`time.perf_counter`)."""
        for request_id, (started, task) in list(self._reading.items()):
            if now - started > self._limits.body_timeout_s and task is not None and request_id not in self._late:
                self._late.add(request_id)
                task.cancel()

    async def _rest(self, receive: Receive, first: bytes) -> bytes:
        pieces, size, more = [first], len(first), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            more = message.get("more_body", False)
            if size > self._limits.max_body_bytes:
                raise self._too_large()
        return b"".join(pieces)

    def _too_large(self) -> Problem:
        said = f"expected a body of at most {self._limits.max_body_bytes} bytes; send the rows in parts"
        return Problem(413, said, headers=CLOSE)

    def _too_late(self) -> Problem:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        said = f"the body did not arrive within {self._limits.body_timeout_s:g} s; send it again"
        return Problem(408, said, headers=CLOSE)


def _read(path: Path) -> bytes:
    try:
        key = path.read_bytes().removeprefix(b"\xef\xbb\xbf").strip()
    except OSError as err:
        raise ConfigurationError(f"{path}: {err.strerror}; name a file that holds the API key") from err
    if any(byte < 32 or byte == 127 for byte in key):
        raise ConfigurationError(f"{path}: expected an API key on one line; no client could send this one")
    if len(key) < SHORTEST_KEY:
        raise ConfigurationError(f"{path}: expected an API key of at least {SHORTEST_KEY} characters, found {len(key)}")
    return key
