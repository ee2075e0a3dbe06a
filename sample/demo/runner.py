"""The workflows' runner (tests/workflows/run.mjs): whether it is here, what it is told, what is made of its answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sample.demo.interruption import held_back
from sample.demo.plan import CML, Programs, plan
from sample.demo.process import kill

from mergeline.errors import VerificationError

if TYPE_CHECKING:
    from sample.demo.place import Place

FOLDER = Path("tests") / "workflows"
LONGEST_INSTALL_S = 90.0
OLDEST_NODE = 20
PLAN, REPORT = "plan.json", "report.json"
SHOWN_LINES = 6
APP: Mapping[str, Any] = {"actions/create-github-app-token": {"ok": True, "outputs": {"token": "token-of-app"}}}
INSTALL = ("ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--fetch-retries=1")


class Unavailable(Exception):
    """The runner is not here; the text says what is missing, as in `because TEXT`."""


@dataclass(frozen=True, slots=True)
class Job:
    """How a job ended: success, failure or skipped; its outputs, its steps, all that it said."""

    name: str
    result: str
    outputs: Mapping[str, str]
    steps: tuple[Mapping[str, Any], ...]
    said: str
    seconds: float

    def step(self, name: str) -> Mapping[str, Any]:
        """A step by its name."""
        return next(each for each in self.steps if each["name"] == name)

    @property
    def failed(self) -> tuple[Mapping[str, Any], ...]:
        """The steps that failed, also those whose failure the workflow allows."""
        return tuple(each for each in self.steps if each.get("outcome") == "failure")


# ---- Is it here ------------------------------------------------------------------------------------------------------


def installed(template: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the runner's folder in the template, with GitHub's packages in it; they are installed where they are not.

    Raises `Unavailable` where Node, npm, the runner or the packages cannot be had.
    """
    from filelock import FileLock

    folder = template / FOLDER
    node, npm = (shutil.which(name, path=environment.get("PATH")) for name in ("node", "npm"))
    if node is None or npm is None:
        raise Unavailable("Node is not here" if node is None else "npm is not here")
    if not (folder / "run.mjs").is_file():
        raise Unavailable(f"{FOLDER}/run.mjs is not in this repository")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if not said.startswith("v") or int(said[1:].partition(".")[0]) < OLDEST_NODE:
        raise Unavailable(f"Node is {said or 'broken'} here, and {OLDEST_NODE} is needed")
    lock, stamp = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    try:
        (template / ".mergeline").mkdir(exist_ok=True)
        with FileLock(template / ".mergeline" / "workflow-tests.lock"):  # the tests' own: both install there
            if not stamp.exists() or stamp.stat().st_mtime < lock.stat().st_mtime:
                _install(npm, folder)
                stamp.touch()
    except OSError as err:
        raise Unavailable(f"`npm ci` in {FOLDER} did not end well ({err.strerror or err})") from err
    return folder


def _install(npm: str, folder: Path) -> None:
    """Run `npm ci`; raise `Unavailable` where it does not end well, or not in time."""
    process = None
    try:
        with held_back():
            process = subprocess.Popen(
                [npm, *INSTALL],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                process_group=0,
            )
        _, said = process.communicate(timeout=LONGEST_INSTALL_S)
    except BaseException as err:
        if process is not None:
            kill(process)
            process.communicate()
        if isinstance(err, subprocess.TimeoutExpired):
            raise Unavailable(f"`npm ci` in {FOLDER} did not end in {LONGEST_INSTALL_S:.0f} s") from err
        raise
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[:1]
        raise Unavailable(f"`npm ci` in {FOLDER} did not end well ({' '.join(last) or process.returncode})")


# ---- What it is told -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a workflow: its event, the commit that it is about, where its jobs play.

    `given` are jobs that are not run, each with the result that is taken for it; `environment` is added to that of the
    place.
    """

    workflow: str
    event: str
    payload: Mapping[str, Any]
    sha: str
    place: Path
    variables: Mapping[str, str]
    given: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def plan(self, place: Place, programs: Programs, api: str) -> dict[str, Any]:
        """What tests/workflows/run.mjs is told: the workflow of the place's checkout, with `programs` for its jobs."""
        return plan(
            place.root / ".github" / "workflows" / self.workflow,
            self.event,
            self.payload,
            self.sha,
            place.origin,
            self.place,
            programs,
            {**place.environment(), **self.environment},
            {**CML, **APP},
            vars=self.variables,
            secrets={"MERGELINE_APP_KEY": "of the app that is played"},
            given={name: {"result": result} for name, result in self.given.items()},
            api=api,
        )


def played(place: Place, folder: Path, runs: Sequence[Run], programs: Programs, api: str) -> list[dict[str, Job]]:
    """Let the runner play runs side by side, to their ends; return the jobs of each."""
    commands = [_command(place, folder, run, programs, api) for run in runs]
    ended = place.start_and_wait(runs[0].workflow, *commands)
    return [_answer(place, run, done) for run, done in zip(runs, ended, strict=True)]


def _command(place: Place, folder: Path, run: Run, programs: Programs, api: str) -> list[str]:
    run.place.joinpath("artifacts").mkdir(parents=True)
    (run.place / PLAN).write_text(json.dumps(run.plan(place, programs, api)), encoding="utf-8")
    script = 'cd "$1" && exec node --import ./json.mjs run.mjs < "$2" > "$3"'
    return ["sh", "-c", script, "sh", str(folder), str(run.place / PLAN), str(run.place / REPORT)]


def _answer(place: Place, run: Run, done: subprocess.CompletedProcess[str]) -> dict[str, Job]:
    report = (run.place / REPORT).read_text(encoding="utf-8")
    if done.returncode or not report.strip():
        raise VerificationError(
            f"demo: {place.act}: {run.workflow}: expected the runner to end well, found exit code {done.returncode}"
            f" ({' '.join(done.stderr.split())[-300:]})"
        )
    return read(json.loads(report), run.workflow)


# ---- What is made of its answer --------------------------------------------------------------------------------------


def read(report: Mapping[str, Any], workflow: str) -> dict[str, Job]:
    """Return the jobs of a report; raise `VerificationError` where GitHub's parser objects to the workflow."""
    if report["errors"]:
        raise VerificationError(f"{workflow}: expected a workflow that GitHub takes, found {report['errors'][0]}")
    return {
        name: Job(
            name,
            job["result"],
            job.get("outputs") or {},
            tuple(job.get("steps") or ()),
            job.get("said") or "",
            float(job.get("seconds") or 0.0),
        )
        for name, job in report["jobs"].items()
    }


def refuse_other_ends(workflow: str, jobs: Mapping[str, Job], wanted: Mapping[str, str], log: Path) -> None:
    """Raise `VerificationError` for the first job that did not end as it has to, with its steps that failed.

    `wanted` is the result of each job by its name; jobs that it does not name have to end with success.
    """
    missing = [name for name in wanted if name not in jobs]
    if missing or not jobs:
        raise VerificationError(
            f"{workflow}: expected a job `{missing[0] if missing else '*'}`, found none; read {log}"
        )
    for name, job in jobs.items():
        expected = wanted.get(name, "success")
        if job.result != expected:
            raise VerificationError(
                f"{workflow}: expected {expected} of the job `{name}`, found {job.result}{_where(job)}; read {log}"
            )


def _where(job: Job) -> str:
    """At which steps a job failed, and what was said last."""
    if not job.failed:
        return ""
    names = ", ".join(f"`{step['name']}`" for step in job.failed)
    last = " | ".join(_lines(job.failed)[-SHOWN_LINES:])
    return f" at {names} ({last})" if last else f" at {names}"


def _lines(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    return [line for step in steps for line in str(step.get("said") or "").strip().splitlines() if line.strip()]
