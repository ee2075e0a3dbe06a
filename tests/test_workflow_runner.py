"""The runner of the rehearsals does as GitHub does, and the setup action makes the environment that is asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rehearsal import WORKFLOWS, node
from repositories import TEMPLATE

GITHUB = TEMPLATE / ".github"


def run(tmp_path: Path, text: str, **more: Any) -> dict[str, Any]:
    """Rehearse a workflow that needs no repository."""
    (tmp_path / "artifacts").mkdir(exist_ok=True)
    (tmp_path / "w.yml").write_text(text)
    plan = {
        "workflow": str(tmp_path / "w.yml"), "event": "push", "payload": {}, "sha": "a" * 40, "repository": "o/r",
        "place": str(tmp_path / "jobs"), "artifacts": str(tmp_path / "artifacts"), "python": sys.executable,
        "environment": {"PATH": os.environ["PATH"]}, **more,
    }  # fmt: skip
    found: dict[str, Any] = json.loads(node("run.mjs", plan))
    return found


FLOW = """
name: flow
on: push
jobs:
  first:
    runs-on: ubuntu-24.04
    outputs: {said: "${{ steps.say.outputs.word }}"}
    steps:
      - id: say
        run: |
          echo "word=hello" >> "$GITHUB_OUTPUT"
          printf 'LINES<<END\\none\\ntwo\\nEND\\n' >> "$GITHUB_ENV"
      - run: test "$LINES" = "$(printf 'one\\ntwo')"
      - run: exit 3
        continue-on-error: true
        id: bad
      - if: steps.bad.outcome == 'failure' && steps.bad.conclusion == 'success'
        run: echo forgiven >> "$GITHUB_STEP_SUMMARY"
  legs:
    needs: first
    runs-on: ubuntu-24.04
    strategy: {matrix: {n: [1, 2], include: [{n: 2, more: "x"}, {n: 3}], exclude: [{n: 1}]}}
    steps:
      - run: echo "$N$MORE $WORD"
        env: {N: "${{ matrix.n }}", MORE: "${{ matrix.more }}", WORD: "${{ needs.first.outputs.said }}"}
  fails:
    runs-on: ubuntu-24.04
    steps:
      - run: "false | true"
      - run: "false | true"
        shell: bash
      - run: echo never
      - if: failure()
        run: echo mended
  after:
    needs: fails
    runs-on: ubuntu-24.04
    steps: [{run: "true"}]
  mend:
    needs: after
    if: failure()
    runs-on: ubuntu-24.04
    steps: [{run: "true"}]
  far:
    needs: mend
    runs-on: ubuntu-24.04
    steps: [{run: "true"}]
  unknown:
    runs-on: ubuntu-24.04
    steps: [{uses: some/action@v1}]
"""


def test_the_runner_evaluates_needs_outputs_matrix_shells_and_status_as_github_does(tmp_path: Path) -> None:
    jobs = run(tmp_path, FLOW)["jobs"]
    assert {name: job["result"] for name, job in jobs.items()} == {
        "first": "success", "legs": "success", "fails": "failure", "after": "skipped", "mend": "success",
        "far": "skipped",  # success() looks at all that it waits for, however far away
        "unknown": "failure",
    }  # fmt: skip
    assert jobs["first"]["outputs"] == {"said": "hello"}
    assert jobs["first"]["summary"] == "forgiven\n"
    assert [step["said"] for step in jobs["legs"]["steps"]] == ["2x hello\n", "3 hello\n"]
    assert [step["outcome"] for step in jobs["fails"]["steps"]] == ["success", "failure", "skipped", "success"]
    assert "no part for some/action@v1" in jobs["unknown"]["steps"][0]["said"]


def test_a_job_whose_runner_is_lost_after_a_step_has_failed_and_tells_nothing(tmp_path: Path) -> None:
    jobs = run(tmp_path, FLOW, killAfter={"first": "say", "fails": "never reached"})["jobs"]
    assert [(step["name"], step["outcome"]) for step in jobs["first"]["steps"]] == [("say", "success")]
    assert (jobs["first"]["result"], jobs["first"]["outputs"]) == ("failure", {})
    assert jobs["legs"]["result"] == "skipped"
    assert [step["outcome"] for step in jobs["fails"]["steps"]] == ["success", "failure", "skipped", "success"]


def test_what_an_action_puts_into_the_environment_is_there_for_the_steps_behind_it_alone(tmp_path: Path) -> None:
    steps = "[{run: 'echo \"<$ROLE>\"'}, {uses: some/action@v1}, {run: 'echo \"<$ROLE>\"'}]"
    text = f"name: a\non: push\njobs:\n  one:\n    runs-on: ubuntu-24.04\n    steps: {steps}\n"
    text += "  other:\n    runs-on: ubuntu-24.04\n    steps: [{run: 'echo \"<$ROLE>\"'}]\n"
    actions = {"some/action": {"ok": True, "env": {"ROLE": "train"}}}
    jobs = run(tmp_path, text, actions=actions)["jobs"]
    assert [step["said"] for step in jobs["one"]["steps"]] == ["<>\n", "", "<train>\n"]
    assert jobs["other"]["steps"][0]["said"] == "<>\n"


def test_an_artifact_is_left_twice_in_a_run_only_by_who_says_so(tmp_path: Path) -> None:
    upload = "{uses: actions/upload-artifact@v7, with: {name: a, path: said, MORE}}"
    text = "name: a\non: push\njobs:\n"
    for job, more in {"first": "", "refused": "", "again": "overwrite: true"}.items():
        steps = f"[{{run: 'echo {job} > said'}}, {upload.replace('MORE', more)}]"
        text += f"  {job}:\n    runs-on: ubuntu-24.04\n    steps: {steps}\n"
    jobs = run(tmp_path, text)["jobs"]
    assert {name: job["result"] for name, job in jobs.items()} == {
        "first": "success", "refused": "failure", "again": "success",
    }  # fmt: skip
    assert "is there already" in jobs["refused"]["said"]
    assert (tmp_path / "artifacts/a/said").read_text() == "again\n"


UV = """#!/bin/sh
# uv as far as it is asked: it can install one version, this one, and finds it where it did
case "$1 $2" in
  "python install") test "$3" = {version} && touch "$0.installed" ;;
  "python find") test -e "$0.installed" && test "$3 $4 $5" = "--system --managed-python {version}" && echo {python} ;;
  *) exit 2 ;;
esac
"""


PYTHON = """#!/bin/sh
# without pip, which takes seconds
test "$1 $2" = "-m venv" && exec {python} -m venv --without-pip "$4"
exec {python} "$@"
"""


@pytest.fixture
def set_up(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Carry out the setup action with the Makefile's own first step, where uv has this Python's version."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    place = tmp_path / "jobs/one/work"
    (place / ".github/actions/setup").mkdir(parents=True)
    (place / ".ci").mkdir()
    shutil.copy(TEMPLATE / "Makefile", place)
    shutil.copy(TEMPLATE / ".ci/make-venv", place / ".ci")
    (tmp_path / "tools").mkdir()
    python = tmp_path / "tools/python3"
    python.write_text(PYTHON.format(python=sys.executable))
    (tmp_path / "tools/uv").write_text(UV.format(version=here, python=python))
    for program in (tmp_path / "tools").iterdir():
        program.chmod(0o755)

    def carried_out(version: str = here, *, action: str = (GITHUB / "actions/setup/action.yml").read_text()) -> Any:
        (place / ".github/actions/setup/action.yml").write_text(action)
        given = f"with: {{target: .venv/.stamp-python, python: '{version}'}}"
        text = "name: s\non: push\njobs:\n  one:\n    runs-on: ubuntu-24.04\n    steps:\n"
        text += f"      - uses: ./.github/actions/setup\n        {given}\n"
        text += "      - run: .venv/bin/python --version\n"
        actions = {"astral-sh/setup-uv": {"ok": True}}
        return run(tmp_path, text, path=str(tmp_path / "tools"), actions=actions)["jobs"]["one"]

    return carried_out


def test_the_setup_action_makes_the_environment_with_the_python_that_was_asked_for(
    set_up: Callable[..., dict[str, Any]],
) -> None:
    job = set_up()
    assert job["result"] == "success", job["said"]
    assert f"Python {sys.version.split()[0]}" in job["steps"][-1]["said"]


def test_the_twin_a_python_that_uv_does_not_have_is_replaced_by_no_other(set_up: Callable[..., dict[str, Any]]) -> None:
    other = "3.13" if sys.version_info[:2] != (3, 13) else "3.12"
    assert set_up(other)["result"] == "failure"
    action = (GITHUB / "actions/setup/action.yml").read_text()
    install, line = 'uv python install "$VERSION"', 'make "$TARGET" PYTHON="$python"'
    find = 'uv python find --system --managed-python "$VERSION"'
    assert action.count(install) == action.count(line) == action.count(find) == 1
    careless = action.replace(install, "true").replace(line, f'make "$TARGET" PYTHON="$({find})"')
    assert set_up(other, action=careless.replace(f"python=$({find})", "true"))["result"] == "success"
    checks = [
        step
        for step in yaml.safe_load((WORKFLOWS / "ci.yml").read_text())["jobs"]["test"]["steps"]
        if step["name"].startswith("It is the Python")
    ]
    script = checks[0]["run"].replace(".venv/bin/python", sys.executable)
    for version, code in ((other, 1), (f"{sys.version_info[0]}.{sys.version_info[1]}", 0)):
        done = subprocess.run(["bash", "-e", "-c", script], env=os.environ | {"VERSION": version}, check=False)
        assert done.returncode == code
