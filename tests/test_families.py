"""Every family on every task: it learns, ends in time, comes out the same twice, and serves what it learnt."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from tables import FAMILIES, TARGETS, orders, params

from mergeline import models
from mergeline.errors import ConfigurationError, DataError
from mergeline.models.encoder import encode, fit_features
from mergeline.models.export import export, parity
from mergeline.models.family import Fitted, Fitting, Problem, Rows, fitter, stops_early
from mergeline.models.scorer import Scorer
from mergeline.schema import Signature, Task
from mergeline.target import classes, encode_target

TABLE = orders(400)
ALL = pytest.mark.parametrize("family", FAMILIES)
TASKS = pytest.mark.parametrize("task", TARGETS)
EARLY: dict[str, dict[str, Any]] = {
    "hist_gradient_boosting": {
        "hist_gradient_boosting": {
            "iterations": 60,
            "early_stopping_rounds": 4,
            "learning_rate": 0.4,
            "min_leaf_rows": 5,
        }
    },
    "torch_mlp": {"torch_mlp": {"epochs": 30, "patience": 3, "hidden": [16], "batch_rows": 64, "learning_rate": 0.05}},
}


def fitting(
    family: str, task: str = "binary", *, tuning: bool = False, rounds: int | None = None, **train: Any
) -> Fitting:
    """The first 300 rows to fit on, the rest to end it early."""
    settings = params(task, train={"family": family, **train})
    features = fit_features(TABLE, settings.data, settings.train.preprocessing)
    names = classes(TABLE, settings.data)
    matrix, target = encode(TABLE, features), encode_target(TABLE, settings.data, names)
    problem = Problem(Task(task), max(1, len(names)), features)
    held = Rows(matrix[300:], target[300:]) if tuning else None
    return Fitting(problem, Rows(matrix[:300], target[:300]), held, rounds, settings.train, lambda step: None)


def fitted(family: str, task: str = "binary", **more: Any) -> Fitted:
    return fitter(family)(fitting(family, task, **more))


def error(model: Fitted, task: str, rows: Rows) -> float:
    """The share of wrong answers, or the root mean squared error."""
    scores = model.predict(rows.matrix)
    if task == "regression":
        return float(np.sqrt(np.mean((scores[:, 0] - rows.target) ** 2)))
    return float(np.mean(scores.argmax(axis=1) != rows.target))


def served(model: Fitted, task: str) -> Scorer:
    problem = fitting("random_forest", task).problem
    names = tuple(map(str, range(problem.classes))) if problem.classes > 1 else ()
    return Scorer(export(model, None), Signature(problem.task, "y", problem.features, names, None))


@ALL
@TASKS
def test_a_family_learns_better_than_the_best_constant_and_is_served_as_it_learnt(family: str, task: str) -> None:
    patient: dict[str, Any] = {"torch_mlp": {"epochs": 30, "learning_rate": 0.03}} if family == "torch_mlp" else {}
    given = fitting(family, task, **patient)
    model = fitter(family)(given)
    target = given.training.target
    constant = np.std(target) if task == "regression" else 1 - np.bincount(target.astype(int)).max() / len(target)
    assert error(model, task, given.training) < 0.8 * constant
    scores = model.predict(given.training.matrix)
    assert scores.shape == (300, given.problem.classes)
    assert scores.dtype == np.float64
    if task != "regression":
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert parity(model, None, served(model, task), given.problem, given.training.matrix) <= 1e-5


@ALL
def test_the_same_fit_twice_is_the_same_to_the_last_bit(family: str) -> None:
    first, second = (fitted(family, tuning=True) for _ in range(2))
    matrix = fitting(family).training.matrix
    np.testing.assert_array_equal(first.predict(matrix), second.predict(matrix))
    assert export(first, None) == export(second, None)
    assert first.rounds == second.rounds


@pytest.mark.parametrize("family", ["hist_gradient_boosting", "random_forest", "torch_mlp"])
def test_another_seed_or_another_row_is_another_model(family: str) -> None:
    matrix = fitting(family).training.matrix
    base = fitted(family).predict(matrix)
    given = fitting(family)
    given.training.target[0] = 1 - given.training.target[0]
    assert (fitter(family)(given).predict(matrix) != base).any()
    if family != "hist_gradient_boosting":  # without early stopping it draws nothing
        assert (fitted(family, seed=99).predict(matrix) != base).any()


@pytest.mark.parametrize("family", EARLY)
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_early_stopping_keeps_the_best_round_on_the_tuning_rows(family: str, task: str) -> None:
    """As long as the fit would be without tuning rows that many rounds long; one round more or less is worse."""
    model = fitted(family, task, tuning=True, **EARLY[family])
    longest = 60 if family == "hist_gradient_boosting" else 30
    assert 1 <= model.rounds < longest
    given = fitting(family, task, tuning=True)
    again = fitted(family, task, rounds=model.rounds, **EARLY[family])
    np.testing.assert_allclose(again.predict(given.training.matrix), model.predict(given.training.matrix), rtol=1e-6)
    assert given.tuning is not None
    losses = {
        rounds: loss(fitted(family, task, rounds=rounds, **EARLY[family]), task, given.tuning)
        for rounds in range(max(1, model.rounds - 2), model.rounds + 3)
    }
    assert min(losses, key=lambda rounds: losses[rounds]) == model.rounds


def loss(model: Fitted, task: str, rows: Rows) -> float:
    if task == "regression":
        return error(model, task, rows)
    scores = model.predict(rows.matrix)
    return float(-np.mean(np.log(scores[np.arange(len(scores)), rows.target.astype(int)])))


@ALL
def test_tuning_rows_teach_nothing(family: str) -> None:
    """What they hold decides when the fit ends, and so the fit of a fixed length does not see them at all."""
    honest = fitting(family, tuning=True, rounds=4)
    assert honest.tuning is not None
    turned = Rows(honest.tuning.matrix[::-1].copy(), 1 - honest.tuning.target)
    changed = Fitting(honest.problem, honest.training, turned, 4, honest.params, honest.progress)
    if family == "torch_mlp":  # tuning rows choose its best epoch, so that only one epoch leaves no choice
        honest, changed = (
            Fitting(each.problem, each.training, each.tuning, 1, each.params, each.progress)
            for each in (honest, changed)
        )
    matrix = honest.training.matrix
    np.testing.assert_array_equal(fitter(family)(honest).predict(matrix), fitter(family)(changed).predict(matrix))


def test_which_families_end_early_is_known_before_the_fit() -> None:
    assert {family for family in FAMILIES if stops_early(params(train={"family": family}).train)} == {"torch_mlp"}
    assert stops_early(params(train={"family": "hist_gradient_boosting", **EARLY["hist_gradient_boosting"]}).train)


@pytest.mark.parametrize("family", FAMILIES[:3])
@pytest.mark.parametrize(
    "preprocessing",
    [
        pytest.param({"select": 3}, id="the best three columns"),
        pytest.param({"imputation": "mean", "scaling": "none"}, id="mean, unscaled"),
        pytest.param({"wide_from": 2}, id="every category wide"),
        pytest.param({"wide_from": 40}, id="no category wide"),
    ],
)
def test_every_way_of_preparing_a_row_is_served_as_it_was_fitted(family: str, preprocessing: dict[str, Any]) -> None:
    for task in TARGETS:
        given = fitting(family, task, preprocessing=preprocessing)
        model = fitter(family)(given)
        assert parity(model, None, served(model, task), given.problem, given.training.matrix) <= 1e-5


@pytest.mark.parametrize("preprocessing", [{"imputation": "mean", "scaling": "none"}])
def test_a_network_is_served_as_it_was_fitted_without_scaling_too(preprocessing: dict[str, Any]) -> None:
    given = fitting("torch_mlp", preprocessing=preprocessing)
    model = fitter("torch_mlp")(given)
    assert parity(model, None, served(model, "binary"), given.problem, given.training.matrix) <= 1e-5


@ALL
@pytest.mark.parametrize("kept", ["numbers", "categories"])
def test_features_of_one_kind_alone_are_enough(family: str, kept: str) -> None:
    given = fitting(family)
    chosen = slice(0, 5) if kept == "numbers" else slice(5, 7)
    problem = Problem(Task.BINARY, 2, given.problem.features[chosen])
    rows = Rows(np.ascontiguousarray(given.training.matrix[:, chosen]), given.training.target)
    model = fitter(family)(Fitting(problem, rows, None, None, given.params, given.progress))
    scorer = Scorer(export(model, None), Signature(Task.BINARY, "y", problem.features, ("0", "1"), None))
    assert parity(model, None, scorer, problem, rows.matrix) <= 1e-5


@ALL
def test_a_column_without_a_value_and_a_constant_one_do_no_harm(family: str) -> None:
    given = fitting(family)
    matrix = given.training.matrix.copy()
    matrix[:, 0], matrix[:, 1] = np.nan, 5
    rows = Rows(matrix, given.training.target)
    model = fitter(family)(Fitting(given.problem, rows, None, None, given.params, given.progress))
    assert np.isfinite(model.predict(matrix)).all()
    assert parity(model, None, served(model, "binary"), given.problem, matrix) <= 1e-5


@ALL
@pytest.mark.parametrize(("center", "scale"), [(1013.0, 9.0), (1.7e9, 1e3), (0.0, 1e-4)])
def test_a_regression_keeps_the_digits_of_its_target(family: str, center: float, scale: float) -> None:
    """Pressures, unix seconds, tiny shares: in float32 alone the first two would lose them."""
    given = fitting(family, "regression")
    target = center + scale * (given.training.target - 1000) / 10
    rows = Rows(given.training.matrix, target)
    model = fitter(family)(Fitting(given.problem, rows, None, None, given.params, given.progress))
    assert abs(float(np.mean(model.predict(rows.matrix))) - float(np.mean(target))) < scale
    assert parity(model, None, served(model, "regression"), given.problem, rows.matrix) <= 1e-5


@pytest.mark.parametrize("family", FAMILIES[:3])
def test_a_table_without_any_value_is_refused(family: str) -> None:
    given = fitting(family)
    problem = Problem(Task.BINARY, 2, given.problem.features[:1])
    rows = Rows(np.full((300, 1), np.nan, dtype=np.float32), given.training.target)
    with pytest.raises(DataError, match="expected a feature with a value in the rows to fit on, found none"):
        fitter(family)(Fitting(problem, rows, None, None, given.params, given.progress))


def test_the_forest_counts_its_trees_the_boosting_its_rounds_a_closed_form_one() -> None:
    assert fitted("random_forest").rounds == 12
    assert fitted("hist_gradient_boosting").rounds == 15
    assert fitted("logistic_regression", "regression").rounds == 1
    assert 1 < fitted("logistic_regression").rounds <= 200


def test_the_fit_leaves_torchs_random_numbers_where_they_were() -> None:
    import torch

    torch.manual_seed(5)
    before = torch.rand(3)
    torch.manual_seed(5)
    fitted("torch_mlp")
    assert torch.equal(torch.rand(3), before)


def test_a_network_that_learns_nothing_but_nan_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no epoch has a finite tuning loss; choose a lower learning_rate"):
        fitted("torch_mlp", tuning=True, torch_mlp={"learning_rate": 1e20, "epochs": 2, "hidden": [4]})


def test_progress_is_told_of_every_epoch() -> None:
    told: list[str] = []
    given = fitting("torch_mlp", rounds=2)
    fitter("torch_mlp")(Fitting(given.problem, given.training, None, 2, given.params, told.append))
    assert told == ["epoch 1 of 2", "epoch 2 of 2"]


def test_without_torch_the_family_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "mergeline.models.torch_mlp", raising=False)
    monkeypatch.delattr(models, "torch_mlp", raising=False)
    with pytest.raises(ConfigurationError, match=r"train\.family: torch_mlp needs torch, which is not installed"):
        fitter("torch_mlp")
