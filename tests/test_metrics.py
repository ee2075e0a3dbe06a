from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergeline.errors import DataError
from mergeline.intervals import Floats, Interval, delong, mean, unanimous, wilson
from mergeline.metrics import (
    CURVE_POINTS,
    LARGEST_LOG_LOSS,
    PRIMARY_METRIC,
    Codes,
    Metric,
    binary_metrics,
    calibration_curve,
    confusion_matrix,
    multiclass_metrics,
    precision_recall_curve,
    predicted_against_observed,
    regression_metrics,
    roc_curve,
)
from mergeline.schema import Task

Z = NormalDist().inv_cdf(0.975)
SEARCH = settings(max_examples=50, deadline=None, derandomize=True, database=None)

BINARY = (
    *("roc_auc", "average_precision", "log_loss", "brier_score", "expected_calibration_error"),
    *("accuracy", "precision", "recall", "f1", "predicted_positive_share"),
)
MULTICLASS = (
    *("log_loss", "accuracy", "balanced_accuracy", "macro_f1", "roc_auc_ovr"),
    *("recall_a", "recall_b", "recall_c"),
)
REGRESSION = ("rmse", "mae", "median_absolute_error", "r2", "bias")


def named(metrics: tuple[Metric, ...]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


def estimates(metrics: tuple[Metric, ...]) -> dict[str, float]:
    return {metric.name: metric.interval.estimate for metric in metrics}


def binary_rows(seed: int, rows: int = 400) -> tuple[Codes, Floats]:
    """Scores with many ties, zeros and ones among them."""
    labels, scores = smooth_rows(seed, rows)
    scores[:2] = 0.0, 1.0
    return labels, scores.round(2)


def smooth_rows(seed: int, rows: int) -> tuple[Codes, Floats]:
    generator = np.random.default_rng(seed)
    labels = (generator.random(rows) < 0.3).astype(np.int64)
    return labels, 1 / (1 + np.exp(1 - 1.5 * labels - generator.normal(size=rows)))


def multiclass_rows(seed: int, rows: int = 400) -> tuple[Codes, Floats]:
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, size=rows, p=[0.6, 0.3, 0.1])
    weights = np.exp((generator.normal(size=(rows, 3)) + 1.5 * np.eye(3)[labels]).round(1))
    return labels, weights / weights.sum(axis=1, keepdims=True)


def regression_rows(seed: int, rows: int = 400) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(seed)
    labels = generator.normal(size=rows).round(1)
    return labels, (0.8 * labels + 0.5 * generator.normal(size=rows)).round(1)


def slopes(statistic: Callable[[Floats], float], rows: int) -> Floats:
    """The derivative of a weighted statistic by each row's weight, by central differences."""
    step = 1e-4

    def slope(row: int) -> float:
        weights = np.ones(rows)
        weights[row] += step
        above = statistic(weights)
        weights[row] -= 2 * step
        return (above - statistic(weights)) / (2 * step)

    return np.array([slope(row) for row in range(rows)])


def half_width(statistic: Callable[[Floats], float], rows: int) -> float:
    return Z * math.sqrt(rows / (rows - 1) * float(np.square(slopes(statistic, rows)).sum()))


def logit(share: float) -> float:
    return math.log(share / (1 - share))


class TestBinary:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_estimates_are_those_of_scikit_learn(self, seed: int) -> None:
        from sklearn import metrics as reference

        labels, scores = binary_rows(seed)
        predicted = scores >= 0.4
        found = estimates(binary_metrics(labels, scores, threshold=0.4))
        assert tuple(found) == BINARY
        expected = {
            "roc_auc": reference.roc_auc_score(labels, scores),
            "average_precision": reference.average_precision_score(labels, scores),
            "log_loss": reference.log_loss(labels, scores),
            "brier_score": reference.brier_score_loss(labels, scores),
            "accuracy": reference.accuracy_score(labels, predicted),
            "precision": reference.precision_score(labels, predicted),
            "recall": reference.recall_score(labels, predicted),
            "f1": reference.f1_score(labels, predicted),
            "predicted_positive_share": predicted.mean(),
        }
        del found["expected_calibration_error"]
        assert found == pytest.approx(expected, abs=1e-12)

    def test_decisions_by_hand(self) -> None:
        """3 of 4 chosen are right, 2 of 5 positives are missed; the threshold itself counts as positive."""
        labels, scores = [1, 1, 1, 0, 1, 1, 0, 0], [0.9, 0.8, 0.5, 0.7, 0.4, 0.3, 0.2, 0.1]
        found = named(binary_metrics(labels, scores, threshold=0.5))
        assert found["accuracy"].interval == wilson(5, 8)
        assert found["precision"].interval == wilson(3, 4)
        assert found["recall"].interval == wilson(3, 5)
        assert found["predicted_positive_share"].interval == wilson(4, 8)
        overlap = wilson(3, 6)
        assert found["f1"].interval.estimate == pytest.approx(6 / 9)
        assert found["f1"].interval.high == pytest.approx(2 * overlap.high / (1 + overlap.high))
        rows = [found[name].rows for name in ("accuracy", "precision", "recall", "f1")]
        assert rows == [8, 4, 5, 6]

    def test_losses_by_hand(self) -> None:
        found = named(binary_metrics([1, 0], [0.8, 0.4], threshold=0.5))
        assert found["log_loss"].interval.estimate == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
        brier = found["brier_score"].interval
        error = 0.06 / 0.1  # the values 0.04 and 0.16 have the standard error 0.06
        assert (brier.low, brier.high) == pytest.approx((0.1 * math.exp(-Z * error), 0.1 * math.exp(Z * error)))

    def test_a_certain_mistake_costs_a_finite_loss(self) -> None:
        found = named(binary_metrics([1, 0], [0.0, 0.0], threshold=0.5))
        assert found["log_loss"].interval.estimate == pytest.approx(LARGEST_LOG_LOSS / 2)
        assert found["log_loss"].interval.high <= LARGEST_LOG_LOSS

    def test_the_auc_is_that_of_delong(self) -> None:
        labels, scores = binary_rows(seed=4)
        assert named(binary_metrics(labels, scores, 0.5))["roc_auc"].interval == delong(labels, scores)

    def test_the_interval_of_average_precision_follows_from_its_derivatives(self) -> None:
        from sklearn.metrics import average_precision_score

        labels, scores = binary_rows(seed=5, rows=300)
        interval = named(binary_metrics(labels, scores, 0.5))["average_precision"].interval
        reach = half_width(lambda weights: float(average_precision_score(labels, scores, sample_weight=weights)), 300)
        ap = interval.estimate
        floor = Z * math.sqrt(ap * (1 - ap) / labels.sum())
        expected = max(reach, floor) / (ap * (1 - ap))
        assert reach > floor, "the rows have to say more than the binomial floor"
        assert logit(interval.high) - logit(ap) == pytest.approx(expected, rel=1e-5)
        assert logit(ap) - logit(interval.low) == pytest.approx(expected, rel=1e-5)

    def test_few_positives_have_at_least_the_binomial_variance(self) -> None:
        """Precision 1 at the first positive and 2/3 at the second: two positives say little, whatever the negatives."""
        labels, scores = [1, 0, 1, *[0] * 17], np.linspace(1, 0, 20)
        interval = named(binary_metrics(labels, scores, 0.5))["average_precision"].interval
        reach = Z / math.sqrt(2 * 5 / 6 * 1 / 6)
        assert interval.estimate == pytest.approx(5 / 6)
        assert logit(interval.high) - logit(5 / 6) == pytest.approx(reach)

    def test_perfect_ranking_leaves_doubt_about_average_precision(self) -> None:
        found = named(binary_metrics([0] * 7 + [1] * 3, np.linspace(0, 1, 10), 0.5))
        assert found["average_precision"].interval == unanimous(True, 3)

    def test_the_calibration_error_by_hand(self) -> None:
        """Two groups of 50: scores of 0.2 with a share of 0.3, scores of 0.6 with a share of 0.4."""
        labels = np.repeat([1, 0, 1, 0], [15, 35, 20, 30])
        scores = np.repeat([0.2, 0.6], 50)
        error = named(binary_metrics(labels, scores, 0.5))["expected_calibration_error"].interval
        assert error.estimate == pytest.approx(0.5 * 0.1 + 0.5 * 0.2)

    def test_the_calibration_error_sees_miscalibration_and_forgives_noise(self) -> None:
        generator = np.random.default_rng(6)
        share = generator.random(4000)
        labels = (generator.random(4000) < share).astype(int)
        honest = named(binary_metrics(labels, share, 0.5))["expected_calibration_error"].interval
        boastful = named(binary_metrics(labels, np.sqrt(share), 0.5))["expected_calibration_error"].interval
        assert honest.low == 0
        assert boastful.low > 0.1

    @pytest.mark.parametrize(
        ("labels", "scores", "missing"),
        [
            ([], [], set(BINARY)),
            ([1], [0.7], {"roc_auc", "average_precision", "expected_calibration_error"}),
            ([0], [0.2], {*BINARY[:2], "expected_calibration_error", "precision", "recall", "f1"}),
            ([0, 1], [0.2, 0.9], {"expected_calibration_error"}),
            ([0, 1], [0.2, 0.3], {"expected_calibration_error", "precision"}),
            ([1] * 30, [0.9] * 30, {"roc_auc", "average_precision"}),
            ([0] * 30, [0.1] * 30, {"roc_auc", "average_precision", "precision", "recall", "f1"}),
            ([0, 1] * 15, [0.5] * 30, set()),
        ],
        ids=["none", "a positive", "a negative", "two", "none chosen", "positives", "negatives", "constant"],
    )
    def test_what_the_rows_do_not_define_is_absent(
        self, labels: list[int], scores: list[float], missing: set[str]
    ) -> None:
        found = named(binary_metrics(labels, scores, threshold=0.5))
        assert set(BINARY) - set(found) == missing
        for metric in found.values():
            assert metric.interval.low < metric.interval.high, f"{metric.name} claims certainty"

    @pytest.mark.parametrize(
        ("labels", "scores", "message"),
        [
            ([0, 1], [0.1, math.nan], "scores: expected finite numbers, found 1 NaN or infinite (first: row 1)"),
            ([0, 1], [0.1, 1.2], "scores: expected probabilities from 0 to 1, found 0.1 to 1.2"),
            ([0, 2], [0.1, 0.2], "labels: expected whole numbers from 0 to 1, found 0 to 2"),
            ([0, 0.5], [0.1, 0.2], "labels: expected whole numbers from 0 to 1, found fractions"),
            ([0, math.nan], [0.1, 0.2], "labels: expected finite numbers"),
            ([0, None], [0.1, 0.2], "labels: expected finite numbers"),
            (["no", "yes"], [0.1, 0.2], "labels: expected numbers, found <U3"),
            ([0, 1, 1], [0.1, 0.2], "labels: expected one a row like (2,), found (3,)"),
            ([0, 1], [[0.1], [0.2]], "labels: expected one a row like (2, 1), found (2,)"),
        ],
    )
    def test_rows_that_cannot_be_scored_are_refused_in_one_line(self, labels: Any, scores: Any, message: str) -> None:
        with pytest.raises(DataError) as caught:
            binary_metrics(labels, scores, threshold=0.5)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    @SEARCH
    @given(
        st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=60),
        st.floats(0, 1),
        st.integers(0, 2**32 - 1),
    )
    def test_bounds_hold_the_estimate_and_the_order_of_rows_does_not_matter(
        self, rows: list[tuple[int, float]], threshold: float, seed: int
    ) -> None:
        table = np.array(rows)
        shuffled = np.random.default_rng(seed).permutation(table)
        found = binary_metrics(table[:, 0], table[:, 1], threshold)
        again = binary_metrics(shuffled[:, 0], shuffled[:, 1], threshold)
        for metric, other in zip(found, again, strict=True):
            interval, limit = metric.interval, LARGEST_LOG_LOSS if metric.name == "log_loss" else 1
            assert 0 <= interval.low <= interval.estimate <= interval.high <= limit * (1 + 1e-12)
            assert (interval.low, interval.estimate, interval.high) == pytest.approx(
                (other.interval.low, other.interval.estimate, other.interval.high), rel=1e-6, abs=1e-7
            )

    def test_float32_scores_count_as_they_are(self) -> None:
        labels, scores = binary_rows(seed=7)
        narrow = scores.astype(np.float32)
        assert binary_metrics(labels, narrow, 0.5) == binary_metrics(labels, narrow.astype(np.float64), 0.5)


class TestMulticlass:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_estimates_are_those_of_scikit_learn(self, seed: int) -> None:
        from sklearn import metrics as reference

        labels, probabilities = multiclass_rows(seed)
        predicted = probabilities.argmax(axis=1)
        recalls = reference.recall_score(labels, predicted, average=None)
        found = estimates(multiclass_metrics(labels, probabilities, "abc"))
        assert tuple(found) == MULTICLASS
        expected = {
            "log_loss": reference.log_loss(labels, probabilities),
            "accuracy": reference.accuracy_score(labels, predicted),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
            "macro_f1": reference.f1_score(labels, predicted, average="macro"),
            "roc_auc_ovr": reference.roc_auc_score(labels, probabilities, multi_class="ovr"),
            **{f"recall_{name}": recall for name, recall in zip("abc", recalls, strict=True)},
        }
        assert found == pytest.approx(expected, abs=1e-12)

    def test_recalls_and_their_average_by_hand(self) -> None:
        probabilities = np.eye(3)[[0, 0, 1, 1, 2]] * 0.7 + 0.1
        found = named(multiclass_metrics([0, 0, 0, 1, 2], probabilities, ["x", "y", "z"]))
        assert found["recall_x"].interval == wilson(2, 3)
        assert found["recall_y"].interval == wilson(1, 1)
        assert found["recall_x"].rows == 3
        balanced = found["balanced_accuracy"].interval
        below = math.hypot(2 / 3 - wilson(2, 3).low, *(1 - wilson(1, 1).low,) * 2) / 3
        assert balanced.estimate - balanced.low == pytest.approx(below)

    def test_the_interval_of_macro_f1_follows_from_its_derivatives(self) -> None:
        from sklearn.metrics import f1_score

        labels, probabilities = multiclass_rows(seed=8)
        predicted = probabilities.argmax(axis=1)

        def statistic(weights: Floats) -> float:
            return float(f1_score(labels, predicted, average="macro", sample_weight=weights))

        self.check_on_logit("macro_f1", statistic, labels, probabilities)

    def test_the_interval_of_roc_auc_ovr_follows_from_its_derivatives(self) -> None:
        from sklearn.metrics import roc_auc_score

        # Overlapping classes of like size: the classes' own intervals are narrower than what they have in common.
        labels, probabilities = multiclass_rows(seed=9)
        labels, probabilities = labels % 2, np.column_stack([probabilities[:, 0], 1 - probabilities[:, 0]])

        def statistic(weights: Floats) -> float:
            return float(roc_auc_score(labels, probabilities[:, 1], sample_weight=weights))

        self.check_on_logit("roc_auc_ovr", statistic, labels, probabilities)

    def check_on_logit(
        self, name: str, statistic: Callable[[Floats], float], labels: Codes, probabilities: Floats
    ) -> None:
        classes = [str(code) for code in range(probabilities.shape[1])]
        interval = named(multiclass_metrics(labels, probabilities, classes))[name].interval
        reach = half_width(statistic, len(labels)) / (interval.estimate * (1 - interval.estimate))
        assert logit(interval.high) - logit(interval.estimate) == pytest.approx(reach, rel=1e-4)
        assert logit(interval.estimate) - logit(interval.low) == pytest.approx(reach, rel=1e-4)

    def test_two_classes_rank_as_one_probability_does(self) -> None:
        labels, scores = binary_rows(seed=10)
        both = estimates(multiclass_metrics(labels, np.column_stack([1 - scores, scores]), ["no", "yes"]))
        one = estimates(binary_metrics(labels, scores, 0.5))
        assert both["roc_auc_ovr"] == pytest.approx(one["roc_auc"], abs=1e-12)
        assert both["log_loss"] == pytest.approx(one["log_loss"], abs=1e-12)
        assert both["recall_yes"] == pytest.approx(one["recall"], abs=0.02)

    def test_perfect_predictions_leave_doubt(self) -> None:
        labels = np.repeat([0, 1, 2], 5)
        found = named(multiclass_metrics(labels, np.eye(3)[labels], "abc"))
        for name in MULTICLASS[1:]:
            assert found[name].interval.estimate == 1
            assert found[name].interval.low < 0.95

    @pytest.mark.parametrize(
        ("labels", "missing"),
        [
            ([], set(MULTICLASS)),
            ([1], {"roc_auc_ovr", "recall_a", "recall_c"}),
            ([1, 1, 1], {"roc_auc_ovr", "recall_a", "recall_c"}),
            ([0, 1], {"recall_c"}),
            ([0, 1, 2], set()),
        ],
        ids=["none", "one", "one class", "two classes", "all"],
    )
    def test_what_the_rows_do_not_define_is_absent(self, labels: list[int], missing: set[str]) -> None:
        probabilities = np.full((len(labels), 3), [0.2, 0.5, 0.3])
        found = named(multiclass_metrics(labels, probabilities, "abc"))
        assert set(MULTICLASS) - set(found) == missing
        for metric in found.values():
            assert metric.interval.low < metric.interval.high, f"{metric.name} claims certainty"

    @pytest.mark.parametrize(
        ("labels", "probabilities", "message"),
        [
            ([0, 3], [[0.5, 0.3, 0.2]] * 2, "labels: expected whole numbers from 0 to 2, found 0 to 3"),
            ([0, 1], [[0.5, 0.5]] * 2, "probabilities: expected a column a class, 3, found (2, 2)"),
            ([0, 1], [[0.5, 0.5, 0.5]] * 2, "probabilities: expected rows that sum to 1"),
            ([0, 1], [[math.nan, 0.5, 0.5]] * 2, "probabilities: expected finite numbers, found 2"),
            ([0], [[0.5, 0.3, 0.2]] * 2, "labels: expected one a row like (2,), found (1,)"),
        ],
    )
    def test_rows_that_cannot_be_scored_are_refused(
        self, labels: list[int], probabilities: list[list[float]], message: str
    ) -> None:
        with pytest.raises(DataError) as caught:
            multiclass_metrics(labels, probabilities, "abc")
        assert message in str(caught.value)

    @SEARCH
    @given(st.lists(st.tuples(st.integers(0, 2), *[st.integers(0, 5)] * 3), min_size=1, max_size=40))
    def test_bounds_hold_the_estimate(self, rows: list[tuple[int, int, int, int]]) -> None:
        table = np.array(rows, dtype=np.float64)
        weights = table[:, 1:] + 1e-3
        for metric in multiclass_metrics(table[:, 0], weights / weights.sum(axis=1, keepdims=True), "abc"):
            interval, limit = metric.interval, LARGEST_LOG_LOSS if metric.name == "log_loss" else 1
            assert 0 <= interval.low <= interval.estimate <= interval.high <= limit


class TestRegression:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_estimates_are_those_of_scikit_learn(self, seed: int) -> None:
        from sklearn import metrics as reference

        labels, predictions = regression_rows(seed)
        found = estimates(regression_metrics(labels, predictions))
        assert tuple(found) == REGRESSION
        expected = {
            "rmse": reference.root_mean_squared_error(labels, predictions),
            "mae": reference.mean_absolute_error(labels, predictions),
            "median_absolute_error": reference.median_absolute_error(labels, predictions),
            "r2": reference.r2_score(labels, predictions),
            "bias": (predictions - labels).mean(),
        }
        assert found == pytest.approx(expected, abs=1e-12)

    def test_errors_by_hand(self) -> None:
        """Errors of 1, 0, -2, 3 and labels of variance 1.25."""
        found = named(regression_metrics([1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 1.0, 7.0]))
        assert found["rmse"].interval.estimate == pytest.approx(math.sqrt(14 / 4))
        assert found["mae"].interval.estimate == pytest.approx(6 / 4)
        assert found["r2"].interval.estimate == pytest.approx(1 - 14 / 5)
        assert found["bias"].interval == mean([1.0, 0.0, -2.0, 3.0])
        squares = mean([1.0, 0.0, 4.0, 9.0], scale="log")
        assert found["rmse"].interval.high == pytest.approx(math.sqrt(squares.high))

    def test_the_interval_of_r2_follows_from_its_derivatives(self) -> None:
        from sklearn.metrics import r2_score

        labels, predictions = regression_rows(seed=11)
        interval = named(regression_metrics(labels, predictions))["r2"].interval

        def statistic(weights: Floats) -> float:
            return float(r2_score(labels, predictions, sample_weight=weights))

        unexplained = 1 - interval.estimate
        factor = math.exp(half_width(statistic, len(labels)) / unexplained)
        expected = 1 - unexplained * factor, 1 - unexplained / factor
        assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize(
        ("labels", "predictions", "missing"),
        [
            ([], [], set(REGRESSION)),
            ([1.0], [2.0], set(REGRESSION)),
            ([1.0, 2.0], [1.5, 1.0], {"median_absolute_error"}),
            ([0.1] * 6, [0.1, 0.2, 0.3] * 2, {"r2"}),
            ([0.0, 1e-200] * 3, [1e6, 2e6] * 3, {"r2"}),
            ([1.0, 2.0, 3.0] * 3, [1.0, 2.0, 3.0] * 3, set()),
        ],
        ids=["none", "one", "two", "equal labels", "labels equal to a float", "perfect"],
    )
    def test_what_the_rows_do_not_define_is_absent(
        self, labels: list[float], predictions: list[float], missing: set[str]
    ) -> None:
        assert set(REGRESSION) - set(named(regression_metrics(labels, predictions))) == missing

    def test_perfect_predictions_have_no_error(self) -> None:
        found = estimates(regression_metrics(np.arange(9.0), np.arange(9.0)))
        assert found == {"rmse": 0, "mae": 0, "median_absolute_error": 0, "r2": 1, "bias": 0}

    @pytest.mark.parametrize(("label", "prediction"), [(math.nan, 1.0), (1.0, math.inf)])
    def test_rows_that_cannot_be_scored_are_refused(self, label: float, prediction: float) -> None:
        with pytest.raises(DataError, match="expected finite numbers, found 1 NaN or infinite"):
            regression_metrics([1.0, label], [1.0, prediction])

    @SEARCH
    @given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=30))
    def test_bounds_hold_the_estimate_and_errors_stay_positive(self, rows: list[tuple[float, float]]) -> None:
        table = np.array(rows)
        for metric in regression_metrics(table[:, 0], table[:, 1]):
            interval = metric.interval
            assert interval.low <= interval.estimate <= interval.high
            assert metric.name in {"r2", "bias"} or interval.low >= 0
            assert metric.name != "r2" or interval.high <= 1


class TestConfusionMatrix:
    def test_it_is_that_of_scikit_learn(self) -> None:
        from sklearn.metrics import confusion_matrix as reference

        generator = np.random.default_rng(12)
        labels, predicted = generator.integers(0, 4, (2, 200))
        assert (confusion_matrix(labels, predicted, 4) == reference(labels, predicted)).all()

    def test_a_class_without_rows_keeps_its_place(self) -> None:
        assert confusion_matrix([0, 2], [2, 2], classes=3).tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 1]]
        assert confusion_matrix([], [], classes=2).tolist() == [[0, 0], [0, 0]]

    def test_a_code_without_a_class_is_refused(self) -> None:
        with pytest.raises(DataError, match="predicted: expected whole numbers from 0 to 1, found 0 to 2"):
            confusion_matrix([0, 1], [0, 2], classes=2)


class TestBins:
    def test_each_bin_has_its_share_and_its_doubt(self) -> None:
        curve = calibration_curve([0, 1] * 5 + [1] * 10, np.linspace(0, 0.95, 20), bins=2)
        assert [part.observed for part in curve] == [wilson(5, 10), wilson(10, 10)]
        assert [part.mean_prediction for part in curve] == pytest.approx([0.225, 0.725])

    @pytest.mark.parametrize(("rows", "bins"), [(1, 1), (19, 1), (20, 2), (57, 5), (100, 10), (1000, 10)])
    def test_few_rows_make_few_bins_of_like_size(self, rows: int, bins: int) -> None:
        curve = calibration_curve(np.arange(rows) % 2, np.linspace(0, 1, rows))
        sizes = [part.rows for part in curve]
        assert len(sizes) == bins
        assert sum(sizes) == rows
        assert max(sizes) - min(sizes) <= 1

    def test_equal_scores_are_never_parted(self) -> None:
        scores = np.repeat([0.1, 0.2, 0.9], [50, 430, 20])
        curve = calibration_curve(np.zeros(500), scores)
        assert [part.rows for part in curve] == [50, 430, 20]
        assert [part.mean_prediction for part in curve] == pytest.approx([0.1, 0.2, 0.9])

    def test_equal_scores_go_where_their_middle_falls(self) -> None:
        """The second group starts in the lower half and lies in the upper one."""
        curve = calibration_curve(np.zeros(100), np.repeat([0.1, 0.2], [30, 70]), bins=2)
        assert [part.rows for part in curve] == [30, 70]

    def test_no_rows_make_no_bins(self) -> None:
        assert calibration_curve([], []) == ()
        assert predicted_against_observed([], []) == ()

    def test_for_a_regression_a_bin_has_the_mean_label(self) -> None:
        labels, predictions = np.arange(40.0) ** 2, np.arange(40.0)
        low, high = predicted_against_observed(labels, predictions, bins=2)
        assert low.observed == mean(labels[:20])
        assert (high.mean_prediction, high.rows) == (29.5, 20)

    def test_a_bin_of_one_row_is_left_out(self) -> None:
        assert predicted_against_observed([1.0], [2.0]) == ()
        predictions = np.repeat([1.0, 2.0], [19, 1])
        assert [part.rows for part in predicted_against_observed(np.arange(20.0), predictions)] == [19]


class TestCurves:
    def test_short_curves_are_those_of_scikit_learn(self) -> None:
        from sklearn import metrics as reference

        labels, scores = binary_rows(seed=13, rows=120)
        false_positive, true_positive, thresholds = reference.roc_curve(labels, scores, drop_intermediate=False)
        curve = roc_curve(labels, scores)
        assert [point.false_positive_rate for point in curve] == pytest.approx(false_positive)
        assert [point.true_positive_rate for point in curve] == pytest.approx(true_positive)
        assert [point.threshold for point in curve[1:]] == pytest.approx(thresholds[1:])
        assert curve[0].threshold is None

        precision, recall, thresholds = reference.precision_recall_curve(labels, scores)
        points = precision_recall_curve(labels, scores)
        expected = list(zip(thresholds, recall, precision, strict=False))[::-1][: len(points)]
        assert [(point.threshold, point.recall, point.precision) for point in points] == expected
        assert points[-1].recall == 1

    def test_long_curves_are_thinned_and_keep_their_ends_and_their_area(self) -> None:
        generator = np.random.default_rng(14)
        labels = (generator.random(20_000) < 0.2).astype(int)
        scores = generator.normal(size=20_000) + labels
        curve = roc_curve(labels, scores)
        assert len(curve) <= CURVE_POINTS
        assert (curve[0].false_positive_rate, curve[0].true_positive_rate) == (0, 0)
        assert (curve[-1].false_positive_rate, curve[-1].true_positive_rate) == (1, 1)
        area = np.trapezoid([p.true_positive_rate for p in curve], [p.false_positive_rate for p in curve])
        assert area == pytest.approx(delong(labels, scores).estimate, abs=1e-3)

        points = precision_recall_curve(labels, scores)
        assert 100 < len(points) <= CURVE_POINTS
        assert points[-1].recall == 1
        assert np.diff([point.recall for point in points]).max() < 0.01

    @pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]])
    def test_one_class_has_no_curve(self, labels: list[int]) -> None:
        assert roc_curve(labels, [0.5] * len(labels)) == ()
        assert precision_recall_curve(labels, [0.5] * len(labels)) == ()

    def test_constant_scores_have_one_threshold(self) -> None:
        points = roc_curve([0, 1], [0.5, 0.5])
        assert [(point.threshold, point.true_positive_rate) for point in points] == [(None, 0.0), (0.5, 1.0)]
        (only,) = precision_recall_curve([0, 1], [0.5, 0.5])
        assert (only.recall, only.precision) == (1.0, 0.5)


class TestRecords:
    @pytest.mark.parametrize(
        ("task", "metrics"),
        [
            (Task.BINARY, binary_metrics(*binary_rows(0), threshold=0.5)),
            (Task.MULTICLASS, multiclass_metrics(*multiclass_rows(0), "abc")),
            (Task.REGRESSION, regression_metrics(*regression_rows(0))),
        ],
    )
    def test_the_primary_metric_of_a_task_comes_first_and_has_a_direction(
        self, task: Task, metrics: tuple[Metric, ...]
    ) -> None:
        assert metrics[0].name == PRIMARY_METRIC[task]
        assert metrics[0].greater_is_better is not None

    def test_every_task_has_a_primary_metric(self) -> None:
        assert set(PRIMARY_METRIC) == set(Task)

    def test_losses_and_errors_want_to_be_small_and_shares_predicted_do_not_care(self) -> None:
        found = named(
            binary_metrics(*binary_rows(0), threshold=0.5)
            + multiclass_metrics(*multiclass_rows(0), "abc")
            + regression_metrics(*regression_rows(0))
        )
        small = {name for name, metric in found.items() if metric.greater_is_better is False}
        assert small == {
            *("log_loss", "brier_score", "expected_calibration_error", "rmse", "mae", "median_absolute_error")
        }
        assert {name for name, metric in found.items() if metric.greater_is_better is None} == {
            "bias",
            "predicted_positive_share",
        }

    def test_records_survive_json_without_nan_or_infinity(self) -> None:
        labels, scores = binary_rows(seed=15)
        for metric in binary_metrics(labels, scores, 0.5):
            fields = json.loads(json.dumps(metric.as_dict(), allow_nan=False))
            interval = Interval(*(fields[name] for name in ("estimate", "low", "high", "method", "confidence")))
            assert Metric(fields["name"], interval, fields["greater_is_better"], fields["rows"]) == metric
        points = [asdict(point) for point in roc_curve(labels, scores)]
        bins = [asdict(part) for part in calibration_curve(labels, scores)]
        assert json.loads(json.dumps([points, bins], allow_nan=False)) == [points, bins]


def test_scoring_imports_neither_scipy_nor_scikit_learn_nor_pandas() -> None:
    code = (
        "import sys\n"
        "from mergeline.metrics import binary_metrics, multiclass_metrics, regression_metrics\n"
        "binary_metrics([0, 1] * 20, [0.1, 0.6] * 20, 0.5)\n"
        "multiclass_metrics([0, 1], [[0.6, 0.4], [0.2, 0.8]], 'ab')\n"
        "regression_metrics([1.0, 2.0], [1.5, 2.5])\n"
        "print(sorted({'scipy', 'sklearn', 'pandas'} & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# Coverage, as in test_intervals.py: the intervals of a few hundred small samples against the value of the population.
SIMULATIONS = 400
LEAST_COVERAGE = 0.95 - 3 * math.sqrt(0.95 * 0.05 / SIMULATIONS)


@pytest.mark.parametrize(
    ("task", "rows"), [(Task.BINARY, 100), (Task.MULTICLASS, 100), (Task.REGRESSION, 100)], ids=str
)
def test_intervals_of_small_samples_hold_the_value_of_the_population(task: Task, rows: int) -> None:
    score: Callable[[int, int], tuple[Metric, ...]] = {
        Task.BINARY: lambda seed, size: binary_metrics(*smooth_rows(seed, size), threshold=0.4),
        Task.MULTICLASS: lambda seed, size: multiclass_metrics(*multiclass_rows(seed, size), "abc"),
        Task.REGRESSION: lambda seed, size: regression_metrics(*regression_rows(seed, size)),
    }[task]
    truth, held = estimates(score(10**6, 400_000)), dict[str, list[bool]]()
    for seed in range(SIMULATIONS):
        for metric in score(seed, rows):
            inside = metric.interval.low <= truth[metric.name] <= metric.interval.high
            held.setdefault(metric.name, []).append(inside)
    short = {name: np.mean(inside) for name, inside in held.items() if np.mean(inside) < LEAST_COVERAGE}
    assert short == {}
