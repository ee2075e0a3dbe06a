"""How a process that the demo has started ends, and where one listens."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any

LONGEST_END_S = 20.0


def end(process: subprocess.Popen[bytes]) -> int:
    """End a process by SIGTERM, where that does not help by SIGKILL; return its exit code."""
    process.terminate()
    try:
        return process.wait(LONGEST_END_S)
    except subprocess.TimeoutExpired:
        kill(process)
        return process.wait()


def kill(process: subprocess.Popen[Any]) -> None:
    """End a process, and all of its group where it leads one, at once."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
