"""The rules and the settings that fit a table: what to validate, how to train, what to evaluate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.init.column import Column
from mergeline.init.values import kept
from mergeline.params import ColumnRule, EvaluateParams, HistGradientBoosting, Scalar, TrainParams, ValidateParams
from mergeline.schema import Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

HOLDOUT_SHARE = 0.2
LISTED_VALUES = 30
MISSING_MARGIN = 0.05
RANGE_MARGIN = 0.1  # of the range, on each side; `validate.derived` allows as much
SMALLEST_WIDTH = 1e-30  # a narrower range has no three digits in a float64
SLICES, SLICE_VALUES = 3, 12
SLICE_ROWS = 200  # of a large table; a tenth of the holdout of a smaller one, but never under SMALLEST_SLICE
SMALLEST_SLICE = 10
SMALL_TABLE = 2_000
THRESHOLD_ROWS = 10_000  # fewer leave under 800 rows to choose a threshold on


def validation(columns: Sequence[Column], task: Task, months: NDArray[Any] | None) -> ValidateParams:
    """Return the rules of a target and its features, in that order: another structure stops, other values warn.

    `months` is the partition of each row, None where all are in one.
    """
    target, *features = columns
    least = len(target.values) if months is None else int(np.unique(months, return_counts=True)[1].min())
    rules = {target.name: _target_rule(target, task, months)} | {each.name: _rule(each, months) for each in features}
    return ValidateParams(min_rows=max(1, least // 2), columns=rules)


def _target_rule(target: Column, task: Task, months: NDArray[Any] | None) -> ColumnRule:
    rule = _rule(target, months)
    if task is Task.REGRESSION:
        return rule
    # another class than these is no unusual value, it is another problem
    values = _listed_values(target)
    return ColumnRule.model_validate({"values": values, "missing": rule.missing, "severity": "error"})


def _rule(column: Column, months: NDArray[Any] | None) -> ColumnRule:
    missing = min(1.0, math.ceil(100 * (_worst_missing(column.values, months) + MISSING_MARGIN)) / 100)
    found: dict[str, Any] = {"missing": missing, "severity": "warn"}
    if column.kind == "time":
        found |= {"min": _earliest(column.values)}  # no latest: the next rows are later
    elif column.kind == "number" and not column.is_category:
        low, high = limits(float(column.values.min()), float(column.values.max()))
        found |= {"min": math.floor(low), "max": math.ceil(high)} if column.whole else {"min": low, "max": high}
    elif column.kind != "boolean":
        found |= {"values": _listed_values(column)}
    return ColumnRule.model_validate(found)


def _worst_missing(values: pd.Series, months: NDArray[Any] | None) -> float:
    """The missing share of the partition that misses most."""
    gaps = values.isna()
    return float(gaps.mean() if months is None else gaps.groupby(months).mean().max())


def _earliest(values: pd.Series) -> str:
    import pandas as pd

    low, high = values.min(), values.max()
    margin = pd.Timedelta(days=1) + RANGE_MARGIN * (high - low)
    return str((low - margin).date().isoformat())


def limits(low: float, high: float) -> tuple[float, float]:
    """Return a range with a tenth of its width on each side, to three digits, that crosses no zero.

    >>> limits(1, 90), limits(-0.0123, 4.56), limits(7, 7)
    ((0.0, 98.9), (-0.47, 5.02), (6.3, 7.7))
    """
    width = max((high - low) or abs(high) or 1.0, SMALLEST_WIDTH)
    digits = 2 - math.floor(math.log10(width))
    step, margin = 10.0**-digits, RANGE_MARGIN * width
    # min and max: in a range that is narrow for its place, rounding takes more than the margin
    lowest = min(low, round(math.floor((low - margin) / step) * step, max(0, digits)))
    highest = max(high, round(math.ceil((high + margin) / step) * step, max(0, digits)))
    return (max(0.0, lowest) if low >= 0 else lowest), (min(0.0, highest) if high <= 0 else highest)


def _listed_values(column: Column) -> tuple[Scalar, ...] | None:
    """The values in the order of their text, where they are few enough for a list that a person checks."""
    if column.distinct > LISTED_VALUES:
        return None
    found = [value.item() if isinstance(value, np.generic) else value for value in column.values.dropna().unique()]
    return tuple(sorted(found, key=str)) if all(kept(str(value)) for value in found) else None


def training(task: Task, rows: int) -> TrainParams:
    """Return the settings of the training for a number of labelled rows."""
    boosting = HistGradientBoosting()
    if rows < SMALL_TABLE:
        least = min(20, max(3, rows // 50))
        boosting = HistGradientBoosting(iterations=100, learning_rate=0.05, leaves=8, min_leaf_rows=least)
    large = task is Task.BINARY and rows >= THRESHOLD_ROWS
    return TrainParams(threshold="f1" if large else 0.5, hist_gradient_boosting=boosting)


def evaluation(used: Sequence[Column], rows: int) -> EvaluateParams:
    """Return the slices to look at, and their least size, for a number of labelled rows."""
    able = [column for column in used if column.is_category and 2 <= column.distinct <= SLICE_VALUES]
    least = min(SLICE_ROWS, max(SMALLEST_SLICE, round(rows * HOLDOUT_SHARE / 10)))
    return EvaluateParams(slices=tuple(column.name for column in able[:SLICES]), min_slice_rows=least)
