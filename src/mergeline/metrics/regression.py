"""What predictions of a number score."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from mergeline import intervals
from mergeline.errors import DataError
from mergeline.intervals import Floats, Interval
from mergeline.metrics.influences import unexplained_influence
from mergeline.metrics.metric import Metric, present
from mergeline.metrics.rows import same_rows


def regression_metrics(labels: ArrayLike, predictions: ArrayLike, *, confidence: float = 0.95) -> tuple[Metric, ...]:
    """Errors (prediction minus label) in the label's unit, and the explained share of its variance.

    labels, predictions: finite float [n]. rmse: root of the mean square's interval; mae: mean; median_absolute_error:
    order statistics; r2 = 1 - sum of squared errors / sum of squares about the mean label (1 at best, no lower end),
    linearised on the logarithm of the unexplained share; bias: mean error, neither direction better. One row defines
    none of them, equal labels no r2. Errors that are all one value show no spread and, having no bounds, get an
    interval without width.

    >>> rmse, mae, r2, bias = regression_metrics([1.0, 2.0, 3.0], [1.0, 2.0, 6.0])
    >>> mae.interval.estimate, r2.interval.estimate
    (1.0, -3.5)
    """
    label, predicted = intervals.finite(labels, "labels"), intervals.finite(predictions, "predictions")
    same_rows(label, predicted)
    if len(label) < 2:
        return ()
    error = predicted - label
    size, rows = np.abs(error), len(error)
    square = intervals.mean(np.square(error), confidence, scale="log")
    return present(
        (
            Metric("rmse", square.transformed(math.sqrt), False, rows),
            Metric("mae", intervals.mean(size, confidence, scale="log"), False, rows),
            _median_absolute_error(size, confidence),
            _explained_variance(label, error, confidence),
            Metric("bias", intervals.mean(error, confidence), None, rows),
        )
    )


def _median_absolute_error(size: Floats, confidence: float) -> Metric | None:
    try:
        return Metric("median_absolute_error", intervals.median(size, confidence), False, len(size))
    except DataError:
        return None


def _explained_variance(label: Floats, error: Floats, confidence: float) -> Metric | None:
    influence = unexplained_influence(label, error)
    if influence is None:
        return None
    if influence.estimate == 0:
        return Metric("r2", Interval(1.0, 1.0, 1.0, "linearised-log", confidence), True, len(label))
    ratio = intervals.linearised(influence, confidence, scale="log")
    explained = Interval(1 - ratio.estimate, 1 - ratio.high, 1 - ratio.low, ratio.method, confidence)
    return Metric("r2", explained, True, len(label))
