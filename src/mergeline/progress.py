"""One line on a terminal that says what a long command does now; nothing in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

CLEAR = "\r\x1b[2K"


@contextmanager
def steps(stage: str, stream: TextIO) -> Iterator[Callable[[str], None]]:
    """Give a function that shows a step on `stream`, with the seconds since the start, if it is a terminal."""
    if not stream.isatty():
        yield lambda step: None
        return
    started = time.monotonic()

    def show(step: str) -> None:
        stream.write(f"{CLEAR}{stage}: {step} ({time.monotonic() - started:.0f} s)")
        stream.flush()

    try:
        yield show
    finally:
        stream.write(CLEAR)
        stream.flush()
