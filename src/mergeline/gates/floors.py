"""Gate `floors`: metrics that a model must reach, whatever it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mergeline.gates.evidence import Evidence, number
from mergeline.gates.gate import Gate, judged, not_applicable
from mergeline.metrics import Metric
from mergeline.report.wording import metric_label

if TYPE_CHECKING:
    from mergeline.params.gates import GateParams

NAME = "floors"


def floors(evidence: Evidence, policy: GateParams) -> Gate:
    """Fail where a metric's estimate is under its floor (of a loss: over it), or not defined: a typo must not pass."""
    if not policy.floors:
        return not_applicable(NAME, "no floor is set")
    found = {each.name: each for each in evidence.candidate_metrics}
    said = [_said(name, found.get(name), limit) for name, limit in policy.floors.items()]
    failed = [name for name, limit in policy.floors.items() if not _holds(found.get(name), limit)]
    shown = failed[0] if failed else next(iter(policy.floors))
    value = found[shown].interval.estimate if shown in found else None
    return judged(NAME, bool(failed), "; ".join(said), value, policy.floors[shown])


def _holds(metric: Metric | None, limit: float) -> bool:
    if metric is None or metric.greater_is_better is None:
        return False
    estimate = metric.interval.estimate
    return estimate >= limit if metric.greater_is_better else estimate <= limit


def _said(name: str, metric: Metric | None, limit: float) -> str:
    if metric is None or metric.greater_is_better is None:
        return f"{name} has no value on this holdout, {number(limit)} is asked"
    asked = "at least" if metric.greater_is_better else "at most"
    return f"{metric_label(name)} {number(metric.interval.estimate)}, {asked} {number(limit)} is asked"
