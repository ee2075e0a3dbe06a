"""The shared libraries of this process, most of whose pages only loading them needed; Linux only."""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from collections.abc import Iterator, Sequence
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
_COPIES = re.compile(r"^(?:Anonymous|Swap): +(\d+) kB$", re.MULTILINE)
_UNCHANGED = ["0", "0"]
_NO_FILE = "00:00 0"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Addresses that show a part of a file (device and inode), with the rights of proc_pid_maps(5).

    `is_changed` says that some page is not the file's any more, or that nothing is known of that.
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
    soon as nothing has them mapped. Where the system does not tell its mappings, or not believably, nothing happens.

    For a time at which no other thread unloads a library, whose addresses somebody else might get in that moment.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        found = list(mappings(SMAPS.read_bytes().decode("latin-1")))  # a name may hold any byte but that of a new line
        library = ctypes.CDLL(None)
        for each in releasable(found):
            length = ctypes.c_size_t(each.end - each.start)
            library.madvise(ctypes.c_void_p(each.start), length, mmap.MADV_DONTNEED)


def mappings(smaps: str) -> Iterator[Mapping]:
    """Yield the mappings of files in what proc_pid_smaps(5) says."""
    for each in _MAPPING.finditer(smaps):
        if each["file"] != _NO_FILE:
            is_changed = _COPIES.findall(each["figures"]) != _UNCHANGED
            yield Mapping(int(each["start"], 16), int(each["end"], 16), each["rights"], each["file"], is_changed)


def releasable(found: Sequence[Mapping]) -> list[Mapping]:
    """Return those mappings that are read anew from their files where they are let go of: madvise(2) loses nothing.

    Nobody can write to them, nobody has, and they end where the same file goes on with a part that can be written to.
    Of a library that another thread is loading just now, these are final: a loader maps the whole file with the rights
    of its first part, and over it one part after the other, from below.

    Empty where no mapping at all was changed before it was closed to writing: every loader does that to what it
    relocates, and whoever says otherwise, as QEMU does of the programs that it emulates, does not know.
    """
    if not any(each.is_changed and "w" not in each.rights for each in found):
        return []
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
