"""Whether labels are spread otherwise than they were in training: what no feature may show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_ROWS = 200
LEAST_EFFECT = 0.05
LARGEST_P = 0.001


@dataclass(frozen=True, slots=True)
class Spread:
    """`effect`: the total variation distance, 0 to 1; `p`: of the chi-squared test that both are drawn alike."""

    effect: float
    p: float

    @property
    def moved(self) -> bool:
        """Whether it is more than chance, and enough to matter."""
        return self.effect >= LEAST_EFFECT and self.p <= LARGEST_P


def spread(then: Sequence[int], now: Sequence[int]) -> Spread | None:
    """Return how counts by class lie now beside then; None where either side has too few rows to say.

    >>> spread([680, 320], [860, 140]).moved, spread([680, 320], [690, 310]).moved, spread([680, 320], [8, 1])
    (True, False, None)
    """
    import numpy as np
    from scipy.stats import chi2_contingency

    table = np.array([then, now], dtype=np.float64)
    if table.sum(axis=1).min() < LEAST_ROWS:
        return None
    table = table[:, table.sum(axis=0) > 0]
    shares = table / table.sum(axis=1, keepdims=True)
    effect = float(np.abs(shares[0] - shares[1]).sum() / 2)
    p = float(chi2_contingency(table, correction=False).pvalue) if table.shape[1] > 1 else 1.0
    return Spread(effect, p)
