"""What a model scores on a table of rows: each number with an interval, and the points of its plots.

Three tasks, one function each: `binary_metrics`, `multiclass_metrics`, `regression_metrics`. Each gives a tuple of
`Metric`, the task's primary metric first where it is defined.

**A metric that these rows do not define is absent from the tuple**: an AUC of one class, a precision of no positive
prediction, a mean of one row that has no interval. No rows give an empty tuple. Scores, predictions or labels that
are NaN, infinite or out of range raise DataError.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergeline import intervals
from mergeline.errors import DataError
from mergeline.intervals import Floats, Influence, Interval
from mergeline.schema import Task

Codes = NDArray[np.int64]

# The metric that the verdict turns on where params.yaml names none.
PRIMARY_METRIC: Final[Mapping[Task, str]] = MappingProxyType(
    {Task.BINARY: "roc_auc", Task.MULTICLASS: "log_loss", Task.REGRESSION: "rmse"}
)

# A bin with fewer rows shows noise: small tables get fewer bins.
BINS = 10
ROWS_PER_BIN = 10
CURVE_POINTS = 200

# What a probability of 0 counts as when the thing happens: the step of a float64 at 1, as in scikit-learn's log_loss.
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
LARGEST_LOG_LOSS = -math.log(SMALLEST_PROBABILITY)


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a model on one set of rows.

    greater_is_better: None where neither direction is (a bias, a predicted share).
    rows: the rows that the number rests on, its denominator: for a recall those of the class, for most metrics all.
    """

    name: str
    interval: Interval
    greater_is_better: bool | None
    rows: int

    def as_dict(self) -> dict[str, str | bool | int | float | None]:
        """One flat JSON object."""
        return {
            "name": self.name,
            "greater_is_better": self.greater_is_better,
            "rows": self.rows,
            **self.interval.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows of near equal prediction: the mean prediction, and the mean (or share) that was observed."""

    mean_prediction: float
    observed: Interval
    rows: int


@dataclass(frozen=True, slots=True)
class RocPoint:
    """Both rates, 0 to 1, where rows that score `threshold` or more count as positive; None lies above every score."""

    threshold: float | None
    false_positive_rate: float
    true_positive_rate: float


@dataclass(frozen=True, slots=True)
class PrecisionRecallPoint:
    """Both shares, 0 to 1, where rows that score `threshold` or more count as positive."""

    threshold: float
    recall: float
    precision: float


@dataclass(frozen=True, slots=True, eq=False)
class _Thresholds:
    """Counts at each distinct score, from the largest down: rows that score so much or more."""

    order: NDArray[np.intp]  # [n] rows, largest score first
    score: Floats  # [groups of equal score]
    positives: Floats  # [groups] cumulative
    rows: Floats  # [groups] cumulative


@dataclass(frozen=True, slots=True, eq=False)
class _Bins:
    """Rows in bins of near equal size by value; equal values share a bin."""

    order: NDArray[np.intp]  # [n] rows, smallest value first
    starts: NDArray[np.intp]  # [bins] positions in that order
    rows: Codes  # [bins]

    def means(self, values: Floats) -> Floats:
        return np.add.reduceat(values[self.order], self.starts) / self.rows


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
    label, score = _labels(labels, classes=2), _probabilities(scores, "scores")
    _same_rows(label, score)
    return _present(
        (
            *_ranking(label, score, confidence),
            *_probability_losses(label, score, confidence),
            *_decisions(label, (score >= threshold).astype(np.int64), confidence),
        )
    )


def multiclass_metrics(
    labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str], *, confidence: float = 0.95
) -> tuple[Metric, ...]:
    """Probabilities over k classes, and the most likely class of each row (the first of equals).

    labels: codes 0..k-1 [n]; probabilities: [n, k], each row sums to 1; classes: their k names, in the order of the
    columns.

    | name | interval |
    |---|---|
    | log_loss | mean of the rows' losses, 0 to 36.04 nats |
    | accuracy, recall_CLASS | Wilson |
    | balanced_accuracy (mean recall) | MOVER of the recalls' Wilson bounds |
    | macro_f1 (mean F1) | linearised (Takahashi et al., Applied Intelligence 52, 4961-4972, 2022), or MOVER |
    | roc_auc_ovr (mean AUC of each class against the rest) | linearised DeLong, or MOVER |

    The last two hold both intervals: the first knows how the classes' errors go together, MOVER how few rows a class
    has. Means run over the classes that have rows (macro_f1: rows or predictions; roc_auc_ovr: needs two of them).
    """
    label, probability = _labels(labels, classes=len(classes)), _distributions(probabilities, len(classes))
    _same_rows(label, probability[:, 0])
    counts = confusion_matrix(label, probability.argmax(axis=1), len(classes))
    recalls = _recalls(counts, classes, confidence)
    return _present(
        (
            _log_loss(probability[np.arange(len(label)), label], confidence),
            _share("accuracy", int(counts.trace()), len(label), confidence),
            _average("balanced_accuracy", [recall.interval for recall in recalls], len(label)),
            _macro_f1(counts, confidence),
            _roc_auc_ovr(label, probability, confidence),
            *recalls,
        )
    )


def regression_metrics(labels: ArrayLike, predictions: ArrayLike, *, confidence: float = 0.95) -> tuple[Metric, ...]:
    """Errors (prediction minus label) in the label's unit, and the explained share of its variance.

    labels, predictions: finite float [n]. rmse: root of the mean square's interval; mae: mean; median_absolute_error:
    order statistics; r2 = 1 - sum of squared errors / sum of squares about the mean label (1 at best, no lower end),
    linearised on the logarithm of the unexplained share; bias: mean error, neither direction better. One row defines
    none of them, equal labels no r2. Errors that are all one value show no spread and, having no bounds, get an
    interval without width.

    >>> rmse, mae, r2, bias = regression_metrics([1.0, 2.0, 3.0], [1.0, 2.0, 6.0])
    >>> mae.interval.estimate, r2.interval.estimate
    (1.0, -3.5)
    """
    label, predicted = intervals.finite(labels, "labels"), intervals.finite(predictions, "predictions")
    _same_rows(label, predicted)
    if len(label) < 2:
        return ()
    error = predicted - label
    size, rows = np.abs(error), len(error)
    square = intervals.mean(np.square(error), confidence, scale="log")
    return _present(
        (
            Metric("rmse", square.transformed(math.sqrt), False, rows),
            Metric("mae", intervals.mean(size, confidence, scale="log"), False, rows),
            _median_absolute_error(size, confidence),
            _explained_variance(label, error, confidence),
            Metric("bias", intervals.mean(error, confidence), None, rows),
        )
    )


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: int) -> Codes:
    """Rows by label (first axis) and prediction (second axis): int64 [k, k]. Both are codes 0..k-1 [n].

    >>> confusion_matrix([0, 1, 1], [0, 0, 1], classes=2).tolist()
    [[1, 0], [1, 1]]
    """
    label, prediction = _labels(labels, classes), _labels(predicted, classes, "predicted")
    _same_rows(label, prediction)
    return np.bincount(label * classes + prediction, minlength=classes * classes).reshape(classes, classes)


def calibration_curve(
    labels: ArrayLike, scores: ArrayLike, bins: int = BINS, *, confidence: float = 0.95
) -> tuple[ReliabilityBin, ...]:
    """Observed share of 1 (Wilson) against the mean score, smallest scores first.

    labels: 0 or 1 [n]; scores: probability of 1 [n]. At most `bins` bins of near equal mass, of about ROWS_PER_BIN
    rows or more; equal scores are never parted, so a bin can be larger or smaller than its neighbours, and the order
    of the rows does not matter.
    """
    label, score = _labels(labels, classes=2), _probabilities(scores, "scores")
    _same_rows(label, score)
    if not len(label):
        return ()
    parted = _equal_mass(score, bins)
    positives = np.add.reduceat(label[parted.order], parted.starts)
    return tuple(
        ReliabilityBin(float(average), intervals.wilson(int(hits), int(rows), confidence), int(rows))
        for average, hits, rows in zip(parted.means(score), positives, parted.rows, strict=True)
    )


def predicted_against_observed(
    labels: ArrayLike, predictions: ArrayLike, bins: int = BINS, *, confidence: float = 0.95
) -> tuple[ReliabilityBin, ...]:
    """The same for a regression: mean label (normal interval) against the mean prediction.

    labels, predictions: finite float [n]. A bin of one row has no interval and is left out.
    """
    label, predicted = intervals.finite(labels, "labels"), intervals.finite(predictions, "predictions")
    _same_rows(label, predicted)
    if not len(label):
        return ()
    parted = _equal_mass(predicted, bins)
    observed = np.split(label[parted.order], parted.starts[1:])
    return tuple(
        ReliabilityBin(float(average), intervals.mean(inside, confidence), len(inside))
        for average, inside in zip(parted.means(predicted), observed, strict=True)
        if len(inside) > 1
    )


def roc_curve(labels: ArrayLike, scores: ArrayLike, points: int = CURVE_POINTS) -> tuple[RocPoint, ...]:
    """The ROC curve from (0, 0) to (1, 1), thinned to at most `points` evenly along it; empty where a class has no row.

    labels: 0 or 1 [n]; scores: finite float [n], larger for the positive class. points: 2 or more.
    """
    label, score = _labels(labels, classes=2), intervals.finite(scores, "scores")
    _same_rows(label, score)
    if not _both_classes(label):
        return ()
    cuts = _thresholds(label, score)
    true_positive = np.concatenate([[0.0], cuts.positives / cuts.positives[-1]])
    false_positive = np.concatenate([[0.0], (cuts.rows - cuts.positives) / (cuts.rows - cuts.positives)[-1]])
    threshold = [None, *cuts.score.tolist()]
    chosen = _evenly(true_positive + false_positive, points)
    return tuple(RocPoint(threshold[i], float(false_positive[i]), float(true_positive[i])) for i in chosen)


def precision_recall_curve(
    labels: ArrayLike, scores: ArrayLike, points: int = CURVE_POINTS
) -> tuple[PrecisionRecallPoint, ...]:
    """Precision by rising recall, thinned to at most `points` evenly in recall; empty where a class has no row.

    labels: 0 or 1 [n]; scores: finite float [n], larger for the positive class. points: 2 or more. It ends where
    recall first is 1: lower thresholds only add false positives.
    """
    label, score = _labels(labels, classes=2), intervals.finite(scores, "scores")
    _same_rows(label, score)
    if not _both_classes(label):
        return ()
    cuts = _thresholds(label, score)
    last = int(np.searchsorted(cuts.positives, cuts.positives[-1])) + 1
    recall, precision = cuts.positives[:last] / cuts.positives[-1], cuts.positives[:last] / cuts.rows[:last]
    chosen = _evenly(recall, points)
    return tuple(PrecisionRecallPoint(float(cuts.score[i]), float(recall[i]), float(precision[i])) for i in chosen)


def _present(metrics: Iterable[Metric | None]) -> tuple[Metric, ...]:
    return tuple(metric for metric in metrics if metric is not None)


def _share(name: str, hits: int, rows: int, confidence: float, greater_is_better: bool | None = True) -> Metric | None:
    if not rows:
        return None
    return Metric(name, intervals.wilson(hits, rows, confidence), greater_is_better, rows)


def _average(name: str, parts: Sequence[Interval], rows: int) -> Metric | None:
    return Metric(name, intervals.average_of(parts), True, rows) if parts else None


def _ranking(label: Codes, score: Floats, confidence: float) -> tuple[Metric, ...]:
    if not _both_classes(label):
        return ()
    rows = len(label)
    return (
        Metric("roc_auc", intervals.delong(label, score, confidence), True, rows),
        Metric("average_precision", _average_precision(label, score, confidence), True, rows),
    )


def _average_precision(label: Codes, score: Floats, confidence: float) -> Interval:
    influence, positives = _average_precision_influence(label, score), int(label.sum())
    precision = influence.estimate
    if precision == 1:
        return intervals.unanimous(True, positives, confidence)
    binomial = precision * (1 - precision) / positives
    return intervals.linearised(influence, confidence, scale="logit", least_variance=binomial)


def _average_precision_influence(label: Codes, score: Floats) -> Influence:
    """AP = sum over thresholds of (gain in recall) * precision, and its derivative by each row's weight.

    With A positives and B rows at or above a threshold, precision is A / B. A positive's weight moves AP by the
    precision at its own threshold less AP, and every row moves the precision of all thresholds at or below its own:
    (label - A / B) / B each.
    """
    cuts = _thresholds(label, score)
    precision = cuts.positives / cuts.rows
    gained = np.diff(cuts.positives, prepend=0) / cuts.positives[-1]  # [groups] of recall
    estimate = 1 - float(gained @ (1 - precision))  # exactly 1 where every positive comes first
    for_positive = (precision - estimate) / cuts.positives[-1] + _from_here_down(gained * (1 - precision) / cuts.rows)
    for_negative = -_from_here_down(gained * precision / cuts.rows)
    sizes = np.diff(cuts.rows, prepend=0).astype(np.intp)
    ordered = np.where(label[cuts.order] == 1, np.repeat(for_positive, sizes), np.repeat(for_negative, sizes))
    rows = np.empty(len(score))
    rows[cuts.order] = ordered
    return Influence(estimate, rows)


def _from_here_down(values: Floats) -> Floats:
    return np.cumsum(values[::-1])[::-1]


def _probability_losses(label: Codes, score: Floats, confidence: float) -> Iterable[Metric | None]:
    if not len(label):
        return ()
    squares = np.square(score - label)
    brier = intervals.mean(squares, confidence, scale="log", bounds=(0.0, 1.0))
    return (
        _log_loss(np.where(label == 1, score, 1 - score), confidence),
        Metric("brier_score", brier, False, len(label)),
        _calibration_error(label, score, confidence),
    )


def _log_loss(probability_of_label: Floats, confidence: float) -> Metric | None:
    if not len(probability_of_label):
        return None
    losses = -np.log(np.clip(probability_of_label, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))
    interval = intervals.mean(losses, confidence, scale="log", bounds=(0.0, LARGEST_LOG_LOSS))
    return Metric("log_loss", interval, False, len(losses))


def _calibration_error(label: Codes, score: Floats, confidence: float) -> Metric | None:
    if len(label) < ROWS_PER_BIN:
        return None
    bins = _equal_mass(score, BINS)
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
        _share("accuracy", true_positive + true_negative, rows, confidence),
        _share("precision", true_positive, chosen, confidence),
        _share("recall", true_positive, true_positive + false_negative, confidence),
        _f1("f1", true_positive, false_positive + false_negative, confidence),
        _share("predicted_positive_share", chosen, rows, confidence, greater_is_better=None),
    )


def _f1(name: str, hits: int, errors: int, confidence: float) -> Metric | None:
    rows = hits + errors
    if not rows:
        return None
    overlap = intervals.wilson(hits, rows, confidence)
    return Metric(name, overlap.transformed(lambda share: 2 * share / (1 + share)), True, rows)


def _recalls(counts: Codes, classes: Sequence[str], confidence: float) -> tuple[Metric, ...]:
    rows = counts.sum(axis=1)
    return _present(
        _share(f"recall_{name}", int(hits), int(total), confidence)
        for name, hits, total in zip(classes, counts.diagonal(), rows, strict=True)
    )


def _macro_f1(counts: Codes, confidence: float) -> Metric | None:
    used = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    if not used.size:
        return None
    counts = counts[np.ix_(used, used)]
    hits = counts.diagonal()
    errors = counts.sum(axis=0) + counts.sum(axis=1) - 2 * hits
    parts = _present(_f1("f1", int(hit), int(error), confidence) for hit, error in zip(hits, errors, strict=True))
    by_class = intervals.average_of([part.interval for part in parts])
    influence = Influence(by_class.estimate, _macro_f1_effects(counts))
    return Metric("macro_f1", _macro(influence, by_class, confidence), True, int(counts.sum()))


def _macro_f1_effects(counts: Codes) -> Floats:
    """Of each row (in the order of the cells) on the mean of F_c = 2 hits_c / seen_c, seen: rows plus predictions.

    A row of label i and prediction j adds 2 [i = j = c] hits and [i = c] + [j = c] to seen; that moves F_c by
    (2 [i = j = c] - F_c ([i = c] + [j = c])) / seen_c.
    """
    seen = counts.sum(axis=0) + counts.sum(axis=1)
    lost = 2 * counts.diagonal() / seen**2  # [k] F_c / seen_c
    cells = (np.diag(2 / seen) - lost[:, None] - lost[None, :]) / len(seen)  # [k, k]
    return np.repeat(cells.ravel(), counts.ravel())


def _roc_auc_ovr(label: Codes, probability: Floats, confidence: float) -> Metric | None:
    used = np.unique(label)
    if len(used) < 2:
        return None
    parts = [intervals.delong(label == code, probability[:, code], confidence) for code in used]
    by_class = intervals.average_of(parts)
    effects = np.mean([_auc_effects(label == code, probability[:, code]) for code in used], axis=0)
    return Metric("roc_auc_ovr", _macro(Influence(by_class.estimate, effects), by_class, confidence), True, len(label))


def _auc_effects(positive: NDArray[np.bool_], score: Floats) -> Floats:
    placed = intervals.placements(positive, score)
    effect = np.empty(len(score))
    effect[positive] = (placed.positives - placed.auc) / len(placed.positives)
    effect[~positive] = (placed.negatives - placed.auc) / len(placed.negatives)
    return effect


def _macro(influence: Influence, by_class: Interval, confidence: float) -> Interval:
    if not 0 < influence.estimate < 1 or len(influence.rows) < 2:
        return by_class
    return intervals.wider(intervals.linearised(influence, confidence, scale="logit"), by_class)


def _median_absolute_error(size: Floats, confidence: float) -> Metric | None:
    try:
        return Metric("median_absolute_error", intervals.median(size, confidence), False, len(size))
    except DataError:
        return None


def _explained_variance(label: Floats, error: Floats, confidence: float) -> Metric | None:
    squares, spread = np.square(error), np.square(label - label.mean())
    # Equal labels, whose mean may be off by a rounding error, or labels so close that the ratio would be no float.
    if label.min() == label.max() or spread.sum() <= 1e-300 * max(squares.sum(), 1):
        return None
    unexplained = float(squares.sum() / spread.sum())
    if unexplained == 0:
        return Metric("r2", Interval(1.0, 1.0, 1.0, "linearised-log", confidence), True, len(label))
    influence = Influence(unexplained, (squares - unexplained * spread) / spread.sum())
    ratio = intervals.linearised(influence, confidence, scale="log")
    explained = Interval(1 - ratio.estimate, 1 - ratio.high, 1 - ratio.low, ratio.method, confidence)
    return Metric("r2", explained, True, len(label))


def _thresholds(label: Codes, score: Floats) -> _Thresholds:
    order = np.argsort(-score)
    ordered = score[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    positives = np.cumsum(label[order])[ends].astype(np.float64)
    return _Thresholds(order, ordered[ends], positives, (ends + 1).astype(np.float64))


def _equal_mass(values: Floats, bins: int) -> _Bins:
    """A group of equal values goes where its middle row falls."""
    order = np.argsort(values)
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    middles = (starts + np.append(starts[1:], len(values))) / 2  # [groups], in 0..n
    wanted = min(bins, max(len(values) // ROWS_PER_BIN, 1))
    number = np.floor(middles * wanted / len(values))
    first = starts[np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))]
    return _Bins(order, first, np.diff(np.append(first, len(values))))


def _evenly(path: Floats, points: int) -> Codes:
    """Indices of at most `points` positions, the first and the last among them, evenly along a rising path."""
    if len(path) <= points:
        return np.arange(len(path))
    return np.unique(np.searchsorted(path, np.linspace(path[0], path[-1], points)).clip(max=len(path) - 1))


def _both_classes(label: Codes) -> bool:
    return bool(len(label)) and 0 < int(label.sum()) < len(label)


def _probabilities(values: ArrayLike, name: str) -> Floats:
    row = intervals.finite(values, name)
    if row.size and not (row.min() >= 0 and row.max() <= 1):
        found = f"{row.min():g} to {row.max():g}"
        raise DataError(f"{name}: expected probabilities from 0 to 1, found {found}; score with predict_proba")
    return row


def _distributions(values: ArrayLike, classes: int) -> Floats:
    row = _probabilities(values, "probabilities")
    if row.ndim != 2 or row.shape[1] != classes:
        raise DataError(f"probabilities: expected a column a class, {classes}, found {row.shape}; match the classes")
    # Scores are float32 in ONNX: a sum is exact to about 1e-6.
    if row.size and np.abs(row.sum(axis=1) - 1).max() > 1e-3:
        raise DataError("probabilities: expected rows that sum to 1, found rows that do not; score with predict_proba")
    return row


def _labels(values: ArrayLike, classes: int, name: str = "labels") -> Codes:
    row = intervals.finite(values, name)
    code = row.astype(np.int64)
    if row.size and ((code != row).any() or code.min() < 0 or code.max() >= classes):
        found = f"{row.min():g} to {row.max():g}" if (code == row).all() else "fractions"
        raise DataError(f"{name}: expected whole numbers from 0 to {classes - 1}, found {found}; encode the classes")
    return code


def _same_rows(labels: Codes | Floats, values: Codes | Floats) -> None:
    if labels.ndim != 1 or labels.shape != values.shape:
        raise DataError(f"labels: expected one a row like {values.shape}, found {labels.shape}; score the same rows")
