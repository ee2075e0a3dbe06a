"""How much each row moves a metric: the derivative by its weight, at weight one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mergeline import intervals
from mergeline.intervals import Floats, Influence
from mergeline.metrics.curves import thresholds
from mergeline.metrics.rows import Codes


def average_precision_influence(label: Codes, score: Floats) -> Influence:
    """AP = sum over thresholds of (gain in recall) * precision, and its derivative by each row's weight.

    With A positives and B rows at or above a threshold, precision is A / B. A positive's weight moves AP by the
    precision at its own threshold less AP, and every row moves the precision of all thresholds at or below its own:
    (label - A / B) / B each.
    """
    cuts = thresholds(label, score)
    precision = cuts.positives / cuts.rows
    gained = np.diff(cuts.positives, prepend=0) / cuts.positives[-1]  # [groups] of recall
    # a sum, not a dot product: that one rounds by the number of threads. Exactly 1 where every positive comes first.
    estimate = 1 - float((gained * (1 - precision)).sum())
    for_positive = (precision - estimate) / cuts.positives[-1] + _from_here_down(gained * (1 - precision) / cuts.rows)
    for_negative = -_from_here_down(gained * precision / cuts.rows)
    sizes = np.diff(cuts.rows, prepend=0).astype(np.intp)
    ordered = np.where(label[cuts.order] == 1, np.repeat(for_positive, sizes), np.repeat(for_negative, sizes))
    rows = np.empty(len(score))
    rows[cuts.order] = ordered
    return Influence(estimate, rows)


def _from_here_down(values: Floats) -> Floats:
    return np.cumsum(values[::-1])[::-1]


def precision_influence(label: Codes, chosen: Codes) -> Influence:
    """The share of label 1 among the chosen rows (at least one); label, chosen: 0 or 1 [n]."""
    precision = int(label @ chosen) / int(chosen.sum())
    return Influence(precision, chosen * (label - precision) / chosen.sum())


def f1_influence(label: Codes, chosen: Codes) -> Influence:
    """F = 2 hits / (positives + chosen rows), at least one of either; label, chosen: 0 or 1 [n]."""
    seen = int(label.sum() + chosen.sum())
    f1 = 2 * int(label @ chosen) / seen
    return Influence(f1, (2 * label * chosen - f1 * (label + chosen)) / seen)


def macro_f1_influence(counts: Codes) -> Influence:
    """The mean of F_c = 2 hits_c / seen_c over the classes seen, and what a row of each cell does to it.

    counts: confusion matrix [k, k], label by prediction, of one row or more; the influence has its shape. seen: rows
    plus predictions of a class. A row of label i and prediction j adds 2 [i = j = c] hits and [i = c] + [j = c] to
    seen; that moves F_c by (2 [i = j = c] - F_c ([i = c] + [j = c])) / seen_c.
    """
    seen = counts.sum(axis=0) + counts.sum(axis=1)
    used, rows = int(np.count_nonzero(seen)), np.maximum(seen, 1)
    f1 = 2 * counts.diagonal() / rows  # [k], 0 of a class that nobody saw
    lost = f1 / rows
    cells = (np.diag(2 / rows) - lost[:, None] - lost[None, :]) / used  # [k, k]
    return Influence(float(f1.sum()) / used, cells)


def roc_auc_ovr_influence(label: Codes, probability: Floats) -> Influence:
    """The mean AUC of each class that has rows (two or more of them) against the rest; probability: [n, k]."""
    each = [_auc_influence(label == code, probability[:, code]) for code in np.unique(label)]
    estimate = math.fsum(one.estimate for one in each) / len(each)
    return Influence(estimate, np.mean([one.rows for one in each], axis=0))


def _auc_influence(positive: NDArray[np.bool_], score: Floats) -> Influence:
    placed = intervals.placements(positive, score)
    effect = np.empty(len(score))
    effect[positive] = (placed.positives - placed.auc) / len(placed.positives)
    effect[~positive] = (placed.negatives - placed.auc) / len(placed.negatives)
    return Influence(placed.auc, effect)


def rmse_influence(error: Floats) -> Influence:
    """The root of the mean square; 0 for all rows where there is no error."""
    square = np.square(error)
    rmse = math.sqrt(float(square.mean()))
    if rmse == 0:
        return Influence(0.0, np.zeros(len(error)))
    return Influence(rmse, (square - square.mean()) / (2 * rmse * len(error)))


def unexplained_influence(label: Floats, error: Floats) -> Influence | None:
    """1 - r2: squared errors over squares about the mean label; None where the labels do not vary."""
    squares, spread = np.square(error), np.square(label - label.mean())
    # Equal labels, whose mean may be off by a rounding error, or labels so close that the ratio would be no float.
    if label.min() == label.max() or spread.sum() <= 1e-300 * max(squares.sum(), 1):
        return None
    unexplained = float(squares.sum() / spread.sum())
    return Influence(unexplained, (squares - unexplained * spread) / spread.sum())
