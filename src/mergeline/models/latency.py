"""How long two models take for the same rows, as a ratio: one process, turn by turn, one thread each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from mergeline import intervals
from mergeline.intervals import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mergeline.models.scorer import Scorer

ROWS = 1_000
TURNS = 25


def scoring_ratio(
    candidate: Scorer, matrix: NDArray[np.float32], champion: Scorer, other: NDArray[np.float32]
) -> Interval:
    """Return the median of candidate time over champion time, with its interval; each turn times both on 1,000 rows.

    matrix, other: the same rows as each of them reads them, float32 (rows, features). What slows the machine down slows
    both; what comes between the two of a turn is an outlier, and the median does not mind.
    """
    mine, theirs = matrix[:ROWS], other[:ROWS]
    _seconds(candidate, mine), _seconds(champion, theirs)  # the first run plans memory
    ratios = []
    for turn in range(TURNS):
        if turn % 2:
            ratios.append(_seconds(candidate, mine) / _seconds(champion, theirs))
        else:
            below = _seconds(champion, theirs)
            ratios.append(_seconds(candidate, mine) / below)
    return intervals.median(np.array(ratios))


def _seconds(scorer: Scorer, matrix: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    scorer.score_matrix(matrix)
    return time.perf_counter() - started
