"""`mergeline setup-github`: what Terraform made, as variables and environments of the repository, through `gh`."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mergeline.errors import ConfigurationError, ServiceError
from mergeline.github.run import REPOSITORY
from mergeline.github.settings import PARTS, Part

Gh = Callable[[tuple[str, ...]], str]
_NOT_THERE = re.compile(r"HTTP 404")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of `gh`, and what it is for."""

    command: tuple[str, ...]
    said: str

    def line(self) -> str:
        """The command as a shell takes it."""
        return shlex.join(("gh", *self.command))


def steps(repository: str, branch: str, variables: Mapping[str, str], ask: Gh) -> tuple[Step, ...]:
    """Return what is not there yet: the environments first, then the variables that switch their jobs on.

    `ask` runs one command of `gh` that reads. Raises `ConfigurationError` for a value that is none of its variable.
    """
    _checked(variables)
    told = [each for part in _parts(variables) for name in part.environments for each in _environment(
        repository, branch, name, ask, is_narrow=part.on_base_alone
    )]  # fmt: skip
    there = {each["name"]: each["value"] for each in json.loads(
        ask(("variable", "list", "--repo", repository, "--json", "name,value")) or "[]"
    )}  # fmt: skip
    told += [
        Step(("variable", "set", name, "--repo", repository, "--body", value), f"variable {name}")
        for name, value in variables.items()
        if there.get(name) != value
    ]
    return tuple(dict.fromkeys(told))


def _parts(variables: Mapping[str, str]) -> list[Part]:
    """The parts that these variables switch on."""
    return [part for part in PARTS if {each.name for each in part.own} & variables.keys()]


def _checked(variables: Mapping[str, str]) -> None:
    known = {each.name: each for part in PARTS for each in (*part.own, *part.shared)}
    for name, value in variables.items():
        if name not in known:
            raise ConfigurationError(f"{name}: no variable of the workflows; see docs/github.md for those that are")
        if not known[name].fits(value):
            raise ConfigurationError(f"{name}: expected something like {known[name].example}, found {value!r}")


def _environment(repository: str, branch: str, name: str, ask: Gh, *, is_narrow: bool) -> Iterable[Step]:
    """What makes an environment, for the default branch alone where it has to be."""
    at = f"repos/{repository}/environments/{name}"
    there = _read(ask, at)
    policy = (there or {}).get("deployment_branch_policy") or {}
    if not is_narrow:
        if there is None:
            yield Step(("api", "-X", "PUT", at), f"environment {name}")
        return
    if not policy.get("custom_branch_policies"):
        chosen = ("protected_branches]=false", "custom_branch_policies]=true")
        fields = tuple(word for each in chosen for word in ("-F", f"deployment_branch_policy[{each}"))
        yield Step(("api", "-X", "PUT", at, *fields), f"environment {name}, for named branches")
    listed = _read(ask, f"{at}/deployment-branch-policies") if policy.get("custom_branch_policies") else None
    named = {each["name"]: each["id"] for each in (listed or {}).get("branch_policies", ())}
    if branch not in named:
        yield Step(
            ("api", "-X", "POST", f"{at}/deployment-branch-policies", "-f", f"name={branch}"), f"{name}: {branch}"
        )
    for other, number in named.items():
        if other != branch:
            place = f"{at}/deployment-branch-policies/{number}"
            yield Step(("api", "-X", "DELETE", place), f"{name}: no longer {other}")


def _read(ask: Gh, path: str) -> dict[str, Any] | None:  # what GitHub says, None where it is not there
    try:
        found: dict[str, Any] = json.loads(ask(("api", path)))
    except ServiceError as err:
        if _NOT_THERE.search(str(err)):
            return None
        raise
    return found


def setup(repository: str, variables: Mapping[str, str], ask: Gh, *, yes: bool) -> str:
    """Return what would be done, or do it and say what was done; done twice, the second time has nothing to do."""
    if REPOSITORY.fullmatch(repository) is None:
        raise ConfigurationError(
            f"repository: expected OWNER/NAME, found {repository!r}; see github in terraform.tfvars"
        )
    branch = str((_read(ask, f"repos/{repository}") or {}).get("default_branch") or "")
    if not branch:
        raise ConfigurationError(f"{repository}: not to be seen by gh; run `gh auth login` as one who administers it")
    todo = steps(repository, branch, variables, ask)
    if not todo:
        return f"{repository}: all is set"
    if not yes:
        return "\n".join([*(each.line() for each in todo), "# to have it done: mergeline setup-github --yes"])
    for each in todo:
        ask(each.command)
    return "\n".join(
        [*(f"done: {each.said}" for each in todo), f"{repository}: all is set; `mergeline doctor` looks again"]
    )


def gh(environment: Mapping[str, str]) -> Gh:
    """Return what runs `gh`; it raises `ServiceError` with gh's own words where that fails."""

    def ask(command: tuple[str, ...]) -> str:
        try:
            done = subprocess.run(["gh", *command], env=dict(environment), capture_output=True, text=True, check=False)
        except FileNotFoundError as err:
            raise ConfigurationError("gh: not installed; see https://cli.github.com") from err
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[:300]
            raise ServiceError(f"gh {' '.join(command[:3])}: {said}; see `gh auth status`")
        return done.stdout

    return ask
