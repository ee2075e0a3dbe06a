"""Whether the answers that have a label are like those that have none."""

from __future__ import annotations

from mergeline.intervals import Floats
from mergeline.monitor.performance.record import Bias

LEAST_ROWS = 30  # on either side
LEVEL = 0.001


def bias_of(labelled: Floats, unlabelled: Floats, limit: float) -> Bias | None:
    """Compare the scores of labelled [n] and unlabelled [m] answers; None where one side is too small to tell.

    A bias is found where the two-sample test of Kolmogorov and Smirnov rejects at 0.001 and the distributions are
    further apart than `limit` (0 to 1): of many rows a test alone sees what does not matter. It sees only what shows in
    the score; labels can be missing for reasons that the score knows nothing of.
    """
    from scipy import stats

    if min(len(labelled), len(unlabelled)) < LEAST_ROWS:
        return None
    tested = stats.ks_2samp(labelled, unlabelled, method="asymp")
    distance, p_value = float(tested.statistic), float(tested.pvalue)
    return Bias(distance, p_value, p_value < LEVEL and distance > limit)
