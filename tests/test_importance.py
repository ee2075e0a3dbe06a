"""Permutation importance: what the model leans on comes first, what it ignores weighs nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from mergeline.models import importance as importance_module
from mergeline.models.importance import Importance, permutation_importance
from mergeline.schema import Feature, Kind, Signature, Task

NAMES = ("used", "ignored", "half used")


@dataclass
class Known:
    """A scorer whose scores are a formula of the first and the third column."""

    task: Task

    @property
    def signature(self) -> Signature:
        features = tuple(Feature(name, Kind.NUMBER) for name in NAMES)
        return Signature(self.task, "y", features, ("no", "yes") if self.task is Task.BINARY else (), None)

    def score_matrix(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        value = matrix[:, 0].astype(float) + matrix[:, 2].astype(float) / 2
        if self.task is Task.REGRESSION:
            return value.reshape(-1, 1)
        p = 1 / (1 + np.exp(-value))
        return np.column_stack([1 - p, p])


def rows(count: int, task: Task = Task.REGRESSION) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(count, 3)).astype(np.float32)
    value = Known(Task.REGRESSION).score_matrix(matrix)[:, 0]
    return matrix, value if task is Task.REGRESSION else (value > 0).astype(float)


def measured(count: int, task: Task = Task.REGRESSION, seed: int = 1) -> tuple[Importance, ...]:
    return permutation_importance(Known(task), *rows(count, task), seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_the_feature_that_the_scores_rest_on_comes_first_and_an_ignored_one_weighs_nothing(task: Task) -> None:
    found = measured(2000, task)
    assert [each.feature for each in found] == ["used", "half used", "ignored"]
    assert found[-1].loss_increase == 0
    assert found[1].loss_increase > 0


def test_of_a_perfect_regression_it_is_twice_the_variance_of_what_is_dealt() -> None:
    """E(a - a')² = 2 Var(a) for independent a, a'."""
    found = {each.feature: each.loss_increase for each in measured(9000)}
    assert found["used"] == pytest.approx(2, rel=0.05)
    assert found["half used"] == pytest.approx(0.5, rel=0.05)


def test_the_same_seed_deals_the_same_and_the_rows_stay_as_they_were() -> None:
    matrix, target = rows(300)
    before = matrix.copy()
    known: Known = Known(Task.REGRESSION)
    first = permutation_importance(known, matrix, target, 4)  # type: ignore[arg-type]
    assert first == permutation_importance(known, matrix, target, 4)  # type: ignore[arg-type]
    assert first != permutation_importance(known, matrix, target, 5)  # type: ignore[arg-type]
    np.testing.assert_array_equal(matrix, before)


def test_of_many_rows_a_sample_says_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(9000)
    monkeypatch.setattr(importance_module, "MAX_ROWS", 2000)
    sampled = measured(9000)
    assert [each.feature for each in sampled] == [each.feature for each in whole]
    assert sampled[0].loss_increase == pytest.approx(whole[0].loss_increase, rel=0.1)
    assert sampled == measured(9000)


def test_features_that_weigh_the_same_are_in_the_order_of_their_names() -> None:
    constant = np.ones((10, 3), dtype=np.float32)
    found = permutation_importance(Known(Task.REGRESSION), constant, np.zeros(10), 1)  # type: ignore[arg-type]
    assert [each.feature for each in found] == sorted(NAMES)


def test_a_class_that_the_model_holds_for_impossible_weighs_much_but_not_infinitely() -> None:
    class Sure(Known):
        def score_matrix(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
            sure = (matrix[:, 0] > 0).astype(float)
            return np.column_stack([1 - sure, sure])

    matrix, _ = rows(200)
    found = permutation_importance(Sure(Task.BINARY), matrix, (matrix[:, 0] > 0).astype(float), 1)  # type: ignore[arg-type]
    assert found[0].feature == "used"
    assert 1 < found[0].loss_increase < 30
