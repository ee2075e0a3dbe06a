"""How far columns lie apart: what scipy finds in the values, found in the counts within the error that is stated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from drift_logs import FEATURES
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats
from scipy.spatial.distance import jensenshannon

from mergeline.monitor.drift import tails
from mergeline.monitor.drift.resolution import hidden, resolves
from mergeline.monitor.drift.statistics import categories_apart, chi_squared, grouped_apart, numbers_apart
from mergeline.monitor.drift.tally import CategoryTally, NumberTally, Sample, hashes_of
from mergeline.monitor.groups import NumberGroups
from mergeline.monitor.sketch import CategoryCounts, NumberSketch
from mergeline.serve.drift import stability_index

SEARCH = settings(max_examples=80, deadline=None, derandomize=True, database=None)
Values = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Values]

COLUMNS: dict[str, tuple[Draw, Draw]] = {
    "equal": (lambda g, n: g.normal(0, 1, n), lambda g, n: g.normal(0, 1, n)),
    "shifted": (lambda g, n: g.normal(0.25, 1, n), lambda g, n: g.normal(0, 1, n)),
    "lognormal": (lambda g, n: g.lognormal(0.1, 1, n), lambda g, n: g.lognormal(0, 1, n)),
    "heavy tails": (lambda g, n: g.pareto(2.2, n), lambda g, n: g.pareto(2, n)),
    "both signs, heavy tails": (lambda g, n: g.standard_t(3, n), lambda g, n: g.standard_t(4, n)),
    "whole": (lambda g, n: g.integers(0, 300, n).astype(float), lambda g, n: g.integers(5, 300, n).astype(float)),
    "two values": (lambda g, n: (g.random(n) < 0.4).astype(float), lambda g, n: (g.random(n) < 0.5).astype(float)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_distances_of_counts_are_those_of_the_values(name: str) -> None:
    """KS within 1e-4, Wasserstein within 0.1 %, and both within the error that the figures carry themselves."""
    generator = np.random.default_rng(5)
    now, then = (draw(generator, size) for draw, size in zip(COLUMNS[name], (20_000, 60_000), strict=True))
    now, then = (side.astype(np.float32).astype(np.float64) for side in (now, then))
    found = numbers_apart(NumberSketch.of(now), NumberSketch.of(then))
    exact, moved = stats.ks_2samp(now, then), stats.wasserstein_distance(now, then)
    assert found.ks is not None
    assert found.ks_error is not None
    assert found.wasserstein is not None
    assert found.wasserstein_error is not None
    assert -1e-4 <= found.ks - exact.statistic <= 1e-12
    assert exact.statistic <= found.ks + found.ks_error + 1e-12
    assert found.wasserstein == pytest.approx(moved, rel=1e-3, abs=1e-9)
    assert abs(found.wasserstein - moved) <= found.wasserstein_error
    assert found.effect == found.ks


def test_a_column_far_from_zero_says_that_its_keys_are_wide() -> None:
    """At 1,000 a key is 1 wide: with a spread of 7 the distance is off by more than 1e-4, and no more than it says."""
    generator = np.random.default_rng(5)
    now, then = generator.normal(1010, 7, 20_000), generator.normal(1015, 7, 60_000)
    found = numbers_apart(NumberSketch.of(now), NumberSketch.of(then))
    exact = float(stats.ks_2samp(now, then).statistic)
    assert found.ks is not None
    assert found.ks_error is not None
    assert 1e-4 < exact - found.ks < min(1e-3, found.ks_error)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(now, then), abs=0.1)


def test_the_twin_bins_of_equal_mass_would_not_keep_that_error() -> None:
    generator = np.random.default_rng(5)
    now, then = generator.pareto(2.2, 20_000), generator.pareto(2, 60_000)
    cuts = np.quantile(then, np.linspace(0, 1, 33))
    middles = (cuts[1:] + cuts[:-1]) / 2
    shares = [np.histogram(np.clip(side, cuts[0], cuts[-1]), cuts)[0] / len(side) for side in (now, then)]
    binned = float((np.abs(np.cumsum(shares[0] - shares[1]))[:-1] * np.diff(middles)).sum())
    assert abs(binned / stats.wasserstein_distance(now, then) - 1) > 0.02


@pytest.mark.parametrize("degrees", [1, 2, 7, 60, 900])
def test_the_tail_of_chi_squared_is_scipys(degrees: int) -> None:
    for share in (1e-12, 1e-4, 0.05, 0.4, 0.9, 0.999):
        value = float(stats.chi2.isf(share, degrees))
        assert tails.chi_squared(value, degrees) == pytest.approx(share, rel=1e-8)
    assert (tails.chi_squared(0.0, degrees), tails.chi_squared(5.0, 0)) == (1.0, 1.0)


def test_the_tail_of_the_kolmogorov_distance_is_scipys() -> None:
    for at in np.linspace(0.25, 4, 40):
        assert tails.kolmogorov(at / 1e5, 1e10) == pytest.approx(special.kolmogorov(at), rel=1e-3)
    for distance in (0.03, 0.05, 0.1):  # and of few rows that of the exact distribution
        exact = stats.kstwo.sf(distance, 1000)
        assert tails.kolmogorov(distance, 1000) == pytest.approx(exact, rel=0.05)


@SEARCH
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrected_p_values_are_scipys(values: list[float]) -> None:
    assert tails.benjamini_hochberg(values) == pytest.approx(stats.false_discovery_control(values).tolist())


def test_two_shares_are_compared_as_chi_squared_does() -> None:
    exact = stats.chi2_contingency([[30, 970], [90, 1910]], correction=False).pvalue
    assert tails.shares_differ(0.03, 1000, 0.045, 2000) == pytest.approx(exact)


@SEARCH
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=9))
def test_grouped_distances_are_scipys_of_the_same_shares(pairs: list[tuple[int, int]]) -> None:
    now, then = (np.array(side) for side in zip(*pairs, strict=True))
    if not now.sum() or not then.sum():
        return
    half = 0.5 / min(now.sum(), then.sum())
    p, q = (side / side.sum() + half for side in (now, then))
    found = grouped_apart(now, then)
    assert found.js == pytest.approx(jensenshannon(p, q, base=2), abs=1e-7)
    assert found.kl == pytest.approx(stats.entropy(p, q), abs=1e-9)
    assert found.psi == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), abs=1e-9)
    assert found.psi == pytest.approx(stability_index(now.tolist(), then.tolist()))  # that of the server's gauges


@SEARCH
@given(st.lists(st.tuples(st.integers(5, 500), st.integers(5, 500)), min_size=2, max_size=9))
def test_chi_squared_is_scipys_where_every_category_is_frequent(pairs: list[tuple[int, int]]) -> None:
    now, then = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    exact = stats.chi2_contingency([now, then], correction=False)
    if exact.expected_freq.min() < 5:
        return
    value, degrees = chi_squared(now, then)
    assert value == pytest.approx(exact.statistic)
    assert degrees == exact.dof


def test_rare_categories_count_together_and_not_as_many_surprises() -> None:
    generator = np.random.default_rng(3)
    share = np.r_[0.9, np.full(400, 0.1 / 400)]

    def drawn(rows: int) -> Values:
        return generator.multinomial(rows, share).astype(np.float64)

    found = [tails.chi_squared(*chi_squared(drawn(900), drawn(20_000))) for _ in range(200)]
    assert sum(p < 0.05 for p in found) <= 20
    _, degrees = chi_squared(drawn(900), drawn(20_000))
    assert degrees == 1


def test_missing_values_are_a_distance_of_their_own() -> None:
    then = NumberSketch.of(np.arange(1000.0))
    gone = np.where(np.arange(1000) % 5 == 0, np.nan, np.arange(1000.0))
    found = numbers_apart(NumberSketch.of(gone), then)
    assert (found.missing_then, found.missing_now, found.effect) == (0.0, 0.2, 0.2)
    assert found.p < 1e-6
    assert found.ks is not None
    assert found.ks < 0.01


def test_a_column_that_is_hardly_ever_known_moves_few_rows() -> None:
    """Of the known values nearly all lie elsewhere, and yet hardly a row does."""
    values = np.full(10_000, np.nan)
    then, now = values.copy(), values.copy()
    then[:200], now[:200] = np.arange(200.0), np.arange(200.0) + 190
    found = numbers_apart(NumberSketch.of(now), NumberSketch.of(then))
    assert found.ks == pytest.approx(0.95)
    assert found.effect == pytest.approx(0.019)


@pytest.mark.parametrize("empty", ["now", "then", "both"])
def test_nothing_known_is_compared_by_what_is_missing(empty: str) -> None:
    sides = {name: NumberSketch.of(np.arange(300.0)) for name in ("now", "then")}
    for name in sides:
        if empty in (name, "both"):
            sides[name] = NumberSketch.of(np.full(300, np.nan))
    found = numbers_apart(sides["now"], sides["then"])
    assert found.ks is found.wasserstein is None
    assert (found.effect, found.p < 0.01) == ((0.0, False) if empty == "both" else (1.0, True))


def test_infinities_leave_the_wasserstein_distance_out_and_nothing_else() -> None:
    now = NumberSketch.of(np.r_[np.arange(100.0), np.inf])
    found = numbers_apart(now, NumberSketch.of(np.arange(101.0)))
    assert found.wasserstein is None
    assert found.ks == pytest.approx(1 / 101)


def test_categories_move_by_their_shares_unknown_ones_included() -> None:
    categories = FEATURES[4].categories
    then = CategoryCounts(0, 0, {"app": 500, "shop": 300, "web": 200})
    found = categories_apart(CategoryCounts(0, 100, {"app": 400, "shop": 300, "web": 200}), then, categories, 1.0)
    assert found.effect == pytest.approx(0.1)
    assert found.degrees == 3
    assert found.p < 1e-6
    assert categories_apart(then, then, categories, 1.0).p == 1.0


# ---- What the counts do not tell apart -------------------------------------------------------------------------------

Sides = tuple[NumberSketch, NumberSketch]
Samples = tuple[Values, Values]
NOTHING = (np.zeros(0), np.zeros(0))
LOW_RESOLUTION: dict[str, Draw] = {
    "far from zero": lambda g, n: g.normal(1e6, 1, n),
    "a longitude": lambda g, n: g.normal(-73.98, 0.005, n),
    "two keys wide": lambda g, n: g.normal(100.0, 0.03, n),
}
SINGLE_VALUES: dict[str, Draw] = {
    "one value": lambda g, n: np.full(n, 5.0),
    "nearly always zero": lambda g, n: np.where(g.random(n) < 0.9, 0.0, g.lognormal(0, 1, n)),
    "two values": lambda g, n: (g.random(n) < 0.4).astype(float),
    "whole numbers": lambda g, n: g.integers(1, 8, n).astype(float),
    "steps of a scale": lambda g, n: g.integers(0, 9, n).astype(float) * 1.15078,
}


def counted(draw: Draw, offset: float = 0.0) -> tuple[Sides, Samples, float]:
    """The counts of each side, a sample of each, and how much greater the distance may be than it seems."""
    generator = np.random.default_rng(5)
    now, then = draw(generator, 3000) - offset, draw(generator, 9000) - offset
    sketches = NumberSketch.of(now), NumberSketch.of(then)
    error = numbers_apart(*sketches).ks_error
    assert error is not None
    return sketches, (now[:2000], then[:2000]), error


@pytest.mark.parametrize("name", LOW_RESOLUTION)
def test_values_that_share_a_key_are_not_resolved_and_are_once_an_offset_is_taken_away(name: str) -> None:
    sides, samples, error = counted(LOW_RESOLUTION[name])
    assert error > 0.05
    assert not resolves(*sides, *samples, 0.05)
    assert not resolves(*sides, *NOTHING, 0.05), "nor without a sample"
    assert counted(LOW_RESOLUTION[name], offset=float(np.median(samples[1])))[2] < 0.05


@pytest.mark.parametrize("name", SINGLE_VALUES)
def test_a_key_that_holds_one_value_hides_nothing_however_many_rows_have_it(name: str) -> None:
    sides, samples, error = counted(SINGLE_VALUES[name])
    assert error > 0.05
    assert hidden(*samples) < 0.01
    assert resolves(*sides, *samples, 0.05)
    assert resolves(*sides, *NOTHING, 0.05), "nor without a sample"


def test_a_sample_tells_single_values_far_from_zero_from_those_that_only_share_a_key() -> None:
    one = np.full(2000, 1e6)
    then, now = NumberSketch.of(one), NumberSketch.of(one + 1)
    assert then.keys.tolist() == now.keys.tolist()
    assert resolves(then, then, one, one, 0.05)
    assert not resolves(now, then, one + 1, one, 0.05), "another value in the same key"
    assert not resolves(then, then, *NOTHING, 0.05)


def test_what_is_hidden_is_the_share_beside_the_most_frequent_value_of_a_key() -> None:
    key = [1e6] * 90 + [1e6 + 1] * 4 + [1e6 + 2] * 6
    assert hidden(np.array([*key, *[1.0] * 100]), np.array([1.0, 1e6])) == pytest.approx(0.05)
    as_logged = np.array([10.35702, 10.35702])
    assert hidden(as_logged, as_logged.astype(np.float32).astype(np.float64)) == 0.0


# ---- Counting --------------------------------------------------------------------------------------------------------

floats = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e39, -1e39, 1e-44, -1e-44])


@SEARCH
@given(st.lists(st.lists(st.tuples(floats, st.integers(0, 1)), max_size=10), max_size=5), st.booleans())
def test_any_chunking_counts_to_the_same_sketch(chunks: list[list[tuple[float, int]]], masked: bool) -> None:
    tally, whole = NumberTally(), []
    for chunk in chunks:
        values = np.array([value for value, _ in chunk], dtype=np.float64)
        known = np.array([flag for _, flag in chunk], dtype=np.uint8) if masked else None
        tally.add(values, known)
        whole.append(values if known is None else np.where(known, values, np.nan))
    found, exact = tally.sketch(), NumberSketch.of(np.concatenate([np.zeros(0), *whole]))
    assert (found.keys.tolist(), found.counts.tolist()) == (exact.keys.tolist(), exact.counts.tolist())
    assert found.missing == exact.missing


@SEARCH
@given(st.lists(st.sampled_from(["app", "shop", "web", "kiosk", "phone"]), max_size=30), st.integers(1, 4))
def test_categories_are_counted_by_whatever_dictionary_they_come(texts: list[str], parts: int) -> None:
    tally = CategoryTally(FEATURES[4].categories)
    for part in range(parts):
        chosen = texts[part::parts]
        words = sorted(set(chosen), reverse=bool(part % 2))
        indices = np.array([words.index(text) for text in chosen], dtype=np.int32)
        tally.add(indices, tally.codes(words), missing=part)
    known = {name: texts.count(name) for name in FEATURES[4].categories}
    assert tally.counts() == CategoryCounts(sum(range(parts)), len(texts) - sum(known.values()), known)


@SEARCH
@given(st.lists(st.integers(0, 2**40), max_size=40, unique=True), st.integers(1, 6), st.randoms())
def test_a_sample_is_of_the_same_rows_in_whatever_order_they_come(
    moments: list[int], size: int, random: object
) -> None:
    rows = np.array(moments, dtype=np.float64).reshape(-1, 1)
    hashes = hashes_of(np.array(moments, dtype=np.int64))
    singles = [Sample(size, hashes[at : at + 1], rows[at : at + 1]) for at in range(len(moments))]
    forward = backward = Sample.empty(size, 1)
    for each in singles:
        forward, backward = forward.merge(each), each.merge(backward)
    random.shuffle(singles)  # type: ignore[attr-defined]
    shuffled = Sample.empty(size, 1)
    for each in singles:
        shuffled = shuffled.merge(each)
    assert forward.rows.tolist() == backward.rows.tolist() == shuffled.rows.tolist()
    assert len(forward.rows) == min(size, len(moments))


def test_a_sample_does_not_prefer_early_rows_or_low_values() -> None:
    moments = np.arange(20_000, dtype=np.int64) * 1_000_003
    chosen = np.argsort(hashes_of(moments))[:2000]
    assert abs(float(np.mean(chosen)) / 10_000 - 1) < 0.05


def test_groups_hold_equal_parts_of_the_reference_so_that_an_index_means_the_same_for_every_column() -> None:
    then = NumberSketch.of(np.random.default_rng(0).normal(0, 1, 50_000))
    counts = NumberGroups.of(then).reference(then)
    assert (counts[:2].tolist(), len(counts)) == ([0, 0], 12)
    assert counts[2:].min() > 4900
