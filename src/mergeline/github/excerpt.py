"""A report that is longer than the place it goes to: its beginning, whole lines of it, with everything closed."""

from __future__ import annotations

import re
from collections.abc import Callable

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_BLOCK = re.compile(
    r"<(/?)(details|table|tr|td|th|thead|tbody|ul|ol|li|pre|code|b|i|summary|sub|sup)\b[^>]*>", re.IGNORECASE
)


def excerpt(text: str, limit: int, rest: str, size: Callable[[str], int] = len) -> str:
    """Return the text, or as many of its first lines as `limit` takes, and behind them where the rest is.

    A code block or a `<details>` that the cut leaves open is closed, so that the last sentence is seen. `size` counts
    characters, or what the limit is in.
    """
    if size(text) <= limit:
        return text
    lines = text.splitlines(keepends=True)
    low, high = 0, len(lines)
    while low < high:  # the most lines that fit
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(_ended("".join(lines[:middle]), rest)) <= limit else (low, middle - 1)
    if low:
        return _ended("".join(lines[:low]), rest)
    return _ended("", rest)  # not even one line: no part of it could be trusted to be whole


def _ended(kept: str, rest: str) -> str:
    start = f"{kept.rstrip()}\n" if kept.strip() else ""
    return f"{start}{_closing(kept)}\n{rest}\n"


def _closing(kept: str) -> str:
    """What closes the blocks that a text leaves open, the innermost first."""
    fence: str | None = None
    blocks: list[str] = []
    for line in kept.splitlines():
        found = _FENCE.match(line)
        if fence is None and found:
            fence = found[1]
        elif fence is not None:
            if found and found[1][0] == fence[0] and len(found[1]) >= len(fence) and not found[2].strip():
                fence = None
        else:
            _follow(line, blocks)
    closed = [f"{fence}\n"] if fence else []
    return "".join([*closed, *(f"</{name}>" for name in reversed(blocks)), "\n" if blocks else ""])


def _follow(line: str, blocks: list[str]) -> None:
    for slash, name in _BLOCK.findall(line):
        name = name.lower()
        if not slash:
            blocks.append(name)
        elif name in blocks:
            while blocks.pop() != name:
                pass
