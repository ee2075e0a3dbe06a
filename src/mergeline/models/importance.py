"""How much worse a model gets when one feature's values are dealt to other rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergeline.schema import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mergeline.models.scorer import Scorer

MAX_ROWS = 10_000
FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Importance:
    """Permutation importance of one feature: the rise of the mean loss (log loss in nats, or squared error)."""

    feature: str
    loss_increase: float


def permutation_importance(
    scorer: Scorer, matrix: NDArray[np.float32], target: NDArray[np.float64], seed: int
) -> tuple[Importance, ...]:
    """Return every feature's importance, the largest first (Breiman, 2001; Fisher, Rudin and Dominici, 2019).

    `matrix` is float32 (rows, features), `target` float64 (rows,); of more than 10,000 rows a seeded sample is taken.
    Features that carry the same information hide one another: each of them alone looks unimportant.
    """
    generator = np.random.default_rng(seed)
    if len(matrix) > MAX_ROWS:
        chosen = np.sort(generator.choice(len(matrix), MAX_ROWS, replace=False))
        matrix, target = matrix[chosen], target[chosen]
    task = scorer.signature.task
    base = _mean_loss(scorer.score_matrix(matrix), target, task)
    found = []
    for position, feature in enumerate(scorer.signature.features):
        dealt = matrix.copy()
        dealt[:, position] = generator.permutation(dealt[:, position])
        increase = _mean_loss(scorer.score_matrix(dealt), target, task) - base
        found.append(Importance(feature.name, increase))
    return tuple(sorted(found, key=lambda each: (-each.loss_increase, each.feature)))


def _mean_loss(scores: NDArray[np.float64], target: NDArray[np.float64], task: Task) -> float:
    if task is Task.REGRESSION:
        return float(np.mean((scores[:, 0] - target) ** 2))
    chosen = scores[np.arange(len(scores)), target.astype(np.int64)]
    return float(-np.mean(np.log(np.maximum(chosen, FLOOR))))
