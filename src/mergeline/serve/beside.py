"""A thread beside the event loop, for work that leaves the interpreter to others while it lasts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

_Task = Callable[[], None]


class Beside:
    """One thread that does one thing after the other, and calls back on the event loop.

    `loop.run_in_executor` does the same with two futures and four locks for each call, which cost a request of a
    hundred rows a twelfth of the interpreter's time. The thread begins with the first work and holds up no exit.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], T], done: Callable[[T | Exception], None]) -> None:
        """Let the thread do `work`, and `done` be called on the running event loop with what it returns or raises.

        Raises `RuntimeError` where the system has no thread left; the next call tries again.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        call_soon = asyncio.get_running_loop().call_soon_threadsafe

        def task() -> None:
            outcome: T | Exception
            try:
                outcome = work()
            except Exception as err:  # noqa: BLE001 - whoever asked for it deals with it
                outcome = err
            call_soon(done, outcome)

        self._tasks.put(task)

    def close(self) -> None:
        """Let the thread end behind what it has to do; does not wait for it."""
        self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except RuntimeError:  # the event loop has ended meanwhile: nobody waits
                return
