"""Measure Terraform on AWS at loopback: `python -m benchmarks.cloud`, from the root of the repository.

Writes results.md and results.json beside this file. Needs terraform, and the provider as the tests do.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.cloud.life import life
from benchmarks.program import Program

PROGRAM = Program(
    folder=Path(__file__).parent,
    title="The cloud, measured",
    parts={"life": life},
    packages=("moto",),
)


def main() -> int:
    """Say what is missing, or measure."""
    if shutil.which("terraform") is None:
        print("terraform is not installed; see https://developer.hashicorp.com/terraform/install", file=sys.stderr)
        return 1
    return PROGRAM.main()


if __name__ == "__main__":
    sys.exit(main())
