"""A copy of the repository in which the pipeline has run and its model is released to staging."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.pipeline.scratch import Scratch

BODIES = "bodies"
IDENTITY = {"NAME": "benchmark", "EMAIL": "benchmark@example.org"}


def released(root: Path) -> Scratch:
    """Run the pipeline on the sample, release the model, write the peers' models and the bodies of requests."""
    scratch = Scratch.make(root)
    scratch.run("git", "branch", "-M", "main")
    scratch.run("mergeline", "repro", "--no-track", "--base", "main")
    scratch.commit()
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in IDENTITY.items()}
    scratch.run("mergeline", "record", "--base", "main~1", **who)
    python(scratch, "prepare.py", BODIES)
    return scratch


def python(scratch: Scratch, program: str, *arguments: str) -> str:
    """Run a program of this folder in the copy and return what it wrote."""
    return scratch.read(sys.executable, "-P", str(Path(__file__).parent / program), *arguments)[1]
