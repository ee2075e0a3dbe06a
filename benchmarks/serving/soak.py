"""Many requests to a server whose log is slow, fails and loses its writer in turn: what becomes of memory and rows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.findings import Goal, Table
from benchmarks.measurement import FailedCommandError, Summary, number
from benchmarks.part import Part
from benchmarks.pipeline.scratch import Scratch
from benchmarks.serving.load import LONGEST_ANSWER_S, Bodies, Loaded, command, parsed
from benchmarks.serving.released import BODIES, python, released
from benchmarks.serving.running import PORT, Contender, Running, started

REQUESTS, CONNECTIONS, LONGEST_S = 200_000, 64, 180
LOG, COUNTS = "log", "planted.json"
EVERY_S = 0.25
FIFTHS, SHOWN = 5, 10
MOST_GROWTH = 1.05


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at a moment: seconds since the load began, rows answered so far, what became of them, memory."""

    at_s: float
    answered: int
    written: int
    dropped: int
    queued: int
    memory_mb: float


def soak(folder: Path, runs: int) -> Part:  # noqa: ARG001  every part takes them
    """Let the requests pass once, whatever `runs` is; end the server; count what lies in the log."""
    scratch = released(folder / "soak")
    contender = _planted(scratch)
    with started(contender, scratch.root, folder) as running:
        loaded, samples = _loaded(running, Bodies(scratch.root / BODIES, 1))
        status = running.get("/status")
        code = running.stop()
    if code:
        raise FailedCommandError(
            f"{contender.name}: exit code {code}; {running.log.read_text(encoding='utf-8')[-2000:]}"
        )
    logged = json.loads(python(scratch, "logged.py", LOG).splitlines()[-1])
    planted = json.loads((scratch.root / COUNTS).read_text(encoding="utf-8"))
    flushed = _last(running.log, "log flushed")
    return _part(loaded, samples, status, flushed, logged, planted)


def _planted(scratch: Scratch) -> Contender:
    program = str(Path(__file__).parent / "planted.py")
    return Contender(
        "ours, log planted", (sys.executable, "-P", program, PORT, LOG, COUNTS), scratch.environment(),
        "/readyz", "/predict", "rows", None,
    )  # fmt: skip


def _loaded(running: Running, bodies: Bodies) -> tuple[Loaded, list[Sample]]:
    """Look at the server while it answers, until it has answered enough."""
    began, before, samples = time.perf_counter(), running.cpu_s(), []
    wrk = subprocess.Popen(command(running, bodies, CONNECTIONS, LONGEST_S), stdout=subprocess.PIPE, text=True)
    try:
        while wrk.poll() is None:
            time.sleep(EVERY_S)
            samples.append(_sample(running, time.perf_counter() - began))
            if samples[-1].answered >= REQUESTS:
                wrk.send_signal(signal.SIGINT)
                wrk.wait(LONGEST_ANSWER_S)
    finally:
        wrk.kill()
    return parsed(wrk.communicate()[0], running.cpu_s() - before), samples


def _sample(running: Running, at_s: float) -> Sample:
    status = running.get("/status")
    log = status["log"]
    return Sample(
        at_s, sum(status["predictions"].values()), log["written_rows"], log["dropped_rows"], log["queued_rows"],
        running.memory_mb(),
    )  # fmt: skip


def _last(log: Path, message: str) -> dict[str, Any]:
    """The last line of the server's log with this message."""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if f'"{message}"' in line]
    if not lines:
        raise FailedCommandError(f"{log}: expected a line {message!r}, found none")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _part(
    loaded: Loaded,
    samples: Sequence[Sample],
    status: dict[str, Any],
    flushed: dict[str, Any],
    logged: dict[str, int],
    planted: dict[str, int],
) -> Part:
    answered = sum(status["predictions"].values())
    not_answered = loaded.failed + sum(count for code, count in status["answered"].items() if code != "200")
    twice = logged["rows"] - logged["distinct"]
    missing = abs(answered - flushed["dropped_rows"] - logged["distinct"])
    fifth = fifths(samples)
    second, last = (Summary.of([each.memory_mb for each in fifth[at]]).median for at in (1, -1))
    goals = (
        Goal(f"failed requests of {answered:,}", 0, "requests", _only(not_answered)),
        Goal("rows that are neither in the log nor counted as dropped", 0, "rows", _only(missing)),
        Goal("rows that are in the log twice", 0, "rows", _only(twice)),
        Goal("resident memory, last fifth of the requests over the second", MOST_GROWTH, "x", _only(last / second)),
    )
    said = ", ".join(f"{name} ({count:,})" for name, count in planted.items())
    note = (
        f"{loaded.requests:,} requests of one row over {CONNECTIONS} connections, {loaded.per_s:,.0f} a second, p50"
        f" {number(loaded.p50_ms)} ms, p99 {number(loaded.p99_ms)} ms. The log's shelf works, is slow (0.2 s a file),"
        " fails (half of the time after the file lay there), its threads are killed, in turn; so often it happened that"
        f" {said}. Files hold 1,000 rows and the queue a tenth of the default, so that rows are dropped:"
        f" {flushed['dropped_rows']:,} of {answered:,}. Afterwards {logged['distinct']:,} rows lie in"
        f" {logged['files']:,} files."
    )
    return Part(
        f"{REQUESTS:,} requests while the log fails",
        (_table(samples),),
        goals,
        (note,),
        figures={"soak": [asdict(each) for each in samples]},
    )


def fifths(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples by the fifth of the requests that had been answered then."""
    parts: list[list[Sample]] = [[] for _ in range(FIFTHS)]
    for each in samples:
        parts[min(FIFTHS - 1, each.answered * FIFTHS // (samples[-1].answered + 1))].append(each)
    if not all(parts):
        raise FailedCommandError(f"soak: only {len(samples)} looks at the server; the requests passed too quickly")
    return parts


def _table(samples: Sequence[Sample]) -> Table:
    """About ten stretches of the same length."""
    rows = []
    step = max(1, len(samples) // SHOWN)
    before = Sample(0.0, 0, 0, 0, 0, 0.0)
    for start in range(0, len(samples) - step + 1, step):
        stretch = samples[start : start + step]
        last = stretch[-1]
        memory = Summary.of([each.memory_mb for each in stretch])
        rows.append(
            (
                f"{last.at_s:.1f}",
                f"{(last.answered - before.answered) / (last.at_s - before.at_s):,.0f}",
                f"{memory.median:.1f}",
                f"{memory.low:.1f} to {memory.high:.1f}",
                f"{max(each.queued for each in stretch):,}",
                f"{last.written:,}",
                f"{last.dropped:,}",
            )
        )
        before = last
    columns = ("requests/s", "resident MB", "min to max", "queued rows, max", "written rows", "dropped rows")
    return Table(("until s", *columns), tuple(rows))


def _only(value: float) -> Summary:
    return Summary.of([value])
