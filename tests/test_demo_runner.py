"""The demo's way through the workflows: whether the runner is here, what it is told, what is made of its answer."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import played
import pytest
from repositories import TEMPLATE
from sample.demo import forks, runner
from sample.demo import place as place_of_the_demo
from sample.demo import play as playing
from sample.demo.clone import make_place
from sample.demo.hub import Hub, tokens
from sample.demo.place import Place
from sample.demo.plan import HOME, OF_THIS_PYTHON, Programs, permissions, pull_request
from sample.demo.runner import Job, Run, Unavailable, installed, read, refuse_other_ends
from sample.demo.verbs import Verbs
from sample.demo.workflows import COMMAND, DRIFT, NOT_HERE, PROMOTE, RECORDED_NOW, RED, RETRAIN

from mergeline.errors import VerificationError

LOG = Path("demo/jobs.log")
WORKFLOWS = TEMPLATE / ".github" / "workflows"


# ---- Is it here ------------------------------------------------------------------------------------------------------


def machine(folder: Path, **programs: str) -> dict[str, str]:
    """An environment with these programs, each a line of the shell, and a runner that was never installed."""
    (folder / "bin").mkdir(parents=True)
    for name, line in programs.items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    place = folder / "template" / runner.FOLDER
    place.mkdir(parents=True)
    for name in ("run.mjs", "package-lock.json"):
        (place / name).touch()
    return {"PATH": str(folder / "bin")}


NODE = {"node": "echo v20.1.0"}
NPM = {"npm": "/bin/mkdir node_modules && echo {} > node_modules/.package-lock.json"}


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ({}, "Node is not here"),
        (NODE, "npm is not here"),
        (NPM | {"node": "echo v18.20.4"}, "Node is v18.20.4 here, and 20 is needed"),
        (NPM | {"node": "exit 1"}, "Node is broken here, and 20 is needed"),
        (NODE | {"npm": "echo npm error network >&2; exit 1"}, "`npm ci` .* did not end well .*npm error network"),
        (NODE | {"npm": "exec /bin/sleep 60"}, "`npm ci` .* did not end in 0 s"),
    ],
    ids=["no Node", "no npm", "an old Node", "a broken Node", "no network", "a network that hangs"],
)
def test_without_all_that_the_runner_needs_it_is_said_what_is_missing(
    programs: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = machine(tmp_path, **programs)
    monkeypatch.setattr(runner, "LONGEST_INSTALL_S", 0.3)
    with pytest.raises(Unavailable, match=said):
        installed(tmp_path / "template", environment)


def test_twin_with_all_of_it_the_packages_are_installed_once(tmp_path: Path) -> None:
    environment = machine(tmp_path, **NODE, npm=f"echo once >> {tmp_path}/asked; {NPM['npm']}")
    for _ in range(2):
        assert installed(tmp_path / "template", environment) == tmp_path / "template" / runner.FOLDER
    assert (tmp_path / "asked").read_text() == "once\n"
    os.utime(tmp_path / "template" / runner.FOLDER / "package-lock.json", (2**31, 2**31))  # other packages
    with pytest.raises(Unavailable, match="did not end well"):  # this npm makes a folder that is there
        installed(tmp_path / "template", environment)


def test_a_repository_that_has_dropped_the_runner_is_told_so(tmp_path: Path) -> None:
    environment = machine(tmp_path, **NODE, **NPM)
    (tmp_path / "template" / runner.FOLDER / "run.mjs").unlink()
    with pytest.raises(Unavailable, match=r"tests/workflows/run\.mjs is not in this repository"):
        installed(tmp_path / "template", environment)


def test_without_the_runner_a_line_says_so_and_the_acts_say_by_what_they_were_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    story = playing.begun(Place(tmp_path), said.append)
    assert isinstance(story.way, Verbs)
    assert story.way.how == "by the same verbs, because Node is not here"
    (line,) = said
    assert line.startswith("set-up: Node is not here: the workflows' verbs are played")


# ---- What it is told -------------------------------------------------------------------------------------------------


def test_the_runner_is_told_of_the_clones_own_workflow_and_which_jobs_are_left_out(tmp_path: Path) -> None:
    given = {"collect": "skipped"}
    place = Place(tmp_path)
    run = Run(
        DRIFT, "schedule", {"repository": HOME}, "c0ffee", tmp_path / "runs/1", {"MERGELINE_RECORD": "true"}, given,
        {"DEMO_NOW": "2013-07-05"},
    )  # fmt: skip
    plan = run.plan(place, Programs("'our own'", "dvc"), "http://127.0.0.1:1")
    assert plan["workflow"] == str(tmp_path / "clone/.github/workflows/drift.yml")
    assert plan["given"] == {"collect": {"result": "skipped"}}
    assert (plan["event"], plan["sha"], plan["api"]) == ("schedule", "c0ffee", "http://127.0.0.1:1")
    assert (plan["mergeline"], plan["dvc"]) == ("'our own'", "dvc")
    assert plan["environment"] == {**place.environment(), "DEMO_NOW": "2013-07-05"}
    assert plan["vars"] == {"MERGELINE_RECORD": "true"}
    assert {Path(plan[name]).parent for name in ("place", "artifacts")} == {tmp_path / "runs/1"}


def test_the_jobs_that_are_named_here_are_those_of_the_workflows() -> None:
    assert {*RECORDED_NOW, *RED} <= set(permissions(WORKFLOWS / RETRAIN))
    assert {*NOT_HERE, "retire", "tag", "smoke", "propose"} <= set(permissions(WORKFLOWS / PROMOTE))
    assert {"watch", "issue", "collect", "propose"} <= set(permissions(WORKFLOWS / DRIFT))


def test_a_job_has_the_rights_that_its_workflow_grants_it_and_no_others() -> None:
    found = tokens(permissions(WORKFLOWS / DRIFT))
    assert found["token-of-issue"]["permissions"] == {"metadata": "read", "contents": "read", "issues": "write"}
    assert found["token-of-look"]["permissions"] == {"metadata": "read"}
    assert "token-of-gate" not in found


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("drift", "drift --until 2013-07-01"),
        ("performance", "performance --now 2013-07-05"),
        ("collect --all", "collect --all --now 2013-07-05"),
        ("decide", "decide --now 2013-07-05"),
        ("decide act", "decide act"),
        ("decide issue", "decide issue"),
        ("--root branch gate", "--root branch gate"),
    ],
)
def test_the_verbs_that_ask_what_day_it_is_are_told_the_day_of_the_flights(
    asked: str, told: str, tmp_path: Path
) -> None:
    program = tmp_path / "mergeline"
    program.write_text(COMMAND.format(mergeline="echo"))
    for now, answer in (("2013-07-05", told), ("", asked)):
        ran = subprocess.run(
            ["sh", str(program), *asked.split()],
            env={"PATH": os.defpath, "DEMO_NOW": now, "DEMO_UNTIL": "2013-07-01"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert ran.stdout == f"{answer}\n"


# ---- What is made of its answer --------------------------------------------------------------------------------------


def report(**changed: Any) -> dict[str, Any]:
    """What the runner reports of a run in which all went well, but for `changed` jobs."""
    steps = [
        {"name": "Set up", "outcome": "success", "said": ""},
        {"name": "Train", "outcome": "success", "said": "ran"},
    ]
    jobs: dict[str, Any] = {name: {"result": "success", "steps": steps, "said": "ran"} for name in ("train", "gate")}
    return {"errors": [], "jobs": jobs | changed}


FAILED = {
    "result": "failure",
    "steps": [
        {"name": "Set up", "outcome": "success", "said": "well"},
        {"name": "The data", "outcome": "failure", "said": "mergeline: no such rows\n"},
        {"name": "Train", "outcome": "skipped"},
    ],
}


def test_a_job_that_does_not_end_as_it_must_is_named_with_its_step_and_where_its_words_are() -> None:
    with pytest.raises(VerificationError) as found:
        refuse_other_ends("retrain.yml", read(report(train=FAILED), "retrain.yml"), {}, LOG)
    assert str(found.value) == (
        "retrain.yml: expected success of the job `train`, found failure at `The data` (mergeline: no such rows);"
        " read demo/jobs.log"
    )


def test_twin_jobs_that_end_as_they_must_pass_also_where_that_is_a_failure() -> None:
    refuse_other_ends("retrain.yml", read(report(), "retrain.yml"), {}, LOG)
    refuse_other_ends("retrain.yml", read(report(train=FAILED), "retrain.yml"), {"train": "failure"}, LOG)


@pytest.mark.parametrize(
    ("changed", "wanted", "said"),
    [
        ({"train": {"result": "skipped"}}, {}, "expected success of the job `train`, found skipped; read"),
        ({}, {"gate": "failure"}, "expected failure of the job `gate`, found success; read"),
        ({}, {"record": "success"}, "expected a job `record`, found none"),
    ],
    ids=["left out", "passed where it had to fail", "not there"],
)
def test_what_was_left_out_passed_or_is_not_there_is_no_end_as_it_must_be(
    changed: dict[str, Any], wanted: dict[str, str], said: str
) -> None:
    with pytest.raises(VerificationError, match=said):
        refuse_other_ends("retrain.yml", read(report(**changed), "retrain.yml"), wanted, LOG)


def test_a_run_without_jobs_is_no_good_end() -> None:
    jobs: dict[str, Job] = read({"errors": [], "jobs": {}}, "retrain.yml")
    with pytest.raises(VerificationError, match=r"expected a job `\*`, found none"):
        refuse_other_ends("retrain.yml", jobs, {}, LOG)


def test_a_workflow_that_github_does_not_take_is_an_error() -> None:
    with pytest.raises(VerificationError, match="expected a workflow that GitHub takes, found unexpected value"):
        read({"errors": ["unexpected value"], "jobs": {}}, "retrain.yml")


def test_a_runner_that_breaks_or_does_not_end_is_an_error_with_the_name_of_the_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_of_the_demo, "LONGEST_RUN_S", 2.0)
    place = Place(tmp_path, "act 1, the first pull request")
    place.root.mkdir()
    for line, said in (
        ("echo needs: a circle >&2; exit 1", "found exit code 1 .needs: a circle"),
        ("exit 0", "code 0"),
        ("exec sleep 60", "`retrain.yml` to end within 2 s"),
    ):
        environment = machine(tmp_path / said[:12], node=line)
        monkeypatch.setenv("PATH", f"{environment['PATH']}:{os.defpath}")
        with pytest.raises(VerificationError, match=f"act 1, the first pull request: .*{said}"):
            run = Run(RETRAIN, "pull_request", {}, "c0ffee", tmp_path / said[:12] / "run", {})
            runner.played(place, tmp_path, [run], OF_THIS_PYTHON, "http://127.0.0.1:1")


# ---- The GitHub that the jobs talk to --------------------------------------------------------------------------------


def test_a_branch_has_one_open_pull_request_and_the_next_number_once_it_is_merged(tmp_path: Path) -> None:
    hub = Hub(Place(tmp_path), TEMPLATE / "tests")
    assert [hub.pull("first", "First"), hub.pull("other", "Other"), hub.pull("first", "First")] == [1, 2, 1]
    hub.merged(1)
    assert hub.pull("first", "Once more") == 3
    event = pull_request("c0ffee", "first", number=3)
    assert event["pull_request"]["head"]["sha"] == "c0ffee"


def test_it_answers_the_jobs_and_what_they_say_is_there_in_the_next_run(tmp_path: Path) -> None:
    template = played.small_template(tmp_path / "template")
    place = make_place(template, tmp_path / "demo")
    hub = Hub(place, TEMPLATE / "tests")
    number = hub.pull("main", "A pull request")
    asked = {"Authorization": "Bearer token-of-report", "Content-Type": "application/json"}
    where = f"/repos/owner/model/issues/{number}/comments"
    for body in (b'{"body": "better"}', None):
        with (
            hub.served({"report": {"pull-requests": "write"}}) as url,
            urllib.request.urlopen(urllib.request.Request(url + where, body, asked), timeout=10) as answer,
        ):
            found = json.load(answer)
    assert [each["body"] for each in found] == ["better"]
    assert all(process.poll() is not None for process in place.launched)


# ---- The process that commands are forked from -----------------------------------------------------------------------


def test_where_a_socket_has_no_room_for_its_address_commands_start_by_themselves(tmp_path: Path) -> None:
    place = Place(tmp_path / "long" / ("x" * forks.LONGEST_ADDRESS))
    assert forks.started(place, TEMPLATE / "tests") is None
    assert place.launched == []
    assert place.programs is OF_THIS_PYTHON
    assert "MERGELINE_WARM" not in place.environment()
    place.forks = tmp_path / "forks"  # the twin
    assert place.programs == Programs(f"{tmp_path}/forks/mergeline", f"{tmp_path}/forks/dvc")
    assert place.environment()["MERGELINE_WARM"] == str(tmp_path / "forks" / "socket")
    assert place.environment()["PATH"].startswith(f"{tmp_path / 'forks'}:")


def test_a_process_to_be_forked_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    place = Place(tmp_path, "act 1, the first pull request")
    place.root.mkdir()
    with pytest.raises(VerificationError, match="act 1, the first pull request: expected a process that commands are"):
        forks.started(place, tmp_path)  # there is no such program
