"""How far the effect of a drifted column may be off, because window and training table are samples."""

from __future__ import annotations

import math

from mergeline.monitor.drift.record import FeatureDrift

CONFIDENCE = 0.95


def bounds(each: FeatureDrift, reference_rows: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the ends of an interval of at least this confidence around a column's effect, both in 0 to 1.

    It holds for rows that are independent of one another; neighbouring rows of a log resemble each other, so that it is
    then too narrow. Numbers: by the Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant [1] for both samples,
    and Hoeffding's for the shares that are missing. Categories: the mean distance of a sample from its source, and
    McDiarmid's inequality for what is beyond it [2].

    [1] P. Massart, The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality, Annals of Probability 18 (1990).
    [2] L. Devroye, The equivalence of weak, strong and complete convergence in L1, Annals of Statistics 11 (1983).
    """
    risk = (1 - confidence) / 4  # of each sample's values, and of each one's missing share
    samples = ((reference_rows, each.missing_then), (each.rows, each.missing_now))
    if each.shape.labels:
        groups = len(each.shape.labels) + 1
        off = sum(_of_groups(rows, groups, risk) for rows, _ in samples)
        return max(0.0, each.effect - off), min(1.0, each.effect + off)
    values = sum(_of_share(rows * (1 - missing), risk) for rows, missing in samples)
    off = (1 - each.missing_now) * values
    if each.missing_now or each.missing_then:
        shares = [_of_share(rows, risk) for rows, _ in samples]
        off = max(off + min(1.0, (each.ks or 0.0) + values) * shares[1], sum(shares))
    return max(0.0, each.effect - off), min(1.0, each.effect + off + (each.ks_error or 0.0))


def _of_share(rows: float, risk: float) -> float:
    """How far a share of so many rows may be off, or all cumulative shares at once."""
    return math.sqrt(math.log(2 / risk) / (2 * max(1.0, rows)))


def _of_groups(rows: int, groups: int, risk: float) -> float:
    rows = max(1, rows)
    return 0.5 * math.sqrt((groups - 1) / rows) + math.sqrt(math.log(1 / risk) / (2 * rows))
