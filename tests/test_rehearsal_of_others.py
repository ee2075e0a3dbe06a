"""More of the pull-request workflow, rehearsed: a merged branch that is gone, a pull request into another branch."""

from __future__ import annotations

from typing import Any

import pytest
import test_rehearsal as rehearsals
from github_api import GitHub
from promoted import PRODUCTION, STAGING
from rehearsal import Origin, rehearse, results
from sample.demo.plan import HOME, pull_request
from test_rehearsal import (
    ENDED,
    JUDGED,
    PROMOTE,
    RETRAIN,
    SHARED,
    WELL,
    findings,
    known,
    of_a_fork,
    refused,
    what_failed,
)

shared_origin, origin, github = rehearsals.shared_origin, rehearsals.origin, rehearsals.github


@pytest.fixture
def squashed(origin: Origin) -> Origin:
    """`reviewed` is merged by squashing and deleted: nowhere is the commit that its receipt names."""
    here = origin.clone()
    here.git("merge", "-q", "--squash", "origin/reviewed")
    here.commit("Merge reviewed")
    origin.push(here, "refs/heads/main")
    origin.git("update-ref", "-d", "refs/heads/reviewed")
    origin.git("gc", "-q", "--prune=now")
    return origin


def test_r5_r19_the_promotion_of_a_branch_that_is_gone_is_proposed_green_and_stands(
    squashed: Origin, github: GitHub
) -> None:
    known(github, squashed)
    once: dict[str, Any] = {"vars": SHARED, "api": github.url, "given": {"verify": WELL}}
    jobs = rehearse(squashed, PROMOTE, "push", {"repository": HOME}, **once)
    assert results(jobs)["propose"] == "success", what_failed(jobs)
    proposed = squashed.head("promote/production")
    assert squashed.read("promote/production", PRODUCTION) == squashed.read("main", STAGING)

    event = pull_request(proposed, "promote/production")
    jobs = rehearse(squashed, RETRAIN, "pull_request", event, vars=SHARED, given=JUDGED)
    assert set(results(jobs).values()) == {"success"}, what_failed(jobs)
    assert "ran      nothing" in jobs["train"].step("Train, evaluate, compare")["said"]
    assert "nothing to record" in jobs["record"].step("Commit them")["said"]
    assert squashed.head("promote/production") == proposed

    jobs = rehearse(squashed, PROMOTE, "schedule", {"repository": HOME}, **once)
    assert results(jobs)["propose"] == "success", what_failed(jobs)
    assert squashed.head("promote/production") == proposed


def test_r19_a_fork_of_documentation_is_green_where_the_merged_branch_is_gone(squashed: Origin) -> None:
    sha = of_a_fork(squashed, {}, "Say it better")
    event = pull_request(sha, "main", fork=True)
    jobs = rehearse(squashed, RETRAIN, "pull_request", event, vars=SHARED)
    assert results(jobs)["gate"] == "success", what_failed(jobs)


def test_r4_twin_a_pull_request_into_another_branch_than_the_default_one_is_red_until_it_is_retargeted(
    origin: Origin,
) -> None:
    origin.git("update-ref", "refs/heads/stack", "refs/heads/main")
    event = pull_request(origin.head("reviewed"), "reviewed")
    event["pull_request"]["base"]["ref"] = "stack"
    jobs = rehearse(origin, RETRAIN, "pull_request", event, vars=SHARED, given=ENDED)
    assert refused(jobs) == {"base"}, what_failed(jobs)
    assert "change its base to main" in jobs["gate"].summary
    event["pull_request"]["base"]["ref"] = "main"
    jobs = rehearse(origin, RETRAIN, "pull_request", event, vars=SHARED, given=ENDED)
    assert results(jobs)["gate"] == "success", what_failed(jobs)
    assert findings(jobs["gate"])["base"] == "held"
