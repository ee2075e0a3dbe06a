"""The process that commands are forked from: `python server.py SOCKET`. It imports, and then does nothing but fork.

A command comes as a JSON object (program, arguments, folder, environment, process group, umask) with three file
descriptors; its exit code goes back when it ends, after the number of its process. A command that is killed answers no
more than that number. Beside the socket lie the programs for a shell, which ask whom `MERGELINE_WARM` names.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import logging
import os
import shlex
import signal
import socket
import struct
import sys
import traceback
from contextlib import suppress
from pathlib import Path

PRELOADED = (
    *("pandas", "scipy.stats", "scipy.optimize", "onnxruntime", "onnx", "skl2onnx", "pyarrow.parquet", "optuna"),
    *("sklearn.compose", "sklearn.pipeline", "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics"),
    *("sklearn.isotonic", "sklearn.calibration", "sklearn.model_selection", "dvc.repo", "dvc.repo.reproduce"),
    *("dvc.cli.parser", "dvc.commands.repro", "dvc.cachemgr", "dvc.data_cloud", "dvc.lock", "dvc.rwlock", "dvc.scm"),
    *("dvc_render",),
    *("dulwich.client", "dulwich.repo", "dulwich.worktree", "scmrepo.git", "pygit2", "networkx", "flatten_dict"),
    *("ruamel.yaml", "great_expectations", "jinja2.ext", "requests", "pyarrow.dataset", "pyarrow.pandas_compat"),
    *("mlflow", "mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store", "alembic.command"),
    *("mergeline.cli", "mergeline.pipeline", "mergeline.tracking", "mergeline.paired"),
    *("mergeline.commands.stages", "mergeline.commands.repro"),
    *("mergeline.commands.record", "mergeline.commands.gate", "mergeline.commands.report", "mergeline.stages.train"),
    *("mergeline.stages.evaluate", "mergeline.stages.validate", "mergeline.stages.comparison", "mergeline.report.page"),
)
LONGEST = 1 << 20
NOT_FLUSHED = 120  # the interpreter's own exit code where what it has to say cannot be written
PROGRAMS = ("mergeline", "dvc")
SHIM = """\
#!/bin/sh
exec {python} -I -S {client} {program} "$@"
"""


def main(address: str) -> None:
    """Import, say so by listening, and fork until the parent is gone."""
    here = str(Path(__file__).absolute().parent)
    sys.path[:] = [each for each in sys.path if each != here]  # no command finds what lies beside this file
    for name in PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is collected in a child is its own: a look at the rest would copy it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: they answer for themselves
    write_programs(Path(address).parent)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{address}.new")
    listening.listen(64)
    Path(f"{address}.new").rename(address)  # who sees it can ask
    listening.settimeout(1.0)
    parent = os.getppid()
    while os.getppid() == parent:
        with suppress(TimeoutError):
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                answer(connection)
            connection.close()


def write_programs(folder: Path) -> None:
    """Write what a shell calls."""
    python, client = shlex.quote(sys.executable), shlex.quote(str(Path(__file__).with_name("client.py").absolute()))
    for program in PROGRAMS:
        path = folder / program
        path.write_text(SHIM.format(python=python, client=client, program=program), encoding="utf-8")
        path.chmod(0o755)


def answer(connection: socket.socket) -> None:
    """Be the command, and end at once: an interpreter's own end waits for threads of libraries, which a fork lacks."""
    try:
        become_and_run(connection)
    except BaseException:  # noqa: BLE001 - the disk is full, its folder is gone, nobody waits any more
        with suppress(OSError):
            traceback.print_exc()
    finally:
        os._exit(0)


def become_and_run(connection: socket.socket) -> None:
    """Take the command's place in the world, run it, send the exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, ancillary, _, _ = connection.recvmsg(LONGEST, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    while not message.endswith(b"\n"):
        message += connection.recv(LONGEST)
    given = array.array("i")
    for _, _, data in ancillary:
        given.frombytes(data)
    for number, descriptor in enumerate(given):
        os.dup2(descriptor, number)
        os.close(descriptor)
    order = json.loads(message)
    os.setpgid(0, order["group"])
    os.chdir(order["folder"])
    os.umask(order["umask"])
    os.environ.clear()
    os.environ.update(order["environment"])
    connection.sendall(struct.pack("i", os.getpid()))
    code = run(order["program"], order["arguments"])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = NOT_FLUSHED
    logging.shutdown()
    connection.sendall(bytes([code & 0xFF]))


def run(program: str, arguments: list[str]) -> int:
    """What `python -m mergeline` or `dvc` does, and its exit code."""
    sys.argv = [program, *arguments]
    sys.orig_argv = [sys.executable, "-m", program, *arguments]
    try:
        if os.environ.get("PYTHONPATH"):
            other_code(os.environ["PYTHONPATH"].split(os.pathsep))
        return run_dvc(arguments) if program == "dvc" else run_mergeline(arguments)
    except SystemExit as err:
        return err.code if isinstance(err.code, int) else int(err.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
        return 1


def run_mergeline(arguments: list[str]) -> int:
    """The package's own command."""
    from types import SimpleNamespace

    from mergeline import pipeline
    from mergeline.cli import main as command

    # the commands of stages are looked for beside Python: here, beside the client
    pipeline.sys = SimpleNamespace(executable=os.environ["PATH"].partition(os.pathsep)[0] + "/python")  # type: ignore[attr-defined, assignment]
    return command(arguments)


def run_dvc(arguments: list[str]) -> int:
    """DVC's."""
    from dvc.cli import main as command

    return int(command(arguments))


def other_code(folders: list[str]) -> None:
    """What an interpreter does at its start with PYTHONPATH: these folders come first, also for what has come in."""
    for name in [each for each in sys.modules if each.partition(".")[0] in ("mergeline", "sitecustomize")]:
        del sys.modules[name]
    sys.path[:0] = folders
    importlib.invalidate_caches()
    with suppress(ModuleNotFoundError):
        importlib.import_module("sitecustomize")


if __name__ == "__main__":
    main(sys.argv[1])
