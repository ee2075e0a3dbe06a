"""What the paired interval of a ROC AUC difference costs, beside the naive bootstrap and the published fast form."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, Usage, alternate, number, ratio, run
from benchmarks.part import Part

PROGRAM = Path(__file__).parent / "intervals_of_auc.py"
ROWS, RESAMPLES, MEASURED = 100_000, 1000, 5
OURS, MIDRANKS, RESAMPLE, TWO_AUCS = "ours", "midranks", "resample", "two_aucs"
CALLS = {OURS: 9, MIDRANKS: 5, RESAMPLE: MEASURED, TWO_AUCS: 5}
NAMES = {
    OURS: "`intervals.delong_difference`",
    MIDRANKS: "DeLong by midranks on scipy.stats.rankdata",
    RESAMPLE: f"naive bootstrap, {RESAMPLES:,} resamples ({MEASURED} measured, times {RESAMPLES // MEASURED})",
    TWO_AUCS: "two calls of roc_auc_score, no interval",
}
MOST_SECONDS, LEAST_RATIO = 0.05, 900


@dataclass(frozen=True, slots=True)
class Timed:
    """The median call of a process, in seconds (of the bootstrap all its resamples), and the interval."""

    usage: Usage
    seconds: float
    bounds: tuple[float, float] | None


def delong(folder: Path, runs: int) -> Part:
    """Time each method in processes of their own, in turn."""
    found = alternate(runs, {name: lambda name=name: _timed(folder, name) for name in NAMES})  # type: ignore[misc]
    seconds = {name: [each.seconds for each in timed] for name, timed in found.items()}
    share = ratio(seconds[OURS], seconds[RESAMPLE])
    faster = ratio(seconds[RESAMPLE], seconds[OURS])
    goals = (
        Goal(f"paired interval of an AUC difference, {ROWS:,} rows", MOST_SECONDS, "s", Summary.of(seconds[OURS])),
        Goal(f"the same over the naive bootstrap's time (1/{LEAST_RATIO} or less)", 1 / LEAST_RATIO, "x", share),
    )
    usages = {NAMES[name]: [each.usage for each in timed] for name, timed in found.items()}
    return Part(
        "The paired interval of a ROC AUC",
        (_table(found), Table.of_usages(usages)),
        goals,
        (_note(found, faster),),
        usages,
    )


def _timed(folder: Path, name: str) -> Timed:
    command = (sys.executable, "-P", str(PROGRAM), name, str(ROWS), str(CALLS[name]))
    usage, text = run(command, folder, {**os.environ, "OMP_NUM_THREADS": "1"})
    facts = json.loads(text.splitlines()[-1])
    median = Summary.of(facts["seconds"]).median
    bounds = (facts["bounds"][0], facts["bounds"][1]) if facts["bounds"] else None
    return Timed(usage, median * RESAMPLES if name == RESAMPLE else median, bounds)


def _table(found: dict[str, list[Timed]]) -> Table:
    rows = []
    for name, timed in found.items():
        summary = Summary.of([each.seconds for each in timed])
        bounds = timed[0].bounds
        interval = f"{bounds[0]:.6f} to {bounds[1]:.6f}" if bounds else ""
        rows.append((NAMES[name], number(summary.median), f"{number(summary.low)} to {number(summary.high)}", interval))
    return Table(("", "s", "min to max", "interval"), tuple(rows))


def _note(found: dict[str, list[Timed]], faster: Summary) -> str:
    ours, peers = ([each.seconds for each in found[name]] for name in (OURS, MIDRANKS))
    return (
        f"{ROWS:,} rows, one thread. The naive bootstrap is not run to its end: {MEASURED} resamples are timed and the"
        f" median is multiplied by {RESAMPLES:,}; sorting out percentiles is not counted. It takes {faster.sentence()}"
        f" times as long as ours (paired). Against midranks ours takes {ratio(ours, peers).sentence()} times as long."
        " Calls are counted after a first one, on the same rows. The figures depend on numpy's sort: with AVX-512 one"
        " of these rows takes a fraction of what it takes without, which ours feels more than the bootstrap does."
        " The second table is of whole processes, imports and the drawing of the rows included."
    )
