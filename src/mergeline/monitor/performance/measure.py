"""What a model is worth on the labels that came, metric by metric, beside its holdout and beside what was estimated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from mergeline import intervals
from mergeline.gates.evidence import UNBOUNDED
from mergeline.intervals import LEAST_CLASS_ROWS, Floats, Interval
from mergeline.intervals.interval import around, clipped
from mergeline.metrics import Metric, binary_metrics, multiclass_metrics, regression_metrics
from mergeline.monitor.experiments.arm import Arm, Problem, gap_range, value_range
from mergeline.monitor.experiments.experiment import RANKING
from mergeline.monitor.experiments.influence import influence, variance
from mergeline.monitor.performance.record import Figure
from mergeline.paired import BY_THRESHOLD, THRESHOLD
from mergeline.params.evaluate import PRIMARY_METRICS
from mergeline.schema import Task


def measured(arm: Arm, problem: Problem, confidence: float) -> dict[str, Metric]:
    """Return the metrics that these labelled answers define, by name, as `evaluate` reports them.

    Where an entity asks more than once, its requests are no independent rows: each interval then holds that of the
    entities' sums, too (see `monitor.experiments.influence.variance`), and a metric without such a variance is
    left out. Of the answers of a model that decides nothing there is no metric of decisions.
    """
    found = {each.name: each for each in _reported(arm, problem, confidence)}
    if problem.task is Task.BINARY and arm.threshold is None:
        found = {name: each for name, each in found.items() if name not in (*BY_THRESHOLD, "predicted_positive_share")}
    if arm.units == arm.rows:
        return found
    known = PRIMARY_METRICS[problem.task]
    wide = {name: _by_entity(each, arm, problem, confidence) for name, each in found.items() if name in known}
    return {name: each for name, each in wide.items() if each is not None}


def figures(
    found: Mapping[str, Metric],
    holdout: Mapping[str, Metric],
    estimated: Mapping[str, float],
    margin: float,
    confidence: float,
) -> Iterator[Figure]:
    """Each metric that is known from labels, from scores or from the holdout, in this order.

    margin: in the metric's own unit or, of a metric without an upper bound (log loss, errors), a share of its value on
    the holdout.
    """
    for name in dict.fromkeys([*found, *estimated, *holdout]):
        now, then = found.get(name), holdout.get(name)
        known = now or then
        yield Figure(
            name=name,
            greater_is_better=known.greater_is_better if known else _greater_is_better(name),
            rows=now.rows if now else 0,
            measured=now.interval if now else None,
            holdout=then.interval if then else None,
            difference=difference(now, then, confidence) if now and then else None,
            margin=margin_of(name, then, margin),
            estimate=estimated.get(name),
        )


def difference(now: Metric, then: Metric, confidence: float) -> Interval | None:
    """By how much a metric is better now than on other rows then: above 0 it is, for errors and losses as well.

    Its bounds are recovered from those of both (Zou & Donner, Stat. Med. 27, 1693-1702, 2008). The interval of then is
    brought to the same confidence by the ratio of the normal quantiles. None of what has no better direction.

    >>> now, then = (Metric("accuracy", intervals.wilson(hits, 1000), True, 1000) for hits in (700, 750))
    >>> round(difference(now, then, 0.95).estimate, 3), difference(now, then, 0.95).high < 0
    (-0.05, True)
    """
    if now.greater_is_better is None:
        return None
    one, two = _at(now.interval, confidence), _at(then.interval, confidence)
    better, worse = (one, two) if now.greater_is_better else (two, one)
    estimate = better.estimate - worse.estimate
    below = math.hypot(better.estimate - better.low, worse.high - worse.estimate)
    above = math.hypot(better.high - better.estimate, worse.estimate - worse.low)
    found = around(estimate, estimate - below, estimate + above, "mover", confidence)
    return clipped(found, gap_range(now.name))


def margin_of(name: str, then: Metric | None, margin: float) -> float | None:
    """The margin in the metric's own unit; None of a metric that the holdout does not have."""
    if then is None:
        return None
    return margin * (abs(then.interval.estimate) if name in UNBOUNDED else 1.0)


def enough(arm: Arm, problem: Problem, metric: str, least: int) -> bool:
    """Whether there are labels enough for the interval of a metric to hold."""
    if arm.rows < least:
        return False
    if metric not in RANKING:
        return True
    counts = np.bincount(arm.label.astype(np.int64), minlength=len(problem.classes))
    return int((counts[counts > 0] if len(problem.classes) > 2 else counts).min()) >= LEAST_CLASS_ROWS


def _reported(arm: Arm, problem: Problem, confidence: float) -> tuple[Metric, ...]:
    if problem.task is Task.REGRESSION:
        return regression_metrics(arm.label, arm.scores[:, 0], confidence=confidence)
    if problem.task is Task.MULTICLASS:
        return multiclass_metrics(arm.label, arm.scores, problem.classes, confidence=confidence)
    cut = THRESHOLD if arm.threshold is None else arm.threshold
    return binary_metrics(arm.label, arm.scores[:, 1], cut, confidence=confidence)


def _by_entity(metric: Metric, arm: Arm, problem: Problem, confidence: float) -> Metric | None:
    """The metric with an interval that holds the one of independent entities; None where that is not known."""
    from scipy import stats

    moved = influence(metric.name, problem, arm)
    spread, units = variance(moved, arm.unit) if moved is not None else (math.inf, 0)
    if not math.isfinite(spread):
        return None
    own = metric.interval
    reach = float(stats.t.isf((1 - confidence) / 2, units - 1)) * math.sqrt(spread)
    wide = around(own.estimate, own.estimate - reach, own.estimate + reach, own.method, confidence)
    return replace(metric, interval=intervals.wider(own, clipped(wide, value_range(metric.name))))


def _at(interval: Interval, confidence: float) -> Interval:
    if interval.confidence == confidence:
        return interval
    factor = NormalDist().inv_cdf(0.5 + confidence / 2) / NormalDist().inv_cdf(0.5 + interval.confidence / 2)
    return around(
        interval.estimate,
        interval.estimate - factor * (interval.estimate - interval.low),
        interval.estimate + factor * (interval.high - interval.estimate),
        interval.method,
        confidence,
    )


def _greater_is_better(name: str) -> bool:
    return name not in ("log_loss", "brier_score")


def scores_of(arm: Arm) -> Floats:
    """The score that stands for an answer: of the positive class, of the likeliest class, or the prediction [n]."""
    return arm.scores[:, -1] if arm.scores.shape[1] <= 2 else arm.scores.max(axis=1)
