"""The workflows as files: what GitHub's parser accepts, what they may, and the gate's truth table.

Promises R7, R9, S1, S3, S4, S5 and S12.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from rehearsal import ask, node
from repositories import TEMPLATE
from workflow_rules import Workflow, forks, leaks, least_privilege, loops, pins, pull_request_code, triggers

from mergeline.commands.smoke import KEY
from mergeline.layout import RECORDS

GITHUB = TEMPLATE / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
NAMES = [path.stem for path in WORKFLOWS]
RESULTS = ("success", "failure", "cancelled", "skipped")


def read(name: str) -> tuple[Workflow, str]:
    text = (GITHUB / "workflows" / f"{name}.yml").read_text()
    return yaml.safe_load(text), text


def known_pins() -> dict[str, str]:
    """Each action at a commit, with its version: the first use of it that is found counts for all."""
    found: dict[str, str] = {}
    for path in [*WORKFLOWS, *ACTIONS]:
        for used, version in re.findall(r"uses: ([\w./-]+@[0-9a-f]{40}) # (v[\d.]+)$", path.read_text(), re.MULTILINE):
            found.setdefault(used, version)
    return found


def all_rules(workflow: Workflow, text: str) -> Iterator[str]:
    yield from pull_request_code(workflow)
    yield from least_privilege(workflow, text)
    yield from pins(text, known_pins())
    yield from forks(workflow)
    yield from loops(workflow, text)
    yield from leaks(text)


# ---- What GitHub accepts ---------------------------------------------------------------------------------------------


def test_s4_githubs_own_parser_accepts_every_workflow_and_action() -> None:
    said = ask({"workflows": [str(path) for path in WORKFLOWS], "actions": [str(path) for path in ACTIONS]})
    assert said == {str(path): [] for path in [*WORKFLOWS, *ACTIONS]}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("needs: look\n", "needs: lok\n", id="a job that does not exist"),
        pytest.param("needs.look.outputs.own", "needz.look.outputs.own", id="a context that does not exist"),
        pytest.param("timeout-minutes: 5", "timeout-minuts: 5", id="a key that does not exist"),
    ],
)
def test_s4_twin_githubs_own_parser_refuses(tmp_path: Path, old: str, new: str) -> None:
    _, text = read("retrain")
    (tmp_path / "bad.yml").write_text(text.replace(old, new, 1))
    assert ask({"workflows": [str(tmp_path / "bad.yml")]})[str(tmp_path / "bad.yml")]


def zizmor(*places: Path) -> tuple[int, list[Any]]:
    """The exit code and the findings of zizmor's auditor persona."""
    program = Path(sys.executable).parent / "zizmor"
    options = ["--offline", "--no-progress", "--persona=auditor", "--format=json"]
    command = [str(program), *options, *map(str, places)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TEMPLATE)
    return done.returncode, json.loads(done.stdout or "[]")


def test_s4_zizmors_auditor_finds_nothing() -> None:
    assert zizmor(GITHUB) == (0, [])


@pytest.mark.parametrize(
    ("old", "new", "audit"),
    [
        pytest.param("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "unpinned-uses", id="no pin"),
        pytest.param('test "$TRAIN" = success', "echo ${{ github.head_ref }}", "template-injection", id="injection"),
        pytest.param("  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers", id="a dangerous trigger"),
        pytest.param("persist-credentials: false", "persist-credentials: true", "artipacked", id="a token left behind"),
    ],
)  # fmt: skip
def test_s4_twin_zizmor_finds(tmp_path: Path, old: str, new: str, audit: str) -> None:
    _, text = read("retrain")
    assert old in text
    (tmp_path / "bad.yml").write_text(text.replace(old, new, 1))
    code, found = zizmor(tmp_path / "bad.yml")
    assert code != 0
    assert audit in {each["ident"] for each in found}


# ---- Rules of our own, each with its twin ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_s1_s3_s4_s5_s12_r7_every_workflow_keeps_every_rule(name: str) -> None:
    assert list(all_rules(*read(name))) == []


TWINS: list[tuple[str, str, str, str, Callable[[Workflow, str], Iterator[str]]]] = [
    ("record runs the branch's own code",
     "          ref: ${{ github.event.pull_request.head.sha }}\n          path: branch\n",
     "          ref: ${{ github.event.pull_request.head.sha }}\n", "where it runs",
     lambda workflow, _: pull_request_code(workflow)),
    ("record calls make in the branch", "run: .venv/bin/python .ci/place_results.py results branch",
     "run: make -C branch results", "runs what lies in branch/", lambda workflow, _: pull_request_code(workflow)),
    ("train gets a token", "          MLFLOW_TRACKING_URI: ${{ vars.MLFLOW_TRACKING_URI }}",
     "          GITHUB_TOKEN: ${{ github.token }}", "hands a token", lambda workflow, _: pull_request_code(workflow)),
    ("train may write", "      contents: read # the branch\n", "      contents: write # the branch\n",
     "train: has a token that can write", lambda workflow, _: pull_request_code(workflow)),
    ("all may do all", "permissions: {}\n\n", "permissions: write-all\n\n", "expected {}", least_privilege),
    ("a job without a limit", "    timeout-minutes: 15\n", "", "timeout-minutes: missing", least_privilege),
    ("a grant without a reason", " # the one comment", "", "without its reason", least_privilege),
    ("an expression in a script", 'run: test "$TRAIN" = success', "run: test ${{ needs.train.result }} = success",
     "an expression in a script", least_privilege),
    ("a tag for a pin", "@f12ea7685438c1fc438d50f77519b3860cf5fa98 # v2.0.1", "@v2", "not pinned by its commit",
     lambda _, text: pins(text, known_pins())),
    ("another commit", "f12ea7685438c1fc438d50f77519b3860cf5fa98", "0" * 40, "not pinned as elsewhere",
     lambda _, text: pins(text, known_pins())),
    ("a trigger with our credentials", "  pull_request:\n", "  pull_request_target:\n", "credentials",
     lambda workflow, _: forks(workflow)),
    ("forks get the environment",
     "    environment: ${{ needs.look.outputs.own == 'true' && vars.AWS_TRAIN_ROLE != '' && 'train' || '' }}",
     "    environment: train", "a fork's, too", lambda workflow, _: forks(workflow)),
    ("forks get the role", "        if: needs.look.outputs.own == 'true' && vars.AWS_TRAIN_ROLE != ''",
     "        if: vars.AWS_TRAIN_ROLE != ''", "takes credentials on a fork", lambda workflow, _: forks(workflow)),
    ("forks run on our runner", "needs.look.outputs.own == 'true' && vars.TRAIN_RUNNER || 'ubuntu-24.04'",
     "vars.TRAIN_RUNNER || 'ubuntu-24.04'", "a runner of our own", lambda workflow, _: forks(workflow)),
    ("record pushes to main", '"HEAD:refs/heads/$BRANCH"', '"HEAD:refs/heads/main"', "other than the pull request's",
     loops),
    ("a skip token", "run: .venv/bin/mergeline pull", "run: git commit -m '[skip ci]'", "skip token", loops),
    ("a key of a cloud", "ITERATIVE_DO_NOT_TRACK", "AWS_SECRET_ACCESS_KEY", "a key", lambda _, text: leaks(text)),
    ("another secret", "secrets.MERGELINE_APP_KEY", "secrets.DEPLOY_KEY", "DEPLOY_KEY", lambda _, text: leaks(text)),
    ("plots leave", " --publish=false", "", "a public server", lambda _, text: leaks(text)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "expected", "rule"), [each[1:] for each in TWINS], ids=[each[0] for each in TWINS]
)
def test_s1_s3_s4_s5_s12_r7_twin(
    old: str, new: str, expected: str, rule: Callable[[Workflow, str], Iterator[str]]
) -> None:
    _, text = read("retrain")
    assert old in text
    bad = text.replace(old, new, 1)
    assert any(expected in each for each in rule(yaml.safe_load(bad), bad))


def test_r7_twin_a_workflow_that_a_push_starts_does_not_push_to_main() -> None:
    workflow, text = read("promote")
    bad = text.replace("run: .ci/tag-release", "run: git push origin HEAD:main")
    assert any("other than" in each for each in loops(yaml.safe_load(bad), bad))
    bad = text.replace("run: .ci/tag-release", "run: .ci/other")
    assert any("not known" in each for each in loops(yaml.safe_load(bad), bad))
    bad = text.replace("    branches: [main]\n", "", 1)
    assert any("default branch alone" in each for each in loops(yaml.safe_load(bad), bad))
    assert "push" in triggers(workflow)


# ---- Whose branch it is, and what the gate makes of the jobs (S5, R9) ------------------------------------------------


def event(kind: str) -> dict[str, Any]:
    """What `github` holds for a kind of run."""
    heads: dict[str, dict[str, str] | None] = {
        "own": {"full_name": "owner/model"}, "dependabot": {"full_name": "owner/model"},
        "fork": {"full_name": "someone/model"}, "deleted fork": None,
    }  # fmt: skip
    if kind == "merge group":
        return {"event_name": "merge_group", "event": {"merge_group": {}}, "repository": "owner/model"}
    user = {"login": "dependabot[bot]" if kind == "dependabot" else "someone"}
    pull = {"head": {"repo": heads[kind]}, "user": user}
    return {"event_name": "pull_request", "event": {"pull_request": pull}, "repository": "owner/model"}


def expression(text: Any) -> str:
    """What stands between the braces."""
    found = re.fullmatch(r"\$\{\{(.*)\}\}", str(text), re.DOTALL)
    assert found, text
    return found[1].strip()


def test_s5_only_a_persons_branch_of_this_repository_and_the_merge_queue_are_own() -> None:
    kinds = ("own", "merge group", "fork", "deleted fork", "dependabot")
    asked = expression(read("retrain")[0]["jobs"]["look"]["outputs"]["own"])
    said = ask({"expression": asked, "cases": [{"contexts": {"github": event(kind)}} for kind in kinds]})
    assert dict(zip(kinds, said, strict=True)) == {
        "own": True, "merge group": True, "fork": False, "deleted fork": False, "dependabot": False,
    }  # fmt: skip


def test_s5_a_fork_has_no_environment_by_githubs_own_evaluator() -> None:
    workflow, _ = read("retrain")
    for name, job in workflow["jobs"].items():
        if "environment" not in job:
            continue
        condition = job.get("if", "true")
        contexts = {
            "github": event("fork"),
            "needs": {"look": {"result": "success", "outputs": {"own": "false"}}},
            "vars": {"AWS_TRAIN_ROLE": "arn", "MERGELINE_APP_ID": "1"},
        }
        needs = {each: {"result": "success", "outputs": {}} for each in ("train", "report", "record")}
        contexts["needs"] |= needs
        runs, where = (
            ask({"expression": asked, "cases": [{"contexts": contexts}]})[0]
            for asked in (condition, expression(job["environment"]))
        )
        assert not runs or where == "", name


def gate_cases() -> list[tuple[dict[str, str], str, str, str]]:
    jobs = ("look", "train", "report", "record", "evaluate-again")
    return [
        (dict(zip(jobs, ended, strict=True)), kind, own, pushed)
        for ended in itertools.product(RESULTS, repeat=len(jobs))
        for kind, own in (
            ("pull_request", "true"),
            ("pull_request", "false"),
            ("merge_group", "true"),
            ("push", "true"),
        )
        for pushed in ("", "true", "false")
    ]


def green(ended: dict[str, str], kind: str, own: str, pushed: str) -> bool:
    """The whole of what is green, said once more, by hand."""
    allowed = {
        ("pull_request", "true"): ("success", "success", "success", "success", "success"),
        ("pull_request", "false"): ("success", "success", "skipped", "skipped", "skipped"),
        ("merge_group", "true"): ("success", "success", "skipped", "skipped", "success"),
    }.get((kind, own))
    return tuple(ended.values()) == allowed and not (own == "true" and kind == "pull_request" and pushed == "true")


def answers(asked: str) -> list[bool]:
    """What GitHub's evaluator makes of the gate's last question in each case."""
    contexts = []
    for ended, kind, own, pushed in gate_cases():
        needs: dict[str, Any] = {name: {"result": result, "outputs": {}} for name, result in ended.items()}
        needs["look"]["outputs"] = {"own": own}
        needs["record"]["outputs"] = {"pushed": pushed}
        contexts.append({"contexts": {"github": {"event_name": kind}, "needs": needs}})
    found: list[bool] = ask({"expression": asked, "cases": contexts})
    return found


def test_r9_the_gates_truth_table_over_all_results_of_all_jobs() -> None:
    workflow, _ = read("retrain")
    gate = workflow["jobs"]["gate"]
    last = gate["steps"][-1]
    assert (gate["if"], last["if"], last["run"]) == ("always()", "always()", 'test "$ENDED" = true')
    assert set(gate["needs"]) == set(workflow["jobs"]) - {"gate"}
    cases, said = gate_cases(), answers(expression(last["env"]["ENDED"]))
    assert len(said) == 4**5 * 12
    wrong = [case for case, answer in zip(cases, said, strict=True) if answer is not green(*case)]
    assert wrong == []
    assert 0 < sum(said) < 20
    assert not any(answer for (ended, *_), answer in zip(cases, said, strict=True) if ended["train"] != "success")


def test_r9_twin_a_gate_that_takes_skipped_for_passed_is_found_by_the_table() -> None:
    asked = expression(read("retrain")[0]["jobs"]["gate"]["steps"][-1]["env"]["ENDED"])
    bad = asked.replace("needs.train.result == 'success'", "needs.train.result != 'failure'")
    assert bad != asked
    found = zip(gate_cases(), answers(bad), strict=True)
    wrong = [ended["train"] for (ended, *rest), answer in found if answer is not green(ended, *rest)]
    assert set(wrong) == {"skipped", "cancelled"}


def test_r9_no_step_of_the_gate_is_forgiven_and_its_question_is_always_asked() -> None:
    gate = read("retrain")[0]["jobs"]["gate"]
    assert not any("continue-on-error" in step for step in gate["steps"])
    (asked,) = (step for step in gate["steps"] if step["name"] == "The gate")
    assert "if" not in asked
    assert read("retrain")[0]["defaults"]["run"]["shell"] == "bash"  # with pipefail: a refusal gets through the pipe


def test_the_smoke_test_gets_the_key_of_staging_where_the_command_looks_for_it() -> None:
    job = read("promote")[0]["jobs"]["smoke"]
    (asking,) = (step for step in job["steps"] if "mergeline smoke" in str(step.get("run", "")))
    assert asking["env"][KEY] == "${{ secrets.STAGING_API_KEY }}"
    assert job["environment"] == "release"


# ---- The rest of .github ---------------------------------------------------------------------------------------------


def test_the_one_required_check_is_the_gate_and_nobody_may_pass_it_by() -> None:
    ruleset = json.loads((GITHUB / "rulesets/main.json").read_text())
    rules = {rule["type"]: rule.get("parameters", {}) for rule in ruleset["rules"]}
    assert ruleset["bypass_actors"] == []
    assert ruleset["enforcement"] == "active"
    assert ruleset["conditions"]["ref_name"] == {"include": ["~DEFAULT_BRANCH"], "exclude": []}
    checks = rules["required_status_checks"]
    assert [each["context"] for each in checks["required_status_checks"]] == ["gate"]
    assert checks["strict_required_status_checks_policy"] is True
    assert {"deletion", "non_fast_forward", "required_linear_history"} <= rules.keys()
    assert rules["pull_request"]["require_code_owner_review"] is True
    assert rules["pull_request"]["allowed_merge_methods"] == ["squash"]


def test_dependabot_watches_everything_that_is_pinned() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"github-actions", "docker", "npm"}
    assert all(each["cooldown"]["default-days"] >= 7 for each in updates)


def test_the_table_of_the_workflows_names_each_with_its_triggers_and_every_variable() -> None:
    table = (GITHUB / "workflows/README.md").read_text()
    for path in WORKFLOWS:
        workflow, text = read(path.stem)
        (row,) = (line for line in table.splitlines() if line.startswith(f"| `{path.name}` "))
        assert all(f"`{trigger}`" in row for trigger in triggers(workflow)), row
        for name in set(re.findall(r"(?:vars|secrets)\.(\w+)", text)):
            assert f"`{name}`" in table, name


def test_code_owners_guard_what_decides_and_every_line_has_the_same_owner() -> None:
    lines = [line.split() for line in (GITHUB / "CODEOWNERS").read_text().splitlines() if line[:1] not in ("", "#")]
    assert {"/.github/", "/.ci/", "/dvc.yaml", "/params.yaml", "/k8s/overlays/production/"} <= {
        line[0] for line in lines
    }
    assert len({line[1] for line in lines}) == 1


# ---- The programs of the workflows -----------------------------------------------------------------------------------


def place(*arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TEMPLATE / ".ci/place_results.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """What a run left, and the branch that it belongs to."""
    for side in ("results", "branch"):
        for name in RECORDS:
            (tmp_path / side / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / side / name).write_text(side)
    (tmp_path / "outside").write_text("a secret")
    return tmp_path / "results", tmp_path / "branch"


def test_the_records_that_are_placed_are_those_that_record_commits(sides: tuple[Path, Path]) -> None:
    results, branch = sides
    (results / "params.yaml").write_text("not a record")
    done = place(*sides)
    assert done.returncode == 0
    assert set(done.stdout.split()) == {path.as_posix() for path in RECORDS}
    assert {(branch / path).read_text() for path in RECORDS} == {"results"}
    assert not (branch / "params.yaml").exists()


@pytest.mark.parametrize(
    "plant", ["a link", "a linked folder", "a folder", "a link on the branch", "too much", "nothing"]
)
def test_s3_records_that_lead_elsewhere_are_refused_and_nothing_is_written(
    sides: tuple[Path, Path], plant: str
) -> None:
    results, branch = sides
    record = results / "reports/metrics.json"
    if plant == "a link":
        record.unlink()
        record.symlink_to(results.parent / "outside")
    elif plant == "a linked folder":
        (results / "reports").rename(results / "other")
        (results / "reports").symlink_to(results / "other")
    elif plant == "a folder":
        record.unlink()
        record.mkdir()
    elif plant == "a link on the branch":
        (branch / "dvc.lock").unlink()
        (branch / "dvc.lock").symlink_to(branch.parent / "outside")
    elif plant == "too much":
        os.truncate(record, 20_000_001)
    else:
        for name in RECORDS:
            (results / name).unlink()
    done = place(*sides)
    assert done.returncode == 1
    assert "expected" in done.stderr
    plain = [branch / name for name in RECORDS if not (branch / name).is_symlink()]
    assert {path.read_text() for path in plain} == {"branch"}
    assert (branch.parent / "outside").read_text() == "a secret"


# ---- The runner of the rehearsals does as GitHub does ----------------------------------------------------------------


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


def test_the_runner_carries_out_the_setup_action_itself(tmp_path: Path) -> None:
    use = "uses: ./.github/actions/setup\n        with: {target: dev}\n"
    text = f"name: s\non: push\njobs:\n  one:\n    runs-on: ubuntu-24.04\n    steps:\n      - {use}"
    place = tmp_path / "jobs/one/work/.github/actions/setup"
    place.mkdir(parents=True)
    (place / "action.yml").write_text((GITHUB / "actions/setup/action.yml").read_text())
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in {"make": 'echo "make $*"', "uv": 'echo "python-of-$3"'}.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    jobs = run(tmp_path, text, path=str(tools), actions={"astral-sh/setup-uv": {"ok": True}})["jobs"]
    assert jobs["one"]["result"] == "success"
    assert "make dev PYTHON=python-of-3.12" in jobs["one"]["said"]


def test_dependabot_and_issue_forms_are_as_their_schemas_have_them() -> None:
    ask_one = {
        "type": "object",
        "required": ["name", "description", "body"],
        "properties": {"body": {"type": "array", "minItems": 1, "maxItems": 1}},
    }
    for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml"):
        if path.name != "config.yml":
            jsonschema.validate(yaml.safe_load(path.read_text()), ask_one)
