"""libraries: what only loading touched leaves a process's memory, and all goes on as before."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from servers import Released, release, serving

from mergeline.serve import libraries
from mergeline.stages.train import Trained

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux is told")
# what numpy, its linear algebra, pyarrow and the interpreter say twice, and the memory of files before each
TWICE = """
import io, json, hashlib
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from mergeline.serve import libraries

def resident():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["RssFile"].split()[0])

def said():
    matrix = np.arange(16.0).reshape(4, 4) + 7 * np.eye(4)
    sink = io.BytesIO()
    pq.write_table(pa.table({{"a": [1, 2, None], "b": ["x", "y", "z"]}}), sink)
    return [np.linalg.inv(matrix).tolist(), hashlib.sha256(sink.getvalue()).hexdigest(), sorted(json.__all__)]

first, before = said(), resident()
{between}
after = resident()
print(json.dumps([first == said(), before, after]))
"""


def status(process: int) -> dict[str, int]:
    """The figures of a process, in kB."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if "kB" in rest}


@pytest.fixture(scope="module")
def released(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return release(tmp_path_factory.mktemp("libraries"), candidate)


@LINUX
@pytest.mark.parametrize(("between", "leave"), [("libraries.release_pages()", True), ("pass", False)])
def test_pages_of_files_leave_the_memory_and_come_back_as_they_were(between: str, leave: bool) -> None:
    program = [sys.executable, "-c", TWICE.format(between=between)]
    same, before, after = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)
    assert same
    assert (after < 0.5 * before) is leave


@LINUX
@pytest.mark.parametrize("log", [(), ("--log", "none")])
def test_a_server_lets_go_of_what_loading_needed(released: Released, log: Sequence[str]) -> None:
    with serving(released.root, *released.options, *log) as server:
        row = dict(released.signature.samples[0].row)

        def lets_go() -> bool:
            found = status(server.process.pid)
            return found["VmRSS"] < 0.85 * found["VmHWM"]

        server.wait_until("a part of its memory is the system's again", lets_go)
        assert len(server.predict([row] * 3)) == 3
        assert server.stop() == 0


def smaps(*lines: str) -> str:
    """What the system says of mappings, one page each: rights, file, kB changed, lazily freed and swapped out."""
    said = []
    for at, line in enumerate(lines):
        rights, file, *figures = line.split()
        device, inode = ("00:00", "0") if file == "-" else ("fe:00", file)
        said += [f"{at + 4096:x}000-{at + 4097:x}000 {rights} 00000000 {device} {inode}    /lib/{file}\r(deleted)"]
        said += [
            f"{name}:  {figure} kB" for name, figure in zip(("Anonymous", "LazyFree", "Swap"), figures, strict=False)
        ]
        said += ["VmFlags: rd mr mw"]
    return "\n".join([*said, ""])


# a library that its loader has relocated: so this system knows what was changed
KNOWS = ("r--p 1 4 0 0", "rw-p 1 4 0 0")


@pytest.mark.parametrize(
    ("lines", "released"),
    [
        (["r--p 7 0 0 0", "r-xp 7 0 8 0", "r--p 7 0 0 0", "r--p 7 4 0 0", "rw-p 7 4 0 0"], [0, 1, 2]),  # 3: relocated
        (["r--p 7 0 0 0", "r-xp 7 0 0 0", "r--p 7 0 0 4", "rw-p 7 0 0 4"], [0, 1]),  # relocated and swapped out
        (["r-xp 7 4 0 0", "r--p 7 0 0 0", "rw-p 7 0 0 0"], [1]),  # the first: relocations in its code
        (["r--p 7 0 0 0"], []),  # a file that is read, or a library of which only the whole is mapped yet
        (["r--p 7 0 0 0", "r-xp 7 0 0 0"], []),  # the last part of the whole may be mapped over
        (["r--p 7 0 0 0", "rw-p 7 0 0 0", "r--p 7 0 0 0"], [0]),  # so may this one
        (["r--p 7 0 0 0", "rw-p 7 0 0 0", "r--p 7 0 0 0", "rw-p 7 0 0 0"], [0, 2]),
        (["r--p 7 0 0 0", "r--p 8 0 0 0", "rw-p 8 0 0 0"], [1]),
        (["r--p 7 0 0 0", "rw-p - 0 0 0", "rw-p 7 0 0 0"], []),  # not the same library: something lies between
        (["rw-p 7 0 0 0", "rw-s 8 0 0 0"], []),
        (["r-xp - 0 0 0", "rw-p - 0 0 0"], []),  # no file's
        (["r--p 7", "r--p 7 0", "r--p 7 0 0", "rw-p 7 0 0 0"], []),  # of which not all is said
    ],
)
def test_only_what_can_be_read_anew_is_released(lines: Sequence[str], released: Sequence[int]) -> None:
    found = libraries.releasable(list(libraries.mappings(smaps(*lines, *KNOWS))))
    assert [each.start // 4096 - 4096 for each in found] == released


def test_nothing_is_released_where_the_system_does_not_know_what_was_changed() -> None:
    said = ["r--p 7 0 0 0", "r-xp 7 0 0 0", "r--p 7 0 0 0", "rw-p 7 4 0 0"]  # relocated, and called unchanged
    assert not libraries.releasable(list(libraries.mappings(smaps(*said))))
    assert libraries.releasable(list(libraries.mappings(smaps(*said, *KNOWS))))


@LINUX
def test_nearly_all_code_of_this_process_is_released() -> None:
    found = list(libraries.mappings(libraries.SMAPS.read_text(encoding="utf-8")))
    code = [each for each in found if "x" in each.rights]
    assert len(set(libraries.releasable(found)).intersection(code)) > 0.9 * len(code) > 20


def test_where_the_system_does_not_tell_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ctypes, "CDLL", None)
    monkeypatch.setattr(libraries, "SMAPS", tmp_path / "hidden")
    libraries.release_pages()
    monkeypatch.setattr(libraries, "SMAPS", tmp_path / "readable")
    libraries.SMAPS.write_text(smaps(*KNOWS))
    with pytest.raises(TypeError, match="NoneType"):
        libraries.release_pages()
    monkeypatch.setattr(sys, "platform", "darwin")
    libraries.release_pages()
