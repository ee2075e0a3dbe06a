"""After a squash merge the branch is gone, and with it the commit that the receipt names: nothing may stick at that."""

from __future__ import annotations

import json
import shutil

import pytest
from promoted import STAGING, Promoted

from mergeline.files import sha256
from mergeline.layout import RECEIPT


def forget(here: Promoted) -> None:
    """Let this clone have what its base branch leads to and nothing else, as a clone of another day would."""
    here.git("checkout", "-q", "main")
    for name in here.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split():
        if name != "main":
            here.git("branch", "-q", "-D", name)
    here.git("reflog", "expire", "--expire=now", "--all")
    here.git("gc", "-q", "--prune=now")
    assert here.tool("git", "cat-file", "-e", trained_from(here)).returncode != 0


def trained_from(here: Promoted) -> str:
    """The commit that the receipt here names."""
    return str(json.loads((here.root / RECEIPT).read_text())["training_commit"])


@pytest.fixture
def squashed(reviewed: Promoted) -> Promoted:
    """A model in production whose branch was squashed and deleted."""
    reviewed.merge("better")
    reviewed.promote()
    forget(reviewed)
    return reviewed


@pytest.fixture
def copied(promoted: Promoted) -> Promoted:
    """What "Use this template" makes: the same files in one commit, of a repository without any other."""
    shutil.rmtree(promoted.root / ".git")
    shutil.rmtree(promoted.origin)
    promoted.git("init", "-q", "-b", "main")
    for name, value in (("user.name", "tests"), ("user.email", "tests@example.org")):
        promoted.git("config", name, value)
    promoted.commit("Initial commit")
    promoted.git("init", "-q", "--bare", "-b", "main", str(promoted.origin))
    promoted.git("remote", "add", "origin", str(promoted.origin))
    promoted.git("push", "-q", "-u", "origin", "main")
    promoted.git("remote", "set-head", "origin", "main")
    return promoted


def larger(here: Promoted) -> None:
    """A larger model than the one in production."""
    here.change_params({"train.hist_gradient_boosting": {"iterations": 120, "leaves": 16}})
    here.commit("A larger model")


def documented(here: Promoted) -> str:
    """A branch of documentation; return its commit."""
    here.branch("docs")
    (here.root / "README.md").write_text("# What it is for\n")
    here.commit("Say what it is for")
    return here.git("rev-parse", "HEAD")


@pytest.mark.parametrize("begun", ["squashed", "copied"])
def test_r19_documentation_changes_no_receipt_records_nothing_and_is_green(
    begun: str, request: pytest.FixtureRequest
) -> None:
    here: Promoted = request.getfixturevalue(begun)
    commit, receipt = documented(here), (here.root / RECEIPT).read_bytes()
    done = here.run("gate")  # as a fork's, for which nothing runs
    assert done.returncode == 0, done.stderr
    for verb, said in (("repro", "ran      nothing"), ("record", "nothing to record"), ("gate", "held  receipt")):
        done = here.run(verb)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    assert (here.root / RECEIPT).read_bytes() == receipt
    assert here.git("rev-parse", "HEAD") == commit


def test_r19_twin_a_receipt_of_ones_own_that_names_a_commit_which_is_nowhere_is_refused(squashed: Promoted) -> None:
    squashed.branch("forged")
    receipt, staging = squashed.root / RECEIPT, squashed.root / STAGING
    before = sha256(receipt)
    receipt.write_text(receipt.read_text().replace(trained_from(squashed), "f" * 40))
    staging.write_text(staging.read_text().replace(before, sha256(receipt)))
    squashed.commit("Another receipt")
    done = squashed.run("gate")
    assert done.returncode == 4
    assert "trained from commit ffffffffffff, which is not here" in done.stderr
    assert squashed.run("repro").returncode == 0  # puts back what the base branch has
    assert trained_from(squashed) != "f" * 40


def test_r19_a_result_of_ones_own_names_its_own_commit_and_is_green(squashed: Promoted) -> None:
    squashed.branch("larger")
    larger(squashed)
    commit = squashed.git("rev-parse", "HEAD").strip()
    for verb in ("repro", "record", "gate"):
        done = squashed.run(verb)
        assert done.returncode == 0, done.stderr
    assert trained_from(squashed) == commit


def test_what_reads_the_history_says_that_the_commit_is_not_here_and_goes_on(squashed: Promoted) -> None:
    for verb in ("releases", "audit"):
        assert squashed.run(verb).returncode == 0
    verified = squashed.run("verify", "--environment", "production")
    assert verified.returncode == 0, verified.stdout
    assert "BROKEN" not in verified.stdout
    commit, measured = trained_from(squashed), squashed.run("dora").stdout
    assert "1 without: the training commit is not in this clone" in measured
    (code,) = [each for each in json.loads(squashed.run("lineage").stdout)["nodes"] if each["kind"] == "code"]
    assert code["label"] == f"code at {commit[:12]}, which is not in this clone"
    assert (code["commit"], code["authored_at"]) == (commit, None)


def test_twin_of_a_commit_that_is_here_the_lineage_has_the_day(reviewed: Promoted) -> None:
    reviewed.merge("better")
    reviewed.promote()
    (code,) = [each for each in json.loads(reviewed.run("lineage").stdout)["nodes"] if each["kind"] == "code"]
    assert code["label"] == f"code at {trained_from(reviewed)[:12]}"
    assert code["authored_at"]
