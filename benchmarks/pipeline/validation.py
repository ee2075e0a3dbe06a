"""What validating costs beside importing Great Expectations, and whether more partitions take more memory."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.findings import Goal, Table
from benchmarks.measurement import alternate, difference, ratio
from benchmarks.part import Part
from benchmarks.pipeline.scratch import Scratch

BARE = "import great_expectations"
SIX, MORE = "validate, 6 partitions", "validate, 36 partitions of the same sizes"


def validation(folder: Path, runs: int) -> Part:
    """Validate the six months, the bare import in turn with it; then the six months again and again as six years."""
    scratch = Scratch.make(folder / "validation")
    longer = Scratch.with_months(folder / "longer", months=6, years=6)
    usages = alternate(
        runs,
        {
            BARE: lambda: scratch.run(sys.executable, "-c", BARE, GX_ANALYTICS_ENABLED="false"),
            SIX: lambda: scratch.run("mergeline", "validate"),
        },
    )
    usages |= alternate(1, {MORE: lambda: longer.run("mergeline", "validate")})
    over = difference([each.wall_s for each in usages[SIX]], [each.wall_s for each in usages[BARE]])
    memory = ratio([each.peak_mb for each in usages[MORE]], [usages[SIX][-1].peak_mb])
    goals = (
        Goal("validate 166,158 rows, over the bare import (paired)", 1.5, "s", over),
        Goal("validate's memory: 36 partitions against 6 of the same sizes", 1.1, "x", memory),
    )
    return Part("Validation", (Table.of_usages(usages),), goals, usages=usages)
