"""Gate `improvement`: the candidate is not worse than the champion, and better than a baseline."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mergeline.gates.evidence import Evidence, better_or_worse, number
from mergeline.gates.gate import Gate, judged, not_applicable
from mergeline.intervals import Interval

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams, ImprovementGate

NAME = "improvement"


class Standing(StrEnum):
    """How the candidate stands to the champion, by the interval of their difference and the margin."""

    BETTER = "better"
    TIE = "tie"
    WORSE = "worse"


def standing(difference: Interval, margin: float) -> Standing:
    """Return better where the whole interval lies above `margin`, worse where it lies below -`margin`, else a tie."""
    if difference.low > margin:
        return Standing.BETTER
    return Standing.WORSE if difference.high < -margin else Standing.TIE


def promotes(difference: Interval, policy: ImprovementGate, unit: float) -> bool:
    """Whether the difference alone is reason enough to take the champion's place."""
    margin = policy.margin * unit
    if standing(difference, margin) is Standing.BETTER:
        return True
    # two models that answer alike show no difference at all, and so no reason to move
    alike = difference.low == difference.high == 0
    return policy.non_inferiority and difference.low > -margin and not alike


def improvement(evidence: Evidence, policy: GateParams) -> Gate:
    """Fail a candidate that is worse with confidence and, against a baseline, one that is not better with it."""
    if evidence.refusal:
        return not_applicable(NAME, "nothing could be compared")
    difference = evidence.difference
    if difference is None:
        return judged(NAME, failed=True, evidence=f"{evidence.label} is not defined on this holdout; judge by another")
    margin = policy.improvement.margin * evidence.unit()
    found = standing(difference, margin)
    asked = number(margin)
    said = f"{better_or_worse(difference)} in {evidence.label}"
    if evidence.champion is None:
        failed = found is not Standing.BETTER
        return judged(
            NAME, failed, f"{said} than the baseline, more than {asked} is asked", difference.estimate, margin
        )
    words = {
        Standing.BETTER: f"{said}, more than {asked} is asked",
        Standing.TIE: f"{said}: no difference beyond {asked} can be told",
        Standing.WORSE: f"{said}, at most {asked} is allowed",
    }
    return judged(NAME, found is Standing.WORSE, words[found], difference.estimate, 0.0 - margin)  # no -0.0
