"""Whether two variants' answers fall into the same classes: chi-squared, exact where few rows are expected.

| method | when | source |
|---|---|---|
| chi-squared | 10 rows or more are expected in each cell, or the table is larger than 2 by 2 | Pearson 1900 |
| chi-squared, Yates | 2 by 2, fewer than 10 expected somewhere | Yates 1934, continuity correction |
| Fisher, exact | 2 by 2, fewer than 5 expected somewhere | Fisher 1935 |
| chi-squared, simulated | a larger table, fewer than 5 expected somewhere | 9,999 tables with the same margins |
| chi-squared, Rao and Scott | an entity asks more than once | Rao & Scott 1981 [1], first-order correction |
| McNemar, exact | both variants answered the same requests | McNemar 1947, binomial |
| McNemar, by entity | the same, and an entity asks more than once | Obuchowski 1998 [2] |
| binomial, exact | a share, fewer than 5 expected of either kind | |

A p-value says whether, not how much: the effect stands beside it. V is Cramér's, 0 (alike) to 1 (apart).

1. The analysis of categorical data from complex sample surveys. JASA 76, 221-230.
2. On the comparison of correlated proportions for clustered data. Statistics in Medicine 17, 1495-1507.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mergeline.intervals import Influence
from mergeline.metrics import Codes
from mergeline.monitor.experiments.influence import variance

FEW = 5
SOME = 10
SIMULATED = 9_999
SEED = 0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A table of counts, the champion's row first, and whether its rows are alike.

    `effect`: Cramér's V of independent rows; of pairs the challenger's share less the champion's. `p_value` is that of
    a single look; None where there is nothing to compare: fewer than two columns or an empty row.
    """

    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    method: str
    statistic: float | None
    p_value: float | None
    effect: float | None


def outcomes(variant: Codes, value: Codes, columns: tuple[str, ...], unit: Codes | None = None) -> Outcomes:
    """Rows of two independent variants: are the values distributed alike?

    variant: 0 champion, 1 challenger [n]; value: position in `columns` [n]; unit: equal where one entity asked [n].
    """
    counts = np.bincount(variant * len(columns) + value, minlength=2 * len(columns)).reshape(2, len(columns))
    used = np.flatnonzero(counts.sum(axis=0))
    table = counts[:, used]
    if len(used) < 2 or not table.sum(axis=1).all():
        return _found(columns, counts, "not compared", None, None, None)
    expected = table.sum(axis=1)[:, None] * table.sum(axis=0)[None, :] / table.sum()
    pearson = float((np.square(table - expected) / expected).sum())
    effect = math.sqrt(pearson / table.sum())  # of two rows the smaller side of the table less one is one
    if unit is None or len(np.unique(unit)) == len(unit):
        tested = _pearson(table, float(expected.min()), pearson)
    else:
        tested = _rao_scott(variant, value, unit, used, pearson)
    return _found(columns, counts, *tested, effect)


def pairs(champion: Codes, challenger: Codes, columns: tuple[str, str], unit: Codes | None = None) -> Outcomes:
    """Two variants' answers to the same requests, 0 or 1 each [n]: does one of them say 1 more often?

    Only requests on which they disagree tell anything: of those either should say 1 in half [McNemar].
    """
    from scipy import stats

    counts = np.array([[len(side) - side.sum(), side.sum()] for side in (champion, challenger)])
    gap = challenger - champion
    disagreed = int(np.count_nonzero(gap))
    if not disagreed:
        return _found(columns, counts, "not compared", None, None, 0.0 if len(gap) else None)
    effect = float(gap.mean())
    if unit is None or len(np.unique(unit)) == len(unit):
        only_challenger = int((gap > 0).sum())
        p_value = float(stats.binomtest(only_challenger, disagreed).pvalue)
        return _found(columns, counts, "McNemar, exact", float(only_challenger), p_value, effect)
    _, number = np.unique(unit, return_inverse=True)
    sums = np.bincount(number, weights=gap.astype(np.float64))
    squares = float(np.square(sums).sum())
    statistic = float(sums.sum()) ** 2 / squares if squares else 0.0
    return _found(columns, counts, "McNemar, by entity", statistic, float(stats.chi2.sf(statistic, 1)), effect)


def share_of(challengers: int, units: int, share: float) -> tuple[str, float]:
    """Method and p-value of "so many of the units are the challenger's" against a share that was set, 0 to 1 exclusive.

    >>> share_of(130, 1000, 0.1)[0]
    'chi-squared'
    """
    from scipy import stats

    expected = np.array([(1 - share) * units, share * units])
    if expected.min() < FEW:
        return "binomial, exact", float(stats.binomtest(challengers, units, share).pvalue)
    return "chi-squared", float(stats.chisquare([units - challengers, challengers], expected).pvalue)


def _pearson(table: Codes, least: float, pearson: float) -> tuple[str, float | None, float]:
    from scipy import stats

    if table.shape == (2, 2):
        if least < FEW:
            return "Fisher, exact", None, float(stats.fisher_exact(table).pvalue)
        if least < SOME:
            found = stats.chi2_contingency(table, correction=True)
            return "chi-squared, Yates", float(found.statistic), float(found.pvalue)
    elif least < FEW:
        draws = stats.MonteCarloMethod(n_resamples=SIMULATED, rng=np.random.default_rng(SEED))
        found = stats.chi2_contingency(table, correction=False, method=draws)
        return "chi-squared, simulated", pearson, float(found.pvalue)
    return "chi-squared", pearson, float(stats.chi2.sf(pearson, table.shape[1] - 1))


def _rao_scott(
    variant: Codes, value: Codes, unit: Codes, used: Codes, pearson: float
) -> tuple[str, float | None, float]:
    """Pearson's statistic over the mean design effect: how much more the shares vary than those of independent rows.

    It is never taken below 1.
    """
    from scipy import stats

    sizes = np.array([(variant == side).sum() for side in (0, 1)])
    total = 0.0
    for side in (0, 1):
        inside = variant == side
        for code in used:
            hit = (value[inside] == code).astype(np.float64)
            moved = Influence(float(hit.mean()), (hit - hit.mean()) / sizes[side])
            spread, _ = variance(moved, unit[inside])
            total += (1 - sizes[side] / sizes.sum()) * sizes[side] * spread / float((value == code).mean())
    freedom = len(used) - 1
    statistic = pearson / max(total / freedom, 1.0)
    return "chi-squared, Rao and Scott", statistic, float(stats.chi2.sf(statistic, freedom))


def _found(
    columns: tuple[str, ...],
    counts: Any,
    method: str,
    statistic: float | None,
    p_value: float | None,
    effect: float | None,
) -> Outcomes:
    table = tuple(tuple(int(count) for count in row) for row in counts)
    return Outcomes(columns, table, method, statistic, p_value, effect)
