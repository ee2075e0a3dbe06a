"""A process that has imported the libraries (tests/warm), from which the commands of the jobs are forked.

Every job calls a handful of commands, each of which would import the same libraries for a second or more. What runs is
the clone's code all the same: the process drops what it has of `mergeline` before it becomes a command.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.errors import VerificationError

if TYPE_CHECKING:
    from sample.demo.place import Place

LONGEST_START_S = 120.0
LONGEST_ADDRESS = 90  # of the 108 bytes that Linux has, with the name of the socket
# however the demo ends, the kernel tells the process, which looks for its parent only once it has imported everything
SERVER = (
    "import ctypes, runpy, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGTERM);"
    " runpy.run_path({server}, run_name='__main__')"
)


def started(place: Place, tests: Path) -> Path | None:
    """Start the process; return the folder of its socket and of the `mergeline` and the `dvc` that ask it.

    None where it cannot be: libraries of macOS do not bear a fork, and a socket's address has to be short.
    """
    folder = place.folder / "forks"
    if sys.platform != "linux" or len(os.fsencode(folder)) > LONGEST_ADDRESS:
        return None
    folder.mkdir()
    program = SERVER.format(server=repr(str(tests / "warm" / "server.py")))
    process = place.beside([sys.executable, "-c", program, str(folder / "socket")], subprocess.DEVNULL)
    ends = time.monotonic() + LONGEST_START_S
    while not (folder / "socket").exists():
        if process.poll() is not None or time.monotonic() > ends:
            raise VerificationError(f"demo: {place.act}: expected a process that commands are forked from, found none")
        time.sleep(0.05)
    return folder
