"""A server while it runs: its start until it is ready, its memory and processor time, its end. Linux only."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measurement import SHOWN_LINES, FailedCommandError

LONGEST_START_S, LONGEST_END_S = 120.0, 20.0
POLL_S = 0.005
PORT = "{port}"


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to serve the model.

    `command` starts it ({port} stands for the port), with `environment`; `ready` is the path that answers 200 from when
    it is ready. It takes the bodies of one `form` at `path` ({rows} stands for the rows of a request); `scores` finds
    the scores of the rows in an answer.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready: str
    path: str
    form: str
    scores: Callable[[Any], list[float]] | None


@dataclass(frozen=True, slots=True)
class Running:
    """A started server; `ready_s` seconds went by from the start of its process to the first 200."""

    contender: Contender
    process: subprocess.Popen[bytes]
    port: int
    ready_s: float
    log: Path

    def url(self, rows: int) -> str:
        """Where requests of so many rows go."""
        return f"http://127.0.0.1:{self.port}{self.contender.path.format(rows=rows)}"

    def post(self, body: str, rows: int) -> bytes:
        """Send one body and return the answer."""
        return _asked(self.port, "POST", self.contender.path.format(rows=rows), body)

    def get(self, path: str) -> Any:
        """Return the JSON that a path answers."""
        return json.loads(_asked(self.port, "GET", path))

    def processes(self) -> list[int]:
        """The process and those that it started, by their ids."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with _unless_ended():
                children.setdefault(int(_fields(stat)[1]), []).append(int(stat.parent.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def memory_mb(self) -> float:
        """The resident memory of all its processes, in megabytes; what they share counts in each."""
        return self._pages(lambda fields: fields[1])

    def own_mb(self) -> float:
        """The part of the resident memory, in megabytes, that lies in no file: nobody can share it."""
        return self._pages(lambda fields: fields[1] - fields[2])

    def _pages(self, counted: Callable[[Sequence[int]], int]) -> float:
        """Of all its processes what is `counted` of the fields of `statm`, proc_pid_statm(5), in megabytes."""
        pages = 0
        for pid in self.processes():
            with _unless_ended():
                pages += counted([int(each) for each in Path(f"/proc/{pid}/statm").read_text("ascii").split()])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu_s(self) -> float:
        """The processor time of all its processes so far."""
        ticks = 0
        for pid in self.processes():
            with _unless_ended():
                ticks += sum(map(int, _fields(Path(f"/proc/{pid}/stat"))[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """End it with SIGTERM, what is left after a while with SIGKILL; return its exit code."""
        self.process.terminate()
        try:
            code = self.process.wait(LONGEST_END_S)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its session is its own, so that nothing else is met
        self.process.wait()
        return code


@contextmanager
def started(contender: Contender, folder: Path, logs: Path) -> Iterator[Running]:
    """Start a server in `folder`, wait until it is ready, end it in the end.

    Raises `FailedCommandError` with its last lines where it ends before, or is not ready within two minutes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [each.replace(PORT, str(port)) for each in contender.command]
    log = logs / f"{contender.name.replace('/', '-').replace(' ', '-')}.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=contender.environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    running = Running(contender, process, port, 0.0, log)
    try:
        ready_s = _ready(running, began)
        yield Running(contender, process, port, ready_s, log)
    finally:
        running.stop()


def on_a_core_of_its_own() -> tuple[str, ...]:
    """What to put before the load so that it keeps to one core and leaves the other; nothing where that cannot be."""
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    if len(cores) < 2 or shutil.which("taskset") is None:
        return ()
    return ("taskset", "--cpu-list", str(cores[-1]))


def _ready(running: Running, began: float) -> float:
    while time.perf_counter() - began < LONGEST_START_S:
        if running.process.poll() is not None:
            break
        try:
            _asked(running.port, "GET", running.contender.ready)
            return time.perf_counter() - began
        except (OSError, http.client.HTTPException):
            time.sleep(POLL_S)
    last = "\n".join(running.log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:])
    raise FailedCommandError(f"{' '.join(running.contender.command)}: never ready\n{last}")


def _asked(port: int, method: str, path: str, body: str | None = None) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise http.client.HTTPException(f"{method} {path}: {answer.status} {text[:200]!r}")
    return text


def _fields(stat: Path) -> Sequence[str]:
    """The fields of a process's `stat` from the third on; the second, its name, may hold anything."""
    return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


@contextmanager
def _unless_ended() -> Iterator[None]:
    with suppress(FileNotFoundError, ProcessLookupError):
        yield
