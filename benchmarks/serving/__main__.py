"""Measure the model server: `python -m benchmarks.serving`, from the root of the repository.

Writes results.md and results.json beside this file. With --only, the named parts are measured again and the others
stay as they are.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.program import Program
from benchmarks.serving.contenders import PEERS
from benchmarks.serving.servers import servers
from benchmarks.serving.soak import soak

PROGRAM = Program(
    folder=Path(__file__).parent,
    title="The model server, measured",
    parts={"servers": servers, "soak": soak},
    packages=(
        *("uvicorn", "httptools", "uvloop", "msgspec", "onnxruntime"),
        *("mlflow", "fastapi", "scikit-learn", "pandas"),
    ),
)


def main() -> int:
    """Say what is missing, or measure."""
    if shutil.which("wrk") is None:
        print("wrk is not installed; `apt-get install wrk` (Debian, Ubuntu) installs it", file=sys.stderr)
        return 1
    if not (PEERS / "bentoml").exists():
        print("BentoML is not installed; `make bench` installs it, and measures", file=sys.stderr)
        return 1
    return PROGRAM.main()


if __name__ == "__main__":
    sys.exit(main())
