"""Gate `slices`: no group of rows gets a worse model than it had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mergeline.gates.evidence import Evidence, better_or_worse, number
from mergeline.gates.gate import Gate, judged, not_applicable
from mergeline.intervals import Interval

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams

NAME = "slices"
NAMED = 3  # in the evidence; the report has them all


def worse(difference: Interval | None, margin: float) -> bool:
    """Whether the whole corrected interval lies below -`margin`."""
    return difference is not None and difference.high < -margin


def slices(evidence: Evidence, policy: GateParams) -> Gate:
    """Fail where a slice is worse by more than the margin, at the confidence that holds for all slices together."""
    if evidence.refusal:
        return not_applicable(NAME, "nothing could be compared")
    compared = {each.name: each.difference for each in evidence.slices if each.difference is not None}
    if not compared:
        return not_applicable(NAME, "no slice has rows enough to be judged")
    margin = policy.slices.margin * evidence.unit()
    lost = {name: difference for name, difference in compared.items() if worse(difference, margin)}
    shown = sorted(lost or compared, key=lambda name: compared[name].estimate)
    named = shown[: NAMED if lost else 1]
    said = "; ".join(f"slice {name} {better_or_worse(compared[name])}" for name in named)
    lead = "" if lost else f"the least of {len(compared)}: "
    more = f"; and {len(lost) - NAMED} slices more" if len(lost) > NAMED else ""
    evidence_said = f"{lead}{said}{more}, limit {number(margin)}"
    return judged(NAME, bool(lost), evidence_said, compared[shown[0]].estimate, 0.0 - margin)  # no -0.0
