from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergeline.errors import ConfigurationError, DataError
from mergeline.intervals import (
    LEAST_CLASS_ROWS,
    Floats,
    Influence,
    Interval,
    average_of,
    bootstrap,
    delong,
    delong_difference,
    linearised,
    linearised_difference,
    mean,
    mean_absolute_gap,
    median,
    placements,
    unanimous,
    wider,
    wilson,
)
from mergeline.intervals.gaps import _folded_sum

Z = NormalDist().inv_cdf(0.975)
SEARCH = settings(max_examples=60, deadline=None, derandomize=True, database=None)

# Few distinct scores, so that ties are the rule.
SCORED_ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def split(rows: list[tuple[int, int]]) -> tuple[Floats, Floats]:
    table = np.array(rows, dtype=np.float64)
    return table[:, 0], table[:, 1]


def pairs(labels: Floats, scores: Floats) -> Floats:
    """[positives, negatives]: 1 where the positive wins, one half for a tie."""
    positive, negative = scores[labels == 1][:, None], scores[labels == 0][None, :]
    return np.where(positive == negative, 0.5, (positive > negative).astype(np.float64))


def pairs_variance(won: Floats) -> float:
    """DeLong's variance from the definition: one variance for the rows of each class."""
    return float(won.mean(axis=1).var(ddof=1) / won.shape[0] + won.mean(axis=0).var(ddof=1) / won.shape[1])


def on_logit_scale(estimate: float, error: float) -> tuple[float, float]:
    centre, reach = math.log(estimate / (1 - estimate)), Z * error / (estimate * (1 - estimate))
    return 1 / (1 + math.exp(reach - centre)), 1 / (1 + math.exp(-reach - centre))


def tied_scores(seed: int, positives: int, negatives: int, shift: float = 1.0) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(seed)
    labels = np.repeat([1.0, 0.0], [positives, negatives])
    scores = (generator.normal(size=len(labels)) + shift * labels).round(1)
    order = generator.permutation(len(labels))
    return labels[order], scores[order]


def weighted_auc(labels: Floats, scores: Floats) -> Callable[[Floats], float]:
    order = np.argsort(scores)
    positive = labels[order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) > 0]))

    def statistic(weights: Floats) -> float:
        won = np.add.reduceat(weights[order] * positive, starts)
        lost = np.add.reduceat(weights[order] * (1 - positive), starts)
        return float(won @ (np.cumsum(lost) - lost / 2) / (won.sum() * lost.sum()))

    return statistic


class TestPlacements:
    def test_a_tie_counts_one_half(self) -> None:
        placed = placements([1, 0, 1, 0, 0], [3, 1, 2, 2, 5])
        assert placed.positives == pytest.approx([2 / 3, 1.5 / 3])
        assert placed.negatives == pytest.approx([1.0, 0.75, 0.0])

    @SEARCH
    @given(SCORED_ROWS)
    def test_they_are_the_margins_of_all_pairs(self, rows: list[tuple[int, int]]) -> None:
        labels, scores = split(rows)
        placed, won = placements(labels, scores), pairs(labels, scores)
        np.testing.assert_allclose(placed.positives, won.mean(axis=1), atol=1e-12)
        np.testing.assert_allclose(placed.negatives, won.mean(axis=0), atol=1e-12)
        assert placed.auc == pytest.approx(placed.negatives.mean(), abs=1e-12)

    @pytest.mark.parametrize(
        ("labels", "scores", "message"),
        [
            ([0, 1], [0.1, math.nan], "scores: expected finite numbers, found 1 NaN or infinite (first: row 1)"),
            ([0, 1], [math.inf, 0.2], "scores: expected finite numbers, found 1 NaN or infinite (first: row 0)"),
            ([0, 1], ["a", "b"], "scores: expected numbers"),
            ([1, 1], [0.1, 0.2], "labels: expected both 0 and 1, found 1;"),
            ([0, 2, 1], [0.1, 0.2, 0.3], "labels: expected both 0 and 1, found 0, 1, 2;"),
            ([], [], "labels: expected both 0 and 1, found no row;"),
            ([0, 1, 1], [0.1, 0.2], "scores: expected one a label, (3,), found (2,)"),
        ],
        ids=["NaN", "infinity", "text", "one class", "a third class", "no rows", "a row too few"],
    )
    def test_what_has_no_auc_is_refused_in_one_line(
        self, labels: list[float], scores: list[float], message: str
    ) -> None:
        with pytest.raises(DataError) as caught:
            placements(labels, scores)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


class TestDelong:
    def test_it_is_the_pairwise_definition_with_ties(self) -> None:
        labels, scores = tied_scores(seed=1, positives=110, negatives=240)
        won = pairs(labels, scores)
        interval = delong(labels, scores)
        assert interval.estimate == pytest.approx(won.mean(), abs=1e-12)
        low, high = on_logit_scale(won.mean(), math.sqrt(pairs_variance(won)))
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-12)

    @pytest.mark.parametrize("seed", range(5))
    def test_the_estimate_is_that_of_scikit_learn(self, seed: int) -> None:
        from sklearn.metrics import roc_auc_score

        labels, scores = tied_scores(seed, positives=37, negatives=400, shift=0.4 * seed)
        assert delong(labels, scores).estimate == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)

    def test_its_standard_error_is_that_of_the_bootstrap(self) -> None:
        labels, scores = tied_scores(seed=3, positives=200, negatives=600)
        statistic, drawn = weighted_auc(labels, scores), list[float]()

        def remembered(weights: Floats) -> float:
            drawn.append(statistic(weights))
            return drawn[-1]

        bootstrap(remembered, rows=len(labels), resamples=4000, seed=4)
        error = math.sqrt(pairs_variance(pairs(labels, scores)))
        assert np.std(drawn[1:]) == pytest.approx(error, rel=0.05)

    def test_perfect_separation_has_the_exact_binomial_bound_instead_of_no_width(self) -> None:
        from scipy.stats import binomtest

        labels, scores = [0] * 50 + [1] * 20, [*range(50), *range(100, 120)]
        interval = delong(labels, scores)
        assert interval.method == "clopper-pearson"
        assert (interval.estimate, interval.high) == (1.0, 1.0)
        assert interval.low == pytest.approx(binomtest(20, 20).proportion_ci(method="exact").low, abs=1e-12)
        assert pairs_variance(pairs(np.array(labels, float), np.array(scores, float))) == 0

    def test_a_reversed_ranking_has_the_mirrored_bound(self) -> None:
        best, worst = delong([0, 0, 0, 1, 1], [1, 2, 3, 4, 5]), delong([0, 0, 0, 1, 1], [5, 4, 3, 2, 1])
        assert (worst.estimate, worst.low, worst.high) == pytest.approx((0.0, 0.0, 1 - best.low))

    @pytest.mark.parametrize("rows", [1, 20, 500])
    def test_constant_scores_are_one_half_and_leave_doubt(self, rows: int) -> None:
        interval = delong([0, 1] * rows, [0.3] * (2 * rows))
        assert interval.estimate == 0.5
        assert 0.5 - interval.low == pytest.approx(interval.high - 0.5)
        assert interval.high - interval.low > 1 / math.sqrt(2 * rows)

    def test_with_few_rows_of_a_class_a_bound_lies_its_own_standard_errors_away(self) -> None:
        labels, scores = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0], [8, 8.5, 1, 2, 3, 4, 5, 6, 7, 9]
        interval = delong(labels, scores)
        low = interval.low
        # Hanley and McNeil at the bound itself, with 2 and 8 rows, the others' number (2 + 8) / 2 - 1 = 4
        variance = low * (1 - low) * (1 + 4 * (1 - low) / (2 - low) + 4 * low / (1 + low)) / 16
        assert 0.875 - low == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-5)
        bare = on_logit_scale(0.875, math.sqrt(pairs_variance(pairs(np.array(labels, float), np.array(scores)))))
        assert low < bare[0]
        assert interval.high == pytest.approx(bare[1])

    def test_an_almost_perfect_ranking_of_few_rows_is_not_in_doubt_as_a_whole(self) -> None:
        """On the logit scale alone these 114 rows would reach from 0.46 to 1, below the bound of a perfect ranking."""
        scores = [*range(1, 42), *range(-72, 1)]
        scores[0] = -1.5  # one pair the wrong way
        interval = delong([1] * 41 + [0] * 73, scores)
        assert interval.estimate > 0.999
        assert interval.low > 0.9

    @SEARCH
    @given(SCORED_ROWS, st.randoms(use_true_random=False))
    def test_neither_the_order_of_the_rows_nor_a_monotone_scale_matters(
        self, rows: list[tuple[int, int]], chance: random.Random
    ) -> None:
        interval = delong(*split(rows))
        shuffled = rows.copy()
        chance.shuffle(shuffled)
        labels, scores = split(shuffled)
        other = delong(labels, np.exp(scores) - 3)
        assert (other.estimate, other.low, other.high) == pytest.approx(
            (interval.estimate, interval.low, interval.high), abs=1e-9
        )

    @SEARCH
    @given(SCORED_ROWS)
    def test_the_bounds_hold_the_estimate_between_0_and_1_and_mirror_with_the_labels(
        self, rows: list[tuple[int, int]]
    ) -> None:
        labels, scores = split(rows)
        interval, mirrored = delong(labels, scores), delong(1 - labels, scores)
        assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
        assert interval.low < interval.high
        assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((interval.low, interval.high), abs=1e-9)

    def test_more_confidence_is_a_wider_interval(self) -> None:
        labels, scores = tied_scores(seed=5, positives=30, negatives=30)
        narrow, wide = delong(labels, scores, 0.8), delong(labels, scores, 0.99)
        assert wide.low < narrow.low < narrow.high < wide.high

    @pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
    def test_a_confidence_that_is_no_share_is_refused(self, confidence: float) -> None:
        with pytest.raises(ConfigurationError, match=r"confidence: expected a share between 0 and 1, found"):
            delong([0, 1], [0.1, 0.2], confidence)


class TestDelongDifference:
    def test_it_is_the_pairwise_definition_with_ties(self) -> None:
        labels, a = tied_scores(seed=6, positives=110, negatives=140)
        b = (a + np.random.default_rng(7).normal(size=len(a))).round(1)
        won = pairs(labels, a) - pairs(labels, b)
        interval = delong_difference(labels, a, b)
        reach = Z * math.sqrt(pairs_variance(won))
        assert interval.estimate == pytest.approx(won.mean(), abs=1e-12)
        assert (interval.low, interval.high) == pytest.approx((won.mean() - reach, won.mean() + reach), abs=1e-12)

    def test_in_a_small_class_the_row_that_says_most_counts_twice(self) -> None:
        """Less those of b, the placements of the positives are 0, those of the negatives 1/3 and -1/3."""
        interval = delong_difference([1, 1, 1, 0, 0], [2, 4, 5, 1, 3], [2, 4, 5, 2.5, 1])
        spread = np.square([1 / 3, -1 / 3])
        assert interval.estimate == pytest.approx(0.0)
        assert interval.high == pytest.approx(Z * math.sqrt((spread.sum() + spread.max()) / 2))

    def test_pairing_is_narrower_than_two_intervals_of_their_own(self) -> None:
        labels, a = tied_scores(seed=8, positives=150, negatives=150)
        b = a + 0.1 * np.random.default_rng(9).normal(size=len(a))
        paired, alone = delong_difference(labels, a, b), delong(labels, a)
        assert paired.high - paired.low < 0.3 * (alone.high - alone.low)

    def test_its_standard_error_is_that_of_the_paired_bootstrap(self) -> None:
        labels, a = tied_scores(seed=10, positives=200, negatives=400)
        b = (a + 0.7 * np.random.default_rng(11).normal(size=len(a))).round(1)
        of_a, of_b, drawn = weighted_auc(labels, a), weighted_auc(labels, b), list[float]()

        def remembered(weights: Floats) -> float:
            drawn.append(of_a(weights) - of_b(weights))
            return drawn[-1]

        bootstrap(remembered, rows=len(labels), resamples=3000, seed=12)
        interval = delong_difference(labels, a, b)
        assert np.std(drawn[1:]) == pytest.approx((interval.high - interval.low) / (2 * Z), rel=0.05)

    def test_a_model_does_not_differ_from_itself(self) -> None:
        interval = delong_difference([0, 1, 0, 1], [0.2, 0.4, 0.3, 0.9], [0.2, 0.4, 0.3, 0.9])
        assert (interval.estimate, interval.low, interval.high) == (0.0, 0.0, 0.0)

    def test_other_scores_in_the_same_order_leave_the_doubt_of_the_rarer_class(self) -> None:
        labels, a = tied_scores(seed=13, positives=30, negatives=60)
        interval = delong_difference(labels, a, 2 * a + 1)
        assert interval.high == pytest.approx(1 - 0.025 ** (1 / 30))
        assert (interval.estimate, interval.low) == pytest.approx((0.0, -interval.high))

    def test_opposite_rankings_stay_within_one(self) -> None:
        interval = delong_difference([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1])
        assert (interval.estimate, interval.high) == (1.0, 1.0)
        assert interval.low == pytest.approx(1 - 2 * (1 - 0.025 ** (1 / 3)))

    def test_a_difference_that_is_the_same_for_every_row_is_not_certain(self) -> None:
        """Each positive overtakes one negative, a third of them; in floats the thirds differ by a rounding error."""
        labels, b = [1, 0, 1, 0, 1, 0], [1, 2, 3, 4, 5, 6]
        interval = delong_difference(labels, [2, 1, 4, 3, 6, 5], b)
        assert interval.estimate == pytest.approx(1 / 3)
        assert interval.low < 0 < interval.high - 0.1

    def test_a_single_positive_says_next_to_nothing(self) -> None:
        interval = delong_difference([1, 0, 0, 0], [4, 1, 2, 3], [3.5, 1, 2, 4])
        share = wilson(2 / 3, 1)
        assert (interval.low, interval.high) == pytest.approx((2 * share.low - 1, 2 * share.high - 1))
        assert interval.high - interval.low > 1

    @SEARCH
    @given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=30))
    def test_it_changes_sign_with_the_models_and_holds_its_estimate(self, rows: list[tuple[int, int, int]]) -> None:
        table = np.array([*rows, (0, 1, 2), (1, 2, 1)], dtype=np.float64)
        forth = delong_difference(table[:, 0], table[:, 1], table[:, 2])
        back = delong_difference(table[:, 0], table[:, 2], table[:, 1])
        assert -1 <= forth.low <= forth.estimate <= forth.high <= 1
        assert (-back.high, -back.estimate, -back.low) == pytest.approx(
            (forth.low, forth.estimate, forth.high), abs=1e-12
        )


class TestWilson:
    @pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 30), (3, 10), (30, 30), (12345, 300000)])
    @pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
    def test_it_is_that_of_scipy(self, successes: int, trials: int, confidence: float) -> None:
        from scipy.stats import binomtest

        expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
        interval = wilson(successes, trials, confidence)
        assert interval.estimate == successes / trials
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)

    @SEARCH
    @given(st.integers(1, 10**6).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
    def test_the_bounds_hold_the_share_between_0_and_1(self, counted: tuple[int, int]) -> None:
        interval = wilson(*counted)
        assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
        assert interval.low < interval.high

    @pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 4), (math.nan, 4)])
    def test_counts_that_are_no_share_are_refused(self, successes: float, trials: float) -> None:
        with pytest.raises(DataError, match="share: expected"):
            wilson(successes, trials)

    @pytest.mark.parametrize("trials", [1, 7, 1000])
    def test_nothing_but_successes_or_failures_has_the_exact_bound_of_scipy(self, trials: int) -> None:
        from scipy.stats import binomtest

        expected = binomtest(trials, trials).proportion_ci(method="exact")
        assert unanimous(True, trials).low == pytest.approx(expected.low, abs=1e-12)
        assert unanimous(False, trials).high == pytest.approx(1 - expected.low, abs=1e-12)


class TestMean:
    def test_it_is_the_normal_interval(self) -> None:
        interval = mean([1.0, 2.0, 3.0, 6.0])
        reach = Z * math.sqrt(14 / 3 / 4)
        assert (interval.low, interval.estimate, interval.high) == pytest.approx((3 - reach, 3.0, 3 + reach))

    def test_on_the_logarithm_it_leans_right_and_stays_positive(self) -> None:
        interval = mean([0.0, 0.0, 0.0, 8.0], scale="log")
        assert (interval.low, interval.high) == pytest.approx((2 / math.exp(Z), 2 * math.exp(Z)))
        assert mean([0.0, 0.0, 0.0, 8.0]).low < 0

    def test_bounds_that_no_row_can_pass_are_not_passed(self) -> None:
        interval = mean([0.0, 1.0, 1.0], bounds=(0.0, 1.0))
        assert (interval.low, interval.high) == pytest.approx((2 / 3 - Z / 3, 1.0))

    def test_equal_bounded_values_leave_the_doubt_of_what_went_unseen(self) -> None:
        interval = mean([0.25] * 100, bounds=(0.0, 1.0))
        unseen = 1 - 0.025 ** (1 / 100)
        assert (interval.low, interval.high) == pytest.approx((0.25 * (1 - unseen), 0.25 + 0.75 * unseen))
        assert mean([0.25] * 100).low == mean([0.25] * 100).high

    def test_one_row_has_an_interval_only_within_bounds(self) -> None:
        interval = mean([0.2], bounds=(0.0, 1.0))
        assert (interval.low, interval.high) == pytest.approx((0.005, 0.98))
        with pytest.raises(DataError, match="mean: expected two rows or more for an interval, found 1"):
            mean([0.2])
        with pytest.raises(DataError, match="found 0"):
            mean([])

    def test_nan_is_refused(self) -> None:
        with pytest.raises(DataError, match="values of a mean: expected finite numbers"):
            mean([1.0, math.nan])

    @SEARCH
    @given(st.lists(st.floats(0, 1e100), min_size=2, max_size=20), st.sampled_from(["identity", "log"]))
    def test_the_bounds_hold_the_mean(self, values: list[float], scale: str) -> None:
        interval = mean(values, scale="log" if scale == "log" else "identity")
        assert interval.low <= interval.estimate <= interval.high
        assert scale == "identity" or interval.low >= 0


class TestMedian:
    def test_the_bounds_are_order_statistics(self) -> None:
        interval = median(np.arange(100.0)[::-1])
        assert (interval.low, interval.estimate, interval.high) == (39.0, 49.5, 60.0)

    def test_their_exact_coverage_is_what_was_asked(self) -> None:
        from scipy.stats import binom

        for rows in range(6, 500):
            below = int(median(np.arange(float(rows))).low)
            assert 0.95 <= 1 - 2 * binom.cdf(below, rows, 0.5) < 0.995

    def test_too_few_rows_are_refused(self) -> None:
        with pytest.raises(DataError, match=r"median: expected rows for 0\.95 confidence, found 5"):
            median([1.0, 2.0, 3.0, 4.0, 5.0])


class TestLinearised:
    def test_of_a_mean_it_is_the_normal_interval(self) -> None:
        values = np.array([1.0, 2.0, 3.0, 6.0])
        interval, normal = linearised(Influence(3.0, (values - 3) / 4)), mean(values)
        assert (interval.low, interval.high) == pytest.approx((normal.low, normal.high))

    def test_the_scale_keeps_the_bounds_in_place(self) -> None:
        influence = Influence(0.9, np.array([0.3, -0.3]))
        assert linearised(influence).high > 1
        assert 0 < linearised(influence, scale="logit").low < linearised(influence, scale="logit").high < 1
        assert linearised(influence, scale="log").low > 0

    def test_the_floor_counts_where_the_rows_show_less(self) -> None:
        flat = Influence(0.5, np.zeros(4))
        assert linearised(flat, least_variance=0.01).high == pytest.approx(0.5 + 0.1 * Z)
        assert linearised(flat).high == 0.5

    def test_one_row_without_a_floor_is_refused(self) -> None:
        with pytest.raises(DataError, match="linearised interval: expected two rows or more, found 1"):
            linearised(Influence(0.5, np.zeros(1)))
        assert linearised(Influence(0.5, np.zeros(1)), least_variance=0.01).low < 0.5


class TestLinearisedDifference:
    def test_of_shares_it_is_the_normal_interval_with_the_most_telling_row_twice(self) -> None:
        """Eight rows, of which a alone has two right and b alone one."""
        gaps = np.array([1.0, 1.0, -1.0, 0, 0, 0, 0, 0])
        interval = linearised_difference(Influence(1 / 8, (gaps - 1 / 8) / 8), 8, bounds=(-1.0, 1.0))
        variance = (2 * (7 / 8) ** 2 + (9 / 8) ** 2 + 5 / 64 + (9 / 8) ** 2) / 8 / 7
        assert (interval.low, interval.high) == pytest.approx((1 / 8 - Z * variance**0.5, 1 / 8 + Z * variance**0.5))

    def test_four_disagreements_that_all_go_one_way_decide_nothing(self) -> None:
        """Of two equal models that happens once in eight; the bare variance would call it sure."""
        gaps = np.array([1.0] * 4 + [0.0] * 96)
        influence = Influence(0.04, (gaps - 0.04) / 100)
        assert linearised_difference(influence, 100, bounds=(-1.0, 1.0)).low < 0
        assert linearised(influence).low > 0

    def test_no_disagreement_leaves_the_doubt_of_what_went_unseen(self) -> None:
        flat = Influence(0.25, np.full(50, 1e-18))
        interval = linearised_difference(flat, 20, bounds=(-1.0, 1.0))
        unseen = 1 - 0.025 ** (1 / 20)
        assert (interval.low, interval.high) == pytest.approx((0.25 - 1.25 * unseen, 0.25 + 0.75 * unseen))
        assert linearised_difference(Influence(0.25, np.zeros(50)), 20).high == 0.25

    def test_the_bounds_are_not_passed(self) -> None:
        assert linearised_difference(Influence(0.9, np.array([0.3, -0.3])), 2, bounds=(-1.0, 1.0)).high == 1.0


class TestAverageOf:
    def test_distances_add_up_as_squares(self) -> None:
        parts = [Interval(0.5, 0.2, 0.6, "wilson", 0.95), Interval(0.7, 0.3, 0.7, "wilson", 0.95)]
        interval = average_of(parts)
        assert (interval.low, interval.estimate, interval.high) == pytest.approx((0.6 - 0.25, 0.6, 0.6 + 0.05))

    def test_of_no_part_is_refused(self) -> None:
        with pytest.raises(DataError, match="average of intervals"):
            average_of([])

    def test_wider_holds_both(self) -> None:
        both = wider(Interval(0.5, 0.2, 0.6, "a", 0.95), Interval(0.5, 0.3, 0.8, "b", 0.95))
        assert (both.low, both.high, both.method) == (0.2, 0.8, "a")


class TestMeanAbsoluteGap:
    def test_one_clear_gap_has_the_normal_interval(self) -> None:
        interval = mean_absolute_gap([-0.4], [0.01**2], [500])
        assert (interval.low, interval.estimate, interval.high) == pytest.approx((0.4 - 0.01 * Z, 0.4, 0.4 + 0.01 * Z))

    def test_bins_weigh_by_their_rows(self) -> None:
        assert mean_absolute_gap([0.1, -0.4], [1e-4, 1e-4], [300, 100]).estimate == pytest.approx(0.175)

    def test_gaps_that_noise_explains_reach_zero_and_clear_ones_do_not(self) -> None:
        noise, clear = [0.01, -0.01, 0.01, -0.01], [0.05, -0.05, 0.05, -0.05]
        assert mean_absolute_gap(noise, [1e-4] * 4, [100] * 4).low == 0
        assert mean_absolute_gap(clear, [1e-4] * 4, [100] * 4).low > 0.03

    def test_gaps_without_noise_leave_the_doubt_of_what_went_unseen(self) -> None:
        interval = mean_absolute_gap([0.0], [0.0], [100])
        assert (interval.low, interval.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 100)))

    def test_no_gap_under_noise_still_has_an_upper_bound(self) -> None:
        interval = mean_absolute_gap([0.0], [1e-4], [100])
        assert (interval.estimate, interval.low) == (0.0, 0.0)
        assert 0.01 < interval.high < 0.03

    def test_its_noise_is_that_of_the_folded_normal_distribution(self) -> None:
        from scipy.stats import foldnorm

        gaps, errors, shares = np.array([0.0, 0.02, -0.05]), np.array([0.03, 0.02, 0.01]), np.array([0.5, 0.3, 0.2])
        noise = foldnorm(np.abs(gaps) / errors, scale=errors)
        expected = shares @ noise.mean() + Z * math.sqrt(shares**2 @ noise.var())
        assert _folded_sum(gaps, errors, shares, Z) == pytest.approx(expected, rel=1e-12)

    @SEARCH
    @given(
        st.lists(
            st.tuples(st.floats(-1, 1), st.floats(0, 0.25), st.integers(1, 100)),
            min_size=1,
            max_size=10,
        )
    )
    def test_the_bounds_hold_the_estimate_between_0_and_1(self, bins: list[tuple[float, float, int]]) -> None:
        gaps, variances, rows = zip(*bins, strict=True)
        interval = mean_absolute_gap(gaps, variances, rows)
        assert 0 <= interval.low <= interval.estimate <= interval.high <= 1


class TestBootstrap:
    def test_the_bounds_are_percentiles_of_multinomial_weights(self) -> None:
        seen = list[Floats]()

        def first(weights: Floats) -> float:
            seen.append(weights)
            return float(weights[0])

        interval = bootstrap(first, rows=20, resamples=500, seed=1)
        drawn = np.array(seen[1:])
        assert (drawn.sum(axis=1) == 20).all()
        assert drawn.var(axis=0).mean() == pytest.approx(1 - 1 / 20, rel=0.05)
        assert (interval.low, interval.high) == pytest.approx(np.quantile(drawn[:, 0], [0.025, 0.975]))

    def test_the_same_seed_gives_the_same_bounds_and_another_seed_does_not(self) -> None:
        values = np.random.default_rng(2).normal(size=50)

        def average(weights: Floats) -> float:
            return float(weights @ values / weights.sum())

        first, second = (bootstrap(average, 50, 200, seed=3) for _ in range(2))
        assert first == second
        assert bootstrap(average, 50, 200, seed=4) != first

    def test_a_biased_statistic_still_lies_within_its_bounds(self) -> None:
        interval = bootstrap(lambda weights: float(weights.max()), rows=30, resamples=100, seed=5)
        assert (interval.estimate, interval.low) == (1.0, 1.0)
        assert interval.high >= 3

    def test_undefined_resamples_are_left_out_unless_they_are_most(self) -> None:
        def needs_first(weights: Floats) -> float:
            return float(weights[0]) if weights[0] else math.nan

        def needs_three(weights: Floats) -> float:
            return float(weights[0]) if weights[:3].all() else math.nan

        assert bootstrap(needs_first, rows=9, resamples=200, seed=6).low == 1
        with pytest.raises(DataError, match="bootstrap: expected a statistic that 9 rows define"):
            bootstrap(needs_three, rows=9, resamples=200, seed=6)
        with pytest.raises(DataError, match="bootstrap"):
            bootstrap(lambda weights: math.nan, rows=9, resamples=10, seed=6)

    def test_nothing_to_draw_from_is_refused(self) -> None:
        with pytest.raises(DataError, match="bootstrap: expected one row or more, found 0"):
            bootstrap(lambda weights: 0.0, rows=0, resamples=10, seed=0)
        with pytest.raises(ConfigurationError, match="bootstrap: expected one resample or more, found 0"):
            bootstrap(lambda weights: 0.0, rows=3, resamples=0, seed=0)


class TestInterval:
    def test_it_survives_json(self) -> None:
        interval = wilson(3, 10)
        assert Interval(**json.loads(json.dumps(interval.as_dict()))) == interval
        assert isinstance(mean(np.ones(3, np.float32)).low, float)


# Coverage: draw small samples from a known population, and count the intervals that hold its value.
# `SIMULATIONS` of an exact 95 % interval would hold it in 95 % -+ TOLERANCE (three standard errors).
SIMULATIONS = 1000
TOLERANCE = 3 * math.sqrt(0.95 * 0.05 / SIMULATIONS)

Draw = Callable[[np.random.Generator], Interval]


def coverage(draw: Draw, truth: float, simulations: int = SIMULATIONS) -> float:
    generator = np.random.default_rng(2013)
    drawn = [draw(generator) for _ in range(simulations)]
    return float(np.mean([interval.low <= truth <= interval.high for interval in drawn]))


def binormal(positives: int, negatives: int, auc: float, generator: np.random.Generator) -> tuple[Floats, Floats]:
    labels = np.repeat([1.0, 0.0], [positives, negatives])
    return labels, generator.normal(size=len(labels)) + math.sqrt(2) * NormalDist().inv_cdf(auc) * labels


def delong_100_of_300(generator: np.random.Generator) -> Interval:
    return delong(*binormal(100, 200, 0.8, generator))


def difference_100_of_300(generator: np.random.Generator) -> Interval:
    labels, a = binormal(100, 200, 0.8, generator)
    b = 0.8 * a + 0.6 * generator.normal(size=len(a))
    return delong_difference(labels, a, b)


def share_of_100(generator: np.random.Generator) -> Interval:
    return wilson(int(generator.binomial(100, 0.3)), 100)


def mean_of_100(generator: np.random.Generator) -> Interval:
    return mean(generator.normal(size=100))


def loss_of_100(generator: np.random.Generator) -> Interval:
    return mean(generator.exponential(size=100), scale="log")


def median_of_100(generator: np.random.Generator) -> Interval:
    return median(generator.exponential(size=100))


def bootstrap_of_100(generator: np.random.Generator) -> Interval:
    values = generator.normal(size=100)
    return bootstrap(lambda weights: float(weights @ values) / 100, 100, 200, int(generator.integers(2**31)))


# The AUC of 0.8 a + 0.6 noise: the shift shrinks to 0.8 of its size, the spread stays 1.
DIFFERENCE = 0.8 - NormalDist().cdf(0.8 * NormalDist().inv_cdf(0.8))


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        pytest.param(delong_100_of_300, 0.8, id="AUC, 100 positives of 300 rows"),
        pytest.param(difference_100_of_300, DIFFERENCE, id="paired AUC difference, 100 positives of 300 rows"),
        pytest.param(share_of_100, 0.3, id="share of 100"),
        pytest.param(mean_of_100, 0.0, id="mean of 100"),
        pytest.param(loss_of_100, 1.0, id="mean loss of 100"),
        pytest.param(median_of_100, math.log(2), id="median of 100"),
        pytest.param(bootstrap_of_100, 0.0, id="bootstrapped mean of 100"),
    ],
)
def test_95_percent_intervals_hold_the_truth_in_95_percent_of_small_samples(draw: Draw, truth: float) -> None:
    assert coverage(draw, truth) == pytest.approx(0.95, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("positives", "negatives", "auc"), [(2, 50, 0.7), (5, 20, 0.9), (10, 500, 0.98), (30, 30, 0.95)]
)
def test_few_rows_of_a_class_cost_width_and_not_coverage(positives: int, negatives: int, auc: float) -> None:
    held = coverage(lambda generator: delong(*binormal(positives, negatives, auc, generator)), auc)
    assert held >= 0.95 - TOLERANCE


def near_one(generator: np.random.Generator, positives: int, negatives: int) -> tuple[Floats, Floats, Floats]:
    """Labels and two scores of AUC 0.98 and 0.93."""
    labels, a = binormal(positives, negatives, 0.98, generator)
    noise = a - math.sqrt(2) * NormalDist().inv_cdf(0.98) * labels
    shift = math.sqrt(2) * NormalDist().inv_cdf(0.93)
    return labels, a, 0.6 * noise + 0.8 * generator.normal(size=len(a)) + shift * labels


def test_paired_differences_hold_from_the_least_rows_of_a_class_on_even_near_an_auc_of_1() -> None:
    rows = LEAST_CLASS_ROWS
    held = coverage(lambda generator: delong_difference(*near_one(generator, rows, 10 * rows)), 0.05)
    assert held >= 0.95 - TOLERANCE


def test_with_fewer_rows_or_without_the_second_count_they_would_not() -> None:
    def bare(generator: np.random.Generator) -> Interval:
        labels, a, b = near_one(generator, LEAST_CLASS_ROWS, 10 * LEAST_CLASS_ROWS)
        won = pairs(labels, a) - pairs(labels, b)
        reach = Z * math.sqrt(pairs_variance(won))
        return Interval(float(won.mean()), won.mean() - reach, won.mean() + reach, "bare", 0.95)

    fewer = coverage(lambda generator: delong_difference(*near_one(generator, 10, 100)), 0.05, simulations=500)
    assert fewer < 0.95 - TOLERANCE
    assert coverage(bare, 0.05) < 0.95 - TOLERANCE


def test_delong_without_its_floor_would_fail_that_check() -> None:
    def bare(generator: np.random.Generator) -> Interval:
        won = pairs(*binormal(10, 500, 0.98, generator))
        low, high = on_logit_scale(won.mean(), math.sqrt(pairs_variance(won))) if won.mean() < 1 else (1.0, 1.0)
        return Interval(float(won.mean()), low, high, "bare", 0.95)

    assert coverage(bare, 0.98, simulations=300) < 0.95 - 2 * TOLERANCE


def test_an_interval_that_is_too_narrow_by_a_fifth_would_fail_that_check() -> None:
    def narrow(generator: np.random.Generator) -> Interval:
        interval = mean_of_100(generator)
        reach = 0.8 * (interval.high - interval.estimate)
        return Interval(interval.estimate, interval.estimate - reach, interval.estimate + reach, "narrow", 0.95)

    assert coverage(narrow, 0.0) < 0.95 - TOLERANCE


def test_the_calibration_error_of_calibrated_scores_holds_zero_where_percentiles_never_do() -> None:
    rows = np.full(10, 30)

    def binned(generator: np.random.Generator) -> tuple[Floats, Floats]:
        share = np.linspace(0.1, 0.8, 10)
        return share - generator.binomial(30, share) / 30, share * (1 - share) / 30

    def folded(generator: np.random.Generator) -> Interval:
        return mean_absolute_gap(*binned(generator), rows)

    def percentiles(generator: np.random.Generator) -> Interval:
        gaps, variances = binned(generator)
        drawn = np.abs(gaps + np.sqrt(variances) * generator.normal(size=(200, 10))).mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Interval(float(np.abs(gaps).mean()), float(low), float(high), "percentiles", 0.95)

    assert coverage(folded, 0.0, simulations=500) >= 0.95 - TOLERANCE
    assert coverage(percentiles, 0.0, simulations=100) == 0
