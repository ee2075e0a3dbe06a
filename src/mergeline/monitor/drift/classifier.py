"""Whether rows of now can be told from rows of then by all their columns together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergeline.monitor.drift.record import Classifier

FOLDS = 3
LEAST_ROWS = 200  # of each side
ONE_IN_A_THOUSAND = 3.0902


def tell_apart(then: NDArray[np.float64], now: NDArray[np.float64], seed: int) -> Classifier:
    """Return how well gradient boosting tells rows [n, features] of two sides apart, out of fold.

    Both sides are cut to the shorter one. It sees what no column shows by itself, such as two that no longer go
    together. NaN is missing; categories are codes. Lopez-Paz and Oquab (2017), Revisiting Classifier Two-Sample Tests;
    the bound is that of the Mann-Whitney statistic without drift.
    """
    size = min(len(then), len(now))
    if size < LEAST_ROWS:
        return Classifier(rows=size, reason=f"fewer than {LEAST_ROWS} rows on a side")
    rows = np.concatenate([then[:size], now[:size]])
    is_now = np.repeat([0, 1], size)
    scores = np.zeros(len(rows))
    fold = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
    with _one_thread():
        for number in range(FOLDS):
            inside = fold == number
            model = _model(seed).fit(rows[~inside], is_now[~inside])
            scores[inside] = _centred(model.predict_proba(rows[inside])[:, 1])
    spread = math.sqrt((2 * size + 1) / (12 * size * size))
    return Classifier(round(_auc(scores, is_now), 4), round(0.5 + ONE_IN_A_THOUSAND * spread, 4), size)


def _one_thread() -> Any:
    """Few rows are fitted faster by one thread, above all on a busy machine, where the others spin."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    return threadpool_limits(limits=1)


def _model(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=40,
        max_leaf_nodes=15,
        min_samples_leaf=30,
        early_stopping=False,
        random_state=seed,
    )


def _centred(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores of a fold about their median: each fold's model has its own level."""
    return scores - float(np.median(scores))


def _auc(scores: NDArray[np.float64], is_now: NDArray[np.int64]) -> float:
    """The share of pairs in which the row of now has the higher score; ties count half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positive = int(is_now.sum())
    above = ranks[is_now == 1].sum() - positive * (positive + 1) / 2
    return float(above / positive / (len(is_now) - positive))
