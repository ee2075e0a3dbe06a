"""How much better one model is than another on the same rows: the difference of a metric, with its interval.

Both models meet the same rows, so what makes a row hard falls out of the difference: a paired interval is narrower than
two intervals side by side, and those may overlap where this one excludes 0.

| metric | interval of the difference |
|---|---|
| roc_auc | `intervals.delong_difference` |
| log_loss, brier_score, mae | mean of the rows' differences, in closed form |
| accuracy, precision, recall, f1, recall_CLASS, macro_f1 | `intervals.linearised_difference` |
| average_precision, roc_auc_ovr, rmse, r2 | `intervals.linearised_difference` |
| balanced_accuracy | MOVER of the classes' recalls |
| median_absolute_error, expected_calibration_error | `intervals.bootstrap`, both models under the same weights |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

import numpy as np

from mergeline import intervals
from mergeline.errors import ConfigurationError, DataError
from mergeline.intervals import Floats, Influence, Interval
from mergeline.metrics import BINS, LARGEST_LOG_LOSS, ROWS_PER_BIN, Codes, confusion_matrix
from mergeline.metrics.bins import equal_mass
from mergeline.metrics.influences import (
    average_precision_influence,
    f1_influence,
    macro_f1_influence,
    precision_influence,
    rmse_influence,
    roc_auc_ovr_influence,
    unexplained_influence,
)
from mergeline.metrics.losses import log_losses
from mergeline.metrics.rows import both_classes, codes, distributions, same_rows
from mergeline.schema import Task

RESAMPLES = 500
THRESHOLD = 0.5
SHARE_BOUNDS = (-1.0, 1.0)
LOG_LOSS_BOUNDS = (-LARGEST_LOG_LOSS, LARGEST_LOG_LOSS)
NO_BOUNDS = (-math.inf, math.inf)
WITHOUT_DIRECTION: Final[Mapping[Task, tuple[str, ...]]] = MappingProxyType(
    {Task.BINARY: ("predicted_positive_share",), Task.MULTICLASS: (), Task.REGRESSION: ("bias",)}
)
LEAST_MEDIAN_ROWS = 6  # fewer have no interval at 95 %, so no median is reported
BY_THRESHOLD = ("accuracy", "precision", "recall", "f1")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What one model says of the rows.

    scores: float [n, k], a probability for each of k classes, or [n, 1] of a regression. threshold: from which
    probability of the second of two classes on a row is called so, None for 0.5; no other task has one.
    """

    scores: Floats
    threshold: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Classified:
    """One model's probabilities and decisions beside the labels."""

    label: Codes  # [n]
    probability: Floats  # [n, k]
    chosen: Codes  # [n]

    @property
    def rows(self) -> int:
        return len(self.label)

    @property
    def score(self) -> Floats:
        positive: Floats = self.probability[:, 1]
        return positive

    @property
    def hits(self) -> Floats:
        hit: Floats = (self.label == self.chosen).astype(np.float64)
        return hit

    @property
    def positives(self) -> int:
        return int(self.label.sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Predicted:
    """One model's errors beside the values."""

    value: Floats  # [n]
    error: Floats  # [n]

    @property
    def rows(self) -> int:
        return len(self.error)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an interval depends on beside the rows."""

    confidence: float
    seed: int


Side = TypeVar("Side", _Classified, _Predicted)
Statistic = Callable[[Floats], float]
# Candidate, champion; None where the metric of one of them is not defined.
Comparison = Callable[[Side, Side, _Asked], Interval | None]


def difference(
    metric: str,
    task: Task,
    target: Floats,
    candidate: Judged,
    champion: Judged,
    confidence: float = 0.95,
    *,
    classes: Sequence[str] = (),
    seed: int = 0,
) -> Interval | None:
    """By how much the candidate is better; above 0 it is better, for errors and losses as well.

    metric: a name of `binary_metrics`, `multiclass_metrics` or `regression_metrics`; target: codes 0..k-1 or values
    [n]; classes: the names in `recall_CLASS`, in the order of the columns, by default the numbers 0..k-1; seed: of the
    two metrics that are resampled. The estimate is the difference of what `mergeline.metrics` reports, champion minus
    candidate for errors.

    None where these rows do not define the metric of both models (one class has no ROC AUC, no positive prediction has
    no precision), and for a metric of which neither direction is better. Equal scores differ by exactly nothing.

    Measured with nominal 95 % (the rule is "promote where the low bound lies above 0", whose error should be 2.5 %):

    - two models that are equally good: promoted in 1.4 % of 100 rows, 2.1 % of 200, 2.3 % of 400 (ROC AUC 0.75, 30 %
      positives, scores that correlate by 0.8 within a class, 3,000 simulations each);
    - a ROC AUC of 0.75 against 0.74, 0.73, 0.72 in 2,000 rows, 20 % positives, 1,000 simulations each: promoted in 20,
      58 and 89 % where the scores correlate by 0.8, in 33, 85 and 99 % by 0.9, in 58, 99 and 100 % by 0.95;
    - coverage at 100 and 400 rows, 500 simulations each: 92.6 % (log loss of 100 rows) to 99 %, most 94 % to 97 %. The
      calibration error's is 99 % between equals and 94 % apart (1,000 simulations): noise makes small errors larger,
      so the estimate, and every miss, says too little of the difference, for a worse candidate as for a better one.

    Below `intervals.LEAST_CLASS_ROWS` rows of a class a ROC AUC near 1 is not covered: judge no slice that has fewer.

    Raises ConfigurationError for a metric that the task does not have, DataError for rows that cannot be scored.

    >>> value = np.array([0.0, 1.0, 2.0, 4.0])
    >>> exact, late = Judged(value[:, None]), Judged(value[:, None] + [[0.0], [1.0], [1.0], [2.0]])
    >>> difference("mae", Task.REGRESSION, value, exact, late).estimate
    1.0
    """
    asked, equal = _Asked(confidence, seed), _equal(metric, task, candidate, champion)
    if task is Task.REGRESSION:
        compare = _named(metric, task, _REGRESSION)
        predicted = _predicted(target, candidate), _predicted(target, champion)
        found = compare(*predicted, asked) if compare and len(target) > 1 else None
    else:
        names = classes or [str(code) for code in range(candidate.scores.shape[-1])]
        decide = _named(metric, task, _BINARY if task is Task.BINARY else _multiclass(names))
        classified = _classified(task, target, candidate), _classified(task, target, champion)
        found = decide(*classified, asked) if decide and len(target) else None
    return Interval(0.0, 0.0, 0.0, found.method, confidence) if found and equal else found


def _named(metric: str, task: Task, comparisons: Mapping[str, Comparison[Side]]) -> Comparison[Side] | None:
    if metric in comparisons or metric in WITHOUT_DIRECTION[task]:
        return comparisons.get(metric)
    known = ", ".join([*comparisons, *WITHOUT_DIRECTION[task]])
    raise ConfigurationError(f"metric: expected one of {known} ({task}), found {metric}; name one of them")


def _equal(metric: str, task: Task, candidate: Judged, champion: Judged) -> bool:
    by_threshold = task is Task.BINARY and metric in BY_THRESHOLD
    if by_threshold and _threshold(candidate) != _threshold(champion):
        return False
    return np.array_equal(candidate.scores, champion.scores)


def _threshold(judged: Judged) -> float:
    return THRESHOLD if judged.threshold is None else judged.threshold


def _predicted(target: Floats, judged: Judged) -> _Predicted:
    value, predicted = intervals.finite(target, "target"), intervals.finite(judged.scores, "scores")
    if predicted.ndim != 2 or predicted.shape[1] != 1:
        raise DataError(f"scores: expected one column of predictions, found {predicted.shape}; score the same rows")
    same_rows(value, predicted[:, 0])
    return _Predicted(value, predicted[:, 0] - value)


def _classified(task: Task, target: Floats, judged: Judged) -> _Classified:
    count = 2 if task is Task.BINARY else judged.scores.shape[-1]
    label, probability = codes(target, count, "target"), distributions(judged.scores, count)
    same_rows(label, probability[:, 0])
    called = probability[:, 1] >= _threshold(judged) if task is Task.BINARY else probability.argmax(axis=1)
    return _Classified(label, probability, called.astype(np.int64))


# ---- Kinds of comparison ---------------------------------------------------------------------------------------------


def _mean_loss(losses: Callable[[Side], Floats], bounds: tuple[float, float] | None = None) -> Comparison[Side]:
    """Of the mean of the rows' losses."""

    def compare(candidate: Side, champion: Side, asked: _Asked) -> Interval | None:
        return intervals.mean(losses(champion) - losses(candidate), asked.confidence, bounds=bounds)

    return compare


def _smooth(
    influence: Callable[[Side], Influence | None],
    rests_on: Callable[[Side], int],
    *,
    bounds: tuple[float, float] = SHARE_BOUNDS,
    is_error: bool = False,
) -> Comparison[Side]:
    """Of a statistic with a derivative; `rests_on`: its denominator in rows."""

    def compare(candidate: Side, champion: Side, asked: _Asked) -> Interval | None:
        better, worse = influence(champion if is_error else candidate), influence(candidate if is_error else champion)
        if better is None or worse is None:
            return None
        gap = Influence(better.estimate - worse.estimate, better.rows - worse.rows)
        rows = min(rests_on(candidate), rests_on(champion))
        return intervals.linearised_difference(gap, rows, asked.confidence, bounds)

    return compare


def _resampled(error: Callable[[Side], Statistic | None]) -> Comparison[Side]:
    """Of an error that has no derivative; the row weights of a resample are those of both models."""

    def compare(candidate: Side, champion: Side, asked: _Asked) -> Interval | None:
        of_candidate, of_champion = error(candidate), error(champion)
        if of_candidate is None or of_champion is None:
            return None

        def gap(weights: Floats) -> float:
            return of_champion(weights) - of_candidate(weights)

        return intervals.bootstrap(gap, candidate.rows, RESAMPLES, asked.seed, asked.confidence)

    return compare


# ---- Two classes -----------------------------------------------------------------------------------------------------


def _roc_auc(candidate: _Classified, champion: _Classified, asked: _Asked) -> Interval | None:
    if not both_classes(candidate.label):
        return None
    return intervals.delong_difference(candidate.label, candidate.score, champion.score, asked.confidence)


def _average_precision(side: _Classified) -> Influence | None:
    return average_precision_influence(side.label, side.score) if both_classes(side.label) else None


def _precision(side: _Classified) -> Influence | None:
    return precision_influence(side.label, side.chosen) if side.chosen.any() else None


def _f1(side: _Classified) -> Influence | None:
    return f1_influence(side.label, side.chosen) if (side.label | side.chosen).any() else None


def _accuracy(side: _Classified) -> Influence:
    return _share(side.hits, np.ones(side.rows))


def _share(hits: Floats, among: Floats) -> Influence:
    """The share of hits among some of the rows (weights 0 or 1)."""
    share = float(hits @ among / among.sum())
    return Influence(share, among * (hits - share) / among.sum())


def _recall(code: int) -> Comparison[_Classified]:
    def influence(side: _Classified) -> Influence | None:
        among = (side.label == code).astype(np.float64)
        return _share(side.hits, among) if among.any() else None

    return _smooth(influence, lambda side: int((side.label == code).sum()))


def _calibration_error(side: _Classified) -> Statistic | None:
    if side.rows < ROWS_PER_BIN:
        return None
    bins = equal_mass(side.score, BINS)
    gaps = (side.score - side.label)[bins.order]
    return lambda weights: float(np.abs(np.add.reduceat(weights[bins.order] * gaps, bins.starts)).sum() / len(gaps))


_BINARY: Final[Mapping[str, Comparison[_Classified]]] = MappingProxyType(
    {
        "roc_auc": _roc_auc,
        "average_precision": _smooth(_average_precision, lambda side: side.positives),
        "log_loss": _mean_loss(
            lambda side: log_losses(np.where(side.label == 1, side.score, 1 - side.score)), LOG_LOSS_BOUNDS
        ),
        "brier_score": _mean_loss(lambda side: np.square(side.score - side.label), SHARE_BOUNDS),
        "expected_calibration_error": _resampled(_calibration_error),
        "accuracy": _smooth(_accuracy, lambda side: side.rows),
        "precision": _smooth(_precision, lambda side: int(side.chosen.sum())),
        "recall": _recall(1),
        "f1": _smooth(_f1, lambda side: int((side.label | side.chosen).sum())),
    }
)


# ---- Several classes -------------------------------------------------------------------------------------------------


def _balanced_accuracy(candidate: _Classified, champion: _Classified, asked: _Asked) -> Interval | None:
    parts = [_recall(int(code))(candidate, champion, asked) for code in np.unique(candidate.label)]
    return intervals.average_of([part for part in parts if part is not None])


def _macro_f1(side: _Classified) -> Influence:
    influence = macro_f1_influence(confusion_matrix(side.label, side.chosen, side.probability.shape[1]))
    return Influence(influence.estimate, influence.rows[side.label, side.chosen])


def _roc_auc_ovr(side: _Classified) -> Influence | None:
    return roc_auc_ovr_influence(side.label, side.probability) if len(np.unique(side.label)) > 1 else None


def _rarest_class(side: _Classified) -> int:
    return int(np.unique_counts(side.label).counts.min())


_MULTICLASS: Final[Mapping[str, Comparison[_Classified]]] = MappingProxyType(
    {
        "log_loss": _mean_loss(
            lambda side: log_losses(side.probability[np.arange(side.rows), side.label]), LOG_LOSS_BOUNDS
        ),
        "accuracy": _smooth(_accuracy, lambda side: side.rows),
        "balanced_accuracy": _balanced_accuracy,
        "macro_f1": _smooth(_macro_f1, _rarest_class),
        "roc_auc_ovr": _smooth(_roc_auc_ovr, _rarest_class),
    }
)


def _multiclass(classes: Sequence[str]) -> Mapping[str, Comparison[_Classified]]:
    return {**_MULTICLASS, **{f"recall_{name}": _recall(code) for code, name in enumerate(classes)}}


# ---- Values ----------------------------------------------------------------------------------------------------------


def _r2(side: _Predicted) -> Influence | None:
    unexplained = unexplained_influence(side.value, side.error)
    return unexplained and Influence(1 - unexplained.estimate, -unexplained.rows)


def _median_absolute_error(side: _Predicted) -> Statistic | None:
    """The median of rows that stand there `weights` times each."""
    size = np.abs(side.error)
    if len(size) < LEAST_MEDIAN_ROWS:
        return None
    order = np.argsort(size)
    ordered = size[order]

    def statistic(weights: Floats) -> float:
        seen = np.cumsum(weights[order])
        low, high = np.searchsorted(seen, seen[-1] / 2, side="left"), np.searchsorted(seen, seen[-1] / 2, side="right")
        return float(ordered[low] + ordered[high]) / 2

    return statistic


_REGRESSION: Final[Mapping[str, Comparison[_Predicted]]] = MappingProxyType(
    {
        "rmse": _smooth(lambda side: rmse_influence(side.error), lambda side: 1, bounds=NO_BOUNDS, is_error=True),
        "mae": _mean_loss(lambda side: np.abs(side.error)),
        "median_absolute_error": _resampled(_median_absolute_error),
        "r2": _smooth(_r2, lambda side: 1, bounds=NO_BOUNDS),
    }
)
