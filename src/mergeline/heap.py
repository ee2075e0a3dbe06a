"""The C library's heap, told what a process is about to do; only glibc can be told, elsewhere nothing happens."""

from __future__ import annotations

import ctypes
from contextlib import suppress

# names of settings, as mallopt(3) has them
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
KEPT_BYTES, MORE_BYTES = 8 << 20, 1 << 20
BLOCK_BYTES = 2 << 20  # larger ones come from the system each time, so that a large request leaves no hole
HEAPS = 2  # one for the main thread, one for all beside it, each of which would keep free memory of its own
LARGEST_BYTES = 1 << 30


def keep_some() -> None:
    """Keep 8 MB that are free at the end of each heap for who asks next, make two at most: for a process that stays.

    Left alone, glibc gets every block of 128 kB from the system, page by page, and gives it back, thousands of pages a
    second beside a busy prediction log; with larger blocks that come often it keeps up to 64 MB (M_MMAP_THRESHOLD and
    M_TRIM_THRESHOLD rise by themselves); and it makes eight heaps a core (M_ARENA_MAX).
    """
    kept = {M_MMAP_THRESHOLD: BLOCK_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_TOP_PAD: MORE_BYTES}
    _set({**kept, M_ARENA_MAX: HEAPS})


def keep_freed() -> None:
    """Keep what was freed for the next one who asks: for a process that takes large arrays in turn, and ends.

    Left alone, glibc gets them page by page from the system and gives them back, again and again.
    """
    _set({M_MMAP_THRESHOLD: LARGEST_BYTES, M_TRIM_THRESHOLD: LARGEST_BYTES})


def _set(settings: dict[int, int]) -> None:
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for name, value in settings.items():
            library.mallopt(name, value)
