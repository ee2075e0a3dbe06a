"""By how much a challenger is better than the champion, each on requests of its own or both on the same.

| experiment | metric | interval of the difference |
|---|---|---|
| A/B | log_loss, brier_score, mae | Welch's t of the rows' losses [1] |
| A/B | roc_auc | DeLong's variances of two independent samples, and MOVER |
| A/B | the rest | linearised variances of two independent samples, and MOVER |
| shadow | all | `mergeline.paired` |

MOVER takes each arm's own interval for its side (of shares it is Newcombe's hybrid score interval [2]); "and" means the
bounds that hold both, since one knows how the rows vary and the other how few they are. Where an entity asks more than
once its requests are no independent rows: every variance is then that of the entities' sums (`influence.variance`),
with Student's t for as many degrees of freedom as there are entities (Satterthwaite's of two arms), and a paired
interval is widened to hold that one too.

1. The generalization of "Student's" problem. Biometrika 34, 28-35 (1947).
2. Interval estimation for the difference between independent proportions. Statistics in Medicine 17, 873-890 (1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mergeline import intervals, paired
from mergeline.intervals import Influence, Interval
from mergeline.intervals.interval import around, clipped, quantile
from mergeline.metrics import Metric
from mergeline.monitor.experiments.arm import Arm, Problem, gap_range, reported, value_range
from mergeline.monitor.experiments.influence import MEANS, influence, variance
from mergeline.paired import Judged

SEED = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of both arms, and by how much the challenger is better; above 0 it is, for errors and losses as well.

    `p_value` is that of the hypothesis "no difference" by the method of the interval, at a single look.
    """

    champion: Metric
    challenger: Metric
    interval: Interval
    p_value: float


def independent(
    metric: str, problem: Problem, champion: Arm, challenger: Arm, confidence: float = 0.95
) -> Difference | None:
    """The difference of two arms that met different requests; None where the metric of one of them is not defined."""
    old, new = (_side(metric, problem, arm, confidence) for arm in (champion, challenger))
    if old is None or new is None:
        return None
    sign = 1 if new.metric.greater_is_better else -1
    estimate = sign * (new.metric.interval.estimate - old.metric.interval.estimate)
    total = old.variance + new.variance
    freedom = _satterthwaite(old, new)
    method = "welch" if metric in MEANS else "delong-independent" if metric == "roc_auc" else "linearised-independent"
    bounds = gap_range(metric)
    found = clipped(_student(estimate, total, freedom, method, confidence), bounds)
    p_value = _student_p(estimate, total, freedom)
    if metric not in MEANS or total == 0:
        first, second = (new, old) if sign > 0 else (old, new)
        by_bounds = clipped(_mover(estimate, first.metric.interval, second.metric.interval), bounds)
        found, p_value = intervals.wider(found, by_bounds), max(p_value, recovered_p(by_bounds))
    return Difference(old.metric, new.metric, found, p_value)


def on_same_requests(
    metric: str, problem: Problem, champion: Arm, challenger: Arm, confidence: float = 0.95
) -> Difference | None:
    """The difference of two arms whose rows are the same requests in the same order; None as in `independent`."""
    old, new = (_side(metric, problem, arm, confidence) for arm in (champion, challenger))
    if old is None or new is None:
        return None
    judged = (Judged(challenger.scores, challenger.threshold), Judged(champion.scores, champion.threshold))
    found = paired.difference(
        metric, problem.task, champion.label, *judged, confidence, classes=problem.classes, seed=SEED
    )
    if found is None:
        return None
    if champion.units < champion.rows and found.low < found.high:
        gap = Influence(0.0, new.influence.rows - old.influence.rows)
        spread, units = variance(gap, champion.unit)
        by_units = _student(found.estimate, spread, units - 1, found.method, confidence)
        found = intervals.wider(found, clipped(by_units, gap_range(metric)))
    return Difference(old.metric, new.metric, found, recovered_p(found))


def recovered_p(interval: Interval) -> float:
    """The p-value of "it is 0" for an estimate whose bound on zero's side lies as many standard errors off as it says.

    >>> round(recovered_p(Interval(1.0, 0.0, 2.0, "normal", 0.95)), 12)
    0.05
    """
    from scipy import stats

    reach = interval.estimate - interval.low if interval.estimate > 0 else interval.high - interval.estimate
    if interval.estimate == 0:
        return 1.0
    if reach == 0:
        return 0.0
    return float(2 * stats.norm.sf(abs(interval.estimate) / reach * quantile(interval.confidence)))


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One arm: its metric, what each row does to it, and its variance between so many units."""

    metric: Metric
    influence: Influence
    variance: float
    units: int


def _side(metric: str, problem: Problem, arm: Arm, confidence: float) -> _Side | None:
    found, moved = reported(metric, problem, arm, confidence), influence(metric, problem, arm)
    if found is None or moved is None:
        return None
    spread, units = variance(moved, arm.unit)
    if units < arm.rows:
        own = found.interval
        wide = _student(own.estimate, spread, units - 1, own.method, confidence)
        found = replace(found, interval=intervals.wider(own, clipped(wide, value_range(metric))))
    return _Side(found, moved, spread, units)


def _satterthwaite(old: _Side, new: _Side) -> float:
    """The degrees of freedom of a sum of two variances; those of the smaller arm where nothing varies."""
    total = old.variance + new.variance
    if total == 0 or not math.isfinite(total):
        return float(max(min(old.units, new.units) - 1, 1))
    parts = sum(side.variance**2 / (side.units - 1) for side in (old, new))
    return total**2 / parts


def _student(estimate: float, spread: float, freedom: float, method: str, confidence: float) -> Interval:
    from scipy import stats

    quantile(confidence)  # says so where it is no share
    if not math.isfinite(spread):
        return Interval(estimate, -math.inf, math.inf, method, confidence)
    reach = float(stats.t.isf((1 - confidence) / 2, freedom)) * math.sqrt(spread)
    return around(estimate, estimate - reach, estimate + reach, method, confidence)


def _student_p(estimate: float, spread: float, freedom: float) -> float:
    from scipy import stats

    if estimate == 0 or not math.isfinite(spread):
        return 1.0
    return float(2 * stats.t.sf(abs(estimate) / math.sqrt(spread), freedom)) if spread > 0 else 0.0


def _mover(estimate: float, first: Interval, second: Interval) -> Interval:
    """The first minus the second, its bounds recovered from theirs (Zou & Donner, Stat. Med. 27, 1693-1702, 2008)."""
    below = math.hypot(first.estimate - first.low, second.high - second.estimate)
    above = math.hypot(first.high - first.estimate, second.estimate - second.low)
    return around(estimate, estimate - below, estimate + above, "mover", first.confidence)
