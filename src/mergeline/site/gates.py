"""The gates and promises of the repository, counted: what they refused on record, and what its own tests plant."""

from __future__ import annotations

from collections.abc import Sequence

from mergeline.gates import GATES
from mergeline.report import elements
from mergeline.report.elements import Cell
from mergeline.site.facts import Judged, Proofs
from mergeline.site.frame import marked

OUTCOMES = ("failed", "passed", "not applicable")
COUNTED = "Refused, passed and not asked are numbers of verdicts; planted is the number of failures that tests plant."
NO_VERDICT = "No branch of this clone holds a verdict, so that no gate has said anything yet."
NO_PLANT = "No test plants a failure for a gate: there is none in tests/test_planted_failures.py."
NO_PROMISE = "No test carries the number of a promise in its name, as `test_r6_...`."


def gates(judged: Sequence[Judged], proofs: Proofs) -> str:
    """Return the counts: in sentences, then gate by gate; a kind of fact that is missing is said and not drawn."""
    names = [name for name in GATES if any(name in each.gates for each in judged) or name in proofs.planted]
    names += sorted({name for each in judged for name in each.gates} - set(names))
    head = ("gate", "refused", "passed", "not asked", "planted")
    listed = "".join(f"<li>{marked(line)}</li>" for line in (_verdicts(judged), _planted(proofs), _promised(proofs)))
    return (
        f"<ul>{listed}</ul>"
        + elements.paragraph(COUNTED, "soft")
        + elements.table("Gates, counted", head, [_row(name, judged, proofs) for name in names])
        + _promises(proofs)
    )


def _verdicts(judged: Sequence[Judged]) -> str:
    if not judged:
        return NO_VERDICT
    refused = [each for each in judged if each.failed]
    named = sorted({name for each in refused for name in each.failed})
    said = f"Gates refused {len(refused)} of them ({', '.join(named)})" if refused else "No gate refused one"
    return f"{_many(len(judged), 'verdict')} of this clone's branches on record. {said}."


def _planted(proofs: Proofs) -> str:
    if not proofs.planted:
        return NO_PLANT
    return (
        f"{_many(len(proofs.planted), 'gate')} proven by {_many(sum(proofs.planted.values()), 'planted failure')}"
        " in the repository's tests."
    )


def _promised(proofs: Proofs) -> str:
    if not proofs.promises:
        return NO_PROMISE
    return f"{_many(len(proofs.promises), 'promise')} held by {_many(proofs.tests, 'test')}."


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _row(name: str, judged: Sequence[Judged], proofs: Proofs) -> tuple[Cell, ...]:
    found = [sum(each.gates.get(name) == outcome for each in judged) for outcome in OUTCOMES]
    refused, *others = [Cell(str(number), "number named") for number in found]
    refused = Cell(refused.text, "failed named") if found[0] else refused
    return Cell(name), refused, *others, Cell(str(proofs.planted.get(name, 0)), "number named")


def _promises(proofs: Proofs) -> str:
    rows = [(Cell(name), Cell(str(number), "number")) for name, number in proofs.promises.items()]
    return elements.folded("Promise by promise", elements.table("Promises, counted", ("promise", "tests"), rows))
