"""The workflows, rehearsed: every job in a fresh clone with an empty `.mergeline/`, to the documented end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from github_api import GitHub, served
from github_state import Hub, token
from promoted import PRODUCTION, STAGING, Promoted, better
from rehearsal import (
    A_PERSON,
    HOME,
    REPOSITORY,
    WORKFLOWS,
    Job,
    Origin,
    make_fresh,
    make_shared,
    pull_request,
    rehearse,
    results,
    rights,
)

from mergeline.layout import RECORDED, RECORDS
from mergeline.release.manifests import parse_release

RETRAIN = WORKFLOWS / "retrain.yml"
PROMOTE = WORKFLOWS / "promote.yml"
IMAGE = WORKFLOWS / "image.yml"
SHARED = {"MERGELINE_RECORD": "true"}
OWN = {"look": {"result": "success", "outputs": {"own": "true"}}}
FORK = {"look": {"result": "success", "outputs": {"own": "false"}}}
WELL = {"result": "success"}
REPORT = {"report": {"report.md": b"# What it says\n"}}


@pytest.fixture(scope="session")
def shared_origin(in_production: Promoted, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Origin:
    """A repository with a model in production and stores that all jobs reach, made once for all workers; copy it."""
    base = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    place = base / "rehearsed"  # its path is in its settings, so that it is made where it stays
    with FileLock(base / "rehearsed.lock"):
        if not (place / "made").exists():
            shutil.rmtree(place, ignore_errors=True)
            make_shared(in_production, place)
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
    lines = [line.split(None, 1) for line in job.step("The gate")["said"].splitlines()]
    return {said.partition(":")[0]: word for word, said in (line for line in lines if len(line) == 2)}


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


def test_a_worse_model_is_recorded_staging_stays_and_the_gate_is_red(origin: Origin) -> None:
    sha = proposed(origin, "worse", {"train.hist_gradient_boosting": {"iterations": 1, "leaves": 2}})
    event = pull_request(sha, "worse")
    first = rehearse(origin, RETRAIN, "pull_request", event, vars=SHARED, given={"report": WELL})
    assert results(first)["record"] == "success", what_failed(first)
    recorded = origin.head("worse")
    assert recorded != sha
    assert origin.read("worse", STAGING) == origin.read("main", STAGING)
    ended = dict.fromkeys(("train", "report", "record", "evaluate-again"), WELL)
    again = rehearse(origin, RETRAIN, "pull_request", pull_request(recorded, "worse"), vars=SHARED, given=OWN | ended)
    assert results(again)["gate"] == "failure"
    refused = {name for name, word in findings(again["gate"]).items() if word == "REFUSED"}
    assert refused == {"verdict"}


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


def test_a_run_that_is_cancelled_is_not_green(origin: Origin) -> None:
    event = pull_request(origin.head("main"), "main")
    jobs = rehearse(origin, RETRAIN, "pull_request", event, given=OWN | {"train": WELL}, cancelBefore="report")
    assert results(jobs) == {
        "look": "success", "train": "success", "report": "cancelled", "record": "cancelled",
        "evaluate-again": "cancelled", "gate": "failure",
    }  # fmt: skip


# ---- After the merge -------------------------------------------------------------------------------------------------


def test_a_schedule_without_anything_set_up_ends_neutral_and_says_so(tmp_path: Path) -> None:
    origin = make_fresh(tmp_path / "fresh")
    jobs = rehearse(origin, PROMOTE, "schedule", {"repository": HOME})
    assert results(jobs).pop("look") == "success"
    assert {result for name, result in results(jobs).items() if name != "look"} == {"skipped"}
    assert "**Not configured.**" in jobs["look"].summary
    image = rehearse(origin, IMAGE, "schedule", {"repository": HOME})
    assert results(image) == {"look": "success", "scan": "skipped", "build": "skipped", "bump": "skipped"}
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
    variables = {"IMAGE_REPOSITORY": "registry.example/server"}
    built = {"build": {"result": "success", "outputs": {"digest": "sha256:" + "5" * 64}}, "scan": WELL}
    for _ in range(2):
        jobs = rehearse(origin, IMAGE, "push", {"repository": HOME}, vars=variables, given=built, api=github.url)
        assert results(jobs)["bump"] == "success", what_failed(jobs)
    assert "image/staging proposes it already" in jobs["bump"].step("Give staging the image")["said"]
    before, after = (parse_release(origin.read(branch, STAGING)) for branch in ("main", "image/staging"))
    assert after == replace(before, image="registry.example/server@sha256:" + "5" * 64)
    (pull,) = [each for each in github.hub.repository(REPOSITORY)["issues"] if each["pull"]]
    assert pull["pull"]["head"] == "image/staging"


def test_a_build_without_a_digest_proposes_nothing(origin: Origin) -> None:
    variables = {"IMAGE_REPOSITORY": "registry.example/server"}
    built = {"build": {"result": "success", "outputs": {"digest": ""}}, "scan": WELL}
    jobs = rehearse(origin, IMAGE, "push", {"repository": HOME}, vars=variables, given=built)
    assert "expected an image by its digest" in jobs["bump"].step("Give staging the image")["said"]
    assert "image/staging" not in origin.git("for-each-ref")


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
