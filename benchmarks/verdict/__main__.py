"""Measure the verdict: `python -m benchmarks.verdict`, from the root of the repository.

Writes results.md and results.json beside this file. With --only, the named parts are measured again and the others
stay as they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.program import Program
from benchmarks.verdict.delong import delong
from benchmarks.verdict.whole import whole

PROGRAM = Program(
    folder=Path(__file__).parent,
    title="The verdict, measured",
    parts={"delong": delong, "whole": whole},
    packages=("numpy", "scipy", "scikit-learn", "pandas", "onnxruntime"),
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
