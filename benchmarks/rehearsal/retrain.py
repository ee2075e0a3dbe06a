"""The workflow `retrain` on the flights, job by job in fresh clones, beside `mergeline repro` alone.

The jobs run as GitHub would run them (tests/workflows/run.mjs): real Git, real DVC, the commands of the clone itself, a
GitHub on loopback that takes the comment. Nothing is set up, as in a fresh copy of the template.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sample.demo.plan import OF_THIS_PYTHON, REPOSITORY, plan, pull_request

from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, Usage, alternate, number, ratio
from benchmarks.part import Part
from benchmarks.pipeline.scratch import TEMPLATE, Scratch

MOST_SECONDS = 180.0
OURS, PEER = "retrain, from the first job to a green gate", "mergeline repro --no-track"
RUNNER = TEMPLATE / "tests" / "workflows"
WORKFLOW = TEMPLATE / ".github" / "workflows" / "retrain.yml"
HUB = TEMPLATE / "tests" / "github_api.py"
BRANCH, NUMBER = "first", 1


@dataclass(frozen=True, slots=True)
class PullRequest:
    """The first pull request of a fresh copy, on a bare origin; `template` is a checkout with the data in place."""

    template: Scratch
    origin: Path
    sha: str

    def rehearsed(self, place: Path, figures: list[dict[str, float]]) -> Usage:
        """Run the workflow, and note how long each job took; raises `RuntimeError` where its gate is not green."""
        (place / "artifacts").mkdir(parents=True)
        with _github(place, self.origin, self.sha) as url:
            (place / "plan.json").write_text(json.dumps(self.plan(place, url)), encoding="utf-8")
            command = f"cd '{RUNNER}' && node --import ./json.mjs run.mjs < '{place}/plan.json' > '{place}/report.json'"
            usage = self.template.run("bash", "-euc", command)
        report = json.loads((place / "report.json").read_text(encoding="utf-8"))
        figures.append(seconds(report))
        shutil.rmtree(place)
        return usage

    def alone(self, place: Path) -> Usage:
        """Run the pipeline alone in a copy in which nothing has run."""
        shutil.copytree(self.template.root, place, symlinks=True)
        usage = Scratch(place).run("mergeline", "repro", "--no-track")
        shutil.rmtree(place)
        return usage

    def plan(self, place: Path, url: str) -> dict[str, Any]:
        """What is to be run, as tests/workflows/run.mjs takes it."""
        event = pull_request(self.sha, BRANCH, number=NUMBER)
        environment = self.template.environment()
        return plan(WORKFLOW, "pull_request", event, self.sha, self.origin, place, OF_THIS_PYTHON, environment, api=url)


def retrain(folder: Path, runs: int) -> Part:
    """Rehearse the first pull request ever, and run what it trains alone, in turn."""
    pull_request = _proposed(folder)
    turns = iter(range(2 * runs))
    figures: list[dict[str, float]] = []
    usages = alternate(
        runs,
        {
            OURS: lambda: pull_request.rehearsed(folder / f"run-{next(turns)}", figures),
            PEER: lambda: pull_request.alone(folder / f"alone-{next(turns)}"),
        },
    )
    wall = {name: [each.wall_s for each in found] for name, found in usages.items()}
    beside = ratio(wall[OURS], wall[PEER])
    goal = Goal("from the pull request to a green gate, set-up apart", MOST_SECONDS, "s", Summary.of(wall[OURS]))
    note = (
        "The first pull request of a fresh copy, on the repository's own data: it is trained, commented, recorded in a"
        " clone, judged once more in another one, and its gate is green. That takes"
        f" {beside.sentence()} times what the pipeline alone takes (paired). Apart is what GitHub adds: waiting for"
        " machines, installing the environment, moving artifacts over the network."
    )
    tables = (Table.of_usages(usages), by_job(figures))
    return Part("retrain on the flights", tables, (goal,), (note,), usages, {"seconds of each job": figures})


def seconds(report: Mapping[str, Any]) -> dict[str, float]:
    """Return how long each job took; raise `RuntimeError` where one did not end well."""
    wrong = [f"{name}: {job['result']}\n{job.get('said', '')}" for name, job in report["jobs"].items() if _bad(job)]
    if report["errors"] or wrong or not report["jobs"]:
        raise RuntimeError("\n".join([*report["errors"], *wrong]) or "no job ran")
    return {name: float(job["seconds"]) for name, job in report["jobs"].items()}


def by_job(figures: list[dict[str, float]]) -> Table:
    """Return the medians, a row a job."""
    rows = []
    for name in figures[0]:
        found = Summary.of([each[name] for each in figures])
        rows.append((name, number(found.median), f"{number(found.low)} to {number(found.high)}"))
    return Table(("job", "wall s", "wall, min to max"), tuple(rows))


def _bad(job: Mapping[str, Any]) -> bool:
    return bool(job["result"] != "success")


def _proposed(folder: Path) -> PullRequest:
    """A fresh copy of the template with a branch, and a bare origin that has both."""
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"], cwd=RUNNER, check=True)
    template = Scratch.make(folder / "template")
    template.run("git", "branch", "--move", "main")
    origin = folder / "origin.git"
    template.run("git", "clone", "--quiet", "--bare", ".", str(origin))
    template.run("git", "remote", "add", "origin", str(origin))
    template.run("git", "fetch", "--quiet", "origin")
    template.run("git", "checkout", "--quiet", "-b", BRANCH)
    template.commit()
    template.run("git", "push", "--quiet", "origin", BRANCH)
    template.run("git", "-C", str(origin), "config", "uploadpack.allowAnySHA1InWant", "true")
    return PullRequest(template, origin, template.read("git", "rev-parse", "HEAD")[1].strip())


@contextmanager
def _github(place: Path, origin: Path, sha: str) -> Iterator[str]:
    """A GitHub that knows the pull request and lets the job `report` comment; yields its address."""
    pull = {"head": BRANCH, "base": "main", "from": REPOSITORY, "draft": False, "sha": sha, "merged": False}
    issue = {"number": NUMBER, "id": 1, "title": BRANCH, "body": None, "state": "open", "labels": [], "user": "person"}
    may = {"metadata": "read", "contents": "read", "pull_requests": "write"}
    state = {
        "tokens": {"token-of-report": {"login": "github-actions[bot]", "kind": "installation", "permissions": may}},
        "repositories": {REPOSITORY: {"git": str(origin), "issues": [{**issue, "pull": pull}]}},
    }
    (place / "state.json").write_text(json.dumps(state), encoding="utf-8")
    command = [sys.executable, str(HUB), "--state", str(place / "state.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
