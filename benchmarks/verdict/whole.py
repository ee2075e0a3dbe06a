"""What a whole verdict costs: `mergeline compare` of two models on the flights, and the verbs around it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, Usage, alternate, number, ratio
from benchmarks.part import Part
from benchmarks.pipeline.modules import bare_import, imported
from benchmarks.pipeline.scratch import Scratch

MOST_SECONDS = 3.0
COMPARE, MODULES = "mergeline compare", "the same imports alone"
VERBS = ("champion", "report", "gate")
PRODUCTION = "k8s/overlays/production/release.yaml"
STAGING = "k8s/overlays/staging/release.yaml"


def whole(folder: Path, runs: int) -> Part:
    """Put a model into production, train another, and judge it again and again."""
    scratch = Scratch.make(folder / "whole")
    _promote(scratch)
    scratch.set_param("seed", "2014")
    scratch.run("mergeline", "repro", "--no-track", "--base", "main")
    modules = imported(scratch, ["mergeline", "compare"])
    contenders: dict[str, Callable[[], Usage]] = {
        COMPARE: lambda: scratch.run("mergeline", "compare"),
        MODULES: lambda: bare_import(scratch, modules),
    }
    for verb in VERBS:
        contenders[f"mergeline {verb}"] = lambda verb=verb: _allowed(scratch, verb)  # type: ignore[misc]
    usages = alternate(runs, contenders)
    wall = {name: [each.wall_s for each in found] for name, found in usages.items()}
    record = json.loads((scratch.root / "reports/comparison.json").read_text(encoding="utf-8"))
    rows, slices = record["holdout"]["rows"], len(record["slices"])
    goal = Goal(f"a whole verdict on {rows:,} rows, process and all", MOST_SECONDS, "s", Summary.of(wall[COMPARE]))
    own = ratio(wall[COMPARE], wall[MODULES])
    note = (
        f"Both models score {rows:,} rows; {slices} slices, eleven gates, both models' metrics with intervals, their"
        f" paired differences, the scoring times. The process takes {own.sentence()} times as long as its imports"
        f" alone (paired). The verdict: {record['sentence']}. Scoring time, candidate over champion:"
        f" {_ratio(scratch)}."
    )
    return Part("A whole verdict", (Table.of_usages(usages),), (goal,), (note,), usages)


def _promote(scratch: Scratch) -> None:
    """Let production serve the model that the first run makes."""
    scratch.run("git", "branch", "-M", "main")
    scratch.run("mergeline", "repro", "--no-track", "--base", "main")
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in IDENTITY.items()}
    scratch.commit()
    scratch.run("mergeline", "record", "--base", "main~1", **who)
    text = (scratch.root / STAGING).read_text(encoding="utf-8")
    (scratch.root / PRODUCTION).write_text(text, encoding="utf-8")
    scratch.commit()
    scratch.run("git", "checkout", "--quiet", "-b", "larger")


IDENTITY = {"NAME": "benchmark", "EMAIL": "benchmark@example.org"}


def _allowed(scratch: Scratch, verb: str) -> Usage:
    """A verb that may say no: a gate that refuses has done its work as well."""
    return scratch.run("bash", "-c", f"mergeline {verb} --base main || test $? = 4")


def _ratio(scratch: Scratch) -> str:
    timings = json.loads((scratch.root / ".mergeline/timings.json").read_text(encoding="utf-8"))
    ratio_ = timings["latency_ratio"]
    return f"{number(ratio_['estimate'])} ({number(ratio_['low'])} to {number(ratio_['high'])})"
