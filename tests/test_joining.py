"""An answer's head waits for its body, and nothing else waits."""

from __future__ import annotations

import asyncio
from typing import Any

from mergeline.serve.joining import Joining

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Transport:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append("close")

    def get_extra_info(self, name: str) -> str:
        return f"its {name}"


def told(*steps: Any) -> list[bytes | str]:
    """What reaches the transport: bytes are written, "turn" lets the event loop have a turn, "close" closes."""

    async def go() -> list[bytes | str]:
        transport = Transport()
        joining: Any = Joining(transport)  # type: ignore[arg-type]
        assert joining.get_extra_info("peername") == "its peername"
        for step in steps:
            if step == "turn":
                await asyncio.sleep(0)
            elif step == "close":
                joining.close()
            else:
                joining.write(step)
        return [*transport.told]  # a copy: the loop has a last turn after this

    return asyncio.run(go())


def test_a_head_and_its_body_are_one_write() -> None:
    assert told(HEAD, b"{}", HEAD, b"[]") == [HEAD + b"{}", HEAD + b"[]"]


def test_a_head_without_a_body_leaves_with_the_turn() -> None:
    assert told(HEAD) == []
    assert told(HEAD, "turn") == [HEAD]
    assert told(HEAD, "turn", b"{}") == [HEAD, b"{}"]


def test_nothing_is_held_back_at_the_end() -> None:
    assert told(HEAD, "close") == [HEAD, "close"]


def test_a_head_that_is_followed_by_another_is_in_order() -> None:
    assert told(HEAD, HEAD, b"{}") == [HEAD + HEAD, b"{}"]


def test_an_interim_answer_and_whatever_else_go_at_once() -> None:
    assert told(b"HTTP/1.1 100 Continue\r\n\r\n", b"x") == [b"HTTP/1.1 100 Continue\r\n\r\n", b"x"]
