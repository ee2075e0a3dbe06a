"""What a model is worth by its scores alone: an estimate, for the time until labels come."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mergeline.intervals import Floats
from mergeline.metrics import SMALLEST_PROBABILITY
from mergeline.schema import Task


def expected(task: Task, scores: Floats, threshold: float | None) -> Mapping[str, float]:
    """Return the expected value of each metric over the labels that the scores themselves foretell.

    scores: [n, classes], probabilities; of a regression [n, 1]. threshold: from which score on the model says the
    second of two classes; without one nothing is estimated that needs a decision. A label is taken to be drawn from the
    scores p of its row, independently of the others (Bialek, Kuberski, Perrakis & Bifet, "We don't need no labels",
    arXiv 2401.08348, where it is called confidence-based performance estimation); so the expectation of

    - the log loss is the mean entropy of p, that of the Brier score of two classes the mean of p (1 - p),
    - the accuracy is the mean score of the class that was called,
    - a share of two counts (precision, recall, F1) is taken as the share of their expectations,
    - the ROC AUC is sum p_i (1 - p_j) [s_i > s_j, one half where they are equal] over sum p_i (1 - p_j), over all pairs
      of different rows.

    It is as right as the scores are calibrated, and blind to a change of what they mean: where the labels of like rows
    change, the estimate stays as it was. Empty for a regression, whose predictions say nothing of their errors, and for
    no row.

    >>> expected(Task.BINARY, np.array([[0.8, 0.2], [0.2, 0.8]]), 0.5)["accuracy"]
    0.8
    """
    if task is Task.REGRESSION or not len(scores):
        return {}
    found = {"log_loss": _entropy(scores)}
    if task is Task.MULTICLASS:
        return {**found, "accuracy": float(scores.max(axis=1).mean())}
    positive = scores[:, 1]
    found["brier_score"] = float((positive * (1 - positive)).mean())
    return {**_ranking(positive), **found, **({} if threshold is None else _decisions(positive, threshold))}


def _entropy(scores: Floats) -> float:
    kept = np.maximum(scores, SMALLEST_PROBABILITY)
    return float(-(scores * np.log(kept)).sum(axis=1).mean())


def _ranking(positive: Floats) -> dict[str, float]:
    """The expected ROC AUC, by one sort; a row is no pair with itself."""
    order = np.argsort(positive, kind="stable")
    score = positive[order]
    starts = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))
    yes, no = (np.add.reduceat(weight, starts) for weight in (score, 1 - score))  # [groups of equal score]
    below = np.cumsum(no) - no
    itself = float((score * (1 - score)).sum())
    pairs = float(score.sum() * (1 - score).sum()) - itself
    if pairs <= 0:
        return {}
    won = float((yes * (below + 0.5 * no)).sum()) - 0.5 * itself
    return {"roc_auc": won / pairs}


def _decisions(positive: Floats, threshold: float) -> dict[str, float]:
    chosen = positive >= threshold
    hits, called, there = float(positive[chosen].sum()), float(chosen.sum()), float(positive.sum())
    found = {"accuracy": float(np.where(chosen, positive, 1 - positive).mean())}
    for name, share, of in (
        ("precision", hits, called),
        ("recall", hits, there),
        ("f1", 2 * hits, called + there),
    ):
        if of > 0:
            found[name] = share / of
    return found
