"""Measure the drift check: `python -m benchmarks.drift`, from the root of the repository.

Writes results.md and results.json beside this file. With --only, the named parts are measured again and the others
stay as they are. The peers go into environments of their own under .mergeline/drift-peers, made by pip where they are
not there yet. `huge` (100 million rows, 10 GB on the disk) runs only where it is named.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.drift.alarms import alarms
from benchmarks.drift.speed import huge, million, ten_million
from benchmarks.program import Program

PARTS = {"million": million, "ten_million": ten_million, "alarms": alarms}
ON_REQUEST = {"huge": huge}
PROGRAM = Program(
    folder=Path(__file__).parent,
    title="The drift check, measured",
    parts=PARTS | (ON_REQUEST if "huge" in sys.argv else {}),
    packages=("numpy", "pyarrow", "scikit-learn", "pandas", "scipy"),
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
