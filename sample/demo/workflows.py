"""The other way to play them: the workflows' own `run:` lines, job by job in fresh clones, by tests/workflows/run.mjs.

The repository is one in which a team has set up what all jobs share: a DVC remote, a model store, a prediction log, an
app whose pushes start workflows. The app's token and the installation of CML are played, and a GitHub on loopback takes
the comments, the issue and the pull requests.
"""

from __future__ import annotations

import datetime as dt
import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sample.demo import forks, runner
from sample.demo.hub import Hub
from sample.demo.place import Done, Place
from sample.demo.plan import HOME, Programs, permissions, pull_request
from sample.demo.runner import Job, Run
from sample.demo.verbs import DRIFT_HTML, PERFORMANCE_HTML, Checked, Judged, Refused, failed

from mergeline.errors import DegradationFound

RETRAIN, PROMOTE, DRIFT = "retrain.yml", "promote.yml", "drift.yml"
# how a run ends that has recorded its results, and one whose results are refused
RECORDED_NOW = {"evaluate-again": "skipped", "gate": "failure"}
RED = {"gate": "failure"}
NEXT_COMMIT = "The results are in this commit, not in the next one"
GATE = "The gate"
# promote.yml's jobs of what is not set up here: a schedule to be watched, a cluster, MLflow
NOT_HERE = ("watched", "deploy-staging", "registry", "deploy-production", "rollback")
# The flights are of a past year: the verbs that ask what day it is are told it.
COMMAND = """\
#!/bin/sh
if [ -n "$DEMO_NOW" ]; then
  case "$1 $2" in
    "drift "*) set -- "$@" --until "$DEMO_UNTIL" ;;
    "performance "* | "collect "* | "decide ") set -- "$@" --now "$DEMO_NOW" ;;
  esac
fi
exec {mergeline} "$@"
"""


@dataclass(slots=True)
class Workflows:
    """The workflows of a place, by the runner in `folder`; `runs` counts those that have been played."""

    place: Place
    folder: Path
    runs: int = 0
    hub: Hub = field(init=False)

    def __post_init__(self) -> None:
        self.hub = Hub(self.place, self.folder.parent)

    @property
    def how(self) -> str:
        """How the acts are played, for a person."""
        return "by the workflows' own run: lines"

    @property
    def command(self) -> Path:
        """The `mergeline` of the jobs."""
        return self.place.folder / "mergeline"

    def set_up(self) -> None:
        """Set up what all jobs share, as a commit to main."""
        place = self.place
        if place.forks is None:
            place.forks = forks.started(place, self.folder.parent)
        place.tool("git", "-C", str(place.origin), "config", "uploadpack.allowAnySHA1InWant", "true")  # as GitHub does
        place.run("remote", str(place.folder / "remote"))
        place.change_params({"release.store": str(place.folder / "store")})
        place.commit("Set up what all jobs share")
        place.git("push", "-q", "origin", "main")
        place.shared = True

    # ---- retrain.yml -----------------------------------------------------------------------------------------------

    def propose(self, branch: str) -> None:
        """Push the branch that is checked out, and the rows that it names."""
        self.place.tool("dvc", "push", "--quiet", "data.dvc")
        self.place.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}")

    def judge(self, branch: str) -> Judged:
        """Let `retrain.yml` run for a branch until a gate is green: on the commit that holds the results."""
        place, number = self.place, self._number(branch)
        ((run, jobs),) = self._retrain({branch: number})
        if jobs["record"].outputs.get("pushed") == "true":
            self._recorded(run, jobs)
            ((run, jobs),) = self._retrain({branch: number})
        self._ended(run, jobs, {})
        said = str(jobs["gate"].step(GATE)["said"])
        place.expect("REFUSED" not in said and "held" in said, "a gate on which everything holds")
        self._fetch(branch)
        judged = place.git("rev-parse", "HEAD")
        place.expect(judged == run.sha, f"the commit {run.sha[:12]} that the gate has judged, found {judged[:12]}")
        return Judged(number, _report(run))

    def refuse(self, branches: Sequence[str]) -> list[Refused]:
        """Let `retrain.yml` run for branches whose gate has to be red, side by side, as on GitHub."""
        numbers = {branch: self._number(branch) for branch in branches}
        for run, jobs in self._retrain(numbers):
            self.place.expect(jobs["record"].outputs.get("pushed") == "true", "results that are recorded")
            self._recorded(run, jobs)
        return [self._refused(run, jobs) for run, jobs in self._retrain(numbers)]

    def turn_back(self, branch: str) -> Judged:
        """The same of a revert, for which nothing may be trained or recorded."""
        before = self.runs
        judged = self.judge(branch)
        self.place.expect(self.runs == before + 1, "a revert whose first run is its last")
        return judged

    def merge(self, judged: Judged, branch: str, title: str) -> str:
        """Merge a pull request; return the commit."""
        commit = self.place.merge(f"origin/{branch}", f"{title} (#{judged.number})")
        self.hub.merged(judged.number)
        return commit

    def _number(self, branch: str) -> int:
        """The number of a branch's pull request."""
        return self.hub.pull(branch, self.place.git("log", "-1", "--format=%s", f"origin/{branch}"))

    def _retrain(self, numbers: Mapping[str, int]) -> list[tuple[Run, dict[str, Job]]]:
        """Run `retrain.yml` for what branches are now, each by the number of its pull request."""
        self.place.git("fetch", "-q", "origin")
        runs = []
        for branch, number in numbers.items():
            sha = self.place.git("rev-parse", f"origin/{branch}")
            runs.append(self._run(RETRAIN, "pull_request", pull_request(sha, branch, number=number), sha))
        return self._play(*runs)

    def _recorded(self, run: Run, jobs: Mapping[str, Job]) -> None:
        """See that a run's results are on the branch, and that its gate waits for their commit."""
        self._ended(run, jobs, RECORDED_NOW)
        self.place.expect(jobs["gate"].failed[0]["name"] == NEXT_COMMIT, "a gate that waits for the recorded commit")

    def _refused(self, run: Run, jobs: Mapping[str, Job]) -> Refused:
        self._ended(run, jobs, RED)
        step = jobs["gate"].failed[0]
        self.place.expect(step["name"] == GATE, f"a gate that is red for what it asks, found `{step['name']}`")
        return Refused(failed(str(step["said"])), _report(run))

    def _fetch(self, branch: str) -> None:
        """Have in the checkout what the branch has become."""
        self.place.git("fetch", "-q", "origin")
        self.place.git("checkout", "-q", "-f", "-B", branch, f"origin/{branch}")

    # ---- promote.yml -----------------------------------------------------------------------------------------------

    def ask_and_propose(self, url: str) -> None:
        """What follows the merge to staging, by `promote.yml`: verified, asked at `url`, proposed to production."""
        place = self.place
        wanted = dict.fromkeys(NOT_HERE, "skipped")
        if not place.released("production"):
            wanted |= dict.fromkeys(("retire", "tag"), "skipped")
        sha = place.git("rev-parse", "origin/main")
        ((run, jobs),) = self._play(self._run(PROMOTE, "push", {"repository": HOME}, sha, {"STAGING_URL": url}))
        self._ended(run, jobs, wanted)
        place.git("fetch", "-q", "origin")

    def promote(self, title: str) -> str:
        """Merge the proposal; return the commit."""
        branch = "promote/production"
        return self.merge(Judged(self.hub.pull(branch, title), Path()), branch, title)

    # ---- drift.yml -------------------------------------------------------------------------------------------------

    def check(self, until: dt.datetime, now: dt.datetime, act: bool) -> Checked:
        """Let `drift.yml` look, with `act` also collect and propose where the decision asks for a retraining.

        Drift looks at no window that ends after `until`. Without `act` the jobs that collect and propose are left out.
        """
        place = self.place
        left_out = {} if act else dict.fromkeys(("collect", "propose"), "skipped")
        days = {"DEMO_UNTIL": f"{until:%Y-%m-%d}", "DEMO_NOW": now.isoformat()}
        sha = place.git("rev-parse", "origin/main")
        ((run, jobs),) = self._play(self._run(DRIFT, "schedule", {"repository": HOME}, sha, {}, left_out, days))
        retrains = act and jobs.get("watch") is not None and jobs["watch"].outputs.get("retrain") == "true"
        self._ended(run, jobs, {} if retrains else dict.fromkeys(("collect", "propose"), "skipped"), keep=True)
        decision = json.loads((run.place / "artifacts/decision/decision.json").read_text(encoding="utf-8"))
        performance = run.place / "performance.html"
        shutil.copy(run.place / "jobs/watch/work" / PERFORMANCE_HTML, performance)
        shutil.rmtree(run.place / "jobs")
        partitions: tuple[str, ...] = ()
        if retrains:
            record, _ = json.JSONDecoder().raw_decode(str(jobs["collect"].step("All partitions that are due")["said"]))
            partitions = tuple(str(each["partition"]) for each in record["partitions"])
            found = (0, DegradationFound.exit_code)  # no window is new: it makes the page of those that were checked
            page = ("--html", str(place.folder / DRIFT_HTML))
            place.run("drift", "--until", days["DEMO_UNTIL"], *page, code=found)
            place.git("fetch", "-q", "origin")
        return Checked(decision, partitions, place.folder / DRIFT_HTML, performance)

    # ---- A run -----------------------------------------------------------------------------------------------------

    def _run(
        self,
        workflow: str,
        event: str,
        payload: Mapping[str, Any],
        sha: str,
        variables: Mapping[str, str] | None = None,
        given: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Run:
        """The next run, in a folder of its own."""
        self.runs += 1
        set_up = {"MERGELINE_RECORD": "true", "MERGELINE_APP_ID": "1", "MERGELINE_LOG": str(self.place.log)}
        where = self.place.folder / "runs" / str(self.runs)
        named = {**set_up, **(variables or {})}
        return Run(workflow, event, payload, sha, where, named, given or {}, environment or {})

    def _play(self, *runs: Run) -> list[tuple[Run, dict[str, Job]]]:
        """Play runs of one workflow side by side, to their ends, whatever those are; what their jobs said is kept."""
        place = self.place
        programs = place.programs
        self.command.write_text(COMMAND.format(mergeline=programs.mergeline), encoding="utf-8")
        self.command.chmod(0o755)
        own = Programs(shlex.quote(str(self.command)), programs.dvc)
        with self.hub.served(permissions(place.root / ".github/workflows" / runs[0].workflow)) as url:
            played = list(zip(runs, runner.played(place, self.folder, runs, own, url), strict=True))
        for run, jobs in played:
            self._tell(run, jobs)
        return played

    def _tell(self, run: Run, jobs: Mapping[str, Job]) -> None:
        """Add the jobs of a run to those that have run, and what they said to the file that a person reads."""
        with (self.place.folder / "jobs.log").open("a", encoding="utf-8") as log:
            for job in jobs.values():
                log.write(f"==== run {run.place.name}, {run.workflow}, job {job.name}: {job.result}\n{job.said}\n")
        for job in jobs.values():
            if job.name not in run.given and job.result != "skipped":
                ran = sum(each.get("outcome") != "skipped" for each in job.steps)
                code = 0 if job.result == "success" else 1
                self.place.tell(Done(f"{run.workflow}, job {job.name}: {ran} steps", code, "", "", job.seconds))

    def _ended(self, run: Run, jobs: Mapping[str, Job], wanted: Mapping[str, str], *, keep: bool = False) -> None:
        """Let the demo fail where a job has not ended as it has to; its clones then stay. Else they go."""
        runner.refuse_other_ends(run.workflow, jobs, wanted, self.place.folder / "jobs.log")
        if not keep:
            shutil.rmtree(run.place / "jobs")


def _report(run: Run) -> Path:
    return run.place / "artifacts" / "report" / "report.html"
