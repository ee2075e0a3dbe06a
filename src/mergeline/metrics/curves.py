"""The points of the ROC curve and of precision by recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergeline import intervals
from mergeline.intervals import Floats
from mergeline.metrics.rows import Codes, both_classes, codes, same_rows

CURVE_POINTS = 200


@dataclass(frozen=True, slots=True)
class RocPoint:
    """Both rates, 0 to 1, where rows that score `threshold` or more count as positive; None lies above every score."""

    threshold: float | None
    false_positive_rate: float
    true_positive_rate: float


@dataclass(frozen=True, slots=True)
class PrecisionRecallPoint:
    """Both shares, 0 to 1, where rows that score `threshold` or more count as positive."""

    threshold: float
    recall: float
    precision: float


@dataclass(frozen=True, slots=True, eq=False)
class Thresholds:
    """Counts at each distinct score, from the largest down: rows that score so much or more."""

    order: NDArray[np.intp]  # [n] rows, largest score first
    score: Floats  # [groups of equal score]
    positives: Floats  # [groups] cumulative
    rows: Floats  # [groups] cumulative


def roc_curve(labels: ArrayLike, scores: ArrayLike, points: int = CURVE_POINTS) -> tuple[RocPoint, ...]:
    """The ROC curve from (0, 0) to (1, 1), thinned to at most `points` evenly along it; empty where a class has no row.

    labels: 0 or 1 [n]; scores: finite float [n], larger for the positive class. points: 2 or more.
    """
    label, score = codes(labels, classes=2), intervals.finite(scores, "scores")
    same_rows(label, score)
    if not both_classes(label):
        return ()
    cuts = thresholds(label, score)
    true_positive = np.concatenate([[0.0], cuts.positives / cuts.positives[-1]])
    false_positive = np.concatenate([[0.0], (cuts.rows - cuts.positives) / (cuts.rows - cuts.positives)[-1]])
    threshold = [None, *cuts.score.tolist()]
    chosen = _evenly(true_positive + false_positive, points)
    return tuple(RocPoint(threshold[i], float(false_positive[i]), float(true_positive[i])) for i in chosen)


def precision_recall_curve(
    labels: ArrayLike, scores: ArrayLike, points: int = CURVE_POINTS
) -> tuple[PrecisionRecallPoint, ...]:
    """Precision by rising recall, thinned to at most `points` evenly in recall; empty where a class has no row.

    labels: 0 or 1 [n]; scores: finite float [n], larger for the positive class. points: 2 or more. It ends where
    recall first is 1: lower thresholds only add false positives.
    """
    label, score = codes(labels, classes=2), intervals.finite(scores, "scores")
    same_rows(label, score)
    if not both_classes(label):
        return ()
    cuts = thresholds(label, score)
    last = int(np.searchsorted(cuts.positives, cuts.positives[-1])) + 1
    recall, precision = cuts.positives[:last] / cuts.positives[-1], cuts.positives[:last] / cuts.rows[:last]
    chosen = _evenly(recall, points)
    return tuple(PrecisionRecallPoint(float(cuts.score[i]), float(recall[i]), float(precision[i])) for i in chosen)


def thresholds(label: Codes, score: Floats) -> Thresholds:
    """The counts at each distinct score, by one sort."""
    order = np.argsort(-score)
    ordered = score[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    positives = np.cumsum(label[order])[ends].astype(np.float64)
    return Thresholds(order, ordered[ends], positives, (ends + 1).astype(np.float64))


def _evenly(path: Floats, points: int) -> Codes:
    """Indices of at most `points` positions, the first and the last among them, evenly along a rising path."""
    if len(path) <= points:
        return np.arange(len(path))
    return np.unique(np.searchsorted(path, np.linspace(path[0], path[-1], points)).clip(max=len(path) - 1))
