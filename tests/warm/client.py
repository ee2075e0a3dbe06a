"""Run a command in the process that has imported everything: here, and as the `mergeline` and `dvc` of shells."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping, Sequence

KILLED = 137
VARIABLE = "MERGELINE_WARM"  # the socket


def asked(
    address: str,
    arguments: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    descriptors: Sequence[int],
    *,
    own_group: bool = False,
    program: str = "mergeline",
) -> tuple[socket.socket, int]:
    """Start a program, `mergeline` or `dvc`, with these arguments, there and with these descriptors as its first three.

    Return the connection on which its exit code will come, and the number of its process. It is of the process group
    of who asks, as a child would be, or begins one of its own.
    """
    order = {
        "program": program,
        "arguments": list(arguments),
        "folder": folder,
        "environment": dict(environment),
        "group": 0 if own_group else os.getpgrp(),
        "umask": _umask(),
    }
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())
    whole = json.dumps(order).encode() + b"\n"
    sent = connection.sendmsg([whole], [rights])
    connection.sendall(whole[sent:])
    return connection, struct.unpack("i", connection.recv(struct.calcsize("i"), socket.MSG_WAITALL))[0]


def _umask() -> int:
    """The mask of this process, which can only be read by setting one."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def exit_code(connection: socket.socket) -> int:
    """Wait for the end of a command and return its exit code."""
    with connection:
        answered = connection.recv(1)
        return answered[0] if answered else KILLED


def command(
    address: str,
    arguments: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    descriptors: Sequence[int],
    program: str = "mergeline",
) -> int:
    """Run a program in the process that has imported everything, to its end; return its exit code."""
    connection, _ = asked(address, arguments, folder, environment, descriptors, program=program)
    return exit_code(connection)


if __name__ == "__main__":
    here = os.getcwd()  # noqa: PTH109 - starts quickly
    sys.exit(command(os.environ[VARIABLE], sys.argv[2:], here, os.environ, (0, 1, 2), sys.argv[1]))
