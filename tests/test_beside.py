"""Beside: work in a thread beside the event loop comes back to it, in order, however it ended."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mergeline.serve.beside import Beside


def outcomes(*works: Callable[[], Any]) -> list[Any]:
    """What comes back of works, in the order in which it comes."""

    async def run() -> list[Any]:
        beside, found, over = Beside("work"), list[Any](), asyncio.Event()

        def done(outcome: Any) -> None:
            assert threading.current_thread() is threading.main_thread()
            found.append(outcome)
            if len(found) == len(works):
                over.set()

        for work in works:
            beside.do(work, done)
        await asyncio.wait_for(over.wait(), 10)
        beside.close()
        return found

    return asyncio.run(run())


def named(prefix: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith(prefix)]


def test_work_is_done_in_one_thread_and_comes_back_in_its_order() -> None:
    def slow() -> tuple[int, str]:
        time.sleep(0.05)
        return 1, threading.current_thread().name

    assert outcomes(slow, lambda: (2, threading.current_thread().name)) == [(1, "work"), (2, "work")]


@pytest.mark.parametrize("error", [ValueError("no score"), RuntimeError("no score"), MemoryError()])
def test_what_work_raises_comes_back_and_the_next_work_is_done(error: Exception) -> None:
    def fails() -> None:
        raise error

    assert outcomes(fails, lambda: "next") == [error, "next"]


def test_a_thread_whose_event_loop_has_ended_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    died: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    begun, released = threading.Event(), threading.Event()

    def waits() -> None:
        begun.set()
        released.wait(10)

    async def leave() -> None:
        Beside("left behind").do(waits, died.append)
        await asyncio.to_thread(begun.wait, 10)

    asyncio.run(leave())
    (thread,) = named("left behind")
    released.set()
    thread.join(10)
    assert not thread.is_alive()
    assert not died


def test_a_closed_thread_ends_behind_its_work_and_an_idle_one_was_never_begun() -> None:
    Beside("never").close()
    assert not named("never")
    assert outcomes(lambda: 1) == [1]
    for thread in named("work"):
        thread.join(10)
    assert not named("work")
