"""The model server beside its peers and beside a server that does nothing: the same model, the same rows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measurement import FailedCommandError, alternate
from benchmarks.part import Part
from benchmarks.pipeline.scratch import Scratch
from benchmarks.serving.comparison import CELLS, MANY, Cell, Found, Turns, part
from benchmarks.serving.contenders import (
    NO_LOG,
    OURS,
    PEERS,
    ROW_SIZES,
    SHOWN,
    noop,
    ours,
    peers,
    scores_of,
    without_profile,
)
from benchmarks.serving.load import Bodies, Loaded, load
from benchmarks.serving.released import BODIES, python, released
from benchmarks.serving.running import Contender, Running, started

SAME = 1e-5
STARTS_FOR_A_RUN = 3  # of ours with and without the log, which lie close together
MOST_STARTS = 3  # of each server; the peers take long


def servers(folder: Path, runs: int) -> Part:
    """Start all servers, see that they give the same scores, and let them take turns under the same loads."""
    scratch = released(folder / "servers")
    bodies = {rows: Bodies(scratch.root / BODIES, rows) for rows in ROW_SIZES}
    first = ours(scratch, OURS, "log")
    with started(first, scratch.root, folder) as running:
        answers = {rows: running.post(bodies[rows].first("rows"), rows) for rows in ROW_SIZES}
    limit = noop(scratch, {rows: len(answer) for rows, answer in answers.items()})
    close = (first, ours(scratch, NO_LOG, "none"), without_profile(scratch))
    contenders = (*close, limit, *peers(scratch))
    close_turns = alternate(
        runs * STARTS_FOR_A_RUN, {each.name: alone(each, scratch, folder, bodies) for each in close}
    )
    with ExitStack() as stack:
        at_once = {each.name: stack.enter_context(started(each, scratch.root, folder)) for each in contenders}
        for each in at_once.values():
            _require_the_same(each, bodies, {rows: scores_of(first, answer) for rows, answer in answers.items()})
            _warm(each, bodies)
        found = _measured(at_once, bodies, runs, close_turns)
    ready_s = alternate(min(runs, MOST_STARTS), {each.name: _start(each, scratch, folder) for each in contenders})
    drift_us = json.loads(python(scratch, "drift_cost.py").splitlines()[-1])
    return part(found, ready_s, drift_us, {rows: len(answer) for rows, answer in answers.items()}, _bentoml())


def alone(contender: Contender, scratch: Scratch, folder: Path, bodies: dict[int, Bodies]) -> Callable[[], Loaded]:
    """Return a turn of a server that is started for it: two processes of one program differ by a few percent, for good.

    The turn raises `FailedCommandError` where rows of the log were dropped, which costs less than to write them.
    """

    def turn() -> Loaded:
        with started(contender, scratch.root, folder) as running:
            _warm(running, bodies)
            loaded = load(running, bodies[MANY.rows], MANY.connections, MANY.seconds)
            log = running.get("/status")["log"]
        if log is not None and log["dropped_rows"]:
            raise FailedCommandError(f"{contender.name}: {log['dropped_rows']} rows of the log were dropped")
        return loaded

    return turn


def _warm(running: Running, bodies: dict[int, Bodies]) -> None:
    """A load that is not counted: what comes with the first requests."""
    load(running, bodies[1], connections=16, seconds=1)


def _measured(at_once: dict[str, Running], bodies: dict[int, Bodies], runs: int, close: Turns) -> Found:
    def turn(name: str, cell: Cell) -> Callable[[], Loaded]:
        return lambda: load(at_once[name], bodies[cell.rows], cell.connections, cell.seconds)

    loads = {cell: alternate(runs, {name: turn(name, cell) for name in SHOWN}) for cell in CELLS}
    log = at_once[OURS].get("/status")["log"]
    return Found(
        loads,
        close,
        memory_mb={name: each.memory_mb() for name, each in at_once.items()},
        own_mb={name: each.own_mb() for name, each in at_once.items()},
        processes={name: len(each.processes()) for name, each in at_once.items()},
        logged_rows=log["written_rows"] + log["queued_rows"],
        dropped_rows=log["dropped_rows"],
    )


def _require_the_same(running: Running, bodies: dict[int, Bodies], expected: dict[int, list[float]]) -> None:
    """Raise `FailedCommandError` where a server scores otherwise: then it serves something else."""
    contender = running.contender
    if contender.scores is None:
        return
    for rows, scores in expected.items():
        found = scores_of(contender, running.post(bodies[rows].first(contender.form), rows))
        apart = max(abs(one - other) for one, other in zip(found, scores, strict=True))
        if apart > SAME:
            raise FailedCommandError(f"{contender.name}: a score is {apart:.2g} off ours, expected at most {SAME:g}")


def _start(contender: Contender, scratch: Scratch, folder: Path) -> Callable[[], float]:
    def ready_s() -> float:
        with started(contender, scratch.root, folder) as running:
            return running.ready_s

    return ready_s


def _bentoml() -> str:
    program = "from importlib.metadata import version; print(version('bentoml'))"
    return subprocess.run([PEERS / "python", "-c", program], capture_output=True, text=True, check=True).stdout.strip()
