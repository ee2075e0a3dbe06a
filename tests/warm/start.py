"""Start the warm process of a test worker, once, and run commands in it."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from warm.client import VARIABLE, asked, command, exit_code

PATIENCE_S = 120.0
HERE = Path(__file__).parent


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], program: str = "mergeline"
) -> subprocess.CompletedProcess[str]:
    """Run a program as `subprocess.run` would; the stages that DVC calls are forked from the same process."""
    place = _started()
    own = _environment(place, environment)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
        descriptors = (nothing.fileno(), out.fileno(), err.fileno())
        code = command(str(place / "socket"), arguments, str(folder.resolve()), own, descriptors, program)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, out.read().decode(), err.read().decode())


@dataclass(frozen=True, slots=True)
class Running:
    """A command that was forked and has not been waited for."""

    connection: socket.socket
    process: int

    def kill(self) -> int:
        """End it, and all that it has started, by SIGKILL, unless it has ended; return its exit code."""
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        return exit_code(self.connection)


def start(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Running:
    """Start `mergeline`, which says nothing, in a process group of its own."""
    place = _started()
    own = _environment(place, environment)
    with Path(os.devnull).open("r+b") as nothing:
        descriptors = (nothing.fileno(),) * 3
        there = str(folder.resolve())
        return Running(*asked(str(place / "socket"), arguments, there, own, descriptors, own_group=True))


def _environment(place: Path, environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, VARIABLE: str(place / "socket"), "PATH": f"{place}:{environment['PATH']}"}


@functools.cache
def _started() -> Path:
    """The folder of this worker's socket and of the programs that ask it."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    from repositories import bare_environment

    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, HERE / "server.py", folder / "socket"],
            env=bare_environment(folder),
            stdout=log,
            stderr=log,
        )
    atexit.register(_ended, process, folder)
    until = time.monotonic() + PATIENCE_S
    while not (folder / "socket").exists():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < until, (folder / "log").read_text()
        time.sleep(0.05)
    return folder


def _ended(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.terminate()
    process.wait(PATIENCE_S)
    shutil.rmtree(folder, ignore_errors=True)
