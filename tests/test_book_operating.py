"""docs/operating.md: a row for each thing that can ring, be red or end, and none for a thing that cannot."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kube_manifests import one, rendered

from mergeline.cli import INTERRUPTED
from mergeline.errors import MergelineError
from mergeline.gates import GATES
from mergeline.monitor.decide.statement import SAYS
from mergeline.params.decide import Action, DecideParams

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
SILENT = "The scheduled check is silent"


def tables(page: str) -> dict[str, set[str]]:
    """What each table has rows for, by the head of its first column; a row may name several."""
    found: dict[str, set[str]] = {}
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        head, _, *rows = block.strip().splitlines()
        named = [row.split("|")[1].strip() for row in rows]
        found[head.split("|")[1].strip()] = {each.strip("` ") for row in named for each in re.split(r"`, `", row)}
    return found


def alarms() -> set[str]:
    groups = one(rendered("production", ["monitoring"]), "PrometheusRule")["spec"]["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


def codes() -> set[str]:
    """The exit codes that success, each error, an interruption and a signal give."""
    return {str(each) for each in (0, *(kind.exit_code for kind in kinds(MergelineError)), INTERRUPTED)} | {"128 + n"}


def kinds(error: type[MergelineError]) -> Iterator[type[MergelineError]]:
    """The errors that have an exit code of their own; one that passes on a stage's has none."""
    for each in error.__subclasses__():
        if "exit_code" in vars(each):
            yield each
        yield from kinds(each)


def questions() -> set[str]:
    """The names of all findings, as the code has them: texts, and the patterns that it fills in."""
    sources = [
        (ROOT / f"src/mergeline/{name}.py").read_text(encoding="utf-8") for name in ("admission", "commands/gate")
    ]
    return {name for source in sources for name in names_of_findings(source)}


def names_of_findings(source: str) -> Iterator[str]:
    """The first argument of each `Finding(...)`, a name for each value that a pattern is filled with."""
    for call in ast.walk(ast.parse(source)):
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "Finding"):
            continue
        name = call.args[0]
        if isinstance(name, ast.Constant):
            yield str(name.value)
        elif ast.unparse(name) == "name":  # the release of an environment
            yield from ("staging release", "production release")
        else:
            assert ast.unparse(name) == "f'{verb} again'", ast.unparse(name)
            yield from ("validate again", "evaluate again", "compare again")


def steps_of_the_gate() -> set[str]:
    """The steps of the check that can be red by what they ask, and not by GitHub."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/retrain.yml").read_text(encoding="utf-8"))
    asking = ("test ", "exit 1", "mergeline --root branch gate")
    return {
        step["name"]
        for step in workflow["jobs"]["gate"]["steps"]
        if any(each in step.get("run", "") for each in asking)
    }


def messages() -> set[str]:
    """What the issue and the chat can say: the four decisions, and the matter of each rule that alerts."""
    alerting = {rule.name for rule in DecideParams().rules if rule.action is Action.ALERT}
    return {*SAYS.values(), *alerting, SILENT}


def jobs_of_the_watch() -> set[str]:
    return set(yaml.safe_load((ROOT / ".github/workflows/drift.yml").read_text(encoding="utf-8"))["jobs"])


def alarms_of_the_cloud() -> set[str]:
    text = (ROOT / "terraform/monitoring.tf").read_text(encoding="utf-8")
    return set(re.findall(r"^    ([a-z-]+) = \{\n      metric ", text, re.MULTILINE))


THINGS = {
    "alarm": alarms,
    "alarm of CloudWatch": alarms_of_the_cloud,
    "code": codes,
    "what the issue or the chat says": messages,
    "job of `drift.yml`": jobs_of_the_watch,
    "gate": lambda: set(GATES),
    "question": questions,
    "step of the check `gate` on GitHub": steps_of_the_gate,
}


@pytest.mark.parametrize("head", THINGS)
def test_each_thing_that_can_happen_has_its_row_and_nothing_else_has_one(head: str) -> None:
    expected = THINGS[head]()
    assert len(expected) > 2
    assert tables(PAGE)[head] == expected


def test_the_message_of_a_silent_schedule_is_the_one_that_is_sent() -> None:
    assert f'"{SILENT}"' in (ROOT / "src/mergeline/commands/decide.py").read_text(encoding="utf-8")


def test_a_row_too_many_and_a_row_too_few_are_found() -> None:
    planted = PAGE.replace("| `floors` |", "| `ceilings` |")
    assert tables(planted)["gate"] ^ set(GATES) == {"floors", "ceilings"}
    assert set(names_of_findings('Finding("made up", True, "")')) - tables(PAGE)["question"] == {"made up"}
    with pytest.raises(AssertionError):
        list(names_of_findings("Finding(f'{other}', True, '')"))
