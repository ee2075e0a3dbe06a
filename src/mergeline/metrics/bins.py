"""Predictions against what was observed, in bins of near equal size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergeline import intervals
from mergeline.intervals import Floats, Interval
from mergeline.metrics.rows import Codes, codes, probabilities_of, same_rows

# A bin with fewer rows shows noise: small tables get fewer bins.
BINS = 10
ROWS_PER_BIN = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows of near equal prediction: the mean prediction, and the mean (or share) that was observed."""

    mean_prediction: float
    observed: Interval
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Rows in bins of near equal size by value; equal values share a bin."""

    order: NDArray[np.intp]  # [n] rows, smallest value first
    starts: NDArray[np.intp]  # [bins] positions in that order
    rows: Codes  # [bins]

    def means(self, values: Floats) -> Floats:
        """The mean of each bin."""
        return np.add.reduceat(values[self.order], self.starts) / self.rows


def calibration_curve(
    labels: ArrayLike, scores: ArrayLike, bins: int = BINS, *, confidence: float = 0.95
) -> tuple[ReliabilityBin, ...]:
    """Observed share of 1 (Wilson) against the mean score, smallest scores first.

    labels: 0 or 1 [n]; scores: probability of 1 [n]. At most `bins` bins of near equal mass, of about ROWS_PER_BIN
    rows or more; equal scores are never parted, so a bin can be larger or smaller than its neighbours, and the order
    of the rows does not matter.
    """
    label, score = codes(labels, classes=2), probabilities_of(scores, "scores")
    same_rows(label, score)
    if not len(label):
        return ()
    parted = equal_mass(score, bins)
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
    same_rows(label, predicted)
    if not len(label):
        return ()
    parted = equal_mass(predicted, bins)
    observed = np.split(label[parted.order], parted.starts[1:])
    return tuple(
        ReliabilityBin(float(average), intervals.mean(inside, confidence), len(inside))
        for average, inside in zip(parted.means(predicted), observed, strict=True)
        if len(inside) > 1
    )


def equal_mass(values: Floats, bins: int) -> Bins:
    """Bins of near equal size, at most so many, of about ROWS_PER_BIN rows or more.

    A group of equal values goes where its middle row falls.
    """
    order = np.argsort(values)
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    middles = (starts + np.append(starts[1:], len(values))) / 2  # [groups], in 0..n
    wanted = min(bins, max(len(values) // ROWS_PER_BIN, 1))
    number = np.floor(middles * wanted / len(values))
    first = starts[np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))]
    return Bins(order, first, np.diff(np.append(first, len(values))))
