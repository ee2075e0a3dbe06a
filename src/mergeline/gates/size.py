"""Gate `size`: the model file fits where it is to be loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mergeline.gates.evidence import Evidence, number
from mergeline.gates.gate import Gate, judged, not_applicable

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams

NAME = "size"
MEBIBYTE = 2**20


def size(evidence: Evidence, policy: GateParams) -> Gate:
    """Fail where the model file is larger than its limit."""
    limit = policy.size.max_mib
    if limit is None:
        return not_applicable(NAME, "no limit is set")
    found = evidence.candidate.bytes / MEBIBYTE
    said = f"the model file has {number(found)} MiB, at most {number(limit)} is allowed"
    return judged(NAME, found > limit, said, round(found, 6), limit)
