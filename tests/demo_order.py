"""The verbs that the demo plays, held against the `run:` lines of the workflows and their order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import yaml
from repositories import TEMPLATE

WORKFLOWS = TEMPLATE / ".github" / "workflows"
# a verb of the machine's own program, at the beginning of a line or behind a word of the shell
CALL = re.compile(
    r"(?:^|\b(?:until|if|then)\s+|&&\s*)\.venv/bin/mergeline (?:--root \S+ )?([a-z-]+(?: act| notify)?)", re.MULTILINE
)
# where a play of a workflow begins
BEGINNINGS = {"repro": "retrain.yml", "drift": "drift.yml", "smoke": "promote.yml", "propose": "promote.yml"}
LATER = {"verify": "promote.yml", "gate": "retrain.yml"}  # asked alone, by who wants to know


def verbs(workflow: str) -> list[str]:
    """The verbs in the run: lines of a workflow, from its first job to its last."""
    jobs = yaml.safe_load((WORKFLOWS / workflow).read_text(encoding="utf-8"))["jobs"]
    lines = [step["run"] for job in jobs.values() for step in job.get("steps", []) if "run" in step]
    return [verb for line in lines for verb in CALL.findall(line)]


def plays(played: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The verbs that were played, parted where the play of a workflow begins."""
    workflow = ""
    found: list[str] = []
    for verb in played:
        if verb in BEGINNINGS or (verb in LATER and verb not in verbs(workflow or "retrain.yml")):
            if found:
                yield workflow, found
            workflow, found = (BEGINNINGS | LATER)[verb], []
        if not found or found[-1] != verb:  # once more is once
            found.append(verb)
    if found:
        yield workflow, found


def told(log: str) -> list[str]:
    """The verbs of a demo's log of commands, in order, without those that no workflow calls."""
    known = {verb for workflow in set(BEGINNINGS.values()) | set(LATER.values()) for verb in verbs(workflow)}
    called = re.findall(r"^\$ mergeline ([a-z-]+(?: act)?)", log, re.MULTILINE)
    return [verb for verb in called if verb in known]


def out_of_order(played: Sequence[str]) -> list[str]:
    """The plays whose verbs are not in the order in which the workflow first calls them."""
    wrong = []
    for workflow, found in plays(played):
        places = [verbs(workflow).index(verb) for verb in found]
        if places != sorted(set(places)):
            wrong.append(f"{workflow}: {' '.join(found)}")
    return wrong
