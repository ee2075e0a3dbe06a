"""What it costs to find that there is nothing to do."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, Usage, alternate, ratio
from benchmarks.part import Part
from benchmarks.pipeline.scratch import Scratch

CALLS = (("repro",), ("status",), ("metrics", "diff"), ("params", "diff"))
ALL_IN_ONE = """
from pathlib import Path
from mergeline import pipeline
assert pipeline.reproduce(Path()) == ()
print(pipeline.freshness(Path()))
"""
PROCESS = "repro, status and both diffs in one process"
FOUR = "the same as four dvc commands"


def fresh(folder: Path, runs: int) -> Part:
    """No-op runs and freshness checks, DVC's own commands beside them."""
    scratch = Scratch.make(folder / "fresh")
    scratch.run("mergeline", "repro")
    scratch.commit()
    usages = alternate(
        runs,
        {
            "dvc repro": lambda: scratch.run("dvc", "repro"),
            "mergeline repro": lambda: scratch.run("mergeline", "repro"),
            "mergeline status": lambda: scratch.run("mergeline", "status"),
            PROCESS: lambda: scratch.run(sys.executable, "-c", ALL_IN_ONE),
            FOUR: lambda: _four(scratch),
            "import dvc.repo, networkx (what DVC needs)": lambda: _imported(scratch, "dvc.repo, networkx"),
            "import mergeline.cli": lambda: _imported(scratch, "mergeline.cli"),
        },
    )

    def wall(name: str) -> Summary:
        return Summary.of([each.wall_s for each in usages[name]])

    goals = (
        Goal("`dvc repro`, nothing to do", 0.8, "s", wall("dvc repro")),
        Goal("`mergeline repro`, nothing to do", 0.8, "s", wall("mergeline repro")),
        Goal(f"freshness: {PROCESS}", 1.2, "s", wall(PROCESS)),
    )
    against = ratio([each.wall_s for each in usages[PROCESS]], [each.wall_s for each in usages[FOUR]])
    note = f"One process costs {against.sentence()} times what the four dvc commands cost (paired)."
    return Part("Nothing to do", (Table.of_usages(usages),), goals, (note,), usages)


def _four(scratch: Scratch) -> Usage:
    each = [scratch.run("dvc", *call) for call in CALLS]
    return Usage(sum(one.wall_s for one in each), sum(one.cpu_s for one in each), max(one.peak_mb for one in each))


def _imported(scratch: Scratch, names: str) -> Usage:
    return scratch.run(sys.executable, "-c", f"import {names}")
