"""Rehearses a workflow, by tests/workflows/run.mjs: job by job in fresh clones of a bare origin, with real Git and DVC.

The origin refuses every push that does not carry a token with the right to write, as GitHub does; no job holds one but
by its own `permissions`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock
from promoted import PRODUCTION, STAGING, Promoted
from repositories import TEMPLATE, bare_environment, make_repository
from sample.demo.plan import CML, Programs, permissions, plan
from tools import tool, unavailable
from warm import start
from warm.client import VARIABLE

from mergeline.release.manifests import NO_RELEASE, format_release

WORKFLOWS = TEMPLATE / ".github" / "workflows"
RUNNER = TEMPLATE / "tests" / "workflows"
HOOK = """\
#!/bin/sh
grep -qxF -e "$PUSH_TOKEN" pushers && exit 0
echo "this token may not push" >&2
exit 1
"""
A_PERSON = {"PUSH_TOKEN": "a-person"}


@dataclass(frozen=True, slots=True)
class Job:
    """How a job ended: its result, its outputs, its steps, and what it wrote."""

    result: str
    outputs: dict[str, str] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    summary: str = ""
    said: str = ""
    environment: str | None = None
    seconds: float = 0.0

    def step(self, name: str) -> dict[str, Any]:
        """A step by its name."""
        return next(each for each in self.steps if each["name"] == name)


@dataclass(frozen=True, slots=True)
class Origin:
    """A repository on the other side: bare, with the stores that its jobs share, and a folder for what is run."""

    place: Path

    @property
    def bare(self) -> Path:
        return self.place / "origin.git"

    @property
    def remote(self) -> Path:
        """The folder of the DVC remote, which copies share."""
        found = re.search(r"url = (/.*)", self.read("main", ".dvc/config"))
        assert found
        return Path(found[1])

    def git(self, *arguments: str) -> str:
        """Run Git in the bare repository."""
        done = subprocess.run(
            ["git", "-C", str(self.bare), *arguments],
            env=bare_environment(self.place),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def head(self, branch: str) -> str:
        """The commit of a branch."""
        return self.git("rev-parse", f"refs/heads/{branch}")

    def read(self, branch: str, path: Path | str) -> str:
        """A file of a branch."""
        return self.git("show", f"{branch}:{path}")

    def clone(self) -> Promoted:
        """A person's checkout, on main, whose pushes are let in; made anew at each call."""
        there = Promoted(self.place / "repository")
        shutil.rmtree(there.root, ignore_errors=True)
        subprocess.run(
            ["git", "clone", "-q", str(self.bare), str(there.root)], env=bare_environment(self.place), check=True
        )
        for name, value in (("user.name", "A person"), ("user.email", "person@example.org")):
            there.git("config", name, value)
        return there

    def push(self, here: Promoted, where: str) -> str:
        """Push what a person has at HEAD, and return its commit."""
        (self.bare / "pushers").write_text(A_PERSON["PUSH_TOKEN"] + "\n")
        done = here.tool("git", "push", "-q", "--force", "origin", f"HEAD:{where}", **A_PERSON)
        assert done.returncode == 0, done.stderr
        return here.git("rev-parse", "HEAD").strip()

    def copy_to(self, place: Path) -> Origin:
        """The bare repository at another place; the stores stay shared, as they are written once."""
        place.mkdir(parents=True)
        shutil.copytree(self.bare, place / "origin.git")
        return Origin(place)


def ask(question: Mapping[str, Any]) -> Any:
    """What GitHub's parser or evaluator says (tests/workflows/check.mjs)."""
    return json.loads(node("check.mjs", question))


def rehearse(
    origin: Origin,
    workflow: Path,
    event: str,
    payload: Mapping[str, Any],
    *,
    actions: Mapping[str, Any] | None = None,
    artifacts: Mapping[str, Mapping[str, bytes]] | None = None,
    again: bool = False,
    **more: Any,
) -> dict[str, Job]:
    """Run a workflow as far as it goes, and return its jobs; `more` are fields of the plan (see workflows/run.mjs).

    `artifacts` are those that jobs left which are `given`. With `again` it is a further attempt of the run before, as a
    person starts it: the artifacts of that one are there, and the jobs that ended well are to be `given`.
    """
    runs = origin.place / "runs"
    runs.mkdir(exist_ok=True)
    number = len(list(runs.iterdir())) + 1
    place = runs / str(number)
    place.mkdir()
    if again:
        shutil.copytree(runs / str(number - 1) / "artifacts", place / "artifacts")
    else:
        (place / "artifacts").mkdir()
    for name, files in (artifacts or {}).items():
        _seed(place / "artifacts" / name, files)
    may_push = [name for name, granted in rights(workflow).items() if granted.get("contents") == "write"]
    (origin.bare / "pushers").write_text("\n".join([*may_push, *A_PERSON.values()]) + "\n")
    warm, environment = start._started(), bare_environment(place)
    asked = plan(
        workflow, event, payload, origin.head("main"), origin.bare, place,
        Programs(str(warm / "mergeline"), str(warm / "dvc")),
        {**environment, VARIABLE: str(warm / "socket"), "PATH": f"{warm}:{environment['PATH']}"},
        {**CML, **(actions or {})},
    )  # fmt: skip
    report = json.loads(node("run.mjs", asked | more))
    assert report["errors"] == []
    known = {each.name for each in dataclasses.fields(Job)}
    return {
        name: Job(**{key: value for key, value in job.items() if key in known}) for name, job in report["jobs"].items()
    }


def rights(workflow: Path) -> dict[str, dict[str, str]]:
    """What the token of each job may, by the workflow; the token itself is `token-of-JOB`."""
    return {f"token-of-{name}": may for name, may in permissions(workflow).items()}


def results(jobs: Mapping[str, Job]) -> dict[str, str]:
    """The result of each job."""
    return {name: job.result for name, job in jobs.items()}


def node(program: str, question: Mapping[str, Any]) -> str:
    """Run a program of tests/workflows on a question in JSON; GitHub's packages are installed where they are not."""
    (npm,) = tool("npm")
    lock, installed = RUNNER / "package-lock.json", RUNNER / "node_modules" / ".package-lock.json"
    with FileLock(TEMPLATE / ".mergeline" / "workflow-tests.lock"):
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            done = subprocess.run(
                [str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=RUNNER,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                unavailable(f"npm ci in {RUNNER.name}/ failed: {done.stderr.strip()[-300:]}")
            installed.touch()
    done = subprocess.run(
        ["node", "--import", "./json.mjs", program],
        cwd=RUNNER,
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- Origins ---------------------------------------------------------------------------------------------------------


def make_fresh(place: Path) -> Origin:
    """A fresh copy of the template, of which nothing has run and nothing is set up; its data are a sample in Git."""
    here = Promoted(make_repository(place / "repository").root)
    shutil.copytree(here.root / "data", here.root / "sample")
    here.change_params({"gates.latency.max_ratio": 50})
    for path in (STAGING, PRODUCTION):
        (here.root / path).parent.mkdir(parents=True)
        (here.root / path).write_text(format_release(NO_RELEASE))
    _add_machinery(here)
    here.commit("The template")
    here.git("init", "-q", "--bare", "-b", "main", str(place / "origin.git"))
    here.git("push", "-q", str(place / "origin.git"), "HEAD:main")
    return _opened(Origin(place))


def make_shared(begun: Promoted, reviewed: Promoted, place: Path) -> Origin:
    """A repository with a model in production, whose DVC remote and model store every job reaches.

    Its branch `reviewed` holds the results of a better model, ready to be merged; what that took is in the stores.
    """
    here = begun.copy_to(place)
    store, remote = place / "store", place / "remote"
    shutil.copytree(reviewed.root / ".mergeline/store", store)
    shutil.copytree(reviewed.root / ".dvc/cache", remote)  # as `dvc push --run-cache` lays it out
    here.git("checkout", "-q", "main")
    done = here.run("remote", str(remote))
    assert done.returncode == 0, done.stderr
    _add_machinery(here)
    point_at_store(here, str(store))
    here.commit("What is set up")
    here.git("push", "-q", "origin", "main")
    here.git("fetch", "-q", str(reviewed.root), "better")
    here.git("checkout", "-q", "-b", "reviewed", "FETCH_HEAD")
    here.git("merge", "-q", "--no-edit", "-X", "ours", "origin/main")
    _results_of(here, reviewed)
    here.git("push", "-q", "origin", "reviewed")
    here.git("checkout", "-q", "main")
    return _opened(Origin(place))


def _results_of(here: Promoted, reviewed: Promoted) -> None:
    """Record what the merged branch has: its own results, compared with the same champion from the new store."""
    for folder in ("models/candidate", "reports/evaluate", "reports/validate", "reports/compare"):
        shutil.rmtree(here.root / folder, ignore_errors=True)
        shutil.copytree(reviewed.root / folder, here.root / folder)
    shutil.copytree(reviewed.root / ".dvc/cache", here.root / ".dvc/cache", dirs_exist_ok=True)
    for verb in ("repro", "record"):
        done = here.run(verb)
        assert done.returncode == 0, done.stderr


def point_at_store(here: Promoted, store: str) -> None:
    """Let the settings and both environments name a model store."""
    here.change_params({"release.store": store})
    for path in (STAGING, PRODUCTION):
        text = (here.root / path).read_text()
        (here.root / path).write_text(re.sub(r'(model-store: )"[^"]*"', rf'\1"{store}"', text))


def _add_machinery(here: Promoted) -> None:
    """What the jobs call beside `mergeline`."""
    (here.root / ".ci").mkdir()
    for name in ("place_results.py", "stopped", "propose_image.py", "tag-release"):
        shutil.copy(TEMPLATE / ".ci" / name, here.root / ".ci" / name)
    (here.root / ".github/workflows").mkdir(parents=True)
    for name in ("not-configured.md", "not-tracked.md"):
        shutil.copy(WORKFLOWS / name, here.root / ".github/workflows" / name)


def _opened(origin: Origin) -> Origin:
    """Let jobs ask for any commit, as GitHub does, and nobody push without the right to."""
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    hook = origin.bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK)
    hook.chmod(0o755)
    return origin


def _seed(artifact: Path, files: Mapping[str, bytes]) -> None:
    """Put an artifact where a job would have left it, with the hash that its transport is checked by."""
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        (artifact / path).parent.mkdir(parents=True, exist_ok=True)
        (artifact / path).write_bytes(content)
        digest.update(path.encode() + content)
    artifact.with_name(f"{artifact.name}.sha256").write_text(digest.hexdigest())
