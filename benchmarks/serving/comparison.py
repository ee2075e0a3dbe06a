"""What the loads of several servers say: tables of each cell, and the goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, number, ratio
from benchmarks.part import Part
from benchmarks.serving.contenders import MLFLOW, NO_GAUGES, NO_LOG, NOOP, OURS
from benchmarks.serving.load import Loaded
from benchmarks.serving.noise import CONFIDENCE, interval_of_median
from benchmarks.serving.running import on_a_core_of_its_own

LEAST_OVER_MLFLOW, LEAST_OF_NOOP, LEAST_LOGGING = 150, 0.4, 0.95
LEAST_HUNDREDS, MOST_P50_MS, MOST_MB, MOST_READY_S = 900, 0.4, 130, 1.5


@dataclass(frozen=True, slots=True)
class Cell:
    """A load: connections, rows of a request, seconds of a turn."""

    connections: int
    rows: int
    seconds: int

    @property
    def title(self) -> str:
        """What it is, in words."""
        rows = "one row" if self.rows == 1 else f"{self.rows} rows"
        return f"{rows}, {self.connections} connection{'s' * (self.connections > 1)}"


ALONE, SOME, MANY, HUNDREDS = Cell(1, 1, 1), Cell(16, 1, 1), Cell(64, 1, 2), Cell(4, 100, 1)
CELLS = (ALONE, SOME, MANY, HUNDREDS)

Turns = Mapping[str, Sequence[Loaded]]


@dataclass(frozen=True, slots=True)
class Found:
    """What the servers did: the turns of each load, and more of ours with and without log and gauges, started for each.

    `memory_mb` (resident, after all loads), `own_mb` (of it what lies in no file) and `processes` are of each server,
    the rows of the log ours.
    """

    loads: Mapping[Cell, Turns]
    close: Turns
    memory_mb: Mapping[str, float]
    own_mb: Mapping[str, float]
    processes: Mapping[str, int]
    logged_rows: int
    dropped_rows: int


def part(
    found: Found,
    ready_s: Mapping[str, Sequence[float]],
    drift_us: Mapping[str, float],
    answer_bytes: Mapping[int, int],
    bentoml: str,
) -> Part:
    """Return tables, goals, and every turn."""
    figures = {
        f"{cell.title}: {name}": [each.figures() for each in turns]
        for cell, contenders in found.loads.items()
        for name, turns in contenders.items()
    }
    figures |= {f"close: {name}": [each.figures() for each in turns] for name, turns in found.close.items()}
    figures |= {f"start: {name}": [{"ready_s": each} for each in every] for name, every in ready_s.items()}
    return Part(
        "The server beside its peers",
        (*map(_cell_table, CELLS, found.loads.values()), _close_table(found), _process_table(found, ready_s)),
        _goals(found, ready_s),
        (_how(found, answer_bytes, bentoml), _close_note(found), _drift_note(drift_us)),
        figures=figures,
    )


def _goals(found: Found, ready_s: Mapping[str, Sequence[float]]) -> tuple[Goal, ...]:
    many, hundreds = found.loads[MANY], found.loads[HUNDREDS]
    over = Summary.of
    return (
        Goal("one row, 64 connections: over mlflow's requests a second (paired)", LEAST_OVER_MLFLOW, "x",
             ratio(_per_s(many[OURS]), _per_s(many[MLFLOW])), is_least=True),
        Goal("the same over the no-op's (paired)", LEAST_OF_NOOP, "x",
             ratio(_per_s(many[OURS]), _per_s(many[NOOP])), is_least=True),
        Goal("100 rows, 4 connections: requests a second", LEAST_HUNDREDS, "1/s",
             over(_per_s(hundreds[OURS])), is_least=True),
        Goal("one row, 1 connection: p50", MOST_P50_MS, "ms",
             over([each.p50_ms for each in found.loads[ALONE][OURS]])),
        Goal("resident memory after the loads", MOST_MB, "MB", over([found.memory_mb[OURS]])),
        Goal("from the start of the process to ready", MOST_READY_S, "s", over(ready_s[OURS])),
        Goal("logging on over off, one row, 64 connections: requests a second (paired)", LEAST_LOGGING, "x",
             ratio(_per_s(found.close[OURS]), _per_s(found.close[NO_LOG])), is_least=True),
    )  # fmt: skip


# ---- Tables ----------------------------------------------------------------------------------------------------------


def _cell_table(cell: Cell, contenders: Turns) -> Table:
    ours = _per_s(contenders[OURS])
    rows = []
    for name, turns in contenders.items():
        per_s = Summary.of(_per_s(turns))
        over = "" if name == OURS else ratio(ours, _per_s(turns)).sentence()
        latencies = (number(_median(turns, lambda each: each.p50_ms)), number(_median(turns, lambda each: each.p99_ms)))
        cpu = number(_median(turns, lambda each: each.cpu_us))
        rows.append((name, f"{per_s.median:,.0f}", f"{per_s.low:,.0f} to {per_s.high:,.0f}", over, *latencies, cpu))
    columns = ("requests/s", "min to max", "ours over it (paired)", "p50 ms", "p99 ms", "cpu µs a request")
    return Table((cell.title, *columns), tuple(rows))


def _close_table(found: Found) -> Table:
    rows = []
    pairs = (("log on over off", OURS, NO_LOG), ("gauges on over off", NO_LOG, NO_GAUGES))
    for said, on, off in pairs:
        faster = ratio(_per_s(found.close[on]), _per_s(found.close[off]))
        cpu = ratio([each.cpu_us for each in found.close[on]], [each.cpu_us for each in found.close[off]])
        rows.append((said, faster.sentence(), cpu.sentence(), str(len(found.close[on]))))
    return Table((f"{MANY.title}, paired", "requests/s", "cpu a request", "turns"), tuple(rows))


def _process_table(found: Found, ready_s: Mapping[str, Sequence[float]]) -> Table:
    rows = []
    for name, memory_mb in found.memory_mb.items():
        ready = Summary.of(ready_s[name])
        memory = (f"{memory_mb:.0f}", number(found.memory_mb[OURS] / memory_mb))
        own = (f"{found.own_mb[name]:.0f}", number(found.own_mb[OURS] / found.own_mb[name]))
        start = (number(ready.median), f"{number(ready.low)} to {number(ready.high)}")
        paired = ratio(ready_s[OURS], ready_s[name]).sentence()
        rows.append((name, *memory, *own, str(found.processes[name]), *start, paired))
    memory_columns = ("resident MB", "ours over it", "of it in no file", "ours over it")
    columns = (*memory_columns, "processes", "s to ready", "min to max", "ours over it (paired)")
    return Table(("", *columns), tuple(rows))


# ---- Notes -----------------------------------------------------------------------------------------------------------


def _how(found: Found, answer_bytes: Mapping[int, int], bentoml: str) -> str:
    where = "wrk keeps to one core, servers may use all" if on_a_core_of_its_own() else "all on the same cores"
    sizes = " and ".join(f"{size:,} bytes for {rows}" for rows, size in answer_bytes.items())
    return (
        f"Loopback, one worker and one thread each, {where}, keep-alive, bodies of real rows in turn. Ours checks every"
        f" value and has log and drift gauges on, if not said otherwise: {found.logged_rows:,} rows were logged,"
        f" {found.dropped_rows:,} dropped. The no-op answers as many bytes as ours ({sizes}). All others gave the same"
        f" scores within 1e-5 before they were measured. BentoML {bentoml}, with its adaptive batching. Latencies are"
        " medians of the turns; cpu is the processor time of a server and its children. Resident memory counts pages"
        " of libraries' files, too, which the system keeps for all; ours lets go of those that loading alone needed."
    )


def _close_note(found: Found) -> str:
    ratios = [on / off for on, off in zip(_per_s(found.close[OURS]), _per_s(found.close[NO_LOG]), strict=True)]
    interval = interval_of_median(ratios)
    if interval is None:
        return f"{len(ratios)} pairs with and without the log are too few to tell them apart from noise."
    low, high = interval
    known = (
        "so they are within 5 %" if low >= LEAST_LOGGING
        else "so they are not within 5 %" if high < LEAST_LOGGING
        else "so this noise does not allow to say whether they are within 5 %"
    )  # fmt: skip
    return (
        f"Logging on over off in {len(ratios)} pairs of servers, each started for its turn: the median lies between"
        f" {number(low)} and {number(high)} ({CONFIDENCE:.0%}), {known}."
    )


def _drift_note(drift_us: Mapping[str, float]) -> str:
    return (
        f"Drift gauges, in the process: taking a row into the window costs {number(drift_us['add_1_us'])} µs, 100 rows"
        f" {number(drift_us['add_100_us'])} µs; counting the {drift_us['rows']:,.0f} rows of a full window, at most"
        f" every three seconds and only when somebody asks, {number(drift_us['counts_us'] / 1e3)} ms, the indices of"
        f" all features {number(drift_us['psi_us'] / 1e3)} ms."
    )


def _per_s(turns: Sequence[Loaded]) -> list[float]:
    return [each.per_s for each in turns]


def _median(turns: Sequence[Loaded], figure: Callable[[Loaded], float]) -> float:
    return Summary.of([figure(each) for each in turns]).median
