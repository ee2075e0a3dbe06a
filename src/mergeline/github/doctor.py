"""The verb `doctor`: what GitHub is set up for here, what mends the rest, which promises do not hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mergeline.github.client import USUAL, Patience
from mergeline.github.facts import Facts
from mergeline.github.judgement import Finding, State, judged
from mergeline.github.reading import Reader, repository_of
from mergeline.github.run import Run
from mergeline.report.escape import clean


def doctor(
    root: Path, environment: Mapping[str, str], *, as_json: bool, patience: Patience = USUAL
) -> tuple[str, tuple[str, ...]]:
    """Return the findings as text, and the names of those that are broken. Nothing is written anywhere."""
    run = Run.of(environment)
    client = run.client(patience)
    facts = Reader(client, run.repository or repository_of(root), run.token or "").facts(root)
    findings = judged(facts)
    broken = tuple(each.name for each in findings if each.state is State.BROKEN)
    return (as_records(facts, findings) if as_json else printed(facts, findings)), broken


def as_records(facts: Facts, findings: Sequence[Finding]) -> str:
    """Return the findings as JSON."""
    shown = {"repository": facts.repository, "branch": facts.branch, "plan": facts.plan}
    return json.dumps({**shown, "findings": [asdict(each) for each in findings]}, indent=2)


def printed(facts: Facts, findings: Sequence[Finding]) -> str:
    """Return the findings for a terminal, each with what mends it on lines of their own."""
    lines = [f"{facts.repository}, default branch {clean(facts.branch, 100)}"]
    for each in findings:
        lost = f" ({', '.join(each.promises)} not kept)" if each.promises else ""
        lines.append(f"{each.state + ':':8}  {each.name}: {clean(each.said, 1000)}{lost}")
        lines += [f"{'':12}{line}" for line in each.mend]
    counts = [(state, sum(each.state is state for each in findings)) for state in State]
    return "\n".join([*lines, ", ".join(f"{number} {state}" for state, number in counts if number)])
