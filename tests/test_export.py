"""The export: the bytes that are served give the native model's scores, or nothing is served."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tables import orders, params

from mergeline.errors import VerificationError
from mergeline.models import scikit_learn
from mergeline.models.encoder import encode, fit_features
from mergeline.models.export import (
    MAX_AMPLIFICATION,
    PARITY_TOLERANCE,
    TAILS,
    Calibration,
    export,
    fit_calibration,
    parity,
    with_gaps,
)
from mergeline.models.family import Fitted, Fitting, Problem, Rows, fitter
from mergeline.models.scorer import Scorer
from mergeline.schema import Feature, Kind, Signature, Task

NUMBER = Feature("amount", Kind.NUMBER)
TREES = ("hist_gradient_boosting", "random_forest")
DEEP = {
    "hist_gradient_boosting": {"iterations": 8, "learning_rate": 0.5, "leaves": 31, "min_leaf_rows": 1},
    "random_forest": {"trees": 5, "depth": 12, "min_leaf_rows": 1, "feature_share": 1.0},
}


def fitted(family: str, problem: Problem, rows: Rows, **train: Any) -> Fitted:
    chosen = params(train={"family": family, **train}).train
    return fitter(family)(Fitting(problem, rows, None, None, chosen, lambda step: None))


def scorer(model: bytes, problem: Problem) -> Scorer:
    names = tuple(map(str, range(problem.classes))) if problem.classes > 1 else ()
    return Scorer(model, Signature(problem.task, "y", problem.features, names, None))


def difference(model: Fitted, problem: Problem, matrix: NDArray[np.float32]) -> float:
    return parity(model, None, scorer(export(model, None), problem), problem, matrix)


def numbers(columns: int = 1, task: Task = Task.BINARY) -> Problem:
    features = tuple(Feature(f"number {position}", Kind.NUMBER) for position in range(columns))
    return Problem(task, 1 if task is Task.REGRESSION else 2, features)


# ---- Both sides of a split -------------------------------------------------------------------------------------------


def huge_and_fine(rows: int = 600) -> pd.DataFrame:
    """Unix seconds and thousands with seven decimals: neither fits float32, whose steps there are 128 and 6e-5."""
    generator = np.random.default_rng(5)
    seconds = 1_700_000_000 + generator.integers(0, 4000, rows)
    return pd.DataFrame({"amount": seconds, "visits": 1000 + np.round(generator.random(rows) / 500, 7)})


@pytest.mark.parametrize("family", TREES)
@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_numbers_that_float32_rounds_fall_on_the_same_side_in_both(family: str, task: Task) -> None:
    table = huge_and_fine()
    data = params(data={"numeric": ["amount", "visits"], "categorical": []})
    features = fit_features(table, data.data, data.train.preprocessing)
    signal = (table["amount"] - 1_700_002_000) / 1000 + (table["visits"] - 1000.001) * 1000
    target = signal.to_numpy() if task is Task.REGRESSION else (signal > 0).to_numpy(dtype=float)
    problem = Problem(task, 1 if task is Task.REGRESSION else 2, features)
    rows = Rows(encode(table, features), np.asarray(target, dtype=np.float64))
    model = fitted(family, problem, rows, **{family: DEEP[family]})
    assert difference(model, problem, rows.matrix) <= PARITY_TOLERANCE
    assert np.mean(model.predict(rows.matrix).argmax(axis=1) == target) > 0.9 or task is Task.REGRESSION


def test_the_twin_cast_after_the_fit_many_rows_fall_on_the_other_side() -> None:
    """Why the encoder casts before: the same trees, fitted on float64, score the float32 rows otherwise."""
    wide = huge_and_fine().to_numpy(dtype=np.float64)
    target = np.random.default_rng(6).integers(0, 2, len(wide)).astype(float)
    given: Any = Rows(wide, target)  # what a caller without the encoder would do
    model = fitted("hist_gradient_boosting", numbers(2), given, hist_gradient_boosting=DEEP["hist_gradient_boosting"])
    exported = scorer(export(model, None), numbers(2)).score_matrix(wide.astype(np.float32))
    apart = np.abs(exported - model.predict(given.matrix)).max(axis=1) > PARITY_TOLERANCE
    assert apart.mean() > 0.05


def test_the_twin_thresholds_rounded_to_the_nearest_take_neighbours_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why boosting's thresholds are rounded down: the converter takes the nearest float32."""
    monkeypatch.setattr(scikit_learn, "_round_thresholds", lambda boosting: None)
    column = np.repeat(1_700_000_000 + 128 * np.arange(40), 5).astype(np.float32).reshape(-1, 1)
    rows = Rows(column, (column[:, 0] // 128 % 2).astype(float))
    model = fitted("hist_gradient_boosting", numbers(), rows, hist_gradient_boosting=DEEP["hist_gradient_boosting"])
    with pytest.raises(VerificationError, match="differs from the native one"):
        difference(model, numbers(), column)
    monkeypatch.undo()
    mended = fitted("hist_gradient_boosting", numbers(), rows, hist_gradient_boosting=DEEP["hist_gradient_boosting"])
    assert difference(mended, numbers(), column) <= PARITY_TOLERANCE
    np.testing.assert_array_equal(mended.predict(column), model.predict(column))


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100)


@pytest.mark.parametrize("family", TREES)
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(start=FLOATS, steps=st.lists(st.integers(1, 3), min_size=3, max_size=20), seed=st.integers(0, 99))
def test_neighbouring_float32_values_fall_on_the_same_side_in_both(
    family: str, start: float, steps: list[int], seed: int
) -> None:
    """A threshold between two of them is no float32: rounded up it would take the upper one along."""
    values = [np.float32(start)]
    for step in steps:
        value = values[-1]
        for _ in range(step):
            value = np.nextafter(value, np.float32(np.inf))
        values.append(value)
    column = np.repeat(np.array(values, dtype=np.float32), 3).reshape(-1, 1)
    target = np.repeat(np.random.default_rng(seed).integers(0, 2, len(values)), 3).astype(float)
    target[:2] = [0, 1]
    model = fitted(family, numbers(), Rows(column, target), **{family: DEEP[family]})
    beside = np.concatenate([column, np.nextafter(column, np.float32(np.inf)), np.nextafter(column, -column)])
    assert difference(model, numbers(), beside) <= PARITY_TOLERANCE


# ---- What is caught -------------------------------------------------------------------------------------------------


@dataclass
class Planted:
    """A fitted model whose scores are set by hand, or whose ONNX is another model's."""

    honest: Fitted
    shift: NDArray[np.float64] | float = 0.0
    onnx_of: Fitted | None = None
    native: Any = None
    flavor: str = "sklearn"
    rounds: int = 1

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.honest.predict(matrix) + self.shift

    def to_onnx(self) -> onnx.ModelProto:
        return (self.onnx_of or self.honest).to_onnx()


@pytest.fixture(scope="module")
def rows() -> Rows:
    matrix = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
    return Rows(matrix, (matrix[:, 0] > 0).astype(float))


@pytest.fixture(scope="module")
def honest(rows: Rows) -> Fitted:
    return fitted("logistic_regression", numbers(2), rows)


def test_the_honest_model_passes_and_the_difference_is_told(honest: Fitted, rows: Rows) -> None:
    assert 0 < difference(honest, numbers(2), rows.matrix) <= PARITY_TOLERANCE


def test_the_onnx_of_another_model_is_refused(honest: Fitted, rows: Rows) -> None:
    other = fitted("logistic_regression", numbers(2), Rows(rows.matrix[::-1].copy(), rows.target))
    with pytest.raises(VerificationError, match=r"differs from the native one by 0\.\d+ in \d+ of 400 rows") as caught:
        difference(Planted(honest, onnx_of=other), numbers(2), rows.matrix)
    assert caught.value.exit_code == 6
    assert str(caught.value).endswith("allowed 1e-05; nothing was written")


@pytest.mark.parametrize("shift", [2e-5, float("nan"), float("inf")])
def test_a_difference_of_two_hundred_thousandths_and_a_score_that_is_no_number_are_refused(
    honest: Fitted, rows: Rows, shift: float
) -> None:
    with pytest.raises(VerificationError, match="in 400 of 400 rows"):
        difference(Planted(honest, shift), numbers(2), rows.matrix)


def test_a_single_row_that_differs_is_enough(honest: Fitted, rows: Rows) -> None:
    shift = np.zeros((400, 1))
    shift[311] = 0.5
    with pytest.raises(VerificationError, match=r"by 0\.5 in 1 of 400 rows"):
        difference(Planted(honest, shift), numbers(2), rows.matrix)


def test_a_row_with_a_gap_is_probed_too_and_a_difference_there_is_enough(honest: Fitted, rows: Rows) -> None:
    problem = numbers(2)
    probe = with_gaps(rows.matrix, problem)
    assert np.isnan(probe[300:350, 0]).all()
    assert np.isnan(probe[350:, 1]).all()
    shift = np.where(np.isnan(probe).any(axis=1), 0.5, 0.0).reshape(-1, 1)
    with pytest.raises(VerificationError, match="in 100 of 400 rows"):
        difference(Planted(honest, shift), problem, rows.matrix)


def test_a_category_is_probed_as_missing_and_as_never_seen() -> None:
    problem = Problem(Task.BINARY, 2, (NUMBER, Feature("shop", Kind.CATEGORY, ("a", "b"))))
    matrix = np.array([[5, 2], [6, 3]], dtype=np.float32)
    probe = with_gaps(matrix, problem)
    np.testing.assert_array_equal(probe[2:4], [[np.nan, 2], [np.nan, 3]])
    np.testing.assert_array_equal(probe[4:], [[5, 0], [6, 0], [5, 1], [6, 1]])


def test_a_regression_is_compared_in_standard_deviations_of_its_predictions(rows: Rows) -> None:
    problem = numbers(2, Task.REGRESSION)
    target = 1e6 * rows.matrix[:, 0].astype(float)
    model = fitted("logistic_regression", problem, Rows(rows.matrix, target))
    assert difference(Planted(model, shift=1.0), problem, rows.matrix) == pytest.approx(1e-6, rel=0.5)
    with pytest.raises(VerificationError):
        difference(Planted(model, shift=100.0), problem, rows.matrix)


def test_of_a_long_table_rows_all_over_it_are_probed(monkeypatch: pytest.MonkeyPatch, honest: Fitted) -> None:
    monkeypatch.setattr("mergeline.models.export.PARITY_ROWS", 50)
    seen: list[int] = []

    @dataclass
    class Listening(Planted):
        def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
            seen.append(len(matrix))
            return super().predict(matrix)

    matrix = np.random.default_rng(2).normal(size=(501, 2)).astype(np.float32)
    difference(Listening(honest), numbers(2), matrix)
    assert seen[0] < 50 + 2 * 50


# ---- The bytes ------------------------------------------------------------------------------------------------------


def test_the_bytes_are_the_same_twice_and_hold_no_word_of_this_machine(honest: Fitted) -> None:
    calibration = Calibration(0.5, 0.1)
    first = export(honest, calibration)
    assert first == export(honest, calibration)
    model = onnx.load_from_string(first)
    onnx.checker.check_model(model)
    assert model.doc_string == ""
    assert [each.domain for each in model.opset_import] == sorted(each.domain for each in model.opset_import)
    assert b"/site-packages/" not in first


@pytest.mark.parametrize("family", ["hist_gradient_boosting", "torch_mlp"])
def test_one_input_and_one_output_whatever_the_family(family: str, rows: Rows) -> None:
    model = onnx.load_from_string(export(fitted(family, numbers(2), rows), Calibration(0.5, 0.1)))
    assert [each.name for each in model.graph.input] == ["features"]
    assert len(model.graph.output) == 1
    assert b"/site-packages/" not in model.SerializeToString()


# ---- Calibration ----------------------------------------------------------------------------------------------------


def two_columns(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([1 - p, p])


def test_platt_scaling_by_hand() -> None:
    """Slope 2, intercept 1: p = 1/2 has the logit 0, its odds become e; p = 4/5 has ln 4, its odds become 16 e."""
    found = Calibration(2, 1).apply(two_columns(np.array([0.5, 0.8])))
    assert found[:, 1].tolist() == pytest.approx([np.e / (1 + np.e), 16 * np.e / (1 + 16 * np.e)])
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_the_identity_leaves_scores_as_they_are_even_at_the_ends() -> None:
    scores = two_columns(np.array([1e-6, 0.2, 0.9, 1 - 1e-6]))
    np.testing.assert_allclose(Calibration(1, 0).apply(scores), scores, rtol=1e-9)


def test_in_the_tails_the_logit_goes_on_in_a_straight_line_without_a_step() -> None:
    calibration = Calibration(1, 0, tail=0.01)
    p = np.array([0.0, 0.005, 0.01, 0.01 + 1e-9, 0.99, 0.995, 1.0])
    logits = calibration.logit(p)
    assert (np.diff(logits) > 0).all()
    assert logits[2] - logits[1] == pytest.approx(logits[1] - logits[0])
    assert logits[3] - logits[2] == pytest.approx(1e-9 * calibration.steepness, rel=1e-3)
    assert logits[0] == pytest.approx(np.log(0.01 / 0.99) - 0.01 / (0.01 * 0.99))


def test_calibration_finds_the_line_that_the_labels_were_drawn_from() -> None:
    generator = np.random.default_rng(3)
    p = generator.uniform(0.02, 0.98, 40_000)
    truth = Calibration(0.5, -0.7).apply(two_columns(p))[:, 1]
    found = fit_calibration(two_columns(p), (generator.random(len(p)) < truth).astype(float))
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.intercept == pytest.approx(-0.7, abs=0.03)


def overconfident(labels: NDArray[np.float64], wrong: float) -> NDArray[np.float64]:
    """Scores of almost 0 and almost 1, `wrong` of them on the wrong side."""
    generator = np.random.default_rng(4)
    said = np.where(generator.random(len(labels)) < wrong, 1 - labels, labels)
    return two_columns(np.clip(np.abs(said - 10.0 ** generator.uniform(-9, -3, len(labels))), 0, 1))


def test_an_overconfident_model_gets_tails_that_do_not_amplify_the_rounding_of_its_scores() -> None:
    labels = np.random.default_rng(8).integers(0, 2, 3000).astype(float)
    found = fit_calibration(overconfident(labels, 0.25), labels)
    assert found.tail > TAILS[0]
    assert found.amplification <= MAX_AMPLIFICATION
    steep = replace(found, tail=TAILS[0])
    assert steep.amplification > 100 * MAX_AMPLIFICATION


def test_a_rare_class_keeps_its_small_probabilities_apart() -> None:
    """Well calibrated scores of one in a thousand: longer tails would draw them together."""
    generator = np.random.default_rng(9)
    p = 10.0 ** generator.uniform(-4.5, -1.5, 60_000)
    found = fit_calibration(two_columns(p), (generator.random(len(p)) < p).astype(float))
    assert found.tail == TAILS[0]
    ends = found.apply(two_columns(np.array([1e-4, 1e-2])))[:, 1]
    assert ends[1] / ends[0] > 50


@pytest.mark.parametrize("family", ["hist_gradient_boosting", "random_forest", "logistic_regression", "torch_mlp"])
def test_the_calibrated_graph_scores_as_the_formula_even_where_the_model_is_sure(family: str) -> None:
    matrix = np.random.default_rng(10).normal(size=(900, 2)).astype(np.float32)
    rows = Rows(matrix, (matrix[:, 0] > 0).astype(float))
    sure = {
        "hist_gradient_boosting": {"iterations": 80, "learning_rate": 0.5},
        "random_forest": {"min_leaf_rows": 1},
        "logistic_regression": {"c": 1000},
        "torch_mlp": {"hidden": [16], "epochs": 20, "learning_rate": 0.05, "batch_rows": 64},
    }
    model = fitted(family, numbers(2), rows, **{family: sure[family]})
    noisy = np.where(np.random.default_rng(11).random(900) < 0.25, 1 - rows.target, rows.target)
    calibration = fit_calibration(model.predict(matrix), noisy)
    served = scorer(export(model, calibration), numbers(2))
    assert parity(model, calibration, served, numbers(2), matrix) <= PARITY_TOLERANCE
    scores = served.score_matrix(matrix)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert np.abs(scores[:, 1].mean() - noisy.mean()) < 0.02
    assert scores[:, 1].max() < 0.9 < model.predict(matrix)[:, 1].max()


def test_a_calibration_that_the_graph_lacks_is_caught(honest: Fitted, rows: Rows) -> None:
    with pytest.raises(VerificationError, match="differs from the native one"):
        parity(honest, Calibration(0.5, 0.1), scorer(export(honest, None), numbers(2)), numbers(2), rows.matrix)


def test_the_features_of_the_table_of_orders_keep_parity_with_all_their_gaps() -> None:
    table = orders(300)
    data = params()
    features = fit_features(table, data.data, data.train.preprocessing)
    problem = Problem(Task.BINARY, 2, features)
    given = Rows(encode(table, features), table["bought"].to_numpy(dtype=float))
    for family in TREES:
        assert difference(fitted(family, problem, given), problem, given.matrix) <= PARITY_TOLERANCE
