"""Gate `calibration`: a probability of 0.3 comes true three times in ten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mergeline.gates.evidence import Evidence, number, within
from mergeline.gates.gate import Gate, judged, not_applicable

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams

NAME = "calibration"
METRIC = "expected_calibration_error"


def calibration(evidence: Evidence, policy: GateParams) -> Gate:
    """Fail where the expected calibration error is, with confidence, over its limit."""
    limit = policy.calibration.max_error
    if limit is None:
        return not_applicable(NAME, "no limit is set")
    error = next((each for each in evidence.candidate_metrics if each.name == METRIC), None)
    if error is None:
        return not_applicable(NAME, "only a binary model's probabilities are checked, on 10 rows or more")
    said = f"expected calibration error {within(error.interval)}, at most {number(limit)} is allowed"
    return judged(NAME, error.interval.low > limit, said, error.interval.estimate, limit)
