"""Gate `latency`: scoring does not become much slower than it is.

A time is no fact of a model and would make no record come out twice the same. So the record says whether the gate
passed; the measured ratio is local state, and the report shows it where it was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mergeline.gates.evidence import Evidence, number
from mergeline.gates.gate import Gate, judged, not_applicable

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams

NAME = "latency"


def latency(evidence: Evidence, policy: GateParams) -> Gate:
    """Fail where the candidate takes, with confidence, more than so many times the champion's time."""
    limit = policy.latency.max_ratio
    if limit is None:
        return not_applicable(NAME, "no limit is set")
    if evidence.latency_ratio is None:
        return not_applicable(NAME, "there is no other model to be slower than")
    failed = evidence.latency_ratio.low > limit
    word = "more" if failed else "not more"
    return judged(NAME, failed, f"scoring takes {word} than {number(limit)} times the champion's time", None, limit)
