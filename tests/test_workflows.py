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
from rehearsal import ask
from repositories import TEMPLATE
from workflow_questions import event, forks, lasting, unguarded, value
from workflow_rules import (
    Workflow,
    attempts,
    leaks,
    least_privilege,
    loops,
    pins,
    private,
    pull_request_code,
    runners,
    signatures,
    triggers,
)

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


def longest() -> dict[str, int]:
    """The seconds that each role of a workflow may last, as terraform/ has them."""
    text = (TEMPLATE / "terraform/identity.tf").read_text()
    [(long, most, least)] = re.findall(
        r"max_session_duration = contains\(\[(.*?)\], each\.key\) \? (\d+) : (\d+)", text
    )
    roles = re.findall(r"^    (\w+) += \[", text.partition("environments = {")[2].partition("}")[0], re.MULTILINE)
    return {each: int(most if f'"{each}"' in long else least) for each in roles}


def all_rules(workflow: Workflow, text: str) -> Iterator[str]:
    yield from pull_request_code(workflow)
    yield from least_privilege(workflow, text)
    yield from pins(text, known_pins())
    yield from forks(workflow)
    yield from loops(workflow, text)
    yield from leaks(workflow, text)
    yield from runners(workflow)
    yield from private(workflow)
    yield from signatures(workflow)
    yield from lasting(workflow, longest())
    yield from attempts(workflow)


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


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.parent.name)
def test_s4_s12_every_action_of_our_own_is_pinned_and_leaks_nothing(path: Path) -> None:
    text = path.read_text()
    assert [*pins(text, known_pins()), *leaks(yaml.safe_load(text), text)] == []
    bad = text.replace("uv python install", "npx cml comment create", 1)
    assert any("a public server" in each for each in leaks(yaml.safe_load(bad), bad))


TWINS: list[tuple[str, str, str, str, Callable[[Workflow, str], Iterator[str]]]] = [
    ("record runs the branch's own code",
     "          ref: ${{ github.event.pull_request.head.sha }}\n          path: branch\n",
     "          ref: ${{ github.event.pull_request.head.sha }}\n", "where it runs",
     lambda workflow, _: pull_request_code(workflow)),
    ("record checks out the fork", "          path: branch\n",
     "          path: branch\n          repository: ${{ github.event.pull_request.head.repo.full_name }}\n",
     "checks out", lambda workflow, _: pull_request_code(workflow)),
    ("results over the code", "          path: results\n", "          path: .\n", "over the default branch's files",
     lambda workflow, _: pull_request_code(workflow)),
    ("record's git runs the branch", "GIT_CONFIG_VALUE_0: '!f() {", "GIT_CONFIG_VALUE_0: '!f() { branch/x;",
     "GIT_CONFIG_VALUE_0", lambda workflow, _: pull_request_code(workflow)),
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
    ("a key of a cloud", "ITERATIVE_DO_NOT_TRACK", "AWS_SECRET_ACCESS_KEY", "a key", leaks),
    ("another secret", "secrets.MERGELINE_APP_KEY", "secrets.DEPLOY_KEY", "DEPLOY_KEY", leaks),
    ("plots leave", " --publish=false", "", "a public server", leaks),
    ("CML counts", '          ITERATIVE_DO_NOT_TRACK: "1"\n', "", "reports on its use", leaks),
    ("the release role where a branch ran", "vars.AWS_TRAIN_ROLE != '' && 'train' || '' }}",
     "vars.AWS_TRAIN_ROLE != '' && 'release' || '' }}", "holds more", lambda workflow, _: runners(workflow)),
    ("a branch on the runner of main", "vars.TRAIN_RUNNER", "vars.MAIN_RUNNER", "runner of main",
     lambda workflow, _: runners(workflow)),
    ("a role that ends before its job", "${{ vars.TRAIN_MINUTES && 21600 || 3600 }}", "3600", "ends before the job may",
     lambda workflow, _: lasting(workflow, longest())),
    ("a role for half a day", "TRAIN_MINUTES && 21600", "TRAIN_MINUTES && 43200", "lasts no 43200 seconds",
     lambda workflow, _: lasting(workflow, longest())),
    ("one attempt alone", "          overwrite: true\n", "", "a second attempt",
     lambda workflow, _: attempts(workflow)),
    ("gone the next day", "          retention-days: 7\n", "          retention-days: 1\n", "is gone",
     lambda workflow, _: attempts(workflow)),
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


@pytest.mark.parametrize(
    "command",
    [
        "bash ./branch/x.sh", "cd ./branch && make", "make -C branch results", "pip install -e branch",
        '"$GITHUB_WORKSPACE/branch/x.py"', ".venv/bin/mergeline --root branch repro",
        "git fetch && git checkout FETCH_HEAD && make setup",
    ],
)  # fmt: skip
def test_s3_twin_a_job_with_a_token_runs_no_command_that_is_not_listed(command: str) -> None:
    _, text = read("retrain")
    listed = "        run: .venv/bin/python .ci/place_results.py results branch\n"
    assert listed in text
    bad = text.replace(listed, f"        run: {command}\n".replace('run: "', "run: '\"").replace('"\n', "\"'\n"), 1)
    assert list(pull_request_code(yaml.safe_load(bad))) == [f"record: {command!r} is not one of COMMANDS"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("working-directory", "./branch"), ("shell", "bash branch/x.sh {0}"), ("env", "{BASH_ENV: branch/x.sh}")],
)
def test_s3_twin_nor_one_that_is_listed_in_another_way(key: str, value: str) -> None:
    _, text = read("retrain")
    listed = "        run: .venv/bin/python .ci/place_results.py results branch\n"
    bad = text.replace(listed, f"{listed}        {key}: {value}\n", 1)
    assert any(each.startswith("record: ") for each in pull_request_code(yaml.safe_load(bad)))


@pytest.mark.parametrize(
    "command",
    ["CI=1 cml comment create report.md", "npx cml comment create r.md", "test -e r.md && cml asset publish x"],
)
def test_s12_twin_cml_is_found_wherever_it_stands(command: str) -> None:
    _, text = read("drift")
    line = "        run: .venv/bin/mergeline heartbeat --beat\n"
    assert line in text
    bad = text.replace(line, f"        run: {command}\n")
    assert any("a public server" in each for each in leaks(yaml.safe_load(bad), bad))


@pytest.mark.parametrize(
    ("name", "old", "new", "rule", "said"),
    [
        ("image", "          cosign-release: v2.6.5\n", "          install-dir: bin\n", signatures, "of any version"),
        ("image", "cosign-release: v2.6.5", "cosign-release: v3.0.6", signatures, "v3.0.6 does not sign"),
        ("promote", "runs-on: ${{ vars.MAIN_RUNNER || 'ubuntu-24.04' }} # one that", "runs-on: ubuntu-24.04 # one that",
         private, "deploy-staging: reaches no private cluster"),
    ],
)  # fmt: skip
def test_the_twin_what_no_image_or_cluster_takes_is_found(
    name: str, old: str, new: str, rule: Callable[[Workflow], Iterator[str]], said: str
) -> None:
    workflow, text = read(name)
    assert old in text
    assert list(rule(workflow)) == []
    assert any(said in each for each in rule(yaml.safe_load(text.replace(old, new, 1))))


OPENED = {
    "infra's plan is for all": (
        "infra", "needs.look.outputs.own == 'true'",
        "(needs.look.outputs.own == 'true' || vars.AWS_PLAN_ROLE != '')", "plan: The role",
    ),
    "all are own": ("infra", "${{ github.event_name != 'pull_request'\n        || (", "${{ true || (", "plan: "),
    "a word is enough": (
        "retrain", "        if: needs.look.outputs.own == 'true' && vars.AWS_TRAIN_ROLE != ''",
        "        if: needs.look.outputs.own == 'true' || vars.AWS_TRAIN_ROLE != ''", "train: The role",
    ),
    "a deleted fork is own": (
        "retrain", "(github.event.pull_request.head.repo.full_name == github.repository",
        "(github.event.pull_request.head.repo.full_name != 'x'", "record: its environment",
    ),
    "Dependabot is own": (
        "retrain", "github.event.pull_request.user.login != 'dependabot[bot]'", "true", "record: its environment",
    ),
    "a secret in all": (
        "ci", "      - name: Types\n", "      - name: T\n        env: {A: '${{ secrets.A }}'}\n", "types: T",
    ),
    "our runner": ("ci", "runs-on: ubuntu-24.04", "runs-on: ${{ vars.OURS }}", "a runner of our own"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "expected"), OPENED.values(), ids=OPENED)
def test_s5_twin_a_condition_that_lets_a_stranger_in_is_found_by_githubs_own_evaluator(
    name: str, old: str, new: str, expected: str
) -> None:
    _, text = read(name)
    assert old in text
    assert any(expected in each for each in forks(yaml.safe_load(text.replace(old, new))))


# Which job has to end well before all others but those beside it.
GUARDS = [
    ("promote", "verify", ("look", "watched", "retire", "rollback")),
    ("image", "build", ("look", "scan")),
    ("image", "inspect", ("look", "scan", "build")),
]
UNGUARDED = "runs where verify did not end well"


@pytest.mark.parametrize(("name", "guard", "beside"), GUARDS, ids=[each[1] for each in GUARDS])
def test_nothing_is_deployed_proposed_or_named_that_was_not_verified(
    name: str, guard: str, beside: tuple[str, ...]
) -> None:
    assert list(unguarded(read(name)[0], guard, beside)) == []


@pytest.mark.parametrize(
    ("job", "old", "new", "said"),
    [
        ("deploy-production", "needs: [look, verify]\n    if: vars.EKS_CLUSTER != '' && needs.look.outputs.prod",
         "needs: look\n    if: vars.EKS_CLUSTER != '' && needs.look.outputs.prod", UNGUARDED),
        ("registry", "needs: [look, verify]\n    if: vars.MLFLOW", "needs: look\n    if: vars.MLFLOW", UNGUARDED),
        ("registry", "if: vars.MLFLOW_TRACKING_URI != ''", "if: always() && vars.MLFLOW_TRACKING_URI != ''", UNGUARDED),
        ("registry", "if: vars.MLFLOW_TRACKING_URI != ''", "if: vars.MLFLOW_TRACKING_URI == 'x'", "never runs"),
        ("propose", "!cancelled() && needs.verify.result == 'success'\n      && (needs.smoke",
         "!cancelled() && needs.verify.result != 'failure'\n      && (needs.smoke", UNGUARDED),
    ],
)  # fmt: skip
def test_the_twin_a_job_that_does_not_wait_for_verify_is_found(job: str, old: str, new: str, said: str) -> None:
    _, text = read("promote")
    assert old in text
    found = list(unguarded(yaml.safe_load(text.replace(old, new, 1)), *GUARDS[0][1:]))
    assert found == [f"{job}: {said}"]


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


def test_s5_only_a_persons_branch_of_this_repository_and_the_merge_queue_are_own() -> None:
    kinds = ("own", "merge group", "fork", "deleted fork", "dependabot")
    asked = value(read("retrain")[0]["jobs"]["look"]["outputs"]["own"])
    said = ask({"expression": asked, "cases": [{"contexts": {"github": event(kind)}} for kind in kinds]})
    assert dict(zip(kinds, said, strict=True)) == {
        "own": True, "merge group": True, "fork": False, "deleted fork": False, "dependabot": False,
    }  # fmt: skip


Case = tuple[dict[str, str], str, str, str, str]


def gate_cases() -> list[Case]:
    jobs = ("look", "train", "report", "record", "evaluate-again")
    kinds = (("own", "true"), ("fork", "false"), ("merge group", "true"), ("push", "true"))
    return [
        (dict(zip(jobs, ended, strict=True)), kind, own, pushed, base)
        for ended in itertools.product(RESULTS, repeat=len(jobs))
        for kind, own in kinds
        for pushed, base in (("", "main"), ("true", "main"), ("false", "main"), ("false", "loose"))
    ]


def green(ended: dict[str, str], kind: str, own: str, pushed: str, base: str) -> bool:
    """The whole of what is green, said once more, by hand."""
    allowed = {
        "own": ("success", "success", "success", "success", "success"),
        "fork": ("success", "success", "skipped", "skipped", "skipped"),
        "merge group": ("success", "success", "skipped", "skipped", "success"),
    }.get(kind)
    return tuple(ended.values()) == allowed and base == "main" and (kind, pushed) != ("own", "true")


def answers(asked: str) -> list[bool]:
    """What GitHub's evaluator makes of the gate's last question in each case."""
    contexts = []
    for ended, kind, own, pushed, base in gate_cases():
        needs: dict[str, Any] = {name: {"result": result, "outputs": {}} for name, result in ended.items()}
        needs["look"]["outputs"] = {"own": own}
        needs["record"]["outputs"] = {"pushed": pushed}
        contexts.append({"contexts": {"github": event(kind, base=base), "needs": needs}})
    found: list[bool] = ask({"expression": asked, "cases": contexts})
    return found


def test_r9_the_gates_truth_table_over_all_results_of_all_jobs() -> None:
    workflow, _ = read("retrain")
    gate = workflow["jobs"]["gate"]
    last = gate["steps"][-1]
    assert (gate["if"], last["if"], last["run"]) == ("always()", "always()", 'test "$ENDED" = true')
    assert set(gate["needs"]) == set(workflow["jobs"]) - {"gate"}
    cases, said = gate_cases(), answers(value(last["env"]["ENDED"]))
    assert len(said) == 4**5 * 16
    wrong = [case for case, answer in zip(cases, said, strict=True) if answer is not green(*case)]
    assert wrong == []
    assert 0 < sum(said) < 20
    assert not any(answer for (ended, *_), answer in zip(cases, said, strict=True) if ended["train"] != "success")


def test_r4_twin_a_gate_that_is_green_for_another_branch_is_found_by_the_table() -> None:
    asked = value(read("retrain")[0]["jobs"]["gate"]["steps"][-1]["env"]["ENDED"])
    bad = asked.replace("github.event.pull_request.base.ref ==", "github.event.pull_request.base.ref !=")
    assert bad != asked
    wrong = {base for (*_, base), answer in zip(gate_cases(), answers(bad), strict=True) if answer}
    assert "loose" in wrong


def test_r9_twin_a_gate_that_takes_skipped_for_passed_is_found_by_the_table() -> None:
    asked = value(read("retrain")[0]["jobs"]["gate"]["steps"][-1]["env"]["ENDED"])
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


# ---- What starts a run, and what ends it -----------------------------------------------------------------------------


def test_r4_a_change_of_base_is_judged_again_at_once_and_an_edit_of_words_ends_no_training() -> None:
    workflow, _ = read("retrain")
    assert set(triggers(workflow)["pull_request"]["types"]) == {"opened", "synchronize", "reopened", "edited"}
    retargeted = event("own", "edited")
    retargeted["event"]["changes"] = {"base": {"ref": {"from": "loose"}, "sha": {"from": "a" * 40}}}
    reworded = event("own", "edited")
    reworded["event"]["changes"] = {"title": {"from": "Try"}}
    runs = [retargeted, reworded, event("own"), event("own", "opened"), event("merge group")]
    cases = [{"contexts": {"github": each}} for each in runs]
    asked = workflow["concurrency"]
    groups = ask({"expression": value(asked["group"]), "cases": cases})
    assert len(set(groups[:4])) == 1
    assert groups[4] not in groups[:4]
    assert ask({"expression": value(asked["cancel-in-progress"]), "cases": cases}) == [True, False, True, True, True]


def test_a_word_of_a_failed_release_is_dropped_by_no_other_run() -> None:
    """GitHub ends the run that waits in a group where another comes; the twin is the group that all share."""

    def groups(asked: str) -> list[str]:
        kinds = ("repository_dispatch", "repository_dispatch", "push", "schedule", "workflow_dispatch")
        runs = [event(kind) | {"run_id": str(number)} for number, kind in enumerate(kinds)]
        found: list[str] = ask({"expression": value(asked), "cases": [{"contexts": {"github": each}} for each in runs]})
        return found

    workflow, _ = read("promote")
    assert workflow["concurrency"]["cancel-in-progress"] is False
    one, other, *follow = groups(workflow["concurrency"]["group"])
    assert len({one, other, *follow}) == 3
    assert set(follow) == {"promote"}
    assert len(set(groups("promote"))) == 1


def test_a_training_that_mlflow_has_no_run_of_says_so_whether_for_a_login_or_for_no_answer() -> None:
    steps = {step["name"]: step for step in read("retrain")[0]["jobs"]["train"]["steps"]}
    cases = []
    for uri, user, tracked in (("", "", "skipped"), ("x", "", "success"), ("x", "", "failure"), ("x", "u", "skipped")):
        ended = {"repro": {"outcome": "success"}, "track": {"outcome": tracked}}
        known = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_USERNAME": user}
        needs = {"look": {"outputs": {"own": "true"}}}
        cases.append({"contexts": {"vars": known, "steps": ended, "needs": needs}})
    tells = ask({"expression": steps["Tell MLflow"]["if"], "cases": cases})
    says = ask({"expression": steps["MLflow has no run of it"]["if"], "cases": cases})
    assert (tells, says) == ([False, True, True, False], [False, False, True, True])


def test_the_smoke_test_gets_the_key_of_staging_where_the_command_looks_for_it() -> None:
    job = read("promote")[0]["jobs"]["smoke"]
    (asking,) = (step for step in job["steps"] if "mergeline smoke" in str(step.get("run", "")))
    assert asking["env"][KEY] == "${{ secrets.STAGING_API_KEY }}"
    assert job["environment"] == "release"


def unpriced(table: str, name: str) -> set[str]:
    """The jobs of a workflow that its row of the minutes leaves out."""
    [row] = [line for line in table.splitlines() if line.startswith(f"| `{name}.yml`")]
    return set(read(name)[0]["jobs"]) - set(re.findall(r"[a-z][a-z-]+", row.split("|")[2]))


def test_the_minutes_of_a_week_of_images_and_a_day_of_drift_count_every_job_and_the_twin_is_found() -> None:
    table = (TEMPLATE / "docs/cost.md").read_text()
    assert [unpriced(table, name) for name in ("image", "drift")] == [set(), set()]
    [row] = [line for line in table.splitlines() if line.startswith("| `image.yml`")]
    assert sum(map(int, re.findall(r"\d+", row.split("|")[2]))) == int(row.split("|")[3])
    assert unpriced(table.replace("inspect 1, ", ""), "image") == {"inspect"}


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


def test_dependabot_and_issue_forms_are_as_their_schemas_have_them() -> None:
    ask_one = {
        "type": "object",
        "required": ["name", "description", "body"],
        "properties": {"body": {"type": "array", "minItems": 1, "maxItems": 1}},
    }
    for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml"):
        if path.name != "config.yml":
            jsonschema.validate(yaml.safe_load(path.read_text()), ask_one)


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
