"""Measure the way back: `python -m benchmarks.promotion`, from the root of the repository.

Writes results.md and results.json beside this file. With --only, the named parts are measured again and the others
stay as they are.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.program import Program
from benchmarks.promotion.rollback import rollback

PROGRAM = Program(
    folder=Path(__file__).parent,
    title="Promotion and rollback, measured",
    parts={"rollback": rollback},
    packages=("ruamel.yaml",),
)


def main() -> int:
    """Say what is missing, or measure."""
    if shutil.which("kubectl") is None:
        print("kubectl is not installed; see https://kubernetes.io/docs/tasks/tools/", file=sys.stderr)
        return 1
    return PROGRAM.main()


if __name__ == "__main__":
    sys.exit(main())
