"""One open pull request for a branch: opened, brought up to date, left as a person wants it. Real Git, real HTTP."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from github_api import GitHub, served
from github_state import ACTIONS, Hub, token

from mergeline.errors import ConfigurationError, MergelineError
from mergeline.github.client import Patience
from mergeline.github.proposal import BEGIN, END, Wanted
from mergeline.github.pulls import pull_request

HERE = "octo/model"
BOT = "github-actions[bot]"
BRANCH = "promote/production"
MESSAGE = "Promote model 1234 to production\n\nBetter than @all #1 by 0.02.\n\nTrained-From: " + "a" * 40
QUICK = Patience(tries=2, backoff_s=0, timeout_s=5, longest_wait_s=1)


@dataclass(frozen=True, slots=True)
class Place:
    """A bare repository behind a GitHub, and a clone of it."""

    github: GitHub
    clone: Path

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(self.clone), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def push(self, content: str, message: str = MESSAGE, branch: str = BRANCH, start: str = "origin/main") -> None:
        """One commit on top of main, in place of what the branch was."""
        self.git("checkout", "-q", "-B", branch, start)
        (self.clone / "release.yaml").write_text(content)
        self.git("commit", "-q", "-a", "-m", message)
        self.git("push", "-q", "-f", "origin", branch)

    def ask(
        self, branch: str = BRANCH, *labels: str, draft: bool = False, base: str | None = None, who: str = "ghs_1"
    ) -> str:
        names = {"API_URL": self.github.url, "REPOSITORY": HERE, "TOKEN": who}
        environment = {f"GITHUB_{name}": value for name, value in names.items()}
        return pull_request(branch, base, labels, environment, draft=draft, patience=QUICK)

    @property
    def pulls(self) -> list[dict[str, Any]]:
        return [each for each in self.github.hub.repository(HERE)["issues"] if each["pull"]]

    def merge(self, number: int) -> None:
        """Squash it into main, as a person does."""
        head = self.pulls[number - 1]["pull"]
        self.git("checkout", "-q", "-B", "main", "origin/main")
        self.git("merge", "-q", "--squash", head["sha"])
        self.git("commit", "-q", "-m", "Merge")
        self.git("push", "-q", "origin", "main")
        self.pulls[number - 1]["state"], head["merged"] = "closed", True


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "tests")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "tests@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    origin, clone = tmp_path / "origin.git", tmp_path / "clone"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(origin)], check=True)
    subprocess.run(["git", "clone", "-q", str(origin), str(clone)], check=True, capture_output=True)
    (clone / "release.yaml").write_text("none\n")
    permissions = {**ACTIONS, "pull_requests": "write"}
    hub = Hub({"tokens": {"ghs_1": token(BOT, permissions), "ghs_reader": token(BOT, ACTIONS)}})
    hub.add(HERE, git=str(origin))["workflow_permissions"]["can_approve_pull_request_reviews"] = True
    with served(hub) as github:
        made = Place(github, clone)
        made.git("checkout", "-q", "-B", "main")
        made.git("add", "release.yaml")
        made.git("commit", "-q", "-m", "start")
        made.git("push", "-q", "origin", "main")
        yield made


def test_r11_a_branch_gets_one_pull_request_and_further_runs_only_read(place: Place) -> None:
    place.push("one")
    assert place.ask(BRANCH, "release", "release") == "#1 opened: promote/production into main"
    opened = [("POST", f"/repos/{HERE}/pulls"), ("POST", f"/repos/{HERE}/issues/1/labels")]
    assert place.pulls[0]["title"] == "Promote model 1234 to production"
    assert place.ask(BRANCH, "Release") == "#1 proposes it already"
    assert place.ask() == "#1 proposes it already"
    assert place.github.writes() == opened
    assert len(place.pulls) == 1


def test_labels_are_added_where_they_are_missing_and_never_taken_away(place: Place) -> None:
    place.push("one")
    place.ask(BRANCH, "release")
    place.pulls[0]["labels"].append("waits")
    assert "proposes it already" in place.ask(BRANCH, "release")
    place.ask(BRANCH, "model")
    assert place.pulls[0]["labels"] == ["release", "waits", "model"]


def test_the_description_is_the_message_and_nothing_in_it_calls_anybody(place: Place) -> None:
    place.push("one")
    place.ask()
    fenced = f"```text\nBetter than @all #1 by 0.02.\n\nTrained-From: {'a' * 40}\n```"
    assert place.pulls[0]["body"] == f"{BEGIN}\n{fenced}\n{END}"


def test_a_message_cannot_end_its_code_block() -> None:
    block = Wanted("1" * 40, f"title\n\n```\n@all\n````\n{END}").block
    assert block.startswith(f"{BEGIN}\n`````text\n")
    assert block.endswith(f"\n`````\n{END}")


def test_a_branch_that_moved_brings_its_title_and_description_up_to_date(place: Place) -> None:
    place.push("one")
    place.ask()
    place.push("two", "Promote model 5678 to production\n\nBetter still.")
    assert "brought up to date" in place.ask()
    assert place.pulls[0]["title"] == "Promote model 5678 to production"
    assert "Better still." in place.pulls[0]["body"]
    assert len(place.pulls) == 1


def test_r8_what_a_person_wrote_stays(place: Place) -> None:
    place.push("one")
    place.ask()
    place.pulls[0]["title"] = "Not before Monday"
    place.pulls[0]["body"] = f"Wait for Monday.\r\n\r\n{place.pulls[0]['body']}\r\nSee the plan."
    assert "proposes it already" in place.ask()
    place.push("two", "Promote model 5678 to production\n\nBetter still.")
    place.ask()
    assert place.pulls[0]["body"].startswith("Wait for Monday.\n\n")
    assert place.pulls[0]["body"].endswith("\nSee the plan.")
    assert place.pulls[0]["title"] == "Promote model 5678 to production"  # another model: the old title would mislead


def test_r8_a_pull_request_that_a_person_opened_keeps_title_and_text(place: Place) -> None:
    place.push("one")
    place.github.hub.pull(HERE, BRANCH, "ada", title="My own", body="Because.")
    place.ask()
    assert place.pulls[0]["title"] == "My own"
    assert place.pulls[0]["body"].startswith("Because.\n\n" + BEGIN)
    assert "proposes it already" in place.ask()


def test_r8_what_a_person_closed_stays_closed_until_the_branch_moves(place: Place) -> None:
    place.push("one")
    place.ask()
    place.pulls[0]["state"] = "closed"
    said = place.ask()
    assert said == "#1 proposed this and was closed; it stays closed until promote/production changes"
    assert len(place.github.writes()) == 1
    place.push("two")
    assert place.ask() == "#2 opened: promote/production into main"
    assert place.pulls[0]["state"] == "closed"


def test_a_merged_one_is_not_opened_again_and_after_a_rollback_it_is(place: Place) -> None:
    place.push("one")
    place.ask()
    place.merge(1)
    assert place.ask() == "#1 proposed this and was merged"
    place.git("revert", "--no-edit", "HEAD")
    place.git("push", "-q", "origin", "main")
    assert place.ask() == "#2 opened: promote/production into main"


def test_a_branch_that_is_not_there_or_has_nothing_new_opens_nothing(place: Place) -> None:
    assert place.ask() == f"nothing to open: {HERE} has no branch {BRANCH}"
    place.git("push", "-q", "origin", f"main:{BRANCH}")
    assert place.ask() == f"nothing to open: main has all of {BRANCH}"
    assert place.github.writes() == []


def test_a_fork_with_a_branch_of_this_name_does_not_count(place: Place) -> None:
    place.push("one")
    place.github.hub.pull(HERE, BRANCH, "eve", **{"from": "octo/fork"}, sha="1" * 40, title="Mine")
    assert place.ask() == "#2 opened: promote/production into main"
    assert place.pulls[0]["title"] == "Mine"


def test_the_first_commit_speaks_for_a_branch_that_a_person_went_on_with(place: Place) -> None:
    place.push("one")
    (place.clone / "release.yaml").write_text("more")
    place.git("commit", "-q", "-a", "-m", "fixup")
    place.git("push", "-q", "origin", BRANCH)
    place.ask()
    assert place.pulls[0]["title"] == "Promote model 1234 to production"


def test_a_creation_whose_answer_is_lost_leaves_one(place: Place) -> None:
    place.push("one")
    place.github.fail("/pulls$", method="POST", drop="after")
    assert "proposes it already" in place.ask()
    assert len(place.pulls) == 1


def test_another_run_that_came_first_is_no_failure(place: Place) -> None:
    place.push("one")
    place.github.fail(
        "/pulls$", 422, method="POST", message="A pull request already exists for octo:promote/production."
    )
    assert place.ask() == "#1 opened: promote/production into main"
    place.github.fail("/pulls$", 422, method="POST", message="A pull request already exists for octo:other.", times=9)
    place.push("x", branch="other")
    with pytest.raises(ConfigurationError, match="already exists"):
        place.ask("other")


def test_a_draft_is_one_where_the_plan_has_drafts(place: Place) -> None:
    place.push("one")
    assert place.ask(draft=True) == "#1 opened: promote/production into main"
    assert place.pulls[0]["pull"]["draft"] is True
    place.github.hub.repository(HERE).update(private=True)
    place.push("two", branch="other")
    assert "not as a draft, which this plan does not have" in place.ask("other", draft=True)
    assert place.pulls[1]["pull"]["draft"] is False


@pytest.mark.parametrize(
    ("change", "said", "code"),
    [
        ({"who": "ghs_reader"}, "pull_requests=", 2),
        ({"who": "gone"}, "401", 2),
        ({"base": "no/such"}, "has no branch no/such", 2),
        ({"branch": "main"}, "name another one", 2),
    ],
)
def test_what_cannot_be_done_is_said(place: Place, change: dict[str, str], said: str, code: int) -> None:
    place.push("one")
    with pytest.raises(MergelineError, match=said) as told:
        place.ask(**{"branch": BRANCH, **change})  # type: ignore[arg-type]
    assert told.value.exit_code == code
    assert place.github.writes() == []


def test_a_repository_that_lets_no_workflow_open_one_says_what_mends_it(place: Place) -> None:
    place.push("one")
    place.github.hub.repository(HERE)["workflow_permissions"]["can_approve_pull_request_reviews"] = False
    with pytest.raises(ConfigurationError, match="gh api -X PUT repos/octo/model/actions/permissions/workflow"):
        place.ask()
