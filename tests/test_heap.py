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
# a block of 4 MB that is freed: whether its pages are still the process's
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
block = libc.malloc(4 << 20)
ctypes.memset(block, 1, 4 << 20)
libc.free(block)
print(resident() - before)
"""


def said(program: str, told: str) -> str:
    code = program.format(told=told)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@GLIBC
def test_a_process_that_stays_has_two_heaps_however_many_threads_it_has() -> None:
    assert said(THREADS, "heap.keep_some()").count("<heap nr=") == heap.HEAPS == 2
    assert said(THREADS, "").count("<heap nr=") > 2


@GLIBC
@pytest.mark.parametrize(("told", "is_kept"), [("heap.keep_freed()", True), ("heap.keep_some()", True), ("", False)])
def test_a_block_that_was_freed_is_kept_where_that_is_told(told: str, is_kept: bool) -> None:
    assert (int(said(FREED, told)) > 2 << 20) is is_kept


@GLIBC
def test_a_process_that_stays_gives_the_system_back_what_is_more_than_some() -> None:
    large = FREED.replace("4 << 20", f"{4 * heap.KEPT_BYTES}")
    assert int(said(large, "heap.keep_some()")) < 2 * heap.KEPT_BYTES
    assert int(said(large, "heap.keep_freed()")) >= 4 * heap.KEPT_BYTES


def test_a_library_without_these_settings_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap.keep_some()
    heap.keep_freed()
