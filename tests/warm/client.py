"""Run a command in the process that has imported everything: here, and as the `mergeline` that DVC's stages call."""

from __future__ import annotations

import array
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence

KILLED = 137
VARIABLE = "MERGELINE_WARM"  # the socket


def command(
    address: str, arguments: Sequence[str], folder: str, environment: Mapping[str, str], descriptors: Sequence[int]
) -> int:
    """Return the exit code of `mergeline` with these arguments, there and with these descriptors as its first three."""
    order = {"arguments": list(arguments), "folder": folder, "environment": dict(environment)}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())
        whole = json.dumps(order).encode() + b"\n"
        sent = connection.sendmsg([whole], [rights])
        connection.sendall(whole[sent:])
        answered = connection.recv(1)
        return answered[0] if answered else KILLED


if __name__ == "__main__":
    sys.exit(command(os.environ[VARIABLE], sys.argv[1:], os.getcwd(), os.environ, (0, 1, 2)))  # noqa: PTH109 - starts quickly
