"""The C library's heap, told what a process is about to do; only glibc can be told, elsewhere nothing happens."""

from __future__ import annotations

import ctypes
from contextlib import suppress

# names of settings, as mallopt(3) has them
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
KEPT_BYTES, MORE_BYTES = 128 << 10, 16 << 10
HEAPS = 2  # one for the main thread, one for all beside it, each of which would keep free memory of its own
LARGEST_BYTES = 1 << 30


def keep_little() -> None:
    """Return what is free at the end of a heap to the system, and make two heaps at most: for a process that stays.

    Left alone, glibc keeps as much as one large request took (M_TRIM_THRESHOLD rises by itself), takes 128 kB more than
    it needs at a time (M_TOP_PAD), and makes eight heaps a core (M_ARENA_MAX).
    """
    _set({M_TRIM_THRESHOLD: KEPT_BYTES, M_TOP_PAD: MORE_BYTES, M_ARENA_MAX: HEAPS})


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
