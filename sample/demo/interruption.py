"""An end from outside: Ctrl-C, `kill`, a terminal that closes; once, so that nothing cuts short what cleans up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHELLS_BASE = 128  # a shell's exit code of what a signal has ended is this and the signal's number


class Interruption(KeyboardInterrupt):
    """A signal that ends the demo; no act takes it for its own failure."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = SHELLS_BASE + number


@contextmanager
def held_back() -> Iterator[None]:
    """Let a signal wait until the block is over, as one in which a process starts: it has to be known to be ended.

    The process itself starts with the signals as they are by default, and waits with none.
    """
    came: list[int] = []
    before = {number: does for number in SIGNALS if callable(does := signal.getsignal(number))}
    for each in before:
        signal.signal(each, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for each, does in before.items():
            signal.signal(each, does)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interruption` in the block at the first signal, and ignore those that follow, until the block ends.

    What the caller ignores, as `nohup` does when a terminal closes, stays ignored.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number, does in before.items() if does is not signal.SIG_IGN]

    def interrupt(number: int, _frame: Any) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise Interruption(number)

    for each in heard:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each in heard:
            signal.signal(each, before[each])
