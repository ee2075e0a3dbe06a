"""What a gate is: one named check, its number, its limit, and a sentence that a reviewer can judge."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What came of a check. Not applicable is neither passed nor failed, and its evidence says why."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Gate:
    """One check of a candidate: `value` against `threshold`, in the unit that `evidence` names; None: no number."""

    name: str
    outcome: Outcome
    evidence: str
    value: float | None = None
    threshold: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the gate as JSON's types."""
        return asdict(self)


def judged(name: str, failed: bool, evidence: str, value: float | None = None, threshold: float | None = None) -> Gate:
    """Return a gate that failed or passed."""
    return Gate(name, Outcome.FAILED if failed else Outcome.PASSED, evidence, value, threshold)


def not_applicable(name: str, why: str) -> Gate:
    """Return a gate that has nothing to say here."""
    return Gate(name, Outcome.NOT_APPLICABLE, why)
