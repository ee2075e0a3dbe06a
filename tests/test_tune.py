"""Tune: settings are tried on folds of the training rows alone, and a proposal is never worse than what is there."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from repositories import Repository

from mergeline import tune
from mergeline.commands import tune as verb
from mergeline.commands.settings import load_params
from mergeline.errors import DataError
from mergeline.holdout import split
from mergeline.models.family import Fitting, fitter
from mergeline.params import Family, Params, parse
from mergeline.tune import SPACES, Choice, Range, Search, Trial, make_folds, search

ROWS = 300
QUICK = {"hist_gradient_boosting": {"iterations": 20, "leaves": 4, "learning_rate": 0.3}}


def rows(task: str = "binary") -> pd.DataFrame:
    """A table in the order of time; `row` is the number of the row, which no model needs."""
    generator = np.random.default_rng(3)
    size = generator.normal(size=ROWS)
    town = generator.choice(["a", "b", "c"], ROWS)
    value = size + (town == "a") + generator.normal(size=ROWS) / 2
    target = {"binary": value > 0, "multiclass": np.digitize(value, [-0.5, 0.8]), "regression": value}[task]
    when = pd.date_range("2024-01-01", periods=ROWS, freq="h")
    columns = {"when": when, "row": np.arange(ROWS), "size": size, "town": town, "target": target}
    return pd.DataFrame(columns)


def params(task: str = "binary", *, timed: bool = True, **sections: Mapping[str, Any]) -> Params:
    data = {
        "task": task,
        "target": "target",
        "numeric": ["row", "size"],
        "categorical": ["town"],
        "holdout": {"share": 0.2},
    }
    settings: dict[str, Any] = {
        "data": {**data, "time": "when"} if timed else data,
        "train": QUICK,
        "tune": {"trials": 4},
    }
    return parse({**settings, **sections})


def row_numbers(table: np.ndarray[Any, np.dtype[np.float32]]) -> list[int]:
    return [int(number) for number in table[:, 0]]


# --- the space -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", get_args(Family))
def test_every_family_has_a_space_of_settings_that_it_takes(family: str) -> None:
    current = params(train={"family": family}).train.settings
    for name, within in SPACES[family].items():
        ends = (
            within.options if isinstance(within, Choice) else [within.setting(end) for end in (within.low, within.high)]
        )
        for end in ends:
            type(current).model_validate({name: end})
        assert within.around(getattr(current, name)) is not None


@pytest.mark.parametrize(
    ("within", "current"),
    [
        pytest.param(Range(50, 500, "whole", log=True), 7, id="fewer than the fewest"),
        pytest.param(Range(0.1, 1.0), 3.5, id="more than the most"),
        pytest.param(Range(1e-6, 0.1, log=True), 0.0, id="nothing, on a scale of logarithms"),
        pytest.param(Choice(((64,), (64, 32))), (5, 5), id="a layout of one's own"),
    ],
)
def test_the_space_is_widened_to_the_current_setting(within: Range | Choice, current: Any) -> None:
    distribution = within.around(current)
    assert distribution._contains(distribution.to_internal_repr(tune.suggestion(current)))


def test_a_suggestion_gets_the_digits_of_a_person() -> None:
    assert Range(0, 1).setting(0.123456) == 0.123
    assert Range(1, 9, "whole").setting(5) == 5
    assert Choice(()).setting("64-32") == (64, 32)


# --- the folds -------------------------------------------------------------------------------------------------------


def test_a_fold_is_judged_by_what_came_later() -> None:
    folds = make_folds(rows(), params())
    assert len(folds) == 3
    for fold in folds:
        assert max(row_numbers(fold.fit.matrix)) < min(row_numbers(fold.judge.matrix))
    ends = [len(fold.fit.target) for fold in folds]
    assert ends == [60, 120, 180]  # each learns from all that was before


def test_without_a_time_every_training_row_judges_once() -> None:
    settings = params(timed=False)
    folds = make_folds(rows(), settings)
    judged = sorted(itertools.chain.from_iterable(row_numbers(fold.judge.matrix) for fold in folds))
    assert judged == sorted(split(rows(), settings.data).training)
    assert all(not set(row_numbers(fold.fit.matrix)) & set(row_numbers(fold.judge.matrix)) for fold in folds)


@pytest.mark.parametrize("timed", [True, False])
def test_the_holdout_is_in_no_fold(timed: bool) -> None:
    settings = params(timed=timed)
    held = set(split(rows(), settings.data).holdout.tolist())
    used = [row_numbers(part) for fold in make_folds(rows(), settings) for part in (fold.fit.matrix, fold.judge.matrix)]
    assert held
    assert not held & set(itertools.chain.from_iterable(used))


def test_what_the_holdout_holds_changes_nothing() -> None:
    settings = params()
    honest = rows()
    told = honest.copy()
    held = split(told, settings.data).holdout
    told.loc[held, "size"] = 1e6  # a tell-tale: scales, categories and losses would all show it
    told.loc[held, "town"] = "of the holdout"
    told.loc[held, "target"] = ~told.loc[held, "target"]
    assert search(told, settings) == search(honest, settings)
    told.loc[:30, "target"] = ~told.loc[:30, "target"]  # and its twin, in training rows, shows
    assert search(told, settings) != search(honest, settings)


def test_rows_that_end_a_fit_early_are_parted_from_those_that_judge() -> None:
    settings = params(train={"hist_gradient_boosting": {"early_stopping_rounds": 3}})
    for fold in make_folds(rows(), settings):
        assert fold.tuning is not None
        order = [row_numbers(part.matrix) for part in (fold.fit, fold.tuning, fold.judge)]
        assert max(order[0]) < min(order[1]) <= max(order[1]) < min(order[2])


def test_a_fold_that_lacks_a_class_is_left_out() -> None:
    late = rows("multiclass")
    late["target"] = np.where(np.arange(ROWS) < 100, late["target"].clip(upper=1), late["target"])
    assert len(make_folds(late, params("multiclass"))) == 2
    late["target"] = np.where(np.arange(ROWS) < 230, late["target"].clip(upper=1), late["target"])
    with pytest.raises(DataError, match=r"tune\.folds: in each of 3 folds the rows to fit on lack a class"):
        make_folds(late, params("multiclass"))


def test_too_few_rows_make_no_fold() -> None:
    with pytest.raises(DataError, match=r"tune\.folds: 3 folds of 7 training rows are too small"):
        make_folds(rows().iloc[:9], params())


# --- the search ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "family", "trials"),
    [
        pytest.param("binary", "hist_gradient_boosting", 6, id="boosting"),
        pytest.param("regression", "random_forest", 2, id="a forest"),
        pytest.param("multiclass", "logistic_regression", 5, id="a logistic regression"),
        pytest.param("regression", "logistic_regression", 3, id="a ridge regression"),
        pytest.param("multiclass", "torch_mlp", 1, id="a network"),
    ],
)
def test_the_proposal_is_never_worse_than_the_current_settings(task: str, family: str, trials: int) -> None:
    few = {"random_forest": {"trees": 10}, "torch_mlp": {"epochs": 2, "hidden": [8]}, **QUICK}
    settings = params(task, train={"family": family, **few}, tune={"trials": trials + (family == "torch_mlp")})
    found = search(rows(task), settings)
    assert found.current.settings.items() <= settings.train.settings.model_dump().items()
    assert found.best.loss <= found.current.loss
    assert all(len(trial.losses) == 3 and math.isfinite(trial.loss) for trial in found.trials)
    assert found.in_time
    assert all(path[:2] == ("train", family) for path in found.changes())


def test_the_losses_are_those_of_the_family_on_each_fold() -> None:
    settings = params(tune={"trials": 1})
    found = search(rows(), settings)
    for fold, loss, area in zip(
        make_folds(rows(), settings), found.current.losses, found.current.primaries, strict=True
    ):
        fitted = fitter("hist_gradient_boosting")(
            Fitting(fold.problem, fold.fit, None, None, settings.train, lambda step: None)
        )
        scores = fitted.predict(fold.judge.matrix)
        likelihood = scores[np.arange(len(scores)), fold.judge.target.astype(int)]
        assert loss == pytest.approx(-np.log(likelihood).mean())
        pairs = np.subtract.outer(scores[fold.judge.target == 1, 1], scores[fold.judge.target == 0, 1])
        assert area == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())


def test_the_same_seed_finds_the_same_and_another_one_another() -> None:
    first, again = search(rows(), params()), search(rows(), params())
    assert first == again
    other = search(rows(), params(train={**QUICK, "seed": 2}))
    assert [trial.settings for trial in other.trials[1:]] != [trial.settings for trial in first.trials[1:]]


def test_a_search_finds_settings_that_were_set_badly() -> None:
    bad = {"hist_gradient_boosting": {"iterations": 60, "learning_rate": 0.001, "leaves": 4}}
    found = search(rows(), params(train=bad, tune={"trials": 5}))
    assert found.best.number > 0
    assert np.mean(found.gains) > 0.1
    assert found.changes()[("train", "hist_gradient_boosting", "learning_rate")] > 0.005
    assert "lower by" in found.summary()


def ticking(step_s: float) -> Iterator[float]:
    return itertools.count(0, step_s)


def test_the_time_limit_ends_the_search_between_two_fits() -> None:
    clock = ticking(25)  # a look at the clock for each fit and each trial: 2 minutes are over in the second trial
    found = search(rows(), params(tune={"trials": 50, "minutes": 2}), clock=lambda: next(clock))
    assert len(found.trials) == 2
    assert not found.in_time
    assert "then the time was over" in found.summary()


def test_the_current_settings_are_tried_however_short_the_time() -> None:
    clock = ticking(3600)
    found = search(rows(), params(tune={"trials": 50, "minutes": 0.01}), clock=lambda: next(clock))
    assert [trial.number for trial in found.trials] == [0]
    assert found.changes() == {}
    assert "the current settings" in found.summary()


class Diverging:
    """A fit whose scores are not finite, as those of a network with too high a learning rate."""

    native, flavor, rounds = None, "none", 1

    def predict(self, matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.full((len(matrix), 2), np.nan)


def test_settings_that_diverge_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(fitting: Fitting) -> Any:
        tried = fitting.params.hist_gradient_boosting
        return fitter("hist_gradient_boosting")(fitting) if tried.learning_rate == 0.3 else Diverging()

    monkeypatch.setattr("mergeline.tune.trial.fitter", lambda name: fit)
    found = search(rows(), params())
    assert [trial.loss for trial in found.trials[1:]] == [math.inf] * 3
    assert found.best is found.current


def test_current_settings_that_diverge_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mergeline.tune.trial.fitter", lambda name: lambda fitting: Diverging())
    with pytest.raises(DataError, match="scores"):
        search(rows(), params())


def found_with(current: tuple[float, ...], best: tuple[float, ...], areas: tuple[float, float]) -> Search:
    trials = (Trial(0, {"c": 1.0}, current, (areas[0],)), Trial(1, {"c": 0.5}, best, (areas[1],)))
    return Search("logistic_regression", "log_loss", "roc_auc", len(current), trials, in_time=True)


def test_a_gain_that_not_every_fold_sees_is_called_so() -> None:
    text = found_with((0.5, 0.4), (0.3, 0.41), (0.7, 0.8)).summary()
    assert (
        "0.45 -> 0.355, lower by 0.095, on the folds by -0.01 to 0.2; not on each of them, so it may be chance" in text
    )
    assert "0.7 -> 0.8" in text
    assert "chance" not in found_with((0.5, 0.4), (0.3, 0.39), (0.7, 0.8)).summary()


def test_a_primary_metric_that_falls_is_called_worse() -> None:
    assert "0.7 -> 0.6, which is worse" in found_with((0.5, 0.4), (0.3, 0.3), (0.7, 0.6)).summary()


# --- the command -----------------------------------------------------------------------------------------------------

WRITTEN = """\
# a team's own hand
data:
    task: binary
    target: target
    time:   when
    numeric:
    - size       # the one that counts
    categorical: [ town ]
    holdout: {share: 0.2}
train:
    hist_gradient_boosting:   # set in a hurry
        learning_rate: 0.001   # slow
        iterations: 60
        leaves:  4


tune: {trials: 4}   # a coffee
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    (tmp_path / "data").mkdir()
    rows().to_parquet(tmp_path / "data" / "2024-01.parquet", index=False)
    (tmp_path / "params.yaml").write_bytes(WRITTEN.encode())
    return Repository(tmp_path)


def untouched(text: str) -> list[str]:
    """The lines that hold no setting of the search."""
    keys = tuple(f"{key}:" for key in SPACES["hist_gradient_boosting"])
    return [line for line in text.splitlines(keepends=True) if not line.lstrip().startswith(keys)]


def test_a_proposal_is_shown_and_a_server_that_is_down_is_a_warning(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    address = "http://someone:secret@127.0.0.1:9"
    with caplog.at_level(logging.WARNING, logger="mergeline"):
        text = verb.tune(repository.root, write=False, environment={"MLFLOW_TRACKING_URI": address})
    assert "--- params.yaml\n+++ proposed\n" in text
    assert "\n-        learning_rate: 0.001   # slow\n" in text
    assert text.endswith("`mergeline tune --write` makes this change")
    assert (repository.root / "params.yaml").read_bytes() == WRITTEN.encode()
    assert "mlflow: http://127.0.0.1:9 does not take the search" in caplog.text
    assert "secret" not in caplog.text


def test_a_proposal_is_written_and_every_trial_logged(repository: Repository) -> None:
    import mlflow

    done = repository.run("tune", "--write")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no terminal, no progress
    new = (repository.root / "params.yaml").read_bytes().decode()
    assert untouched(new) == untouched(WRITTEN)
    assert "  # slow\n" in new
    assert load_params(repository.root).train.hist_gradient_boosting.learning_rate > 0.005

    client = mlflow.MlflowClient(f"sqlite:///{repository.root / '.mergeline' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mergeline-tune")
    assert experiment is not None
    *trials, parent = client.search_runs([experiment.experiment_id])  # the newest first
    assert sorted(run.info.run_name for run in trials) == [f"trial {number}" for number in range(4)]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert parent.data.metrics["loss"] == min(run.data.metrics["loss"] for run in trials)
    assert all(run.data.params["learning_rate"] for run in trials)


def test_settings_that_are_the_best_already_change_no_byte(repository: Repository) -> None:
    path = repository.root / "params.yaml"
    path.write_bytes(WRITTEN.replace("trials: 4", "trials: 1").replace("\n", "\r\n").encode())
    before = path.read_bytes()
    text = verb.tune(repository.root, write=True, environment={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    assert "the current settings" in text
    assert "+++" not in text
    assert path.read_bytes() == before
