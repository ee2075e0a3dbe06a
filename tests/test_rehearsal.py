"""The workflows, rehearsed: every job in a fresh clone with an empty `.mergeline/`, to the documented end."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from filelock import FileLock
from github_api import GitHub, served
from github_state import Hub, token
from promoted import PRODUCTION, STAGING, Promoted, better
from rehearsal import (
    A_PERSON,
    WORKFLOWS,
    Job,
    Origin,
    make_fresh,
    make_shared,
    point_at_store,
    rehearse,
    results,
    rights,
)
from repositories import MONTHS
from sample.demo.plan import HOME, REPOSITORY, pull_request

from mergeline.layout import RECORDED, RECORDS, RETIREMENTS
from mergeline.release.manifests import NO_RELEASE, format_release, parse_release
from mergeline.release.retirement import Phase, Retirement, format_retirements

RETRAIN = WORKFLOWS / "retrain.yml"
PROMOTE = WORKFLOWS / "promote.yml"
IMAGE = WORKFLOWS / "image.yml"
SHARED = {"MERGELINE_RECORD": "true"}
OWN = {"look": {"result": "success", "outputs": {"own": "true"}}}
FORK = {"look": {"result": "success", "outputs": {"own": "false"}}}
WELL, SKIPPED = {"result": "success"}, {"result": "skipped"}
JOBS = ("look", "train", "report", "record", "evaluate-again", "gate")
REPORTED = {"report": WELL}
ENDED = OWN | dict.fromkeys(("train", "report", "record", "evaluate-again"), WELL)  # all but the gate
JUDGED = REPORTED | {"evaluate-again": WELL}
QUEUED = OWN | {"report": SKIPPED, "record": SKIPPED} | dict.fromkeys(("train", "evaluate-again"), WELL)
REPORT = {"report": {"report.md": b"# What it says\n"}}


@pytest.fixture(scope="session")
def shared_origin(
    in_production: Promoted, in_review: Promoted, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Origin:
    """A repository with a model in production and stores that all jobs reach, made once for all workers; copy it."""
    base = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    place = base / "rehearsed"  # its path is in its settings, so that it is made where it stays
    with FileLock(base / "rehearsed.lock"):
        if not (place / "made").exists():
            shutil.rmtree(place, ignore_errors=True)
            make_shared(in_production, in_review, place)
            (place / "made").touch()
    return Origin(place)


@pytest.fixture
def origin(shared_origin: Origin, tmp_path: Path) -> Origin:
    """A copy of it for one test."""
    return shared_origin.copy_to(tmp_path / "origin")


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A GitHub that takes the tokens of the workflows' jobs, each with the rights that its job asks for."""
    hub = Hub()
    for workflow in (RETRAIN, PROMOTE, IMAGE):
        for name, granted in rights(workflow).items():
            may = {permission.replace("-", "_"): level for permission, level in granted.items()}
            hub.state["tokens"][name] = token("github-actions[bot]", {"metadata": "read", **may})
    with served(hub) as running:
        yield running


def known(github: GitHub, origin: Origin, branch: str | None = None) -> None:
    """Let GitHub know the repository, and pull request 1 of a branch."""
    github.hub.add(REPOSITORY, git=str(origin.bare))
    github.hub.repository(REPOSITORY)["workflow_permissions"]["can_approve_pull_request_reviews"] = True
    if branch:
        github.hub.pull(REPOSITORY, branch, "person")


def proposed(origin: Origin, branch: str, change: Mapping[str, object]) -> str:
    """A branch of a person with other settings, and its commit."""
    here = origin.clone()
    here.branch(branch)
    here.change_params(change)
    here.commit(f"Try {branch}")
    return origin.push(here, f"refs/heads/{branch}")


def what_failed(jobs: Mapping[str, Job]) -> str:
    """All that was said, for a failing assertion."""
    return "\n".join(f"== {name}: {job.result}\n{job.said}" for name, job in jobs.items())


def findings(job: Job) -> dict[str, str]:
    """The gate's findings by their names."""
    return words(job.step("The gate")["said"])


def words(said: str) -> dict[str, str]:
    """By the name of each finding whether it is held or REFUSED."""
    lines = [line.split(None, 1) for line in said.splitlines()]
    found = [line for line in lines if len(line) == 2 and line[0] in ("held", "REFUSED")]
    return {rest.partition(":")[0]: word for word, rest in found}


def judged_again(job: Job) -> dict[str, str]:
    """What the forced re-run found, by its names."""
    return words(job.step("Judge again")["said"])


def refused(jobs: Mapping[str, Job]) -> set[str]:
    """What the gate refused."""
    assert results(jobs)["gate"] == "failure"
    return {name for name, word in findings(jobs["gate"]).items() if word == "REFUSED"}


def jobs_of(workflow: Path) -> dict[str, Any]:
    """The jobs of a workflow, as its file has them."""
    found: dict[str, Any] = yaml.safe_load(workflow.read_text())["jobs"]
    return found


# ---- A pull request --------------------------------------------------------------------------------------------------


def test_a_fresh_copy_trains_comments_and_gates_before_anything_is_set_up(tmp_path: Path, github: GitHub) -> None:
    origin = make_fresh(tmp_path / "fresh")
    sha = proposed(origin, "first", {"train.hist_gradient_boosting": {"iterations": 25, "leaves": 8}})
    known(github, origin, "first")
    branches = origin.git("for-each-ref")
    jobs = rehearse(origin, RETRAIN, "pull_request", pull_request(sha, "first", number=1), api=github.url)
    assert set(results(jobs).values()) == {"success"}, what_failed(jobs)
    assert origin.git("for-each-ref") == branches
    assert "**Not configured.**" in jobs["record"].summary
    assert {job.environment for job in jobs.values()} == {None}
    assert "ran      validate, train, evaluate, compare" in jobs["train"].step("Train, evaluate, compare")["said"]
    assert jobs["report"].step("Comment by CML")["outcome"] == "failure"
    assert github.writes() == [("POST", f"/repos/{REPOSITORY}/issues/1/comments")]
    (comment,) = github.hub.repository(REPOSITORY)["comments"]
    assert "better by" in comment["body"]
    assert set(findings(jobs["gate"]).values()) == {"held"}


def test_r7_a_better_model_is_recorded_once_and_the_run_of_its_commit_is_the_fixed_point(
    origin: Origin, github: GitHub
) -> None:
    sha = proposed(origin, "better", {"train.hist_gradient_boosting": {"iterations": 40, "leaves": 16}})
    known(github, origin, "better")
    main = origin.head("main")

    first = rehearse(
        origin, RETRAIN, "pull_request", pull_request(sha, "better", number=1), vars=SHARED, api=github.url
    )
    assert results(first) == {
        "look": "success", "train": "success", "report": "success", "record": "success",
        "evaluate-again": "skipped", "gate": "failure",
    }, what_failed(first)  # fmt: skip
    assert "this check runs again on their commit" in first["gate"].summary
    recorded = origin.head("better")
    changed = set(origin.git("diff", "--name-only", sha, recorded).split())
    assert {str(STAGING), "dvc.lock"} < changed <= {path.as_posix() for path in RECORDED}
    assert origin.git("log", "-1", "--format=%an%n%P", recorded).split("\n") == ["github-actions[bot]", sha]

    again = rehearse(
        origin, RETRAIN, "pull_request", pull_request(recorded, "better", number=1), vars=SHARED, api=github.url
    )
    assert set(results(again).values()) == {"success"}, what_failed(again)
    assert "ran      nothing: everything is up to date" in again["train"].step("Train, evaluate, compare")["said"]
    assert "nothing to record" in again["record"].step("Commit them")["said"]
    assert (origin.head("better"), origin.head("main")) == (recorded, main)
    comments = f"/repos/{REPOSITORY}/issues"
    assert github.writes()[0] == ("POST", f"{comments}/1/comments")
    assert {method for method, _ in github.writes()[1:]} <= {"PATCH"}
    assert len(github.hub.repository(REPOSITORY)["comments"]) == 1


def test_r19_twin_a_worse_model_is_recorded_staging_stays_and_its_verdict_alone_is_refused(origin: Origin) -> None:
    sha = proposed(origin, "worse", {"train.hist_gradient_boosting": {"iterations": 1, "leaves": 2}})
    first = rehearse(origin, RETRAIN, "pull_request", pull_request(sha, "worse"), vars=SHARED, given=REPORTED)
    assert results(first)["record"] == "success", what_failed(first)
    recorded = origin.head("worse")
    assert recorded != sha
    assert origin.read("worse", STAGING) == origin.read("main", STAGING)
    again = rehearse(origin, RETRAIN, "pull_request", pull_request(recorded, "worse"), vars=SHARED, given=REPORTED)
    assert results(again) | {"gate": "failure"} == dict.fromkeys(JOBS, "success") | {"gate": "failure"}
    assert set(judged_again(again["evaluate-again"]).values()) == {"held"}  # the re-run agrees: it is no judge of worth
    assert refused(again) == {"verdict"}


def test_r19_an_equal_model_is_recorded_staging_stays_and_the_gate_of_its_commit_is_green(origin: Origin) -> None:
    equal = {"iterations": 2, "leaves": 3, "learning_rate": 0.061}
    sha = proposed(origin, "equal", {"train.hist_gradient_boosting": equal})
    first = rehearse(origin, RETRAIN, "pull_request", pull_request(sha, "equal"), vars=SHARED, given=REPORTED)
    assert results(first)["record"] == "success", what_failed(first)
    recorded = origin.head("equal")
    before, after = (json.loads(origin.read(each, "models/manifest.json")) for each in ("main", "equal"))
    assert before["model"]["sha256"] != after["model"]["sha256"]
    assert origin.read("equal", STAGING) == origin.read("main", STAGING)
    again = rehearse(origin, RETRAIN, "pull_request", pull_request(recorded, "equal"), vars=SHARED, given=ENDED)
    assert results(again)["gate"] == "success", what_failed(again)
    assert "a tie, the release stays as it is" in again["gate"].step("The gate")["said"]


def test_bad_data_stop_the_run_before_training_the_gate_is_red_and_the_comment_says_why(
    origin: Origin, in_production: Promoted, github: GitHub
) -> None:
    """The twin is every other case: the same months with that column."""
    here = origin.clone()
    here.branch("bad-data")
    shutil.copytree(in_production.root / "data", here.root / "data")
    rows = pd.read_parquet(here.partition(MONTHS[-1]))
    here.rewrite(MONTHS[-1], rows.drop(columns="visibility_miles"))
    assert here.tool("dvc", "add", "-q", "data").returncode == 0
    shutil.copytree(here.root / ".dvc/cache", origin.remote, dirs_exist_ok=True)  # what `dvc push` does
    here.commit("New rows")
    sha = origin.push(here, "refs/heads/bad-data")
    known(github, origin, "bad-data")
    event = pull_request(sha, "bad-data", number=1)
    jobs = rehearse(origin, RETRAIN, "pull_request", event, vars=SHARED, api=github.url)
    assert results(jobs) == {
        "look": "success", "train": "failure", "report": "success", "record": "skipped",
        "evaluate-again": "skipped", "gate": "failure",
    }, what_failed(jobs)  # fmt: skip
    said = "validate: column 'visibility_miles': expected a column of number or boolean, found 'absent' in partition"
    (comment,) = github.hub.repository(REPOSITORY)["comments"]
    assert said in jobs["train"].summary
    assert "No result: the pipeline stopped" in comment["body"]
    assert said in comment["body"]
    assert "Running stage 'train'" not in jobs["train"].said
    assert origin.head("bad-data") == sha


def test_r19_documentation_reaches_a_green_gate_and_nothing_runs(origin: Origin) -> None:
    here = origin.clone()
    here.branch("docs")
    (here.root / "README.md").write_text("# What it is for\n")
    here.commit("Say what it is for")
    sha = origin.push(here, "refs/heads/docs")
    given = {"report": WELL, "evaluate-again": WELL}
    jobs = rehearse(origin, RETRAIN, "pull_request", pull_request(sha, "docs"), vars=SHARED, given=given)
    assert set(results(jobs).values()) == {"success"}, what_failed(jobs)
    assert "ran      nothing" in jobs["train"].step("Train, evaluate, compare")["said"]
    assert origin.head("docs") == sha


def test_r4_twin_a_champion_that_changes_between_comparison_and_gate_turns_the_gate_red(origin: Origin) -> None:
    event = pull_request(origin.head("reviewed"), "reviewed")
    jobs = rehearse(origin, RETRAIN, "pull_request", event, vars=SHARED, given=ENDED)
    assert results(jobs)["gate"] == "success", what_failed(jobs)
    here = origin.clone()
    (here.root / PRODUCTION).write_text(format_release(NO_RELEASE))
    here.commit("Withdrawn")
    moved = origin.push(here, "refs/heads/withdrawn")
    move = ["git", "-C", str(origin.bare), "update-ref", "refs/heads/main", moved]
    jobs = rehearse(origin, RETRAIN, "pull_request", event, vars=SHARED, given=ENDED, before={"gate": move})
    assert refused(jobs) == {"champion"}
    assert "production serves no model now" in jobs["gate"].step("The gate")["said"]


def test_r3_two_green_branches_do_not_merge_and_a_merge_that_is_forced_is_red(origin: Origin) -> None:
    here = origin.clone()
    here.branch("other")
    here.change_params({"train.hist_gradient_boosting": {"iterations": 2, "leaves": 3, "learning_rate": 0.061}})
    here.commit("A slightly larger step")
    sha = origin.push(here, "refs/heads/other")
    jobs = rehearse(origin, RETRAIN, "pull_request", pull_request(sha, "other"), vars=SHARED, given=REPORTED)
    assert results(jobs)["record"] == "success", what_failed(jobs)
    event = pull_request(origin.head("other"), "other")  # the gate of `reviewed` is green, too: see R4
    jobs = rehearse(origin, RETRAIN, "pull_request", event, vars=SHARED, given=ENDED)
    assert results(jobs)["gate"] == "success", what_failed(jobs)

    here = origin.clone()
    here.git("merge", "-q", "--squash", "origin/reviewed")
    here.commit("Merge reviewed")
    origin.push(here, "refs/heads/main")
    here.git("checkout", "-q", "-b", "queue", "origin/other")
    assert here.tool("git", "merge", "origin/main").returncode != 0
    assert "models/manifest.json" in here.git("diff", "--name-only", "--diff-filter=U").split()
    here.git("merge", "--abort")
    here.git("merge", "-q", "--no-edit", "-X", "ours", "origin/main")  # a person, in a hurry
    queued = origin.push(here, "refs/heads/gh-readonly-queue/main/pr-8")
    event = {"merge_group": {"head_sha": queued, "base_ref": "refs/heads/main"}, "repository": HOME}
    jobs = rehearse(origin, RETRAIN, "merge_group", event, vars=SHARED, given=QUEUED, sha=queued)
    assert {"fresh", "champion"} <= refused(jobs)


def test_r6_r19_the_revert_of_a_promotion_is_green_and_nothing_is_trained(origin: Origin) -> None:
    here = origin.clone()
    before = (here.root / PRODUCTION).read_bytes()
    here.git("merge", "-q", "--squash", "origin/reviewed")
    here.commit("Merge reviewed")
    shutil.copy(here.root / STAGING, here.root / PRODUCTION)
    here.commit("release(production)")
    origin.push(here, "refs/heads/main")
    here.branch("revert", "HEAD")
    here.git("revert", "--no-edit", "HEAD")
    assert (here.root / PRODUCTION).read_bytes() == before
    sha = origin.push(here, "refs/heads/revert")
    jobs = rehearse(origin, RETRAIN, "pull_request", pull_request(sha, "revert"), vars=SHARED, given=JUDGED)
    assert set(results(jobs).values()) == {"success"}, what_failed(jobs)
    assert "ran      nothing" in jobs["train"].step("Train, evaluate, compare")["said"]
    assert "nothing to record" in jobs["record"].step("Commit them")["said"]
    assert origin.head("revert") == sha
    assert "it was live before: a rollback, nothing is trained" in jobs["gate"].step("The gate")["said"]
    forged = (here.root / PRODUCTION).read_text().replace(str(parse_release(before.decode()).model_sha256), "f" * 64)
    (here.root / PRODUCTION).write_text(forged)  # the twin: what production never served
    here.commit("Another model")
    sha = origin.push(here, "refs/heads/forged")
    jobs = rehearse(origin, RETRAIN, "pull_request", pull_request(sha, "forged"), vars=SHARED, given=ENDED)
    assert refused(jobs) == {"production release"}


def of_a_fork(origin: Origin, change: Mapping[str, object], message: str) -> str:
    """A commit that lies in the network of the repository, and on none of its branches; its data are out of reach."""
    here = origin.clone()
    (here.root / ".dvc/config").write_text((here.root / ".dvc/config").read_text().replace("/remote", "/closed"))
    (here.root / "README.md").write_text("# From a fork\n")
    if change:
        here.change_params(change)
    here.commit(message)
    return origin.push(here, "refs/pull/7/head")


def test_s5_r19_a_fork_that_changes_inputs_gets_nothing_and_is_red_with_instructions(origin: Origin) -> None:
    sha = of_a_fork(origin, {"train.hist_gradient_boosting": {"iterations": 40, "leaves": 16}}, "A larger model")
    variables = SHARED | {
        "AWS_TRAIN_ROLE": "arn:aws:iam::1:role/train", "TRAIN_RUNNER": "ours", "MERGELINE_APP_ID": "1",
    }  # fmt: skip
    event = pull_request(sha, "main", fork=True)
    jobs = rehearse(origin, RETRAIN, "pull_request", event, vars=variables)
    assert results(jobs) == {
        "look": "success", "train": "success", "report": "skipped", "record": "skipped",
        "evaluate-again": "skipped", "gate": "failure",
    }, what_failed(jobs)  # fmt: skip
    assert {job.environment for job in jobs.values()} == {None}
    assert jobs["train"].step("The role")["outcome"] == "skipped"
    assert "a maintainer pushes the branch to this repository first" in jobs["gate"].step("The gate")["said"]


def test_r19_a_fork_of_documentation_is_green(origin: Origin) -> None:
    sha = of_a_fork(origin, {}, "Say it better")
    event = pull_request(sha, "main", fork=True)
    jobs = rehearse(origin, RETRAIN, "pull_request", event, vars=SHARED)
    assert results(jobs)["gate"] == "success", what_failed(jobs)
    assert jobs["train"].step("The data")["outcome"] == "failure"


# ---- What goes wrong on the way --------------------------------------------------------------------------------------


def test_r8_a_commit_that_a_person_pushes_meanwhile_stands(origin: Origin, in_review: Promoted) -> None:
    here = origin.clone()
    here.branch("better")
    better(here)
    sha = origin.push(here, "refs/heads/better")
    (here.root / "notes.md").write_text("Wait, one more thing.\n")
    here.commit("One more thing")
    mine = here.git("rev-parse", "HEAD").strip()
    origin.push(here, "refs/heads/aside")
    push = ["git", "-C", str(origin.bare), "update-ref", "refs/heads/better", mine]
    records = {path.as_posix(): (in_review.root / path).read_bytes() for path in RECORDS}
    jobs = rehearse(
        origin,
        RETRAIN,
        "pull_request",
        pull_request(sha, "better"),
        vars=SHARED,
        given=OWN | {"train": WELL, "report": WELL},
        before={"record": push},
        artifacts={"results": records},
    )
    assert jobs["record"].step("Commit them")["outcome"] == "success", what_failed(jobs)
    assert "stale info" in jobs["record"].step("Push them")["said"]
    assert results(jobs)["record"] == "failure"
    assert results(jobs)["gate"] == "failure"
    assert origin.head("better") == mine


def test_s3_what_a_run_leaves_beside_its_records_is_not_put_on_the_branch(origin: Origin) -> None:
    sha = proposed(origin, "sly", {"train.hist_gradient_boosting": {"iterations": 3, "leaves": 3}})
    jobs = rehearse(
        origin,
        RETRAIN,
        "pull_request",
        pull_request(sha, "sly"),
        vars=SHARED,
        given=OWN | {"train": WELL, "report": WELL},
        artifacts={"results": {"branch/config": b"[core]\n", "src/mergeline/cli.py": b"", "params.yaml": b""}},
    )
    assert "expected records of a run, found none" in jobs["record"].step("Put them on the branch")["said"]
    assert results(jobs)["gate"] == "failure"
    assert origin.head("sly") == sha


def test_a_comment_that_cannot_be_made_stops_the_record_and_turns_the_gate_red(origin: Origin) -> None:
    event = pull_request(origin.head("main"), "main")
    jobs = rehearse(origin, RETRAIN, "pull_request", event, vars=SHARED, given=OWN | {"train": WELL}, artifacts=REPORT)
    assert jobs["report"].step("Comment without CML")["outcome"] == "failure"
    assert results(jobs)["record"] == "skipped"
    assert results(jobs)["gate"] == "failure"


def test_where_cml_is_there_it_makes_the_comment_and_nothing_else_does(origin: Origin, github: GitHub) -> None:
    known(github, origin)
    cml = origin.place / "bin" / "cml"
    cml.parent.mkdir()
    cml.write_text('#!/bin/sh\necho "cml $*; tracking ${ITERATIVE_DO_NOT_TRACK}"\n')
    cml.chmod(0o755)
    event = pull_request(origin.head("main"), "main")
    given = OWN | dict.fromkeys(("train", "record", "evaluate-again", "gate"), WELL)
    jobs = rehearse(
        origin, RETRAIN, "pull_request", event, given=given, artifacts=REPORT, api=github.url, path=str(cml.parent)
    )
    said = jobs["report"].step("Comment by CML")["said"]
    assert said == "cml comment update --publish=false --watermark-title=mergeline report/report.md; tracking 1\n"
    assert jobs["report"].step("Comment without CML")["outcome"] == "skipped"
    assert github.told == []


@pytest.mark.parametrize("job", JOBS[1:-1])
def test_r9_a_run_that_is_cancelled_is_not_green(origin: Origin, job: str) -> None:
    event = pull_request(origin.head("main"), "main")
    before = JOBS[: JOBS.index(job)]
    given = {name: ended for name, ended in ENDED.items() if name in before}
    jobs = rehearse(origin, RETRAIN, "pull_request", event, given=given, cancelBefore=job)
    after = {name: "success" if name in before else "cancelled" for name in JOBS}
    assert results(jobs) == after | {"gate": "failure"}


def test_r8_r17_a_record_that_is_killed_after_any_of_its_steps_ends_as_one_that_is_not(origin: Origin) -> None:
    sha, tree = origin.head("reviewed~1"), origin.git("rev-parse", "reviewed^{tree}")
    records = {path.as_posix(): f"{origin.read('reviewed', path)}\n".encode() for path in RECORDS}

    def run(**more: Any) -> Job:
        event = pull_request(origin.head("reviewed"), "reviewed")
        given = ENDED | {"gate": SKIPPED}
        del given["record"]
        more |= {"vars": SHARED, "given": given, "artifacts": {"results": records}}
        return rehearse(origin, RETRAIN, "pull_request", event, **more)["record"]

    left = []
    for step in ("Put them on the branch", "Commit them", "Push them"):
        origin.git("update-ref", "refs/heads/reviewed", sha)
        killed = run(killAfter={"record": step})
        assert (killed.result, killed.outputs) == ("failure", {}), killed.said
        left.append(origin.head("reviewed") != sha)
        if step == "Put them on the branch":
            continue  # what GitHub holds is what the next one leaves
        again = run()
        assert again.outputs["pushed"] == ("false" if left[-1] else "true"), again.said
        assert origin.git("rev-parse", "reviewed^{tree}") == tree
        assert origin.git("rev-list", "--count", f"{sha}..reviewed") == "1"
    assert left == [False, False, True]


# ---- After the merge -------------------------------------------------------------------------------------------------


def test_a_schedule_without_anything_set_up_ends_neutral_and_says_so(tmp_path: Path) -> None:
    origin = make_fresh(tmp_path / "fresh")
    jobs = rehearse(origin, PROMOTE, "schedule", {"repository": HOME})
    assert results(jobs).pop("look") == "success"
    assert {result for name, result in results(jobs).items() if name != "look"} == {"skipped"}
    assert "**Not configured.**" in jobs["look"].summary
    image = rehearse(origin, IMAGE, "schedule", {"repository": HOME})
    assert results(image).pop("look") == "success"
    assert {result for name, result in results(image).items() if name != "look"} == {"skipped"}
    assert "**Not configured.**" in image["look"].summary


def test_r5_production_is_proposed_once_by_one_pull_request_and_main_is_left_alone(
    origin: Origin, github: GitHub
) -> None:
    known(github, origin)
    here = origin.clone()
    image = "registry.example/server@sha256:" + "5" * 64
    staged = (here.root / STAGING).read_text().replace('image: "none"', f'image: "{image}"')
    (here.root / STAGING).write_text(staged)
    here.commit("A new server")
    main = origin.push(here, "refs/heads/main")
    for _ in range(2):
        jobs = rehearse(origin, PROMOTE, "push", {"repository": HOME}, vars=SHARED, api=github.url)
        assert results(jobs)["propose"] == "success", what_failed(jobs)
    assert results(jobs)["verify"] == "success"
    assert "reports/comparison.json comes out as it is recorded" in jobs["verify"].step("Judge again")["said"]
    assert origin.head("main") == main
    assert origin.read("promote/production", PRODUCTION) == staged.rstrip()
    (pull,) = [each for each in github.hub.repository(REPOSITORY)["issues"] if each["pull"]]
    assert pull["pull"]["head"] == "promote/production"
    assert origin.git("tag", "--list") == "v2"


def test_a_word_of_a_failed_release_takes_it_back_once_and_never_its_successor(origin: Origin, github: GitHub) -> None:
    known(github, origin)
    here = origin.clone()
    failing = (here.root / PRODUCTION).read_text().replace('image: "none"', f'image: "x@sha256:{"6" * 64}"')
    (here.root / PRODUCTION).write_text(failing)
    gone = Retirement("f" * 64, dt.date(2020, 1, 1), Phase.ANNOUNCED)  # whose day has come
    (here.root / RETIREMENTS).write_text(format_retirements([gone]))
    here.commit("release(production)")
    revision = origin.push(here, "refs/heads/main")
    word = {"repository": HOME, "client_payload": {"environment": "production", "revision": revision}}
    jobs = rehearse(origin, PROMOTE, "repository_dispatch", word, vars=SHARED, api=github.url)
    assert results(jobs)["rollback"] == "success", what_failed(jobs)
    assert {name for name, result in results(jobs).items() if result != "skipped"} == {"look", "rollback"}
    assert origin.read("rollback/production", PRODUCTION) == origin.read(f"{revision}~1", PRODUCTION)
    origin.git("update-ref", "refs/heads/main", origin.head("rollback/production"))
    origin.git("update-ref", "-d", "refs/heads/rollback/production")
    late = rehearse(origin, PROMOTE, "repository_dispatch", word, vars=SHARED, api=github.url)
    assert results(late)["rollback"] == "success"
    assert late["rollback"].step("Take it back")["outcome"] == "skipped"
    assert "rollback" not in origin.git("for-each-ref")


def test_an_image_is_proposed_for_staging_once_and_its_model_stays(origin: Origin, github: GitHub) -> None:
    known(github, origin)
    variables = {"IMAGE_REPOSITORY": "ghcr.io/owner/server"}
    told = tools_that_tell(origin.place / "tools")
    for is_whole, ended in ((False, "skipped"), (True, "success"), (True, "success")):
        actions = {
            "astral-sh/setup-uv": {"ok": True},
            "docker/build-push-action": {"ok": True, "outputs": {"digest": DIGEST}},
            "anchore/scan-action": {"ok": is_whole},
        }
        jobs = rehearse(
            origin, IMAGE, "push", {"repository": HOME}, vars=variables, actions=actions, api=github.url,
            path=str(told.parent),
        )  # fmt: skip
        assert (results(jobs)["build"], results(jobs)["bump"]) == ("success", ended), what_failed(jobs)
    assert jobs["inspect"].step("Holes that are mended somewhere, but not here")["with"]["sbom"] == "sbom/sbom.json"
    assert told.read_text().splitlines()[:4] == [
        "uvx pip-audit@2.9.0 --require-hashes --disable-pip --requirement requirements/serve.lock",
        "docker login ghcr.io --username someone --password-stdin",
        "docker buildx create --use",
        f"docker buildx imagetools inspect ghcr.io/owner/server@{DIGEST} --format {{{{ json .SBOM.SPDX }}}}",
    ]
    assert "image/staging proposes it already" in jobs["bump"].step("Give staging the image")["said"]
    before, after = (parse_release(origin.read(branch, STAGING)) for branch in ("main", "image/staging"))
    assert after == replace(before, image=f"ghcr.io/owner/server@{DIGEST}")
    (pull,) = [each for each in github.hub.repository(REPOSITORY)["issues"] if each["pull"]]
    assert pull["pull"]["head"] == "image/staging"


def tools_that_tell(folder: Path) -> Path:
    """Programs that a runner of GitHub has, in place of which these keep what they are told in the file returned."""
    folder.mkdir()
    for name in ("docker", "uvx"):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/told\n')
        (folder / name).chmod(0o755)
    return folder / "told"


def test_a_build_without_a_digest_proposes_nothing(origin: Origin) -> None:
    variables = {"IMAGE_REPOSITORY": "registry.example/server"}
    built = {"build": {"result": "success", "outputs": {"digest": ""}}, "scan": WELL, "inspect": WELL}
    jobs = rehearse(origin, IMAGE, "push", {"repository": HOME}, vars=variables, given=built)
    assert "expected an image by its digest" in jobs["bump"].step("Give staging the image")["said"]
    assert "image/staging" not in origin.git("for-each-ref")


# ---- Killed, and run again -------------------------------------------------------------------------------------------

DIGEST = "sha256:" + "5" * 64
LOOKED = {"look": {"result": "success", "outputs": {"staging": "true", "production": "true"}}}
# For each job that changes what others see: its workflow, the event, and what the jobs before it gave.
CHANGING: dict[str, tuple[Path, str, dict[str, Any]]] = {
    "propose": (PROMOTE, "push", LOOKED | {"verify": WELL}),
    "tag": (PROMOTE, "push", LOOKED | {"verify": WELL}),
    "rollback": (PROMOTE, "repository_dispatch", LOOKED),
    "retire": (PROMOTE, "schedule", LOOKED),
    "bump": (
        IMAGE,
        "push",
        {"scan": WELL, "inspect": WELL, "build": {"result": "success", "outputs": {"digest": DIGEST}}},
    ),
}


End = tuple[list[str], list[tuple[str, str]]]


def end(origin: Origin, github: GitHub) -> End:
    """What a run has left: each branch's tree and number of commits, the tags, the pull requests."""
    branches = origin.git("for-each-ref", "--format=%(refname) %(tree) %(*objectname)").splitlines()
    counts = [origin.git("rev-list", "--count", f"main..{each.split()[0]}") for each in branches]
    pulls = [(each["pull"]["head"], each["title"]) for each in github.hub.repository(REPOSITORY)["issues"]]
    return [f"{each} {count}" for each, count in zip(branches, counts, strict=True)], pulls


@pytest.mark.parametrize("job", CHANGING)
def test_r5_r17_a_job_that_is_killed_after_any_of_its_steps_ends_as_one_that_is_not(
    origin: Origin, github: GitHub, tmp_path: Path, job: str
) -> None:
    workflow, event, given = CHANGING[job]
    here = origin.clone()
    for path, digit in ((STAGING, "6"), (PRODUCTION, "7")):  # something to promote, and something to take back
        text = (here.root / path).read_text()
        (here.root / path).write_text(text.replace('image: "none"', f'image: "x@sha256:{digit * 64}"'))
    gone = Retirement("f" * 64, dt.date(2020, 1, 1), Phase.ANNOUNCED)  # whose day has come
    (here.root / RETIREMENTS).write_text(format_retirements([gone]))
    here.commit("release(production)")
    revision = origin.push(here, "refs/heads/main")
    word = {"repository": HOME, "client_payload": {"environment": "production", "revision": revision}}
    others = set(jobs_of(workflow)) - {job} - given.keys()
    more: dict[str, Any] = {
        "vars": SHARED | {"IMAGE_REPOSITORY": "x"},
        "api": github.url,
        "given": given | dict.fromkeys(others, SKIPPED),
    }

    def run(place: Origin, **kill: Any) -> Job:
        return rehearse(place, workflow, event, word, **more, **kill)[job]

    known(github, origin)
    begun = end(origin, github)
    halfway, ended = list[End](), list[End]()
    for step in ("The default branch", *with_a_token(workflow, job)):
        place = origin.copy_to(tmp_path / str(len(ended)))
        known(github, place)
        killed = run(place, killAfter={job: step})
        assert killed.result == "failure", killed.said
        halfway.append(end(place, github))
        again = run(place)
        assert again.result == "success", again.said
        ended.append(end(place, github))
    assert halfway[0] == begun
    assert halfway[-1] == ended[0] != begun
    assert all(each == ended[0] for each in ended)  # of which the first is that of a run that nobody killed


def with_a_token(workflow: Path, job: str) -> list[str]:
    """The steps of a job that can change something on GitHub."""
    return [step["name"] for step in jobs_of(workflow)[job]["steps"] if "token" in str(step.get("env", "")).lower()]


# ---- In the cloud ----------------------------------------------------------------------------------------------------


ROLE = "aws-actions/configure-aws-credentials"


@pytest.fixture
def cloud() -> Iterator[dict[str, str]]:
    """What the action that assumes a role leaves in the environment of its job; the cloud has one bucket."""
    from moto.server import ThreadedMotoServer

    server: ThreadedMotoServer = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    settings |= {"AWS_ACCESS_KEY_ID": "of-a-role", "AWS_SECRET_ACCESS_KEY": "of-a-role"}
    bucket(settings).create()
    yield settings
    server.stop()


def bucket(settings: Mapping[str, str]) -> Any:
    """The bucket, for a test."""
    import boto3

    names = {"endpoint_url": "ENDPOINT_URL", "region_name": "DEFAULT_REGION"}
    names |= {"aws_access_key_id": "ACCESS_KEY_ID", "aws_secret_access_key": "SECRET_ACCESS_KEY"}
    given = {key: settings[f"AWS_{name}"] for key, name in names.items()}
    return boto3.resource("s3", **given).Bucket("models")


def to_the_cloud(origin: Origin, settings: Mapping[str, str]) -> None:
    """Let main keep its data and its models on S3, where they lie already."""
    for name, folder in {"remote": origin.remote, "store": origin.remote.parent / "store"}.items():
        for path in folder.rglob("*"):
            if path.is_file():
                bucket(settings).upload_file(str(path), f"{name}/{path.relative_to(folder)}")
    here = origin.clone()
    assert here.run("remote", "s3://models/remote").returncode == 0
    point_at_store(here, "s3://models/store")
    here.commit("A cloud")
    text = (here.root / STAGING).read_text()
    (here.root / STAGING).write_text(text.replace('image: "none"', f'image: "registry.example/server@{DIGEST}"'))
    here.commit("A new server")
    origin.push(here, "refs/heads/main")


def test_r1_s7_a_release_is_verified_from_s3_by_the_role_alone_and_never_from_other_bytes(
    origin: Origin, github: GitHub, cloud: dict[str, str]
) -> None:
    known(github, origin)
    to_the_cloud(origin, cloud)
    variables = SHARED | {"AWS_RELEASE_ROLE": "arn:aws:iam::123456789012:role/release", "AWS_REGION": "us-east-1"}

    def run(**more: Any) -> dict[str, Job]:
        return rehearse(origin, PROMOTE, "push", {"repository": HOME}, vars=variables, api=github.url, **more)

    jobs = run(actions={ROLE: {"ok": True, "env": cloud}})
    assert {name for name, result in results(jobs).items() if result == "success"} == {
        "look", "verify", "propose", "retire", "tag",
    }, what_failed(jobs)  # fmt: skip
    assert jobs["verify"].environment == "release"
    assert "data/ from remote" in jobs["verify"].step("The data and the model")["said"]
    assert set(judged_again(jobs["verify"]).values()) == {"held"}
    assert origin.read("promote/production", PRODUCTION) == origin.read("main", STAGING)

    origin.git("update-ref", "-d", "refs/heads/promote/production")
    nobody = {name: value for name, value in cloud.items() if "KEY" not in name}
    jobs = run(actions={ROLE: {"ok": True, "env": nobody | {"AWS_EC2_METADATA_DISABLED": "true"}}})
    assert (results(jobs)["verify"], results(jobs)["propose"]) == ("failure", "skipped")
    assert "credentials" in jobs["verify"].step("Every link of staging's release")["said"]
    files = json.loads(origin.read("main", "models/manifest.json"))["model"]["files"]
    bucket(cloud).put_object(Key=f"store/sha256/{files['model.onnx']['sha256']}", Body=b"other bytes")
    jobs = run(actions={ROLE: {"ok": True, "env": cloud}})
    assert (results(jobs)["verify"], results(jobs)["propose"]) == ("failure", "skipped")
    assert "BROKEN   store" in jobs["verify"].step("Every link of staging's release")["said"]
    assert "promote/production" not in origin.git("for-each-ref")


# ---- The rehearsal itself --------------------------------------------------------------------------------------------


def test_no_job_pushes_with_a_token_that_may_not(origin: Origin) -> None:
    here = origin.clone()
    here.branch("try")
    (here.root / "README.md").write_text("x\n")
    here.commit("Try")
    done = here.tool("git", "push", "origin", "HEAD:refs/heads/try", PUSH_TOKEN="token-of-train")
    assert done.returncode != 0
    assert "this token may not push" in done.stderr
    assert (
        here.tool("git", "push", "origin", "HEAD:refs/heads/try", **A_PERSON).returncode != 0
    )  # nobody was let in yet
    origin.push(here, "refs/heads/try")
    assert origin.head("try") == here.git("rev-parse", "HEAD").strip()
