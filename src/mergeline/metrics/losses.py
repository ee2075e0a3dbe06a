"""What each row costs, and the mean of it."""

from __future__ import annotations

import math

import numpy as np

from mergeline import intervals
from mergeline.intervals import Floats
from mergeline.metrics.metric import Metric

# What a probability of 0 counts as when the thing happens: the step of a float64 at 1, as in scikit-learn's log_loss.
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
LARGEST_LOG_LOSS = -math.log(SMALLEST_PROBABILITY)


def log_losses(probability_of_label: Floats) -> Floats:
    """-log p of each row [n], in nats, 0 to LARGEST_LOG_LOSS."""
    return -np.log(np.clip(probability_of_label, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))


def log_loss(probability_of_label: Floats, confidence: float) -> Metric | None:
    """The mean of the rows' losses; None of no row."""
    if not len(probability_of_label):
        return None
    losses = log_losses(probability_of_label)
    interval = intervals.mean(losses, confidence, scale="log", bounds=(0.0, LARGEST_LOG_LOSS))
    return Metric("log_loss", interval, False, len(losses))
