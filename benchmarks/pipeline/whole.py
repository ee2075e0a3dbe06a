"""What the whole pipeline costs from nothing, and once more."""

from __future__ import annotations

from pathlib import Path

from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, Usage
from benchmarks.part import Part
from benchmarks.pipeline.scratch import Scratch

FIRST, SECOND = "mergeline repro, the first run", "mergeline repro, the second run"


def whole(folder: Path, runs: int) -> Part:
    """Run the pipeline in copies in which nothing has run, twice in each."""
    usages: dict[str, list[Usage]] = {FIRST: [], SECOND: []}
    ran = []
    for turn in range(runs):
        scratch = Scratch.make(folder / f"whole-{turn}")
        usages[FIRST].append(scratch.run("mergeline", "repro"))
        usage, text = scratch.read("mergeline", "repro")
        usages[SECOND].append(usage)
        ran.append(text.count("Running stage"))
    goals = (
        Goal(
            "the whole pipeline from nothing, set-up apart",
            30,
            "s",
            Summary.of([each.wall_s for each in usages[FIRST]]),
        ),
        Goal("stages that run the second time", 0, "stages", Summary.of(ran)),
    )
    return Part("The whole pipeline on the flights", (Table.of_usages(usages),), goals, usages=usages)
