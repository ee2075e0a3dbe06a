"""R11: one issue for one matter, over real HTTP against a recording fake of GitHub."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import github_issues  # noqa: F401 - declares its routes
import pytest
from github_api import GitHub, served
from github_state import ACTIONS, Hub, token

from mergeline.commands.decide import RECORD, keep_issue
from mergeline.errors import ConfigurationError, MergelineError
from mergeline.github.client import Patience
from mergeline.github.issues import Issue, Plan, Step, Wanted, planned, put
from mergeline.monitor.decide import Evidence, Model, as_record, decide
from mergeline.params.decide import Action, DecideParams

HERE = "octo/model"
BOT = "github-actions[bot]"
QUICK = Patience(tries=2, backoff_s=0, timeout_s=5, longest_wait_s=1)
WANTED = Wanted("drift", "retrain", "Train again: it rains", "It rains on @all.\n", ("drift",))
OVER = replace(WANTED, over=True, title="Wait: no rule asks for anything")


@pytest.fixture
def github() -> Iterator[GitHub]:
    hub = Hub({"tokens": {"ghs_1": token(BOT, {**ACTIONS, "issues": "write"}), "ghs_reader": token(BOT, ACTIONS)}})
    hub.add(HERE)
    with served(hub) as running:
        yield running


def ask(github: GitHub, wanted: Wanted = WANTED, who: str = "ghs_1") -> str:
    names = {"API_URL": github.url, "REPOSITORY": HERE, "TOKEN": who}
    return put(wanted, {f"GITHUB_{name}": value for name, value in names.items()}, QUICK)


def issues(github: GitHub) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = github.hub.repository(HERE)["issues"]
    return found


def comments(github: GitHub) -> list[str]:
    return [each["body"] for each in github.hub.repository(HERE)["comments"]]


def test_r11_three_runs_make_one_issue_recovery_closes_it_and_the_next_time_it_is_the_same(github: GitHub) -> None:
    assert [ask(github) for _ in range(3)] == ["#1 opened", "#1 stands as it is", "#1 stands as it is"]
    assert github.writes() == [("POST", f"/repos/{HERE}/issues")]
    assert issues(github)[0]["labels"] == ["drift"]
    assert [ask(github, OVER), ask(github, OVER)] == ["#1 closed", "no issue is open, and none is needed"]
    assert [each["state"] for each in issues(github)] == ["closed"]
    assert [ask(github), ask(github)] == ["#1 opened again", "#1 stands as it is"]
    assert [each["state"] for each in issues(github)] == ["open"]
    assert [each.partition("&")[0].partition(":")[0] for each in comments(github)] == ["Over", "Again"]


def test_r11_twin_without_its_mark_a_second_issue_would_be_opened(github: GitHub) -> None:
    ask(github)
    issues(github)[0]["body"] = issues(github)[0]["body"].replace("<!-- mergeline: drift -->", "")
    assert ask(github) == "#2 opened"


def test_another_text_changes_the_issue_and_another_turn_is_told_to_those_who_watch(github: GitHub) -> None:
    ask(github)
    assert ask(github, replace(WANTED, text="It rains more.\n")) == "#1 brought up to date"
    assert comments(github) == []
    turned = replace(WANTED, turn="roll back", title="Take it back: @all of it fails")
    assert ask(github, turned) == "#1 brought up to date"
    (said,) = comments(github)
    assert said.startswith("Now: Take it back")
    assert "@all" not in said
    assert issues(github)[0]["title"] == "Take it back: @all of it fails"


def test_nothing_is_opened_where_there_is_nothing_to_say(github: GitHub) -> None:
    assert ask(github, OVER) == "no issue is open, and none is needed"
    assert github.writes() == []


def test_what_a_person_closed_as_not_planned_stays_closed_until_it_says_something_else(github: GitHub) -> None:
    ask(github)
    issues(github)[0].update(state="closed", state_reason="not_planned")
    assert "stays closed" in ask(github, replace(WANTED, text="It rains, still.\n"))
    assert ask(github, replace(WANTED, turn="roll back")) == "#1 opened again"
    issues(github)[0].update(state="closed", state_reason="completed")
    assert ask(github, replace(WANTED, turn="roll back")) == "#1 opened again"


def decline(github: GitHub, number: int = 1) -> None:
    issues(github)[number - 1].update(state="closed", state_reason="not_planned")


def test_r11_what_was_declined_and_was_over_in_between_is_opened_when_it_comes_back(github: GitHub) -> None:
    ask(github)
    decline(github)
    assert "stays closed" in ask(github, OVER)
    assert ask(github, OVER) == "no issue is open, and none is needed"
    assert (issues(github)[0]["state"], issues(github)[0]["state_reason"]) == ("closed", "not_planned")
    assert ask(github) == "#1 opened again"
    decline(github)
    assert "until it says something else" in ask(github), "the twin: without a recovery it stays closed"


def test_r11_a_race_does_not_mute_what_it_was_about(github: GitHub) -> None:
    ask(github)
    github.hub.issue(HERE, "the same", BOT, body=WANTED.body)
    ask(github)
    assert issues(github)[1]["body"].endswith("The same as #1, which two runs opened at once.\n")
    assert ask(github, OVER) == "#1 closed"
    assert ask(github) == "#1 opened again"
    assert [each["state"] for each in issues(github)] == ["open", "closed"]
    decline(github)
    assert "#1 was closed as not planned" in ask(github), "the twin: a person's word still holds"


def test_r11_what_was_declined_of_one_model_is_told_of_the_next_one(github: GitHub, tmp_path: Path) -> None:
    names = {"API_URL": github.url, "REPOSITORY": HERE, "TOKEN": "ghs_1"}
    path = tmp_path / RECORD
    path.parent.mkdir(parents=True)
    said = []
    for sha in ("a", "a", "b"):
        evidence = Evidence(dt.datetime(2024, 9, 30, tzinfo=dt.UTC), model=Model(sha * 64))
        asked = replace(decide(evidence, DecideParams()), action=Action.RETRAIN, rule="planted", why=("it rains",))
        path.write_text(json.dumps(as_record(asked)), encoding="utf-8")
        said.append(keep_issue(tmp_path, {f"GITHUB_{name}": value for name, value in names.items()}))
        decline(github)
    assert [said[0], said[2]] == ["#1 opened", "#1 opened again"]
    assert "stays closed" in said[1], "the twin: of the same model it stays closed"


def test_issues_of_others_pull_requests_and_other_matters_are_left_alone(github: GitHub) -> None:
    hub = github.hub
    hub.issue(HERE, "quotes it", "person", body=WANTED.body)
    hub.pull(HERE, "drift", BOT, body=WANTED.body)
    hub.issue(HERE, "other", BOT, body=replace(WANTED, matter="heartbeat").body)
    hub.issue(HERE, "quotes it below", BOT, body=f"See:\n{WANTED.body}")
    assert ask(github) == "#5 opened"
    assert ask(github, OVER) == "#5 closed"
    assert [each["state"] for each in issues(github)] == ["open"] * 4 + ["closed"]


def test_the_issue_is_found_behind_hundreds_of_others(github: GitHub) -> None:
    ask(github)
    for number in range(250):
        github.hub.issue(HERE, f"other {number}", BOT, body="")
    assert ask(github) == "#1 stands as it is"


def test_r11_of_two_that_a_race_left_the_older_stays(github: GitHub) -> None:
    ask(github)
    github.hub.issue(HERE, "the same", BOT, body=WANTED.body)
    assert ask(github) == "#1 stands as it is, 1 of an earlier race closed"
    assert [each["state"] for each in issues(github)] == ["open", "closed"]


def test_r11_a_creation_whose_answer_was_lost_is_looked_for_before_another_one(github: GitHub) -> None:
    github.fail("/issues$", method="POST", drop="after")
    assert ask(github) == "#1 stands as it is"
    assert len(issues(github)) == 1


def test_r11_twin_a_creation_that_was_lost_on_its_way_is_made(github: GitHub) -> None:
    github.fail("/issues$", method="POST", drop="before")
    assert ask(github) == "#1 opened"


def test_a_token_that_may_not_is_told_what_it_needs(github: GitHub) -> None:
    with pytest.raises(ConfigurationError, match="issues"):
        ask(github, who="ghs_reader")
    with pytest.raises(MergelineError, match="--title"):
        ask(github, replace(WANTED, matter="<drift>"))


def test_a_text_that_is_too_long_is_cut_and_says_so(github: GitHub) -> None:
    long = replace(WANTED, text="a line\n" * 20_000)
    assert ask(github, long) == "#1 opened"
    assert len(issues(github)[0]["body"]) <= 65_536
    assert "Cut here" in issues(github)[0]["body"]
    assert ask(github, long) == "#1 stands as it is"


def test_the_oldest_open_one_stands_and_labels_are_added_and_never_taken() -> None:
    one = Issue(3, WANTED.title, WANTED.body, is_open=True, declined=False, labels=("Drift", "mine"))
    assert planned([one], WANTED) == Plan(Step.NOTHING, 3)
    assert planned([replace(one, labels=())], WANTED) == Plan(Step.UPDATE, 3, ("drift",))
    assert planned([replace(one, number=5), one], WANTED).twins == (5,)
    assert planned([replace(one, body=one.body.replace("\n", "\r\n"))], WANTED) == Plan(Step.NOTHING, 3)
