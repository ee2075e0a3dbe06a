"""Gate `comparable`: both models are judged on the same rows, newer than anything that either was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mergeline.gates.evidence import Evidence
from mergeline.gates.gate import Gate, judged

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams

NAME = "comparable"


def comparable(evidence: Evidence, policy: GateParams) -> Gate:  # noqa: ARG001  # every gate has this signature
    """Fail where the comparison was refused."""
    if evidence.refusal:
        return judged(NAME, failed=True, evidence=evidence.refusal)
    whom = "both models are" if evidence.champion else "the candidate and the baseline are"
    return judged(
        NAME, failed=False, evidence=f"{whom} judged on the same {len(evidence.rows):,} rows, seen by neither"
    )
