"""What GitHub's own evaluator makes of a workflow's conditions: what a stranger's branch gets, what runs unverified."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rehearsal import ask
from workflow_rules import DANGEROUS, Workflow, runs_a_branch, steps

STATUS = re.compile(r"\b(success|failure|cancelled|always)\(\)")
HOSTED = re.compile(r"(ubuntu|macos|windows)-[\d.]+")
TAKING = ("aws-actions/configure-aws-credentials@", "actions/create-github-app-token@")
ENDS = ("success", "skipped")
STRANGERS = ("fork", "deleted fork", "dependabot")


def event(kind: str, action: str = "synchronize", base: str = "main") -> dict[str, Any]:
    """What `github` holds for a kind of run."""
    home = {"repository": "owner/model", "ref": "refs/heads/x", "run_id": "1"}
    repository = {"default_branch": "main"}
    if kind == "merge group":
        group = {"base_ref": f"refs/heads/{base}"}
        told = {"merge_group": group, "action": "checks_requested", "repository": repository}
        return home | {"event_name": "merge_group", "event": told}
    heads: dict[str, dict[str, str] | None] = {
        "own": {"full_name": "owner/model"}, "dependabot": {"full_name": "owner/model"},
        "fork": {"full_name": "someone/model"}, "deleted fork": None,
    }  # fmt: skip
    if kind not in heads:
        return home | {"event_name": kind, "event": {"repository": repository, "client_payload": {}}}
    user = {"login": "dependabot[bot]" if kind == "dependabot" else "someone"}
    pull = {"number": 7, "head": {"repo": heads[kind]}, "base": {"ref": base}, "user": user}
    told = {"pull_request": pull, "action": action, "repository": repository}
    return home | {"event_name": "pull_request", "event": told}


@dataclass(frozen=True, slots=True)
class Question:
    """An expression, and the contexts that it is asked in."""

    expression: str
    cases: Sequence[Mapping[str, Any]]


def answers(questions: Sequence[Question]) -> list[list[Any]]:
    """What GitHub's evaluator makes of each in each case."""
    asked = [{"expression": each.expression, "cases": each.cases} for each in questions]
    found: list[list[Any]] = ask({"questions": asked})
    return found


def condition(text: Any) -> str:
    """An `if` as GitHub takes it: without the braces, and with the success() that goes without saying."""
    bare = re.sub(r"^\$\{\{(.*)\}\}$", r"\1", str(text).strip(), flags=re.DOTALL).strip()
    if text is None:
        return "success()"
    bare = bare.lower() if isinstance(text, bool) else bare
    return bare if STATUS.search(bare) else f"success() && ({bare})"


def value(text: Any) -> str:
    """A value as an expression: what stands between its braces, or the text itself."""
    text = str((text or {}).get("name") if isinstance(text, Mapping) else text or "").strip()
    if found := re.fullmatch(r"\$\{\{((?:(?!\}\}).)*)\}\}", text, re.DOTALL):
        return found[1].strip()
    parts = re.split(r"\$\{\{(.*?)\}\}", text, flags=re.DOTALL)
    literal = "".join(each.replace("'", "''") if not at % 2 else f"{{{at // 2}}}" for at, each in enumerate(parts))
    return f"format('{literal}', {', '.join(parts[1::2])})" if len(parts) > 1 else f"'{literal}'"


def needs(job: Mapping[str, Any]) -> list[str]:
    """The jobs that one waits for."""
    found = job.get("needs", [])
    return [found] if isinstance(found, str) else list(found)


def before(workflow: Workflow, name: str) -> set[str]:
    """The jobs that one waits for, however far away."""
    near = set(needs(workflow["jobs"][name]))
    return near.union(*(before(workflow, each) for each in near))


def _variables(workflow: Workflow) -> list[dict[str, str]]:
    """Every variable set, none, and only what switches recording on."""
    every = dict.fromkeys(re.findall(r"vars\.(\w+)", str(workflow)), "true")
    return [every, {}, {"MERGELINE_RECORD": "true"}]


def _cases(
    workflow: Workflow,
    name: str,
    github: Mapping[str, Any],
    look: Mapping[str, str],
    given: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The contexts in which a job may be: any end of those before it but `given`, any output of theirs but `look`'s."""
    job, given = workflow["jobs"][name], given or {}
    ids = [step["id"] for step in steps(job) if "id" in step]
    others = sorted(before(workflow, name) - given.keys() - {"look"})
    found = []
    for ended, said, variables in itertools.product(
        itertools.product(ENDS, repeat=len(others)), ("true", ""), _variables(workflow)
    ):
        results = {"look": "success", **given, **dict(zip(others, ended, strict=True))}
        known = {
            each: {"result": results[each], "outputs": look if each == "look" else _outputs(workflow, each, said)}
            for each in needs(job)
        }
        ends = [results[each] for each in before(workflow, name)]
        status = {"ok": all(each == "success" for each in ends), "failed": "failure" in ends, "cancelled": False}
        before_it = {each: {"outcome": "success" if said else "failure"} for each in ids}
        contexts = {"github": github, "vars": variables, "needs": known, "steps": before_it, "inputs": {}}
        found.append({"contexts": contexts, "status": status})
    return found


def _outputs(workflow: Workflow, name: str, said: str) -> dict[str, str]:
    return dict.fromkeys(workflow["jobs"][name].get("outputs", {}), said)


def _of_look(workflow: Workflow, kinds: Sequence[str]) -> list[dict[str, str]]:
    """What the first job says of each kind of run."""
    outputs = workflow["jobs"].get("look", {}).get("outputs", {})
    cases = [{"contexts": {"github": event(kind), "steps": {}, "vars": {}}} for kind in kinds]
    said = answers([Question(value(text), cases) for text in outputs.values()]) if outputs else []
    return [
        {name: str(column[at]).lower() for name, column in zip(outputs, said, strict=True)} for at in range(len(kinds))
    ]


# ---- S5 --------------------------------------------------------------------------------------------------------------


def forks(workflow: Workflow) -> Iterator[str]:
    """S5: no trigger that hands credentials to a fork; no environment, role, secret or own runner for a stranger."""
    for trigger in DANGEROUS:
        if trigger in workflow.get("on", workflow.get(True)):
            yield f"on: {trigger} runs a fork's event with our credentials"
    if runs_a_branch(workflow):
        looks = _of_look(workflow, STRANGERS)
        wishes = [wish for name in workflow["jobs"] for wish in _wishes(workflow, name, looks)]
        said = iter(answers([question for _, *asked in wishes for question in asked]))
        for wrong, *asked in wishes:
            runs, *rest = [next(said) for _ in asked]
            if any(met and all(each) for met, *each in zip(map(bool, runs), *rest, strict=True)):
                yield wrong


def _wishes(workflow: Workflow, name: str, looks: Sequence[Mapping[str, str]]) -> Iterator[tuple[Any, ...]]:
    """What is wrong where all of these hold in one case: the job runs, and beside it what a stranger must not get."""
    job = workflow["jobs"][name]
    pairs = zip(STRANGERS, looks, strict=True)
    cases = [case for kind, look in pairs for case in _cases(workflow, name, event(kind), look)]
    runs = Question(condition(job.get("if")), cases)
    if "environment" in job:
        yield f"{name}: its environment is a fork's, too", runs, Question(value(job["environment"]), cases)
    if not HOSTED.fullmatch(str(job["runs-on"])) and "matrix." not in str(job["runs-on"]):
        hosted = f"startsWith({value(job['runs-on'])}, 'ubuntu-')"
        yield f"{name}: runs a fork on a runner of our own", runs, Question(f"!{hosted}", cases)
    if "secrets." in str(job.get("env", "")):
        yield f"{name}: hands a secret to a fork", runs
    for step in steps(job):
        if str(step.get("uses", "")).startswith(TAKING) or "secrets." in str(step):
            takes = Question(condition(step.get("if")), cases)
            yield f"{name}: {step.get('name')}: takes credentials on a fork", runs, takes


# ---- What comes after what -------------------------------------------------------------------------------------------


def unguarded(workflow: Workflow, guard: str, beside: Sequence[str]) -> Iterator[str]:
    """Every job but those `beside` it runs where `guard` ended well, and never where it did not."""
    kinds = ("push", "schedule", "workflow_dispatch", "repository_dispatch")
    look = dict.fromkeys(workflow["jobs"]["look"].get("outputs", {}), "true")
    names = [name for name in workflow["jobs"] if name not in (guard, *beside)]
    asked = [
        Question(
            condition(workflow["jobs"][name].get("if")),
            [case for kind in kinds for case in _cases(workflow, name, event(kind), look, {guard: ended})],
        )
        for name in names
        for ended in ("failure", "skipped", "cancelled", "success")
    ]
    said = iter(answers(asked))
    for name in names:
        *badly, well = (any(next(said)) for _ in range(4))
        if guard not in before(workflow, name) or any(badly):
            yield f"{name}: runs where {guard} did not end well"
        elif not well:
            yield f"{name}: never runs"


def lasting(workflow: Workflow, longest: Mapping[str, int]) -> Iterator[str]:
    """A role lasts as long as the job that assumes it may, and no longer than AWS lets it: seconds by its name."""
    asked = [
        (name, re.findall(r"vars\.AWS_(\w+)_ROLE", str(step["with"]["role-to-assume"]))[0].lower(), [
            job["timeout-minutes"], step["with"].get("role-duration-seconds", 3600)
        ])
        for name, job in workflow["jobs"].items()
        for step in steps(job)
        if str(step.get("uses", "")).startswith(TAKING[0])
    ]  # fmt: skip
    cases = [{"contexts": {"vars": {"TRAIN_MINUTES": each}}} for each in ("", "240", "360")]
    found = iter(answers([Question(value(each), cases) for *_, both in asked for each in both]))
    for name, role, _ in asked:
        for minutes, seconds in zip(next(found), next(found), strict=True):
            if float(seconds) < 60 * float(minutes):
                yield f"{name}: the role {role} ends before the job may"
            if float(seconds) > longest[role]:
                yield f"{name}: the role {role} lasts no {seconds} seconds"
