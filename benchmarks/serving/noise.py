"""What several runs say of the median that many more would have."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

CONFIDENCE = 0.95


def interval_of_median(values: Sequence[float]) -> tuple[float, float] | None:
    """Return an interval that holds the median of the values' distribution, whatever that is, 95 times in 100.

    From the k-th smallest to the k-th largest (the sign test turned round; Conover, Practical Nonparametric Statistics,
    3.2); None where fewer than six values say too little.

    >>> interval_of_median([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (1.0, 6.0)
    """
    count = len(values)
    ordered = sorted(values)
    outside, kept = 0.0, 0
    for k in range(count // 2):
        outside += 2 * comb(count, k) / 2**count
        if outside > 1 - CONFIDENCE:
            break
        kept = k + 1
    return (ordered[kept - 1], ordered[-kept]) if kept else None
