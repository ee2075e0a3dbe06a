"""Which branch a run's pull request is to be merged into: the gate counts for the default branch alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from promoted import Promoted

from mergeline.commands.gate import into_default
from mergeline.github.run import Into, Run

DEFAULT = {"repository": {"default_branch": "main"}}


def told(place: Path, event: dict[str, Any]) -> dict[str, str]:
    """The environment of a run that this event started."""
    place.write_text(json.dumps(event))
    return {"GITHUB_EVENT_PATH": str(place)}


def into(branch: object) -> dict[str, Any]:
    return DEFAULT | {"pull_request": {"number": 1, "base": {"ref": branch}}}


@pytest.mark.parametrize(
    ("event", "found"),
    [
        pytest.param({}, None, id="no event"),
        pytest.param(DEFAULT, None, id="a push, a schedule"),
        pytest.param(into("main"), Into("main", "main"), id="the default branch"),
        pytest.param(into("loose"), Into("loose", "main"), id="another branch"),
        pytest.param(into(None), Into("", "main"), id="a base without a name"),
        pytest.param(into("main") | {"repository": None}, Into("main", ""), id="no default branch"),
        pytest.param(
            DEFAULT | {"merge_group": {"base_ref": "refs/heads/main"}}, Into("main", "main"), id="the merge queue"
        ),
        pytest.param(
            DEFAULT | {"merge_group": {"base_ref": "refs/heads/a/b"}}, Into("a/b", "main"), id="another branch's queue"
        ),
    ],
)
def test_r4_where_a_run_leads_is_read_from_its_event_and_only_the_default_branch_is_held(
    event: dict[str, Any], found: Into | None, tmp_path: Path
) -> None:
    environment = told(tmp_path / "event.json", event)
    assert Run.of(environment).into == found
    answers = [each.held for each in into_default(environment)]
    assert answers == ([] if found is None else [found == Into("main", "main")])


def test_r4_twin_the_same_commit_is_green_into_main_and_red_into_any_other_branch(
    reviewed: Promoted, tmp_path: Path
) -> None:
    here = told(tmp_path / "event.json", into("main"))
    done = reviewed.run("gate", **here)
    assert done.returncode == 0, done.stderr
    assert "held  base: what is merged here comes into main, the default branch" in done.stdout
    done = reviewed.run("gate", **told(tmp_path / "event.json", into("loose")))
    assert done.returncode == 4
    assert "REFUSED  base: this pull request is into loose, and a green gate counts for main; change" in done.stderr
    assert "mergeline: gate: base does not hold" in done.stderr
