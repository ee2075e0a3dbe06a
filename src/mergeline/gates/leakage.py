"""Gate `leakage`: a feature that knows the answer, or a gain that is too good to be true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mergeline.gates.evidence import Evidence, number
from mergeline.gates.gate import Gate, judged, not_applicable
from mergeline.schema import Feature, Kind, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mergeline.params.gates import GateParams

NAME = "leakage"
BINS = 20
DEFAULT_EXPLAINED = {Task.BINARY: 0.6, Task.MULTICLASS: 0.6, Task.REGRESSION: 0.95}


def leakage(evidence: Evidence, policy: GateParams) -> Gate:
    """Fail where one feature alone explains too much of the target, or the gain over the champion is implausible."""
    features = evidence.candidate.signature.features
    if not features:
        return not_applicable(NAME, "the model has no feature")
    limit = policy.leakage.max_explained or DEFAULT_EXPLAINED[evidence.task]
    shares = [explained(evidence.matrix[:, at], each, evidence.target) for at, each in enumerate(features)]
    top = int(np.argmax(shares))
    knows = shares[top] > limit
    said = f"{features[top].name} alone explains {number(shares[top])} of the target, at most {number(limit)} is usual"
    gain, most = evidence.difference, policy.leakage.max_gain
    if gain is None or most is None or evidence.champion is None or gain.estimate <= most * evidence.unit():
        return judged(NAME, knows, said, round(shares[top], 6), limit)
    usual = most * evidence.unit()
    rise = f"a gain of {number(gain.estimate)} in {evidence.label}"
    too_good = f"{rise} is too good to be true, at most {number(usual)} is usual"
    if knows:
        return judged(NAME, knows, f"{said}; {too_good}", round(shares[top], 6), limit)
    return judged(NAME, failed=True, evidence=too_good, value=gain.estimate, threshold=usual)


def explained(column: NDArray[np.float32], feature: Feature, target: NDArray[np.float64]) -> float:
    """The share of the target's variance that the means of one feature's groups explain on rows not used for them.

    The correlation ratio (Pearson, 1905), cross-fitted: each half of the rows (even and odd positions) is predicted by
    the group means of the other. column: float32 (rows,); target: class codes or values (rows,). A number is cut at its
    20-quantiles, a category by its codes, a missing value is a group. 0 to 1; of several classes, over their
    indicators (a binary one has the same share for both); so has a regression of at most 20 whole numbers.

    >>> explained(np.arange(100, dtype=np.float32), Feature("x", Kind.NUMBER), (np.arange(100) >= 50).astype(float))
    1.0
    """
    group = _groups(column, feature)
    values = (
        _indicators(target)
        if np.array_equal(target, np.round(target)) and len(np.unique(target)) <= BINS
        else target[:, None]
    )
    spread = float(np.square(values - values.mean(axis=0)).sum())
    if spread == 0:
        return 0.0
    even = np.arange(len(group)) % 2 == 0
    error = sum(_squared_error(group, values, fit) for fit in (even, ~even))
    return float(min(max(0.0, 1 - error / spread), 1.0))


def _groups(column: NDArray[np.float32], feature: Feature) -> NDArray[np.int64]:
    if feature.kind is Kind.CATEGORY:
        return column.astype(np.int64)
    known = np.isfinite(column)
    cuts = np.unique(np.quantile(column[known], np.linspace(0, 1, BINS + 1)[1:-1])) if known.any() else np.empty(0)
    group = np.searchsorted(cuts, column, side="right") + 1
    return np.where(known, group, 0)


def _indicators(target: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(target[:, None] == np.unique(target), dtype=np.float64)


def _squared_error(group: NDArray[np.int64], values: NDArray[np.float64], fit: NDArray[np.bool_]) -> float:
    """Of the rows outside `fit`, by the group means inside it; a group that is not there has the mean of all."""
    count = np.bincount(group[fit], minlength=int(group.max()) + 1)
    error = 0.0
    for column in values.T:
        total = np.bincount(group[fit], weights=column[fit], minlength=len(count))
        means = np.where(count > 0, total / np.maximum(count, 1), column[fit].mean())
        error += float(np.square(column[~fit] - means[group[~fit]]).sum())
    return error
