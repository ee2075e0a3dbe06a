"""What each stage costs as a process of its own, and how much of that is importing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.findings import Table
from benchmarks.measurement import Usage, alternate, difference, number, ratio
from benchmarks.part import Part
from benchmarks.pipeline.modules import bare_import, imported
from benchmarks.pipeline.scratch import Scratch

STAGES = ("validate", "train", "evaluate", "compare")
MODULES = ", the same imports alone"


def flights(folder: Path, runs: int) -> Part:
    """The stages on the repository's own data."""
    scratch = Scratch.make(folder / "flights")
    return _measured(scratch, "Stages on the flights (six months)", runs)


def million(folder: Path, runs: int) -> Part:
    """The stages on a million rows."""
    scratch = Scratch.with_months(folder / "million", months=12, years=3)
    return _measured(scratch, "Stages on 1,010,328 rows (the twelve months of the sample, three years)", min(runs, 3))


def _measured(scratch: Scratch, title: str, runs: int) -> Part:
    contenders: dict[str, Callable[[], Usage]] = {}
    scratch.run("mergeline", "champion")  # no base: a baseline stands in for it
    for stage in STAGES:  # in order: a stage reads what the one before it wrote
        modules = imported(scratch, ["mergeline", stage])
        contenders[stage] = lambda stage=stage: scratch.run("mergeline", stage)  # type: ignore[misc]
        contenders[stage + MODULES] = lambda modules=modules: bare_import(scratch, modules)  # type: ignore[misc]
    contenders["track (MLflow, the first candidate)"] = lambda: _tracked(scratch)
    usages = alternate(runs, contenders)
    return Part(title, tables=(Table.of_usages(usages), _shares(usages)), usages=usages)


def _tracked(scratch: Scratch) -> Usage:
    """Log the candidate that `train` left into a store that has to be made first."""
    for name in ("mlflow.db", "mlflow"):
        scratch.run("rm", "-rf", f".mergeline/{name}")
    return scratch.run("mergeline", "track")


def _shares(usages: dict[str, list[Usage]]) -> Table:
    rows = []
    for stage in STAGES:
        whole, bare = ([each.cpu_s for each in usages[name]] for name in (stage, stage + MODULES))
        share, own = ratio(bare, whole), difference(whole, bare)
        rows.append((stage, f"{share.median:.0%}", f"{share.low:.0%} to {share.high:.0%}", number(own.median)))
    return Table(("", "imports' share of the processor time", "min to max", "the rest, cpu s"), tuple(rows))
