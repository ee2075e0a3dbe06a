"""Measure a pull request: `python -m benchmarks.rehearsal`, from the root of the repository.

Writes results.md and results.json beside this file.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.program import Program
from benchmarks.rehearsal.retrain import retrain

PROGRAM = Program(
    folder=Path(__file__).parent,
    title="A pull request, rehearsed and measured",
    parts={"retrain": retrain},
    packages=("dvc", "scikit-learn", "great-expectations"),
)


def main() -> int:
    """Say what is missing, or measure."""
    if shutil.which("npm") is None:
        print("npm is not installed; it comes with Node.js 20 or later, see https://nodejs.org/", file=sys.stderr)
        return 1
    return PROGRAM.main()


if __name__ == "__main__":
    sys.exit(main())
