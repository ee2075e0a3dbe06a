"""From evidence to a verdict: promote, hold or reject, in one plain sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mergeline.gates import GATES
from mergeline.gates.evidence import Evidence, better_or_worse
from mergeline.gates.gate import Gate, Outcome, not_applicable
from mergeline.gates.improvement import promotes

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams


class Verdict(StrEnum):
    """What is to become of a candidate."""

    PROMOTE = "promote"
    HOLD = "hold"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the sentence that gives its reason, and the gates."""

    verdict: Verdict
    sentence: str
    gates: tuple[Gate, ...]


def judge(evidence: Evidence, policy: GateParams) -> Judgement:
    """Put the candidate before every gate.

    The base's own model, and the model that runs, pass through: there is nothing to decide, the release stays as it is.
    A failed gate rejects; a candidate that is better (see `ImprovementGate`) is promoted; a tie is held.
    """
    if evidence.same:
        gates = tuple(not_applicable(name, evidence.same) for name in GATES)
        return Judgement(Verdict.HOLD, f"{evidence.same}: the release stays as it is", gates)
    gates = tuple(gate(evidence, policy) for gate in GATES.values())
    failed = [each for each in gates if each.outcome is Outcome.FAILED]
    found = _compared(evidence)
    if failed:
        return Judgement(Verdict.REJECT, f"{'; '.join([*found, *_reasons(failed, evidence)])}: rejected", gates)
    if evidence.difference and promotes(evidence.difference, policy.improvement, evidence.unit()):
        return Judgement(Verdict.PROMOTE, f"{'; '.join(found)}: promoted", gates)
    return Judgement(Verdict.HOLD, f"{'; '.join(found)}: a tie, the release stays as it is", gates)


def _compared(evidence: Evidence) -> list[str]:
    """`better by 0.031 ROC AUC (95 % 0.024 to 0.038)`, or nothing where nothing was compared."""
    if evidence.difference is None:
        return []
    by, _, interval = better_or_worse(evidence.difference).partition(" (")
    than = "" if evidence.champion else " than a baseline"
    return [f"{by} {evidence.label}{than} ({interval}"]


def _reasons(failed: Sequence[Gate], evidence: Evidence) -> list[str]:
    """The evidence of the failed gates; what `improvement` says stands at the start of the sentence already."""
    told = evidence.difference is not None
    reasons = [each.evidence for each in failed if not (told and each.name == "improvement")]
    if not reasons and evidence.champion is None:
        return ["a first model must be better with confidence"]
    return reasons
