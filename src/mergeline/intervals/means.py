"""Intervals of a mean, of a median, and of whatever is smooth in the weights of the rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mergeline.errors import DataError
from mergeline.intervals.interval import Floats, Interval, Scale, around, clipped, finite, quantile, scaled, unvarying


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """An estimate and its derivative by the weight of each row, at weight one; the derivatives sum to zero."""

    estimate: float
    rows: Floats


def mean(
    values: ArrayLike,
    confidence: float = 0.95,
    *,
    scale: Scale = "identity",
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """The mean of per-row values (losses, errors, paired differences), mean -+ z s / sqrt(n) in closed form.

    values: finite float [n]. scale "log" is for losses, whose distribution leans right: the same standard error,
    taken on the logarithm. bounds: values that no row can pass, where there are such; they clip the interval, and
    where all rows have one value they bound the share of unseen others, as `unanimous` does.

    Coverage for normal values: 92 % at n = 10, 93 % at 20, 95 % from 50 on. For exponential losses at n = 50: 93 %,
    on the logarithm 94 %. Below 20 rows read it as too narrow: it uses no Student t. Raises DataError for no row, and
    for one row without bounds: it has a mean but no interval.

    >>> mean([1.0, 2.0, 3.0, 4.0]).estimate
    2.5
    """
    row = finite(values, "values of a mean")
    if len(row) < (1 if bounds else 2):
        raise DataError(f"mean: expected two rows or more for an interval, found {len(row)}; leave the number out")
    centre = float(row.mean())
    if row.min() == row.max():
        centre = float(row[0])
        if bounds:
            return unvarying(centre, len(row), bounds, confidence)
        return around(centre, centre, centre, "normal", confidence)
    interval = scaled(centre, float(row.std(ddof=1)) / math.sqrt(len(row)), scale, "normal", confidence)
    return clipped(interval, bounds) if bounds else interval


def median(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The median, between two order statistics: no assumption on the distribution.

    values: finite float [n]. The bounds are the r-th smallest and the r-th largest value, r = floor((n + 1) / 2 - z
    sqrt(n) / 2), the normal form of the inverted sign test. Raises DataError where r < 1 (fewer than 6 rows at 95 %):
    the bounds would lie outside the data.

    >>> median([5.0, 1.0, 2.0, 4.0, 3.0, 6.0])
    Interval(estimate=3.5, low=1.0, high=6.0, method='order-statistics', confidence=0.95)
    """
    row = finite(values, "values of a median")
    rank = math.floor((len(row) + 1) / 2 - quantile(confidence) * math.sqrt(len(row)) / 2)
    if rank < 1:
        raise DataError(f"median: expected rows for {confidence} confidence, found {len(row)}; leave the number out")
    ordered = np.sort(row)
    return around(float(np.median(ordered)), ordered[rank - 1], ordered[-rank], "order-statistics", confidence)


def linearised(
    influence: Influence, confidence: float = 0.95, *, scale: Scale = "identity", least_variance: float = 0.0
) -> Interval:
    """Any smooth statistic, from the influence of each row: variance = n / (n - 1) * sum of squared influences [6].

    The delta method for a confusion matrix is a special case. least_variance: a floor from theory, for few rows. The
    scale keeps the bounds where the statistic lives, log above 0 and logit between 0 and 1; the estimate has to lie
    strictly inside. Raises DataError for a single row without a floor.
    """
    rows = len(influence.rows)
    if rows < 2 and least_variance <= 0:
        raise DataError(f"linearised interval: expected two rows or more, found {rows}; leave the number out")
    variance = float(np.square(influence.rows).sum()) * rows / max(rows - 1, 1)
    return scaled(influence.estimate, math.sqrt(max(variance, least_variance)), scale, "linearised", confidence)


def linearised_difference(
    influence: Influence,
    least_rows: int,
    confidence: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """A difference of two smooth statistics on the same rows, from the difference of their influences.

    The row with the largest influence counts twice, which vanishes as rows are added. For a difference of two shares
    it is close to the half that Agresti & Min (Statistics in Medicine 24, 729-740, 2005) add to each cell of the table.
    It trims the worst case: of two equal models that disagree on exactly four rows, the bare variance sees a
    difference above 0 in 6.2 %, and with the second count the worst of 1 to 30 disagreements is 3.5 % (at eight).
    Over all numbers of disagreements the bare variance errs in 0.7 % to 2.7 %, this one in 0.1 % to 2.0 %.

    least_rows: the rows on which the statistic rests (the rarer class, the fewer predictions); bounds: what it cannot
    pass. Where no row shows any difference, `bounds` hold the share that so many rows may have missed, and without
    bounds there is no width.

    >>> agreed = Influence(0.0, np.zeros(100))
    >>> round(linearised_difference(agreed, 100, bounds=(-1.0, 1.0)).high, 4)
    0.0362
    """
    rows, squares = len(influence.rows), np.square(influence.rows)
    limited = math.isfinite(bounds[1] - bounds[0])
    # Rounding would pass for variance: a decision moves a statistic of so many rows by a good part of 1 / least_rows.
    if limited and float(squares.max()) * least_rows**2 < 1e-24:
        return unvarying(influence.estimate, least_rows, bounds, confidence)
    error = math.sqrt(float(squares.sum() + squares.max()) * rows / max(rows - 1, 1))
    interval = scaled(influence.estimate, error, "identity", "linearised-paired", confidence)
    return clipped(interval, bounds)
