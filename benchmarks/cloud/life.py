"""From nothing to nothing: init, plan, apply, a plan without changes, destroy, each as one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, Usage, run
from benchmarks.part import Part

TESTS = Path(__file__).parents[2] / "tests"
MOST_MINUTES = 3.0
STEPS = {
    "init": ("init", "-input=false"),
    "validate": ("validate",),
    "test": ("test",),
    "plan": ("plan", "-input=false", "-out=first"),
    "apply": ("apply", "-parallelism=30", "first"),
    "plan, no changes": ("plan", "-input=false", "-detailed-exitcode"),
    "destroy": ("destroy", "-auto-approve", "-parallelism=30"),
}


def life(folder: Path, runs: int) -> Part:
    """Make all of it and take it away again, on a fresh cloud each time."""
    sys.path.insert(0, str(TESTS))  # the cloud of the tests, and the copy that they make
    usages: dict[str, list[Usage]] = {name: [] for name in STEPS}
    for number in range(min(runs, 3)):
        for name, usage in _once(folder / str(number)).items():
            usages[name].append(usage)
    whole = [sum(each.wall_s for each in once) / 60 for once in zip(*usages.values(), strict=True)]
    goal = Goal("from nothing to nothing", MOST_MINUTES, "min", Summary.of(whole))
    note = (
        "The real provider on moto at loopback, a fresh one each time, state in a file. Most of it is waiting that"
        " the provider does on AWS as well: 55 s for the rules of a bucket's life cycle, up to 60 s, drawn at random,"
        " before a cluster is deleted. On AWS a cluster takes ten minutes more each way. Peak memory is the larger"
        " one of Terraform and its provider."
    )
    return Part("From nothing to nothing", (Table.of_usages(usages),), (goal,), (note,), usages)


def _once(place: Path) -> dict[str, Usage]:
    from terraform_runs import copy, environment

    cloud = subprocess.Popen(
        [sys.executable, str(TESTS / "terraform_moto.py"), str(os.getpid())], stdout=subprocess.PIPE, text=True
    )
    try:
        assert cloud.stdout is not None
        port = int(cloud.stdout.readline())
        work, env = copy(place / "terraform"), environment(place / "home", port)
        found = {}
        for name, arguments in STEPS.items():
            if name == "test":  # whose runs bring their own settings
                (work / "terraform.tfvars").rename(work / "kept")
            found[name] = run(["terraform", *arguments], work, env)[0]
            if name == "test":
                (work / "kept").rename(work / "terraform.tfvars")
        return found
    finally:
        cloud.terminate()
        cloud.wait()
