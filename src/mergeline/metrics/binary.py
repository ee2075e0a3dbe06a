"""What a probability scores on labels of two classes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from mergeline import intervals
from mergeline.intervals import Floats, Interval
from mergeline.metrics.bins import BINS, ROWS_PER_BIN, equal_mass
from mergeline.metrics.influences import average_precision_influence
from mergeline.metrics.losses import log_loss
from mergeline.metrics.metric import Metric, f1, present, share
from mergeline.metrics.rows import Codes, both_classes, codes, confusion_matrix, probabilities_of, same_rows


def binary_metrics(
    labels: ArrayLike, scores: ArrayLike, threshold: float, *, confidence: float = 0.95
) -> tuple[Metric, ...]:
    """A probability's ranking, its calibration, and the decisions that a threshold makes of it.

    labels: 0 or 1 [n]; scores: probability of 1 [n]; threshold: rows that score so much or more are predicted 1.

    | name | interval |
    |---|---|
    | roc_auc | DeLong |
    | average_precision | linearised, at least the binomial variance of Boyd, Eng & Page (ECML PKDD 2013, 451-466) |
    | log_loss, brier_score | mean of the rows' losses |
    | expected_calibration_error | `intervals.mean_absolute_gap` over the bins of `calibration_curve` |
    | accuracy, precision, recall, predicted_positive_share | Wilson |
    | f1 | Wilson, for J = TP / (TP + FP + FN), a share of the rows that are no true negative; F1 = 2 J / (1 + J) |

    expected_calibration_error = sum over bins of rows_b / n * |mean score_b - observed share_b| (Naeini, Cooper &
    Hauskrecht, AAAI 2015, with bins of equal mass instead of equal width); ROWS_PER_BIN rows or more define it. All
    values lie in 0..1 but log_loss (nats, 0 to 36.04).

    >>> [metric.name for metric in binary_metrics([1, 1], [0.9, 0.8], threshold=0.5)]
    ['log_loss', 'brier_score', 'accuracy', 'precision', 'recall', 'f1', 'predicted_positive_share']
    """
    label, score = codes(labels, classes=2), probabilities_of(scores, "scores")
    same_rows(label, score)
    return present(
        (
            *_ranking(label, score, confidence),
            *_probability_losses(label, score, confidence),
            *_decisions(label, (score >= threshold).astype(np.int64), confidence),
        )
    )


def _ranking(label: Codes, score: Floats, confidence: float) -> tuple[Metric, ...]:
    if not both_classes(label):
        return ()
    rows = len(label)
    return (
        Metric("roc_auc", intervals.delong(label, score, confidence), True, rows),
        Metric("average_precision", _average_precision(label, score, confidence), True, rows),
    )


def _average_precision(label: Codes, score: Floats, confidence: float) -> Interval:
    influence, positives = average_precision_influence(label, score), int(label.sum())
    precision = influence.estimate
    if precision == 1:
        return intervals.unanimous(True, positives, confidence)
    binomial = precision * (1 - precision) / positives
    return intervals.linearised(influence, confidence, scale="logit", least_variance=binomial)


def _probability_losses(label: Codes, score: Floats, confidence: float) -> Iterable[Metric | None]:
    if not len(label):
        return ()
    squares = np.square(score - label)
    brier = intervals.mean(squares, confidence, scale="log", bounds=(0.0, 1.0))
    return (
        log_loss(np.where(label == 1, score, 1 - score), confidence),
        Metric("brier_score", brier, False, len(label)),
        _calibration_error(label, score, confidence),
    )


def _calibration_error(label: Codes, score: Floats, confidence: float) -> Metric | None:
    if len(label) < ROWS_PER_BIN:
        return None
    bins = equal_mass(score, BINS)
    gap = score - label
    gaps = bins.means(gap)
    seen = bins.means(np.square(gap)) - np.square(gaps)
    # A bin of rare events may have seen none, and so no variance; the scores themselves say how much there should be.
    promised = bins.means(score * (1 - score))
    variances = np.maximum(seen / np.maximum(bins.rows - 1, 1), promised / bins.rows)
    interval = intervals.mean_absolute_gap(gaps, variances, bins.rows, confidence)
    return Metric("expected_calibration_error", interval, False, len(label))


def _decisions(label: Codes, predicted: Codes, confidence: float) -> Iterable[Metric | None]:
    (true_negative, false_positive), (false_negative, true_positive) = confusion_matrix(label, predicted, 2).tolist()
    chosen, rows = true_positive + false_positive, len(label)
    return (
        share("accuracy", true_positive + true_negative, rows, confidence),
        share("precision", true_positive, chosen, confidence),
        share("recall", true_positive, true_positive + false_negative, confidence),
        f1("f1", true_positive, false_positive + false_negative, confidence),
        share("predicted_positive_share", chosen, rows, confidence, greater_is_better=None),
    )
