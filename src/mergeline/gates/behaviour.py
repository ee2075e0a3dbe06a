"""Gate `behaviour`: what a model must do on any data: the known samples, one row as many, and what the team declares.

After Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models with CheckList (ACL 2020): minimum
functionality, invariance, directional expectation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import DataError
from mergeline.gates.evidence import Evidence, number
from mergeline.gates.gate import Gate, judged
from mergeline.schema import Kind, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mergeline.params.gates import BehaviourGate, Direction, GateParams

NAME = "behaviour"
SAMPLE_TOLERANCE = 1e-5
ROWS = 2_000  # of the holdout, evenly spaced


@dataclass(frozen=True, slots=True)
class _Check:
    held: bool
    said: str


def behaviour(evidence: Evidence, policy: GateParams) -> Gate:
    """Fail where one check does not hold; the evidence names those, or says how many held."""
    checks = list(_checks(evidence, policy.behaviour))
    broken = [each.said for each in checks if not each.held]
    said = "; ".join(broken) if broken else f"{len(checks)} checks hold: " + ", ".join(each.said for each in checks)
    return judged(NAME, bool(broken), said, float(len(broken)), 0.0)


def _checks(evidence: Evidence, policy: BehaviourGate) -> Iterator[_Check]:
    few = evidence.matrix[:: max(1, len(evidence.matrix) // ROWS)]
    yield _known_samples(evidence)
    yield _finite(evidence)
    yield _one_as_many(evidence, few)
    for feature in policy.invariant:
        yield _invariant(evidence, few, feature, policy.tolerance)
    for feature, direction in policy.directions.items():
        yield _direction(evidence, few, feature, direction)


def _known_samples(evidence: Evidence) -> _Check:
    import pandas as pd

    samples = evidence.candidate.signature.samples
    if not samples:
        return _Check(False, "the signature holds no known sample")
    try:
        scores = evidence.candidate.scorer.score(pd.DataFrame([each.row for each in samples]))
    except DataError as err:
        return _Check(False, f"a known sample cannot be scored ({err})")
    apart = float(np.abs(scores - np.array([each.scores for each in samples])).max())
    # a regression's scores are in the target's unit: what differs by rounding there is larger
    scale = float(np.abs(evidence.candidate_scores).max()) if evidence.task is Task.REGRESSION else 1.0
    held = apart <= SAMPLE_TOLERANCE * max(scale, 1.0)
    return _Check(held, "the known samples" if held else f"a known sample scores {number(apart)} off what was recorded")


def _finite(evidence: Evidence) -> _Check:
    bad = int(np.sum(~np.isfinite(evidence.candidate_scores).all(axis=1)))
    return _Check(not bad, f"{bad} rows have no finite score" if bad else "finite scores")


def _one_as_many(evidence: Evidence, matrix: NDArray[np.float32]) -> _Check:
    """A row alone, and the rows in another order, score as they do together."""
    scorer, chosen = evidence.candidate.scorer, matrix[:20]
    together = scorer.score_matrix(chosen)
    alone = np.concatenate([scorer.score_matrix(chosen[at : at + 1]) for at in range(len(chosen))])
    turned = scorer.score_matrix(chosen[::-1])[::-1]
    apart = float(max(np.abs(together - alone).max(), np.abs(together - turned).max()))
    scale = max(float(np.abs(together).max()), 1.0)
    held = apart <= SAMPLE_TOLERANCE * scale
    return _Check(
        held, "one row as many" if held else f"a row alone scores {number(apart)} off the same row among others"
    )


def _invariant(evidence: Evidence, matrix: NDArray[np.float32], feature: str, tolerance: float) -> _Check:
    position = _position(evidence, feature)
    if position is None:
        return _Check(True, f"not even a feature: {feature}")
    moved = matrix.copy()
    moved[:, position] = np.roll(moved[:, position], max(1, len(moved) // 2))
    scorer = evidence.candidate.scorer
    apart = float(np.abs(scorer.score_matrix(moved) - scorer.score_matrix(matrix)).max())
    held = apart <= tolerance
    said = f"invariant to {feature}" if held else f"{feature} moves a score by {number(apart)} and must not move any"
    return _Check(held, said)


def _direction(evidence: Evidence, matrix: NDArray[np.float32], feature: str, direction: Direction) -> _Check:
    position = _position(evidence, feature)
    if position is None or evidence.task is Task.MULTICLASS:
        return _Check(False, f"the direction of {feature} cannot be told of this model")
    kind = evidence.candidate.signature.features[position].kind
    known = matrix[:, position][np.isfinite(matrix[:, position])]
    if kind is Kind.CATEGORY or not len(known):
        return _Check(False, f"the direction of {feature} cannot be told: it is no number here")
    low, high = np.quantile(known, [0.25, 0.75])
    if low == high:
        low, high = known.min(), known.max()
    change = float(np.mean(_score_at(evidence, matrix, position, high) - _score_at(evidence, matrix, position, low)))
    held = change >= 0 if direction == "up" else change <= 0
    wanted = "raise" if direction == "up" else "lower"
    return _Check(
        held,
        f"{feature} {wanted}s it" if held else f"{feature} must {wanted} the score, it moves it by {number(change)}",
    )


def _score_at(evidence: Evidence, matrix: NDArray[np.float32], position: int, value: float) -> NDArray[np.float64]:
    moved = matrix.copy()
    moved[:, position] = value
    return evidence.candidate.scorer.score_matrix(moved)[:, -1]


def _position(evidence: Evidence, feature: str) -> int | None:
    names = [each.name for each in evidence.candidate.signature.features]
    return names.index(feature) if feature in names else None
