"""Gate `parity`: the model that is served scores as the one that was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mergeline.gates.evidence import Evidence
from mergeline.gates.gate import Gate, judged

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams

NAME = "parity"


def parity(evidence: Evidence, policy: GateParams) -> Gate:
    """Fail where `train` found a difference over the tolerance, or noted none."""
    limit = policy.parity.tolerance
    found = evidence.candidate.training.get("parity_difference")
    if not isinstance(found, int | float):
        return judged(NAME, failed=True, evidence="training noted no difference between native and served scores")
    said = f"served and native scores differ by {found:.2g} at most, {limit:.2g} is allowed"
    return judged(NAME, not found <= limit, said, float(found), limit)
