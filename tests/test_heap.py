"""heap: what glibc is told changes what it does; another C library is left as it is."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from mergeline import heap

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
# eight threads that hold a block each; how many heaps there are then, as malloc_info(3) writes it
THREADS = """
import ctypes, threading
from mergeline import heap
{told}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
here, over = threading.Barrier(9), threading.Event()
def hold():
    libc.malloc(1000)
    here.wait()
    over.wait()
for _ in range(8):
    threading.Thread(target=hold, daemon=True).start()
here.wait()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
over.set()
"""
# a block that is freed: how much more than before is the process's then
FREED = """
import ctypes
from mergeline import heap
{told}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
block = libc.malloc({size})
ctypes.memset(block, 1, {size})
libc.free(block)
print(resident() - before)
"""


def said(program: str, told: str, size: int = 0) -> str:
    code = program.format(told=told, size=size)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@GLIBC
def test_a_process_that_stays_has_two_heaps_however_many_threads_it_has() -> None:
    assert said(THREADS, "heap.keep_some()").count("<heap nr=") == heap.HEAPS == 2
    assert said(THREADS, "").count("<heap nr=") > 2


@GLIBC
@pytest.mark.parametrize(
    ("told", "megabytes", "is_kept"),
    [
        ("", 1, False),
        ("heap.keep_some()", 1, True),
        ("heap.keep_some()", 4, False),
        ("heap.keep_freed()", 4, True),
    ],
)
def test_a_block_that_was_freed_is_kept_where_that_is_told(told: str, megabytes: int, is_kept: bool) -> None:
    size = megabytes << 20
    assert (int(said(FREED, told, size)) > size // 2) is is_kept


def test_a_library_without_these_settings_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap.keep_some()
    heap.keep_freed()
