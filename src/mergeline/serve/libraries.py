"""The shared libraries of this process, most of whose pages only loading them needed; Linux only."""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SMAPS = Path("/proc/self/smaps")

# a mapping's first line, then a line for each of its figures
_MAPPING = re.compile(
    r"^(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<rights>\S+) \S+ (?P<file>\S+ \d+).*\n"
    r"(?P<figures>(?:[A-Z]\w+:.*\n)*)",
    re.MULTILINE,
)
# pages that are the process's own copies, and those of them that are swapped out
_CHANGED = re.compile(r"^(?:Anonymous|Swap): +[1-9]", re.MULTILINE)
_NO_FILE = "00:00 0"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Addresses that show a part of a file (device and inode), with the rights of proc_pid_maps(5).

    `is_changed` says that some page is not the file's any more.
    """

    start: int
    end: int
    rights: str
    file: str
    is_changed: bool


def release_pages() -> None:
    """Take code and constants of all libraries out of this process's memory; what is used comes back at its next use.

    Loading a library touches its symbols, its relocations and code that runs once: a third of what a server would have
    in memory later on. These pages are the files' own; they stay in the system's cache, which can have their room as
    soon as nothing has them mapped. Where the system does not tell its mappings, nothing happens.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        found = SMAPS.read_text(encoding="utf-8", errors="replace")
        library = ctypes.CDLL(None)
        for each in releasable(mappings(found)):
            length = ctypes.c_size_t(each.end - each.start)
            library.madvise(ctypes.c_void_p(each.start), length, mmap.MADV_DONTNEED)


def mappings(smaps: str) -> Iterator[Mapping]:
    """Yield the mappings of files in what proc_pid_smaps(5) says."""
    for each in _MAPPING.finditer(smaps):
        if each["file"] != _NO_FILE:
            is_changed = _CHANGED.search(each["figures"]) is not None
            yield Mapping(int(each["start"], 16), int(each["end"], 16), each["rights"], each["file"], is_changed)


def releasable(found: Iterable[Mapping]) -> list[Mapping]:
    """Return those mappings that are read anew from their files where they are let go of: madvise(2) loses nothing.

    Nobody can write to them, nobody has, and they end where the same file goes on with a part that can be written to.
    Of a library that another thread is loading just now, these are final: a loader maps the whole file, read-only, and
    over it one part after the other, from below.
    """
    released: list[Mapping] = []
    below: list[Mapping] = []
    last: Mapping | None = None
    for each in found:
        if last is None or (each.file, each.start) != (last.file, last.end):
            below = []
        if "w" in each.rights:
            released += below
            below = []
        elif not each.is_changed:
            below.append(each)
        last = each
    return released
