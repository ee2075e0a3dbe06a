"""How much each answer moves a metric of its arm: what the variance of a difference is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from mergeline import intervals
from mergeline.intervals import Floats, Influence
from mergeline.intervals.interval import quantile
from mergeline.metrics import Codes, confusion_matrix
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
from mergeline.metrics.rows import both_classes
from mergeline.monitor.experiments.arm import Arm, Problem
from mergeline.paired import LEAST_MEDIAN_ROWS, THRESHOLD
from mergeline.schema import Task

MEANS = ("log_loss", "brier_score", "mae")  # means of the rows' losses: their test is Welch's
LEVEL = 0.95


def influence(metric: str, problem: Problem, arm: Arm) -> Influence | None:
    """The metric of an arm and its derivative by the weight of each row; None where these rows do not define it.

    metric: one of `params.evaluate.PRIMARY_METRICS`. The sum of squares times n / (n - 1) is the variance: of a mean
    the usual one, of ROC AUC DeLong's, of the rest that of `intervals.linearised`.
    """
    return _INFLUENCES[problem.task][metric](arm) if arm.rows > 1 else None


def variance(influence: Influence, unit: Codes) -> tuple[float, int]:
    """The variance of a metric whose rows are independent only between units, and the number of units.

    The influences of a unit's rows are summed before they are squared, times G / (G - 1) of G units (Liang & Zeger,
    Biometrika 73, 13-22, 1986; of ROC AUC nearly Obuchowski's, Biometrics 53, 567-578, 1997). With a unit a row it is
    the variance of independent rows. Not known, and so infinite, of a single unit.

    >>> moved = Influence(0.5, np.array([0.25, 0.25, -0.25, -0.25]))
    >>> variance(moved, np.array([0, 1, 2, 3])), variance(moved, np.array([0, 0, 1, 1]))
    ((0.3333333333333333, 4), (1.0, 2))
    """
    _, number = np.unique(unit, return_inverse=True)
    sums = np.bincount(number, weights=influence.rows)
    units = len(sums)
    return (float(np.square(sums).sum()) * units / (units - 1) if units > 1 else math.inf), units


# ---- Kinds -----------------------------------------------------------------------------------------------------------


def mean_influence(values: Floats, among: Floats | None = None) -> Influence | None:
    """The mean of some rows' values; among: 1 where a row counts, 0 where not, by default all do."""
    counted = np.ones(len(values)) if among is None else among
    if not counted.any():
        return None
    mean = float(values @ counted / counted.sum())
    return Influence(mean, counted * (values - mean) / counted.sum())


def _codes(arm: Arm) -> Codes:
    return arm.label.astype(np.int64)


def _chosen(arm: Arm) -> Codes:
    if arm.scores.shape[1] != 2:
        likeliest: Codes = arm.scores.argmax(axis=1)
        return likeliest
    return np.asarray(arm.scores[:, 1] >= (THRESHOLD if arm.threshold is None else arm.threshold), dtype=np.int64)


def _hits(arm: Arm) -> Floats:
    return np.asarray(_chosen(arm) == _codes(arm), dtype=np.float64)


def _roc_auc(arm: Arm) -> Influence | None:
    label = _codes(arm)
    if not both_classes(label):
        return None
    placed = intervals.placements(label, arm.scores[:, 1])
    rows = np.empty(arm.rows)
    for chosen, place in ((label == 1, placed.positives), (label == 0, placed.negatives)):
        size = len(place)
        # DeLong divides the squares of a class by its size less one; the variance will do so for all rows
        divisor = size - 1 if size > 1 else size
        rows[chosen] = (place - placed.auc) / math.sqrt(size * divisor * arm.rows / (arm.rows - 1))
    return Influence(placed.auc, rows)


def _average_precision(arm: Arm) -> Influence | None:
    label = _codes(arm)
    return average_precision_influence(label, arm.scores[:, 1]) if both_classes(label) else None


def _log_loss(arm: Arm) -> Influence | None:
    return mean_influence(log_losses(arm.scores[np.arange(arm.rows), _codes(arm)]))


def _brier_score(arm: Arm) -> Influence | None:
    return mean_influence(np.square(arm.scores[:, 1] - arm.label))


def _accuracy(arm: Arm) -> Influence | None:
    return mean_influence(_hits(arm))


def _precision(arm: Arm) -> Influence | None:
    chosen = _chosen(arm)
    return precision_influence(_codes(arm), chosen) if chosen.any() else None


def _recall(arm: Arm) -> Influence | None:
    return mean_influence(_hits(arm), arm.label)


def _f1(arm: Arm) -> Influence | None:
    label, chosen = _codes(arm), _chosen(arm)
    return f1_influence(label, chosen) if (label | chosen).any() else None


def _balanced_accuracy(arm: Arm) -> Influence | None:
    hits = _hits(arm)
    each = [mean_influence(hits, (arm.label == code).astype(np.float64)) for code in np.unique(arm.label)]
    parts = [one for one in each if one is not None]
    estimate = math.fsum(one.estimate for one in parts) / len(parts)
    return Influence(estimate, np.mean([one.rows for one in parts], axis=0))


def _macro_f1(arm: Arm) -> Influence | None:
    label, chosen = _codes(arm), _chosen(arm)
    cells = macro_f1_influence(confusion_matrix(label, chosen, arm.scores.shape[1]))
    return Influence(cells.estimate, cells.rows[label, chosen])


def _roc_auc_ovr(arm: Arm) -> Influence | None:
    label = _codes(arm)
    return roc_auc_ovr_influence(label, arm.scores) if len(np.unique(label)) > 1 else None


def _error(arm: Arm) -> Floats:
    error: Floats = arm.scores[:, 0] - arm.label
    return error


def _rmse(arm: Arm) -> Influence | None:
    return rmse_influence(_error(arm))


def _mae(arm: Arm) -> Influence | None:
    return mean_influence(np.abs(_error(arm)))


def _median_absolute_error(arm: Arm) -> Influence | None:
    """(1/2 - [at or below the median]) / density; the density as McKean & Schrader (Comm. Stat. B 13, 1984) have it.

    That is: from how far apart the order statistics are that bound the median.
    """
    size = np.abs(_error(arm))
    if arm.rows < LEAST_MEDIAN_ROWS:
        return None
    bounds = intervals.median(size, LEVEL)
    sparsity = (bounds.high - bounds.low) * math.sqrt(arm.rows) / quantile(LEVEL)
    above = (size > bounds.estimate) + 0.5 * (size == bounds.estimate)
    return Influence(bounds.estimate, (above - above.mean()) * sparsity / arm.rows)


def _r2(arm: Arm) -> Influence | None:
    unexplained = unexplained_influence(arm.label, _error(arm))
    return unexplained and Influence(1 - unexplained.estimate, -unexplained.rows)


_INFLUENCES: Final[Mapping[Task, Mapping[str, Callable[[Arm], Influence | None]]]] = MappingProxyType(
    {
        Task.BINARY: {
            "roc_auc": _roc_auc,
            "average_precision": _average_precision,
            "log_loss": _log_loss,
            "brier_score": _brier_score,
            "accuracy": _accuracy,
            "precision": _precision,
            "recall": _recall,
            "f1": _f1,
        },
        Task.MULTICLASS: {
            "log_loss": _log_loss,
            "accuracy": _accuracy,
            "balanced_accuracy": _balanced_accuracy,
            "macro_f1": _macro_f1,
            "roc_auc_ovr": _roc_auc_ovr,
        },
        Task.REGRESSION: {
            "rmse": _rmse,
            "mae": _mae,
            "median_absolute_error": _median_absolute_error,
            "r2": _r2,
        },
    }
)
