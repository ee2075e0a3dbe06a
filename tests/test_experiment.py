"""What is said of two models is right as often as it says, whoever looks when, and is not said of spoilt data."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from repositories import SAMPLE_PARAMS
from scipy import stats

from mergeline.commands.monitoring import Wishes
from mergeline.commands.monitoring import experiment as command
from mergeline.errors import ConfigurationError, DataError, MergelineError
from mergeline.intervals import Floats, Interval, wilson
from mergeline.metrics import Codes
from mergeline.monitor.experiments.arm import Arm, Problem, gap_range
from mergeline.monitor.experiments.differences import Difference, independent, on_same_requests, recovered_p
from mergeline.monitor.experiments.experiment import Experiment, Plan, Verdict, experiment
from mergeline.monitor.experiments.influence import influence, variance
from mergeline.monitor.experiments.looks import POWER, progress, reach
from mergeline.monitor.experiments.sides import Kind, Models, units
from mergeline.monitor.experiments.statement import sentence, statement
from mergeline.monitor.experiments.tables import outcomes, pairs, share_of
from mergeline.monitor.labels import join
from mergeline.monitor.logfiles import predictions_part
from mergeline.params.evaluate import PRIMARY_METRICS
from mergeline.schema import Feature, Signature, Task
from mergeline.schema import Kind as FeatureKind

Z = NormalDist().inv_cdf(0.975)
OLD, NEW = "a" * 64, "b" * 64
START = pd.Timestamp("2024-05-01", tz="UTC")
YES = Problem(Task.BINARY, ("no", "yes"))
SORTS = Problem(Task.MULTICLASS, ("low", "mid", "top"))
PRICE = Problem(Task.REGRESSION)
PROBLEMS = {problem.task: problem for problem in (YES, SORTS, PRICE)}
EACH = [pytest.param(task, name, id=f"{task}-{name}") for task, names in PRIMARY_METRICS.items() for name in names]
CUT = 0.4


# ---- Answers ---------------------------------------------------------------------------------------------------------


def sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)))


def answers(
    generator: np.random.Generator,
    rows: int,
    task: Task = Task.BINARY,
    noise: float = 0.7,
    asked: int = 1,
    hard: Floats | None = None,
    label: Floats | None = None,
) -> Arm:
    """A model's answers: less noise is a better model. asked: requests an entity, which are alike."""
    entities = rows // asked
    common = np.repeat(generator.normal(size=entities), asked) if hard is None else hard
    if task is Task.BINARY:
        drawn = np.repeat(generator.random(entities) < 0.3, asked).astype(np.float64) if label is None else label
        score = sigmoid(1.5 * drawn - 1 + 0.7 * common + noise * generator.normal(size=rows))
        return Arm(drawn, np.column_stack([1 - score, score]), np.repeat(np.arange(entities), asked), CUT)
    if task is Task.MULTICLASS:
        drawn = np.repeat(generator.choice(3, size=entities, p=[0.5, 0.3, 0.2]), asked).astype(np.float64)
        logits = 1.5 * np.eye(3)[drawn.astype(int)] + 0.7 * common[:, None] * [1, 0, -1]
        weights = np.exp(logits + noise * generator.normal(size=(rows, 3)))
        return Arm(drawn, weights / weights.sum(axis=1, keepdims=True), np.repeat(np.arange(entities), asked))
    drawn = generator.normal(size=rows)
    predicted = drawn + 0.7 * common + noise * generator.normal(size=rows)
    return Arm(drawn, predicted[:, None], np.repeat(np.arange(entities), asked))


def first(arm: Arm, rows: int) -> Arm:
    return Arm(arm.label[:rows], arm.scores[:rows], arm.unit[:rows], arm.threshold)


def sure(found: Difference | None) -> Difference:
    assert found is not None
    return found


def wins(labels: Floats, scores: Floats) -> Floats:
    """[positives, negatives]: 1 where the positive wins, one half for a tie."""
    positive, negative = scores[labels == 1][:, None], scores[labels == 0][None, :]
    return np.where(positive == negative, 0.5, (positive > negative).astype(np.float64))


def delong_variance(arm: Arm) -> float:
    """From the definition: a variance for the rows of each class."""
    won = wins(arm.label, arm.scores[:, 1])
    return float(won.mean(axis=1).var(ddof=1) / won.shape[0] + won.mean(axis=0).var(ddof=1) / won.shape[1])


class TestVariance:
    def test_of_roc_auc_it_is_delong_s(self) -> None:
        arm = answers(np.random.default_rng(1), 240)
        moved = influence("roc_auc", YES, arm)
        assert moved is not None
        assert variance(moved, arm.unit)[0] == pytest.approx(delong_variance(arm), rel=1e-12)

    @pytest.mark.parametrize(("task", "name"), EACH)
    def test_influences_sum_to_nothing_and_say_what_a_row_s_weight_does(self, task: Task, name: str) -> None:
        arm = answers(np.random.default_rng(2), 400, task)
        problem = PROBLEMS[task]
        moved = influence(name, problem, arm)
        assert moved is not None
        assert moved.rows.sum() == pytest.approx(0, abs=1e-9)
        if name == "median_absolute_error":  # has no derivative, see below
            return
        twice = np.concatenate([np.arange(400)] * 50 + [[7]])  # row 7 weighs 1/50 more
        heavier = influence(name, problem, arm.select(twice))
        assert heavier is not None
        assert (heavier.estimate - moved.estimate) * 50 == pytest.approx(moved.rows[7], rel=0.1, abs=2e-5)

    def test_of_a_median_it_is_about_what_resampling_shows(self) -> None:
        generator = np.random.default_rng(3)
        arm = answers(generator, 900, Task.REGRESSION)
        moved = influence("median_absolute_error", PRICE, arm)
        assert moved is not None
        size = np.abs(arm.scores[:, 0] - arm.label)
        resampled = np.std([np.median(generator.choice(size, 900)) for _ in range(400)])
        assert math.sqrt(variance(moved, arm.unit)[0]) == pytest.approx(resampled, rel=0.25)

    @pytest.mark.parametrize(("task", "name"), EACH)
    def test_who_asks_the_same_five_times_tells_nothing_more(self, task: Task, name: str) -> None:
        problem, once = PROBLEMS[task], answers(np.random.default_rng(4), 300, task)
        five = once.select(np.repeat(np.arange(300), 5))
        alone, again = influence(name, problem, once), influence(name, problem, five)
        assert alone is not None
        assert again is not None
        rel = 0.3 if name == "median_absolute_error" else 0.01  # its density is an estimate of its own
        assert variance(again, five.unit)[0] == pytest.approx(variance(alone, once.unit)[0], rel=rel)
        assert variance(again, np.arange(1500))[0] < variance(alone, once.unit)[0] / 3  # the twin: rows taken as such

    def test_of_a_single_entity_it_is_not_known(self) -> None:
        arm = answers(np.random.default_rng(5), 50, asked=50)
        assert variance(sure_influence("brier_score", arm), arm.unit) == (math.inf, 1)


def sure_influence(name: str, arm: Arm) -> Any:
    found = influence(name, YES, arm)
    assert found is not None
    return found


class TestDifference:
    @pytest.mark.parametrize(
        ("name", "losses"),
        [
            ("brier_score", lambda arm: np.square(arm.scores[:, 1] - arm.label)),
            ("log_loss", lambda arm: -np.log(np.where(arm.label == 1, arm.scores[:, 1], arm.scores[:, 0]))),
        ],
    )
    def test_of_mean_losses_it_is_welch_s(self, name: str, losses: Callable[[Arm], Floats]) -> None:
        generator = np.random.default_rng(11)
        old, new = answers(generator, 150, noise=0.9), answers(generator, 90)
        found, expected = (
            sure(independent(name, YES, old, new)),
            stats.ttest_ind(losses(old), losses(new), equal_var=False),
        )
        interval = expected.confidence_interval(0.95)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
        assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
        assert found.interval.estimate > 0  # the challenger has the smaller loss
        assert found.interval.method == "welch"

    def test_of_roc_auc_it_is_the_sum_of_two_delong_variances(self) -> None:
        generator = np.random.default_rng(12)
        old, new = answers(generator, 3000, noise=1.0), answers(generator, 2000)
        found = sure(independent("roc_auc", YES, old, new))
        areas = [float(wins(arm.label, arm.scores[:, 1]).mean()) for arm in (old, new)]
        error = math.sqrt(delong_variance(old) + delong_variance(new))
        assert found.interval.estimate == pytest.approx(areas[1] - areas[0])
        assert found.interval.high - found.interval.low == pytest.approx(2 * Z * error, rel=0.01)
        z = (areas[1] - areas[0]) / error
        assert stats.norm.isf(found.p_value / 2) == pytest.approx(z, rel=0.02)

    def test_of_few_shares_it_holds_newcombe_s_interval(self) -> None:
        """Newcombe 1998, table II, method 10: 56/70 against 48/80 gives 0.0524 to 0.3339."""
        found = sure(independent("accuracy", YES, right_and_wrong(48, 80), right_and_wrong(56, 70))).interval
        better, worse = wilson(56, 70), wilson(48, 80)
        low = found.estimate - math.hypot(better.estimate - better.low, worse.high - worse.estimate)
        high = found.estimate + math.hypot(better.high - better.estimate, worse.estimate - worse.low)
        assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
        assert found.low <= low
        assert high <= found.high < high + 0.02

    def test_all_right_against_all_right_is_no_certainty(self) -> None:
        found = sure(independent("accuracy", YES, right_and_wrong(20, 20), right_and_wrong(20, 20)))
        assert found.interval.low < -0.1 < 0.1 < found.interval.high
        assert found.p_value == 1

    @pytest.mark.parametrize(("task", "name"), EACH)
    def test_a_better_challenger_is_above_zero_whichever_way_the_metric_counts(self, task: Task, name: str) -> None:
        generator = np.random.default_rng(13)
        old, new = answers(generator, 3000, task, noise=2.0), answers(generator, 3000, task, noise=0.5)
        forth, back = (
            sure(independent(name, PROBLEMS[task], old, new)),
            sure(independent(name, PROBLEMS[task], new, old)),
        )
        assert 0 < forth.interval.low < forth.interval.estimate < forth.interval.high
        assert forth.p_value < 1e-3
        turned = (-back.interval.high, -back.interval.estimate, -back.interval.low)
        assert turned == pytest.approx((forth.interval.low, forth.interval.estimate, forth.interval.high))

    @pytest.mark.parametrize(("task", "name"), EACH)
    def test_both_on_the_same_requests_are_compared_in_pairs(self, task: Task, name: str) -> None:
        generator = np.random.default_rng(14)
        old = answers(generator, 800, task)
        tilt = 0.1 * generator.normal(size=old.scores.shape)
        scores = old.scores * np.exp(tilt)
        new = Arm(
            old.label, scores if task is Task.REGRESSION else scores / scores.sum(axis=1, keepdims=True), old.unit, CUT
        )
        if task is not Task.BINARY:
            new = replace(new, threshold=None)
        close = sure(on_same_requests(name, PROBLEMS[task], old, new)).interval
        far = sure(independent(name, PROBLEMS[task], old, new)).interval
        assert close.high - close.low < 0.7 * (far.high - far.low)

    def test_pairs_of_one_entity_are_not_taken_as_independent(self) -> None:
        generator = np.random.default_rng(15)
        old, new = answers(generator, 200), answers(generator, 200)
        new = Arm(old.label, new.scores, old.unit, CUT)
        ten = np.repeat(np.arange(200), 10)
        alone = sure(on_same_requests("brier_score", YES, old, new)).interval
        again = sure(on_same_requests("brier_score", YES, old.select(ten), new.select(ten))).interval
        assert again.high - again.low == pytest.approx(alone.high - alone.low, rel=0.03)

    def test_a_metric_that_one_side_does_not_define_has_no_difference(self) -> None:
        generator = np.random.default_rng(16)
        whole, one_class = answers(generator, 60), answers(generator, 60, label=np.ones(60))
        assert independent("roc_auc", YES, whole, one_class) is None
        assert on_same_requests("roc_auc", YES, one_class, one_class) is None
        nothing = first(whole, 0)
        assert independent("brier_score", YES, whole, nothing) is None
        undecided = replace(whole, threshold=None)
        assert independent("f1", YES, undecided, undecided) is None

    def test_a_recovered_p_value_agrees_with_its_interval(self) -> None:
        assert recovered_p(Interval(0.3, 0.1, 0.5, "any", 0.95)) < 0.05
        assert recovered_p(Interval(-0.3, -0.5, 0.1, "any", 0.95)) > 0.05
        assert recovered_p(Interval(0.0, -1.0, 1.0, "any", 0.95)) == 1
        assert recovered_p(Interval(0.3, 0.3, 0.3, "any", 0.95)) == 0


def right_and_wrong(right: int, rows: int) -> Arm:
    """So many right decisions of so many rows, half of them positive."""
    label = (np.arange(rows) % 2).astype(np.float64)
    said = np.where(np.arange(rows) < right, label, 1 - label)
    return Arm(label, np.column_stack([1 - said, said]), np.arange(rows), CUT)


# ---- How often it is wrong -------------------------------------------------------------------------------------------


class TestErrorRates:
    @pytest.mark.parametrize("asked", [pytest.param(1, id="a request an entity"), pytest.param(5, id="five requests")])
    @pytest.mark.parametrize("name", ["roc_auc", "brier_score", "f1"])
    def test_of_400_equal_pairs_about_one_in_twenty_differs_at_a_single_look(self, name: str, asked: int) -> None:
        generator = np.random.default_rng(21)

        def equal(name: str) -> Difference | None:
            return independent(name, YES, answers(generator, 300, asked=asked), answers(generator, 300, asked=asked))

        each = [equal(name) for _ in range(400)]
        wrong = np.mean([sure(found).p_value < 0.05 for found in each])
        assert 0.025 < wrong < 0.08

    def test_the_twin_requests_of_one_entity_taken_as_independent_are_wrong_far_too_often(self) -> None:
        generator = np.random.default_rng(22)

        def alone() -> Arm:
            arm = answers(generator, 300, asked=5)
            return replace(arm, unit=np.arange(300))

        found = [sure(independent("brier_score", YES, alone(), alone())).p_value < 0.05 for _ in range(200)]
        assert np.mean(found) > 0.15

    def test_who_looks_ten_times_is_fooled_by_the_single_look_and_not_by_the_verdict(self) -> None:
        generator = np.random.default_rng(23)
        single, always, margin = 0, 0, 0.05
        for _ in range(200):
            old, new = answers(generator, 1000), answers(generator, 1000)
            fooled, decided = False, False
            for rows in range(100, 1001, 100):
                found = sure(independent("roc_auc", YES, first(old, rows), first(new, rows)))
                known = progress(found.interval, 2 * rows, margin, gap_range("roc_auc")).always
                fooled |= found.p_value < 0.05
                decided |= known.low > 0 or known.high < 0
            single, always = single + fooled, always + decided
        assert single / 200 > 0.12
        assert always / 200 <= 0.05

    def test_a_difference_of_the_margin_is_found_by_the_planned_number_of_labels(self) -> None:
        """On the path of an estimate whose true value is the margin, as often as was promised."""
        generator = np.random.default_rng(24)
        margin, confidence, looks = 1.0, 0.95, 40
        error = margin / (reach(1.0, confidence) + NormalDist().inv_cdf(POWER))  # at the planned size
        found = 0
        for _ in range(400):
            drawn = generator.normal(margin, error * math.sqrt(looks), looks)
            path = [Interval(m, m - Z * s, m + Z * s, "normal", confidence) for m, s in path_of(drawn, error, looks)]
            known = [progress(one, 10 * (n + 1), margin, (-math.inf, math.inf)) for n, one in enumerate(path)]
            assert known[-1].fraction == pytest.approx(1)
            assert known[0].needed == pytest.approx(400, abs=1)
            found += any(one.always.low > 0 for one in known)
        assert found / 400 > POWER

    def test_the_reach_is_that_of_the_formula_and_errs_at_no_look_more_than_it_says(self) -> None:
        generator = np.random.default_rng(25)
        assert reach(1.0, 0.95) == pytest.approx(
            math.sqrt(2 * (1 + 1 / 7.9361) * math.log(math.sqrt(8.9361) / 0.05)), rel=1e-4
        )
        time = np.linspace(0.01, 4, 400)
        paths = np.cumsum(generator.normal(scale=0.1, size=(4000, 400)), axis=1)  # variance 0.01 a step
        assert np.allclose(np.diff(time), 0.01)
        z = np.abs(paths) / np.sqrt(time)
        bound = np.array([reach(float(each), 0.95) for each in time])
        assert (z > bound).any(axis=1).mean() < 0.05
        assert (z > Z).any(axis=1).mean() > 0.4  # the twin: the bound of a single look
        assert (z[:, 4:100:5] > Z).any(axis=1).mean() == pytest.approx(0.24, abs=0.03)  # twenty looks

    def test_nothing_known_reaches_everywhere(self) -> None:
        nothing = progress(Interval(0.0, -math.inf, math.inf, "normal", 0.95), 2, 0.1, (-1.0, 1.0))
        assert (nothing.fraction, nothing.always.low, nothing.always.high, nothing.needed) == (0.0, -1.0, 1.0, None)
        alike = progress(Interval(0.0, 0.0, 0.0, "normal", 0.95), 2, 0.1, (-1.0, 1.0))
        assert (alike.fraction, alike.always.high, alike.needed) == (math.inf, 0.0, None)
        with pytest.raises(ConfigurationError, match="margin"):
            progress(Interval(0.0, -1.0, 1.0, "normal", 0.95), 2, 0.0, (-1.0, 1.0))


def path_of(drawn: Floats, error: float, looks: int) -> Iterator[tuple[float, float]]:
    """The running mean and its standard error, `error` at the last look."""
    means = np.cumsum(drawn) / np.arange(1, looks + 1)
    for number, mean in enumerate(means, start=1):
        yield float(mean), error * math.sqrt(looks / number)


# ---- Tables ----------------------------------------------------------------------------------------------------------


def spread(counts: list[list[int]]) -> tuple[Codes, Codes]:
    table = np.array(counts)
    cells = [(row, column) for row in range(2) for column in range(table.shape[1]) for _ in range(table[row, column])]
    variant, value = np.array(cells).T
    return variant, value


class TestTables:
    @pytest.mark.parametrize(
        ("counts", "method", "p_value"),
        [
            (
                [[60, 40], [45, 55]],
                "chi-squared",
                stats.chi2_contingency([[60, 40], [45, 55]], correction=False).pvalue,
            ),
            ([[20, 6], [14, 12]], "chi-squared, Yates", stats.chi2_contingency([[20, 6], [14, 12]]).pvalue),
            ([[8, 2], [1, 5]], "Fisher, exact", stats.fisher_exact([[8, 2], [1, 5]]).pvalue),
            ([[30, 20, 9], [25, 30, 12]], "chi-squared", stats.chi2_contingency([[30, 20, 9], [25, 30, 12]]).pvalue),
        ],
    )
    def test_the_method_follows_from_the_expected_counts(
        self, counts: list[list[int]], method: str, p_value: float
    ) -> None:
        found = outcomes(*spread(counts), ("a", "b", "c")[: len(counts[0])])
        assert found.method == method
        assert found.p_value == pytest.approx(p_value, rel=1e-12)
        assert found.counts == tuple(map(tuple, counts))
        assert found.effect == pytest.approx(stats.contingency.association(np.array(counts), method="cramer"))

    def test_a_larger_table_of_few_rows_is_simulated_and_the_same_every_time(self) -> None:
        rows = spread([[9, 1, 0], [2, 3, 4]])
        found = outcomes(*rows, ("a", "b", "c"))
        assert found.method == "chi-squared, simulated"
        exact = stats.fisher_exact(np.array(found.counts)).pvalue
        assert found.p_value == pytest.approx(exact, abs=0.02)
        assert outcomes(*rows, ("a", "b", "c")) == found

    def test_a_class_that_nobody_has_plays_no_part(self) -> None:
        assert outcomes(*spread([[60, 40, 0], [45, 55, 0]]), ("a", "b", "c")).statistic == pytest.approx(
            stats.chi2_contingency([[60, 40], [45, 55]], correction=False).statistic
        )

    @pytest.mark.parametrize("counts", [[[5, 0], [7, 0]], [[0, 0], [7, 3]]])
    def test_one_class_or_one_variant_is_not_compared(self, counts: list[list[int]]) -> None:
        found = outcomes(*spread(counts), ("a", "b"))
        assert (found.method, found.p_value, found.effect) == ("not compared", None, None)

    def test_rao_and_scott_take_three_like_requests_of_an_entity_as_one(self) -> None:
        variant, value = spread([[60, 40], [45, 55]])
        three = np.repeat(np.arange(200), 3)
        found = outcomes(variant[three], value[three], ("a", "b"), three)
        alone = stats.chi2_contingency([[60, 40], [45, 55]], correction=False)
        assert found.method == "chi-squared, Rao and Scott"
        assert found.statistic == pytest.approx(alone.statistic, rel=0.02)
        assert found.effect == pytest.approx(math.sqrt(alone.statistic / 200))

    def test_pairs_are_compared_where_they_disagree(self) -> None:
        champion = np.repeat([0, 0, 1, 1], [40, 12, 3, 45])
        challenger = np.repeat([0, 1, 0, 1], [40, 12, 3, 45])
        found = pairs(champion, challenger, ("wrong", "right"))
        assert (found.method, found.counts) == ("McNemar, exact", ((52, 48), (43, 57)))
        assert found.p_value == pytest.approx(stats.binomtest(12, 15).pvalue)
        assert found.effect == pytest.approx(0.09)
        four = np.repeat(np.arange(100), 4)
        again = pairs(champion[four], challenger[four], ("wrong", "right"), four)
        assert again.method == "McNemar, by entity"
        assert again.statistic == pytest.approx((12 - 3) ** 2 / 15)  # McNemar's, as if each had asked once
        assert pairs(champion, champion, ("wrong", "right")).p_value is None

    def test_a_share_is_compared_with_what_was_set(self) -> None:
        expected = stats.chisquare([870, 130], [900, 100]).pvalue, stats.binomtest(3, 30, 0.1).pvalue
        found = share_of(130, 1000, 0.1), share_of(3, 30, 0.1)
        assert [method for method, _ in found] == ["chi-squared", "binomial, exact"]
        assert [p_value for _, p_value in found] == pytest.approx(expected)


# ---- Whole experiments -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests of a made-up service; entities: how many ask, None where requests name none."""

    requests: int = 3000
    share: float = 0.5
    entities: int | None = None
    noise: tuple[float, float] = (0.7, 0.7)
    labelled: tuple[float, float] = (1.0, 1.0)
    positives: tuple[float, float] = (0.3, 0.3)
    task: Task = Task.BINARY
    shadow: bool = False
    seed: int = 0

    def logged(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Predictions and labels, as the log has them."""
        generator = np.random.default_rng(self.seed)
        entity = (
            np.arange(self.requests) if self.entities is None else generator.integers(0, self.entities, self.requests)
        )
        taken = generator.random(entity.max() + 1) < (0 if self.shadow else self.share)
        variant = taken[entity].astype(int)
        ids = np.array([f"{number:08}" for number in range(self.requests)])
        truth = (generator.random(self.requests) < np.array(self.positives)[variant]).astype(np.float64)
        common = generator.normal(size=self.requests)
        each = [self._scored(generator, truth, common, noise) for noise in self.noise]
        frame = pd.DataFrame(
            {
                "request_id": ids,
                "ts": START + pd.to_timedelta(np.arange(self.requests), unit="min"),
                "entity_id": None if self.entities is None else [f"e{number}" for number in entity],
                "status": 200,
                "sampling_rate": 1.0,
            }
        )
        frame["entity_id"] = frame["entity_id"].astype("str" if self.entities else "object")
        parts = []
        for side, (name, model) in enumerate((("champion", OLD), ("shadow" if self.shadow else "challenger", NEW))):
            mine = np.ones(self.requests, bool) if self.shadow else variant == side
            parts.append(self._answered(frame, each[side]).assign(variant=name, model_sha256=model)[mine])
        known = generator.random(self.requests) < np.array(self.labelled)[variant]
        texts = {
            Task.BINARY: np.array(["no", "yes"])[truth.astype(int)],
            Task.MULTICLASS: np.array(["low", "top"])[truth.astype(int)],
            Task.REGRESSION: (truth + common).astype(str),
        }[self.task]
        labels = pd.DataFrame({"request_id": ids, "label": texts, "label_ts": START, "received_ts": START})[known]
        return pd.concat(parts, ignore_index=True), labels

    def _scored(self, generator: np.random.Generator, truth: Floats, common: Floats, noise: float) -> Floats:
        blurred = noise * generator.normal(size=len(truth))
        if self.task is Task.REGRESSION:
            return truth + common + blurred
        return sigmoid(1.5 * truth - 1 + 0.7 * common + blurred)

    def _answered(self, frame: pd.DataFrame, score: Floats) -> pd.DataFrame:
        if self.task is Task.REGRESSION:
            return frame.assign(score=score, decision=None)
        if self.task is Task.BINARY:
            return frame.assign(score=score, decision=np.where(score >= CUT, "yes", "no"))
        scores = np.column_stack([(1 - score) * 0.9, np.full(len(score), 0.1), score * 0.9])
        decision = np.array(["low", "mid", "top"])[scores.argmax(axis=1)]
        return frame.assign(score=scores.max(axis=1), scores=list(scores), decision=decision)

    def found(self, **plan: Any) -> Experiment:
        return self.of(*self.logged(), **plan)

    def of(self, predictions: pd.DataFrame, labels: pd.DataFrame, **plan: Any) -> Experiment:
        metric = {Task.BINARY: "roc_auc", Task.MULTICLASS: "log_loss", Task.REGRESSION: "rmse"}[self.task]
        models = Models(OLD, NEW, Kind.SHADOW if self.shadow else Kind.AB)
        wanted = Plan(**{"metric": metric, "margin": 0.05, "share": None if self.shadow else self.share, **plan})
        return experiment(join(predictions, labels), PROBLEMS[self.task], models, wanted)


def failed(found: Experiment) -> list[str]:
    return [check.name for check in found.failed]


class TestExperiment:
    @pytest.mark.parametrize("task", list(Task))
    @pytest.mark.parametrize("shadow", [False, True], ids=["A/B", "shadow"])
    def test_a_real_difference_is_found_and_put_the_right_way_round(self, task: Task, shadow: bool) -> None:
        better = Traffic(noise=(2.0, 0.5), task=task, shadow=shadow)
        worse = replace(better, noise=(0.5, 2.0))
        assert better.found().verdict is Verdict.CHALLENGER
        assert worse.found().verdict is Verdict.CHAMPION
        assert failed(better.found()) == []

    def test_equal_models_are_equivalent_once_there_are_labels_enough_and_not_before(self) -> None:
        found = Traffic(requests=12_000).found()
        assert found.verdict is Verdict.EQUIVALENT
        early = Traffic(requests=1500).found()
        assert early.verdict is Verdict.NOT_YET
        assert early.progress is not None
        assert early.progress.needed is not None
        assert early.progress.needed_once is not None
        assert 1500 < early.progress.needed_once < early.progress.needed < 12_000

    def test_the_same_model_in_the_shadow_differs_by_nothing(self) -> None:
        predictions, labels = Traffic(shadow=True).logged()
        champion = predictions[predictions["variant"] == "champion"]
        same = pd.concat([champion, champion.assign(variant="shadow", model_sha256=NEW)])
        found = Traffic(shadow=True).of(same, labels)
        assert found.verdict is Verdict.EQUIVALENT
        assert found.difference is not None
        assert found.difference.interval.high == 0

    def test_no_labels_is_a_finding(self) -> None:
        found = Traffic(labelled=(0.0, 0.0)).found()
        assert (found.verdict, found.difference, found.progress) == (Verdict.NO_LABELS, None, None)
        assert found.outcomes is not None
        assert found.outcomes.columns == ("no", "yes")  # decisions, until labels come
        assert "POST /labels" in sentence(found)

    def test_right_and_wrong_answers_are_compared_once_there_are_labels(self) -> None:
        found = Traffic(noise=(2.0, 0.5)).found()
        assert found.outcomes is not None
        assert (found.outcomes.columns, found.outcomes.method) == (("wrong", "right"), "chi-squared")
        assert found.outcomes.p_value is not None
        assert found.outcomes.p_value < 0.001
        paired = Traffic(noise=(2.0, 0.5), shadow=True).found().outcomes
        assert paired is not None
        assert paired.method == "McNemar, exact"

    def test_a_few_labels_are_no_verdict_whatever_they_say(self) -> None:
        found = Traffic(requests=50, noise=(30.0, 0.01)).found(metric="accuracy")
        assert found.verdict is Verdict.NOT_YET
        assert "at least 30 are needed" in sentence(found)

    def test_a_class_of_few_labels_is_no_ranking(self) -> None:
        found = Traffic(requests=1000, positives=(0.02, 0.02), noise=(30.0, 0.01)).found()
        assert found.verdict is Verdict.NOT_YET
        assert Traffic(requests=1000, positives=(0.02, 0.02), noise=(30.0, 0.01)).found(
            metric="brier_score"
        ).verdict is (Verdict.CHALLENGER)

    def test_one_class_alone_defines_no_ranking_and_the_sentence_says_so(self) -> None:
        found = Traffic(positives=(0.0, 0.0)).found()
        assert (found.verdict, found.difference) == (Verdict.NOT_YET, None)
        assert "not defined on these labels" in sentence(found)


class TestTrust:
    def test_a_share_that_was_not_set_is_found_and_said_first(self) -> None:
        """The planted mismatch: a quarter of the challenger's requests is lost on the way to the log."""
        predictions, labels = Traffic(requests=6000, noise=(2.0, 0.5)).logged()
        lost = (predictions["variant"] == "challenger") & (np.arange(len(predictions)) % 4 == 0)
        found = Traffic().of(predictions[~lost], labels)
        assert (found.verdict, failed(found)) == (Verdict.NOT_TRUSTED, ["sample ratio"])
        assert statement(found).startswith("not to be trusted: ")
        whole = Traffic().of(predictions, labels)
        assert whole.verdict is Verdict.CHALLENGER  # the twin: nothing is lost

    def test_entities_are_counted_and_not_their_requests(self) -> None:
        """Forty entities that ask often: a share of 0.3 or 0.7 of the requests is no sign of anything."""
        skewed = [Traffic(entities=40, requests=4000, seed=seed).found() for seed in range(12)]
        assert [each for each in skewed if "sample ratio" in failed(each)] == []
        by_requests = [share_of(each.challenger.requests, 4000, 0.5)[1] for each in skewed]
        assert min(by_requests) < 1e-6  # the twin: requests counted
        assert any("40 entities" in note for note in skewed[0].notes)

    def test_a_share_that_nobody_names_is_not_checked_and_the_report_says_so(self) -> None:
        found = Traffic(share=0.2).found(share=None)
        assert "sample ratio" not in [check.name for check in found.checks]
        assert any("--share" in note for note in found.notes)

    def test_entities_that_met_both_variants_are_found(self) -> None:
        predictions, labels = Traffic(entities=500).logged()
        half = predictions["ts"] > predictions["ts"].median()
        turned = {"champion": "challenger", "challenger": "champion"}
        predictions.loc[half, "variant"] = predictions.loc[half, "variant"].map(turned)
        predictions["model_sha256"] = np.where(predictions["variant"] == "champion", OLD, NEW)
        assert "sticky" in failed(Traffic().of(predictions, labels))

    def test_labels_that_differ_between_the_variants_are_found(self) -> None:
        found = Traffic(positives=(0.3, 0.4)).found()
        assert (found.verdict, failed(found)) == (Verdict.NOT_TRUSTED, ["labels"])
        assert "% yes" in sentence(found)

    def test_so_they_are_of_a_number(self) -> None:
        predictions, labels = Traffic(task=Task.REGRESSION).logged()
        mine = labels["request_id"].isin(predictions.loc[predictions["variant"] == "challenger", "request_id"])
        labels.loc[mine, "label"] = (labels.loc[mine, "label"].astype(float) + 0.5).astype(str)
        assert failed(Traffic(task=Task.REGRESSION).of(predictions, labels)) == ["labels"]

    def test_labels_that_come_for_one_variant_only_are_found(self) -> None:
        found = Traffic(labelled=(0.9, 0.6)).found()
        assert failed(found) == ["coverage"]
        assert "of the champion's requests and 60 % of the challenger's" in sentence(found)

    def test_rates_that_changed_for_both_variants_alike_do_no_harm(self) -> None:
        predictions, labels = Traffic(noise=(2.0, 0.5)).logged()
        predictions["sampling_rate"] = np.where(predictions["ts"] > predictions["ts"].median(), 0.1, 1.0)
        found = Traffic().of(predictions, labels)
        assert found.verdict is Verdict.CHALLENGER
        assert any("drawn without regard to the variant" in note for note in found.notes)

    def test_rates_that_differ_between_the_variants_are_found(self) -> None:
        predictions, labels = Traffic().logged()
        predictions["sampling_rate"] = np.where(predictions["variant"] == "champion", 0.1, 1.0)
        assert failed(Traffic().of(predictions, labels)) == ["sampling"]

    def test_a_shadow_that_fails_is_not_compared_by_what_it_answers(self) -> None:
        predictions, labels = Traffic(shadow=True).logged()
        broken = (predictions["variant"] == "shadow") & (np.arange(len(predictions)) % 20 == 0)
        predictions.loc[broken, ["score", "decision", "status"]] = [np.nan, None, 500]
        found = Traffic(shadow=True).of(predictions, labels)
        assert failed(found) == ["answers"]
        assert "150 of 3,000" in sentence(found)
        few = (
            (predictions["variant"] == "shadow")
            & (predictions["status"] == 500)
            & (np.arange(len(predictions)) % 200 > 0)
        )
        rest = Traffic(shadow=True).of(predictions[~few], labels)
        assert failed(rest) == []
        assert rest.challenger.requests == 2850

    def test_400_experiments_without_a_fault_are_trusted(self) -> None:
        generator = np.random.default_rng(31)
        silent = 0
        for _ in range(400):
            variant, value = generator.integers(0, 2, 400), generator.integers(0, 2, 400)
            p_values = [outcomes(variant, value, ("a", "b")).p_value, share_of(int(variant.sum()), 400, 0.5)[1]]
            silent += all(p_value is not None and p_value >= 0.001 for p_value in p_values)
        assert silent >= 396


class TestRows:
    def test_only_the_time_counts_in_which_both_variants_answered(self) -> None:
        predictions, labels = Traffic(requests=6000).logged()
        late = predictions["ts"] < predictions["ts"].median()
        found = Traffic().of(predictions[~late | (predictions["variant"] == "champion")], labels)
        assert failed(found) == []
        assert found.champion.requests + found.challenger.requests == pytest.approx(3000, abs=20)

    def test_other_models_are_left_alone(self) -> None:
        predictions, labels = Traffic().logged()
        other = predictions.assign(model_sha256="c" * 64, score=0.5, request_id="other" + predictions["request_id"])
        assert Traffic().of(pd.concat([other, predictions]), labels).as_dict() == Traffic().found().as_dict()

    def test_who_never_answered_side_by_side_is_not_compared(self) -> None:
        predictions, labels = Traffic().logged()
        old = (predictions["variant"] == "champion") == (predictions["ts"] < predictions["ts"].median())
        with pytest.raises(DataError, match="side by side"):
            Traffic().of(predictions[old], labels)

    def test_what_is_said_of_the_labels_is_counted(self) -> None:
        predictions, labels = Traffic().logged()
        unknown = labels.iloc[:3].assign(request_id=["x", "y", "z"])
        strange = labels.iloc[3:5].assign(label="maybe", label_ts=START + pd.Timedelta("1D"))
        notes = Traffic().of(pd.concat([predictions, predictions[:7]]), pd.concat([labels, unknown, strange])).notes
        assert [note.split(" ", 1)[0] for note in notes] == ["7", "2", "3", "2"]

    def test_decisions_that_contradict_the_scores_are_one_clear_error(self) -> None:
        predictions, labels = Traffic().logged()
        predictions.loc[5, "decision"] = "yes" if predictions.loc[5, "decision"] == "no" else "no"
        with pytest.raises(DataError, match="decision: expected 'yes' from one score"):
            Traffic().of(predictions, labels)

    def test_a_model_without_a_threshold_has_a_ranking_and_no_decisions(self) -> None:
        predictions, labels = Traffic(noise=(2.0, 0.5)).logged()
        found = Traffic().of(predictions.assign(decision=None), labels)
        assert (found.verdict, found.outcomes) == (Verdict.CHALLENGER, None)
        assert Traffic().of(predictions.assign(decision=None), labels, metric="f1").difference is None

    def test_requests_without_an_entity_are_on_their_own(self) -> None:
        frame = pd.DataFrame({"entity_id": ["a", None, "", "a", None], "request_id": list("vwxyw")})
        found = units(frame)
        assert found[0] == found[3]
        assert found[1] == found[4]  # a champion's and its shadow's answer to one request
        assert len(set(found.tolist())) == 3

    @pytest.mark.parametrize(
        ("plan", "said"),
        [
            ({"metric": "rmse"}, "metric: expected one of roc_auc"),
            ({"margin": 0.0}, "margin: expected"),
            ({"confidence": 1.0}, "confidence: expected"),
            ({"share": 1.0}, "share: expected"),
        ],
    )
    def test_a_plan_that_cannot_be_is_one_clear_error(self, plan: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            Traffic().found(**plan)


# ---- The command -----------------------------------------------------------------------------------------------------


def write(root: Path, traffic: Traffic, classes: tuple[str, ...] | None = None, metadata: bool = True) -> None:
    """Put traffic into a log as the server does: a file an hour, model and variant."""
    predictions, labels = traffic.logged()
    problem = PROBLEMS[traffic.task]
    facts = {"mergeline.task": str(problem.task), "mergeline.classes": json.dumps(classes or problem.classes)}
    hour = predictions["ts"].dt.floor("6h")
    for number, ((moment, variant), rows) in enumerate(predictions.groupby([hour, "variant"])):
        table = pa.Table.from_pandas(rows.assign(schema_version=1, feature_secret="x"), preserve_index=False)
        table = table.replace_schema_metadata(facts if metadata else {})
        file = root / f"log/predictions/date={moment:%Y-%m-%d}/hour={moment:%H}/{number}{variant}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file)
    if len(labels):
        file = root / f"log/labels/date={START:%Y-%m-%d}/one.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        labels.assign(source=None).to_parquet(file, index=False)


def said(root: Path, as_json: bool = False, **wishes: Any) -> str:
    wanted = Wishes(**{"margin": 0.05, **wishes})
    return command(root, "log", wanted, as_json=as_json, environment={})


class TestCommand:
    def test_it_says_the_verdict_first_and_then_what_it_rests_on(self, tmp_path: Path) -> None:
        write(tmp_path, Traffic(noise=(2.0, 0.5)))
        text = said(tmp_path, share=0.5)
        assert text.startswith("challenger better: the ROC AUC is better by 0.")
        for part in (OLD[:12], NEW[:12], "at a single look", "at every look", "sample ratio", "wrong", "chi-squared"):
            assert part in text
        assert max(len(line) for line in text.splitlines()) < 260

    def test_json_holds_the_whole_record(self, tmp_path: Path) -> None:
        write(tmp_path, Traffic())
        found = json.loads(said(tmp_path, as_json=True))
        assert found["verdict"] in set(Verdict)
        assert found["champion"]["model_sha256"] == OLD
        assert found["difference"]["interval"]["method"] == "delong-independent"
        assert found["first"].startswith("2024-05-01T")

    @pytest.mark.parametrize("task", list(Task))
    def test_every_task_is_read_from_the_log(self, tmp_path: Path, task: Task) -> None:
        write(tmp_path, Traffic(noise=(2.0, 0.5), task=task, shadow=True))
        assert said(tmp_path).startswith("challenger better: ")

    def test_no_labels_is_said_and_is_no_error(self, tmp_path: Path) -> None:
        write(tmp_path, Traffic(labelled=(0.0, 0.0)))
        assert said(tmp_path).startswith("no labels yet: 0 of the champion's")

    def test_no_predictions_is_an_error_with_its_code(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="log: expected predictions, found none") as caught:
            said(tmp_path)
        assert caught.value.exit_code == 3

    def test_days_choose_the_predictions_and_never_the_labels_that_came_later(self, tmp_path: Path) -> None:
        write(tmp_path, Traffic())
        found = json.loads(said(tmp_path, as_json=True, since=dt.date(2024, 5, 1), until=dt.date(2024, 5, 1)))
        assert found["champion"]["requests"] + found["challenger"]["requests"] == pytest.approx(24 * 60, abs=10)
        assert found["champion"]["labelled"] == found["champion"]["requests"]
        with pytest.raises(DataError, match="since 2030-01-01, found none"):
            said(tmp_path, since=dt.date(2030, 1, 1))

    def test_models_can_be_named_by_their_first_digits(self, tmp_path: Path) -> None:
        write(tmp_path, Traffic())
        assert OLD[:12] in said(tmp_path, champion="aa", challenger="bbb")
        with pytest.raises(DataError, match="a challenger or a shadow whose SHA-256 starts with cc"):
            said(tmp_path, challenger="cc")
        with pytest.raises(DataError, match="a champion whose SHA-256 starts with cc"):
            said(tmp_path, champion="cc")

    def test_a_challenger_that_became_the_champion_is_compared_with_the_one_before(self, tmp_path: Path) -> None:
        write(tmp_path, Traffic())
        predictions, _ = Traffic().logged()
        mine = predictions[predictions["variant"] == "challenger"]
        promoted = mine.assign(variant="champion", ts=mine["ts"] + pd.Timedelta("9D"), schema_version=1)
        table = pa.Table.from_pandas(promoted.assign(request_id="p" + promoted["request_id"]), preserve_index=False)
        table = table.replace_schema_metadata({"mergeline.task": "binary", "mergeline.classes": '["no", "yes"]'})
        pq.write_table(table, tmp_path / "log/predictions/date=2024-05-03/late.parquet")
        assert json.loads(said(tmp_path, as_json=True))["champion"]["model_sha256"] == OLD

    def test_the_metric_of_params_yaml_is_the_default(self, tmp_path: Path) -> None:
        write(tmp_path, Traffic())
        text = SAMPLE_PARAMS.read_text(encoding="utf-8")
        (tmp_path / "params.yaml").write_text(
            text.replace("evaluate:\n", "evaluate:\n  primary: f1\n"), encoding="utf-8"
        )
        assert json.loads(said(tmp_path, as_json=True))["metric"] == "f1"
        assert json.loads(said(tmp_path, as_json=True, metric="accuracy"))["metric"] == "accuracy"

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            pytest.param(lambda file: file.write_bytes(file.read_bytes()[:-9]), "not a whole file", id="cut off"),
            pytest.param(lambda file: rewrite(file, drop="score"), "expected the column score", id="a column less"),
            pytest.param(lambda file: rewrite(file, version=2), "expected schema_version 1, found 2", id="newer"),
            pytest.param(lambda file: rewrite(file, metadata={}), "in its metadata, found none", id="no metadata"),
            pytest.param(
                lambda file: rewrite(file, metadata={"mergeline.task": "regression", "mergeline.classes": "[]"}),
                "choose days or models that answer the same question",
                id="another question",
            ),
        ],
    )
    def test_a_spoilt_file_is_one_clear_error(
        self, tmp_path: Path, spoil: Callable[[Path], object], message: str
    ) -> None:
        write(tmp_path, Traffic())
        spoil(max((tmp_path / "log").rglob("*champion.parquet")))
        with pytest.raises(MergelineError, match=message) as caught:
            said(tmp_path)
        assert "\n" not in str(caught.value)


def rewrite(file: Path, drop: str = "", version: int = 1, metadata: dict[str, str] | None = None) -> None:
    table = pq.read_table(file)
    kept = table.schema.metadata
    if drop:
        table = table.drop_columns(drop)
    position = table.schema.get_field_index("schema_version")
    table = table.set_column(position, "schema_version", pa.array([version] * len(table)))
    pq.write_table(table.replace_schema_metadata(kept if metadata is None else metadata), file)


def test_a_file_of_the_server_s_own_writer_is_read() -> None:
    """The other side of the contract: what `mergeline serve` writes is what an experiment reads."""
    from mergeline.serve.logschema import Entry, Group, LogSchema

    features = (Feature("age", FeatureKind.NUMBER),)
    signature = Signature(Task.MULTICLASS, "kind", features, SORTS.classes, None)
    scores = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    at = int(START.timestamp() * 1e6)
    answered = Entry(["r1", "r2"], at, np.array([[1.0], [2.0]]), scores, 0.1, "challenger", NEW, entity_ids=["e", None])
    broken = Entry(["r3"], at, np.array([[1.0]]), None, 0.1, "challenger", NEW, status=500)
    schema = LogSchema(signature, {NEW: signature}, 0.5)
    ((group, piece),) = schema.pack([answered, broken]).items()
    assert isinstance(group, Group)
    part = predictions_part("a.parquet", schema.parquet(group, [piece]))
    assert part.problem == SORTS
    rows = part.rows.to_pylist()
    assert [row["decision"] for row in rows] == ["top", "low", None]
    assert [row["score"] for row in rows] == [0.5, 0.6, None]
    assert [row["entity_id"] for row in rows] == ["e", None, None]
    assert [row["status"] for row in rows] == [200, 200, 500]
    assert rows[0]["scores"] == [0.2, 0.3, 0.5]
    assert rows[0]["sampling_rate"] == 0.5
