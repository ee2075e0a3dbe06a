"""Time one paired interval of a ROC AUC difference by one method; print seconds of each call and the interval as JSON.

Every method gets the same labels and the same two scores, drawn from one seed. The naive bootstrap times its resamples
one by one; who reads this multiplies. Each method is called once before it is counted.
Usage: intervals_of_auc.py METHOD ROWS CALLS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bounds = tuple[float, float] | None
SEED, SHARE, CORRELATION, SHIFTS = 2013, 0.2, 0.9, (0.96, 0.94)
REACH = NormalDist().inv_cdf(0.975)


def rows_of(count: int) -> tuple[Floats, Floats, Floats]:
    """Labels, and two scores that correlate."""
    generator = np.random.default_rng(SEED)
    labels = (generator.random(count) < SHARE).astype(np.float64)
    noise, own = generator.normal(size=(2, count))
    other = CORRELATION * noise + (1 - CORRELATION**2) ** 0.5 * own
    return labels, noise + SHIFTS[0] * labels, other + SHIFTS[1] * labels


def ours(labels: Floats, a: Floats, b: Floats) -> Bounds:
    """One sort a model."""
    from mergeline.intervals import delong_difference

    found = delong_difference(labels, a, b)
    return found.low, found.high


def midranks(labels: Floats, a: Floats, b: Floats) -> Bounds:
    """DeLong by midranks, the published fast form (Sun & Xu 2014), on scipy's ranks: three rankings a model."""
    from scipy.stats import rankdata

    positive = labels == 1
    m, n = int(positive.sum()), int((~positive).sum())
    placed = []
    for score in (a, b):
        ranks = rankdata(score)
        of_positives = (ranks[positive] - rankdata(score[positive])) / n
        of_negatives = 1 - (ranks[~positive] - rankdata(score[~positive])) / m
        placed.append((of_positives, of_negatives))
    (first, third), (second, fourth) = placed
    gaps = first - second, third - fourth
    centre = float(gaps[0].mean())
    reach = REACH * sum(float(gap.var(ddof=1)) / len(gap) for gap in gaps) ** 0.5
    return centre - reach, centre + reach


def resample(labels: Floats, a: Floats, b: Floats) -> Bounds:
    """A single resample of the naive bootstrap: two calls of roc_auc_score on the rows drawn."""
    from sklearn.metrics import roc_auc_score

    drawn = GENERATOR.integers(0, len(labels), len(labels))
    roc_auc_score(labels[drawn], a[drawn]) - roc_auc_score(labels[drawn], b[drawn])
    return None


def two_aucs(labels: Floats, a: Floats, b: Floats) -> Bounds:
    """The difference itself, without an interval."""
    from sklearn.metrics import roc_auc_score

    roc_auc_score(labels, a) - roc_auc_score(labels, b)
    return None


GENERATOR = np.random.default_rng(SEED)
METHODS: dict[str, Callable[[Floats, Floats, Floats], Bounds]] = {
    "ours": ours,
    "midranks": midranks,
    "resample": resample,
    "two_aucs": two_aucs,
}


def main(method: str, count: int, calls: int) -> None:
    """Time the calls."""
    labels, a, b = rows_of(count)
    call, seconds = METHODS[method], []
    bounds = call(labels, a, b)
    for _ in range(calls):
        started = time.perf_counter()
        call(labels, a, b)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "bounds": bounds}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
