"""What follows a merge, rehearsed to its end: deployed, asked, registered, taken back; watched; and attempts again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_rehearsal
from github_api import GitHub
from promoted import PRODUCTION, STAGING
from rehearsal import Origin, rehearse, results
from sample.demo.plan import HOME, REPOSITORY, pull_request
from servers import Server, serving
from test_rehearsal import (
    LOOKED,
    OWN,
    PROMOTE,
    RETRAIN,
    ROLE,
    SHARED,
    SKIPPED,
    WELL,
    jobs_of,
    known,
    what_failed,
)

from mergeline.heartbeat import Beat, write_beat
from mergeline.logstore import open_log

shared_origin = test_rehearsal.shared_origin  # made once for all workers
origin = test_rehearsal.origin
github = test_rehearsal.github
# kubectl and the AWS client keep what they are told; a rollout ends as its namespace's file says
TOLD = """#!/bin/sh
echo "$(basename "$0") $*" >> {folder}/told
case "$*" in *rollout*) exit "$(cat "{folder}/$(echo "$*" | grep -o 'mergeline-[a-z]*')" 2>/dev/null || echo 0)" ;; esac
"""
CLUSTER = {"EKS_CLUSTER": "ours", "AWS_DEPLOY_ROLE": "arn:aws:iam::123456789012:role/deploy", "AWS_REGION": "us-east-1"}


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """The folder of both programs."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("kubectl", "aws"):
        (folder / name).write_text(TOLD.format(folder=folder))
        (folder / name).chmod(0o755)
    return folder


def staged(origin: Origin) -> None:
    """Give both environments an image, production by a commit of its own, so that there is a release to take back."""
    here = origin.clone()
    for path, digit in ((STAGING, "5"), (PRODUCTION, "7")):
        text = (here.root / path).read_text()
        (here.root / path).write_text(text.replace('image: "none"', f'image: "x@sha256:{digit * 64}"'))
    here.commit("release(production)")
    origin.push(here, "refs/heads/main")


@pytest.fixture
def server(origin: Origin, tmp_path: Path) -> Iterator[Server]:
    """Staging: the real server on what main names."""
    staged(origin)
    here = origin.clone()
    with serving(here.root, "--environment", "staging", "--log", "none") as running:
        yield running


def given(*but: str) -> dict[str, Any]:
    """All jobs of promote.yml taken as ended, but those that are rehearsed."""
    known_ends = LOOKED | {"verify": WELL}
    return {name: known_ends.get(name, SKIPPED) for name in jobs_of(PROMOTE) if name not in but}


def test_what_is_merged_is_deployed_asked_proposed_and_registered_and_a_failed_rollout_is_taken_back(
    origin: Origin, github: GitHub, server: Server, tools: Path, tmp_path: Path
) -> None:
    known(github, origin)
    (tools / "mergeline-production").write_text("1")
    registry = f"sqlite:///{tmp_path}/registry.db"
    variables = SHARED | CLUSTER | {"STAGING_URL": server.url, "MLFLOW_TRACKING_URI": registry}
    after = ("deploy-staging", "smoke", "propose", "registry", "deploy-production", "rollback")
    jobs = rehearse(
        origin, PROMOTE, "push", {"repository": HOME}, vars=variables, given=given(*after), api=github.url,
        path=str(tools), actions={ROLE: {"ok": True}},
    )  # fmt: skip
    ended = {name: result for name, result in results(jobs).items() if name in after}
    assert ended == dict.fromkeys(after, "success") | {"deploy-production": "failure"}, what_failed(jobs)
    assert {name: jobs[name].environment for name in after} == {
        "deploy-staging": "staging", "smoke": "release", "propose": None, "registry": "release",
        "deploy-production": "production", "rollback": None,
    }  # fmt: skip
    assert (tools / "told").read_text().splitlines() == [
        line
        for place in ("staging", "production")
        for line in (
            "aws eks update-kubeconfig --name ours",
            f"kubectl apply --server-side -k k8s/overlays/{place}",
            f"kubectl rollout status deployment/mergeline --namespace mergeline-{place} --timeout 10m",
        )
    ]
    said = jobs["smoke"].step("Ask staging, until it serves the release")["said"]
    assert {line.split()[0] for line in said.splitlines()} == {"passed"}
    registered = jobs["registry"].step("Make MLflow's registry say what Git says")["said"]
    assert "1 of them new; staging is version 1, production is version 1" in registered
    assert origin.read("rollback/production", PRODUCTION) == origin.read("main~1", PRODUCTION)
    pulls = [each["pull"]["head"] for each in github.hub.repository(REPOSITORY)["issues"] if each["pull"]]
    assert set(pulls) == {"promote/production", "rollback/production"}


def test_the_twin_where_staging_does_not_roll_out_nothing_is_asked_proposed_or_taken_back(
    origin: Origin, tools: Path
) -> None:
    staged(origin)
    (tools / "mergeline-staging").write_text("1")
    variables = SHARED | CLUSTER | {"STAGING_URL": "http://127.0.0.1:9"}
    ended = given("deploy-staging", "smoke", "propose", "rollback")
    jobs = rehearse(
        origin, PROMOTE, "push", {"repository": HOME}, vars=variables, given=ended, path=str(tools),
        actions={ROLE: {"ok": True}},
    )  # fmt: skip
    found = results(jobs)
    assert [found[name] for name in ("deploy-staging", "smoke", "propose", "rollback")] == [
        "failure", "skipped", "skipped", "skipped",
    ], what_failed(jobs)  # fmt: skip


def test_r12_a_watch_that_has_died_is_noticed_by_another_schedule_and_the_twin_is_one_that_runs(
    origin: Origin, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    now = dt.datetime.now(dt.UTC)

    def watched(hours: float) -> Any:
        write_beat(open_log(str(log), log), Beat(now - dt.timedelta(hours=hours), 26.0))
        variables = {"MERGELINE_LOG": str(log)}
        ended = given("watched")
        return rehearse(origin, PROMOTE, "schedule", {"repository": HOME}, vars=variables, given=ended)["watched"]

    well, died = watched(2.0), watched(49.0)
    assert (well.result, well.environment) == ("success", "monitor"), well.said
    assert died.result == "failure"
    assert "the last run ended well 49.0 hours ago, 26 are allowed" in died.said


# ---- Further attempts of a pull request's run ------------------------------------------------------------------------


def test_r17_a_training_whose_runner_is_lost_at_its_end_is_run_again_and_leaves_what_it_left(origin: Origin) -> None:
    """The twin, an artifact that is not to be left again, is in test_workflow_runner.py."""
    event = pull_request(origin.head("reviewed"), "reviewed")
    ended = OWN | dict.fromkeys(("report", "record", "evaluate-again", "gate"), SKIPPED)
    login = SHARED | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_TRACKING_USERNAME": "us"}
    left = []
    for again, kill in ((False, {"train": "The model for the second look"}), (True, {})):
        jobs = rehearse(origin, RETRAIN, "pull_request", event, vars=login, given=ended, again=again, killAfter=kill)
        assert jobs["train"].result == ("success" if again else "failure"), what_failed(jobs)
        runs = sorted((origin.place / "runs").iterdir(), key=lambda path: int(path.name))
        left.append({path.name: path.read_text() for path in (runs[-1] / "artifacts").glob("*.sha256")})
    assert jobs["train"].step("Tell MLflow")["outcome"] == "skipped"
    assert "**Not tracked.**" in jobs["train"].summary
    assert left[0].keys() == {"report.sha256", "results.sha256", "candidate.sha256"}
    assert left[0] == left[1]


def test_a_report_that_is_killed_is_run_again_into_the_same_comment_and_says_of_which_commit_there_is_none(
    origin: Origin, github: GitHub
) -> None:
    known(github, origin, "reviewed")
    sha = origin.head("reviewed")
    event = pull_request(sha, "reviewed", number=1)
    ended = OWN | {"train": WELL} | dict.fromkeys(("record", "evaluate-again", "gate"), SKIPPED)
    artifacts = {"report": {"report.md": b"# What it says\n"}}
    killed = rehearse(
        origin, RETRAIN, "pull_request", event, given=ended, artifacts=artifacts, api=github.url,
        killAfter={"report": "Comment without CML"},
    )  # fmt: skip
    assert killed["report"].result == "failure"
    again = rehearse(origin, RETRAIN, "pull_request", event, given=ended, again=True, api=github.url)
    assert again["report"].result == "success", what_failed(again)
    (comment,) = github.hub.repository(REPOSITORY)["comments"]
    assert "# What it says" in comment["body"]
    lost = ended | {"train": {"result": "failure"}}  # its time was up, and it has left nothing
    jobs = rehearse(origin, RETRAIN, "pull_request", event, given=lost, api=github.url)
    assert jobs["report"].result == "success", what_failed(jobs)
    (comment,) = github.hub.repository(REPOSITORY)["comments"]
    assert "No result: the pipeline stopped" in comment["body"]
    assert f"Of commit {sha} nothing was compared" in comment["body"]
