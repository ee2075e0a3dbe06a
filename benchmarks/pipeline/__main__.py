"""Measure the pipeline: `python -m benchmarks.pipeline`, from the root of the repository.

Writes results.md and results.json beside this file. With --only, the named parts are measured again and the others
stay as they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.pipeline.freshness import fresh
from benchmarks.pipeline.models import models
from benchmarks.pipeline.stages import flights, million
from benchmarks.pipeline.validation import validation
from benchmarks.pipeline.whole import whole
from benchmarks.program import Program

PROGRAM = Program(
    folder=Path(__file__).parent,
    title="The pipeline, measured",
    parts={
        "fresh": fresh,
        "validation": validation,
        "models": models,
        "whole": whole,
        "flights": flights,
        "million": million,
    },
    packages=(
        *("dvc", "great-expectations", "mlflow", "scikit-learn", "pandas"),
        *("pyarrow", "onnxruntime", "torch", "lightgbm"),
    ),
    needs={"lightgbm": "pip install -r benchmarks/requirements.txt", "torch": "make torch"},
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
