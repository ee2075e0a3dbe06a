"""Gate `fairness`: the groups of a protected column are served about equally well."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from mergeline import intervals
from mergeline.gates.evidence import Evidence, number, within
from mergeline.gates.gate import Gate, judged, not_applicable
from mergeline.intervals import Interval
from mergeline.models.encoder import category_text
from mergeline.schema import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mergeline.params.gates import FairnessGate, GateParams

NAME = "fairness"
MISSING = "(missing)"
MEASURES = {Task.BINARY: "true positive rate", Task.MULTICLASS: "accuracy", Task.REGRESSION: "error"}


@dataclass(frozen=True, slots=True)
class Gap:
    """How far two groups are apart; `difference` is that of the first over the second, never negative."""

    column: str
    groups: tuple[str, str]
    difference: Interval


def fairness(evidence: Evidence, policy: GateParams) -> Gate:
    """Fail where two groups of a named column are, with confidence, further apart than the limit."""
    settings = policy.fairness
    if not settings.columns:
        return not_applicable(NAME, "no protected column is named")
    absent = [name for name in settings.columns if name not in evidence.rows.columns]
    if absent:
        return judged(NAME, failed=True, evidence=f"the table has no {', '.join(absent)}, which the policy protects")
    found = gaps(evidence, settings)
    if not found:
        return not_applicable(NAME, f"no two groups have {settings.min_rows} rows that count")
    worst = max(found, key=lambda each: each.difference.estimate)
    over = [each for each in found if each.difference.low > settings.max_gap]
    shown = max(over, key=lambda each: each.difference.estimate) if over else worst
    measure = MEASURES[evidence.task]
    said = f"{measure} of {shown.column}={shown.groups[0]} over {shown.groups[1]} by {within(shown.difference)}"
    limit = f"at most {number(settings.max_gap)} is allowed"
    return judged(NAME, bool(over), f"{said}, {limit}", shown.difference.estimate, settings.max_gap)


def gaps(evidence: Evidence, settings: FairnessGate) -> list[Gap]:
    """Return every pair of groups, with intervals whose confidence holds for all pairs together (Bonferroni)."""
    counted, values = _measured(evidence)
    pairs = []
    for column in settings.columns:
        names = category_text(evidence.rows[column]).fillna(MISSING).to_numpy()[counted]
        groups = {name: values[names == name] for name in sorted(set(names))}
        large = {name: each for name, each in groups.items() if len(each) >= settings.min_rows}
        pairs += [(column, first, second, large[first], large[second]) for first, second in combinations(large, 2)]
    confidence = 1 - (1 - settings.confidence) / max(1, len(pairs))
    return [_gap(column, first, second, a, b, evidence.task, confidence) for column, first, second, a, b in pairs]


def _measured(evidence: Evidence) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """The rows that count, and what is averaged over them: hits, or errors as shares of the mean error."""
    scores, target = evidence.candidate_scores, evidence.target
    if evidence.task is Task.REGRESSION:
        error = np.abs(scores[:, 0] - target)
        return np.ones(len(target), dtype=bool), error / (error.mean() or 1.0)
    if evidence.task is Task.MULTICLASS:
        return np.ones(len(target), dtype=bool), (scores.argmax(axis=1) == target).astype(float)
    counted = target == 1
    return counted, (scores[counted, 1] >= (evidence.candidate.signature.threshold or 0.5)).astype(float)


def _gap(
    column: str,
    first: str,
    second: str,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    task: Task,
    confidence: float,
) -> Gap:
    if a.mean() < b.mean():
        first, second, a, b = second, first, b, a
    return Gap(column, (first, second), _difference(_mean(a, task, confidence), _mean(b, task, confidence)))


def _mean(values: NDArray[np.float64], task: Task, confidence: float) -> Interval:
    if task is Task.REGRESSION:
        return intervals.mean(values, confidence)
    return intervals.wilson(float(values.sum()), len(values), confidence)


def _difference(a: Interval, b: Interval) -> Interval:
    """Of two independent estimates, by the square-and-add of their own bounds (Newcombe, 1998, method 10)."""
    estimate = a.estimate - b.estimate
    low = estimate - math.hypot(a.estimate - a.low, b.high - b.estimate)
    high = estimate + math.hypot(a.high - a.estimate, b.estimate - b.low)
    return Interval(estimate, low, high, "mover", a.confidence)
