"""Live drift: a planted shift moves the gauge of its feature and of no other; without one no gauge says anything."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from mergeline.errors import VerificationError
from mergeline.monitor.profile import Profile, profile_of
from mergeline.schema import SCORE, Feature, Kind
from mergeline.serve.drift import (
    MIN_ROWS,
    DriftWindow,
    Gauge,
    WindowCounts,
    psi,
    read_counts,
    stability_index,
    write_counts,
)

FEATURES = (
    Feature("amount", Kind.NUMBER),
    Feature("visits", Kind.NUMBER),
    Feature("member", Kind.BOOLEAN),
    Feature("since", Kind.DATETIME),
    Feature("year", Kind.NUMBER),
    Feature("channel", Kind.CATEGORY, ("app", "desk", "web")),
    Feature("shop", Kind.CATEGORY, tuple(f"s{number:02}" for number in range(40))),
)
POSITION = {feature.name: position for position, feature in enumerate(FEATURES)}
SHIFT = 0.25

Matrix = NDArray[np.float32]
Scores = NDArray[np.float64]


def rows(count: int, seed: int) -> tuple[Matrix, Scores]:
    """Rows as a model reads them, all kinds of features with gaps, and their scores."""
    generator = np.random.default_rng(seed)
    matrix = np.column_stack(
        [
            generator.lognormal(3, 1, count),
            generator.integers(0, 9, count),
            generator.random(count) < 0.2,
            generator.integers(16_000, 19_000, count),
            np.full(count, 2013),
            generator.choice([0, 2, 3, 4], count, p=[0.05, 0.6, 0.25, 0.1]),
            2 + generator.zipf(1.5, count) % 40,
        ]
    ).astype(np.float32)
    matrix[generator.random(count) < 0.05, POSITION["amount"]] = np.nan
    return matrix, generator.beta(2, 5, count)


@pytest.fixture(scope="module")
def profile() -> Profile:
    matrix, scores = rows(50_000, seed=1)
    return profile_of(matrix, FEATURES, scores)


def gauges(profile: Profile, matrix: Matrix, scores: Scores) -> dict[str, Gauge]:
    window = DriftWindow(profile, FEATURES)
    window.add(matrix, scores)
    return psi(window.counts(), window.reference)


def above_noise(found: dict[str, Gauge]) -> set[str]:
    return {name for name, each in found.items() if each.psi is None or each.bound is None or each.psi > each.bound}


# ---- Planted failures ------------------------------------------------------------------------------------------------


def column(name: str, change: Callable[[Any, np.random.Generator], Any]) -> Callable[[Matrix, Scores], None]:
    def plant(matrix: Matrix, scores: Scores) -> None:
        matrix[:, POSITION[name]] = change(matrix[:, POSITION[name]], np.random.default_rng(9))

    return plant


def shifted_scores(matrix: Matrix, scores: Scores) -> None:
    scores += 0.3


def flooded(value: float, share: float) -> Callable[[Any, np.random.Generator], Any]:
    return lambda values, generator: np.where(generator.random(len(values)) < share, value, values)


PLANTED = [
    pytest.param("amount", column("amount", lambda values, _: values * 2), id="a number in another unit"),
    pytest.param("visits", column("visits", lambda values, _: values + 3), id="a number that has moved"),
    pytest.param("visits", column("visits", lambda values, _: values * 0 + 4), id="a number that stands still"),
    pytest.param("year", column("year", lambda values, _: values + 4), id="a constant that is another one"),
    pytest.param("member", column("member", lambda values, _: 1 - values), id="a boolean turned round"),
    pytest.param("since", column("since", lambda values, _: values + 1500), id="dates that go on"),
    pytest.param("channel", column("channel", lambda values, _: 6 - np.maximum(values, 2)), id="a category mix"),
    pytest.param("channel", column("channel", flooded(1, 0.3)), id="a flood of unseen categories"),
    pytest.param("shop", column("shop", flooded(41, 0.6)), id="a rare category that is frequent"),
    pytest.param("amount", column("amount", flooded(np.nan, 0.4)), id="a flood of missing numbers"),
    pytest.param("year", column("year", flooded(np.nan, 0.4)), id="a constant that is missing"),
    pytest.param("channel", column("channel", flooded(0, 0.4)), id="a flood of missing categories"),
    pytest.param(SCORE, shifted_scores, id="scores that have moved"),
]


@pytest.mark.parametrize("count", [1000, 5000])
@pytest.mark.parametrize(("name", "plant"), PLANTED)
def test_a_planted_shift_moves_its_own_gauge_and_no_other(
    name: str, plant: Callable[[Matrix, Scores], None], count: int, profile: Profile
) -> None:
    matrix, scores = rows(count, seed=2)
    plant(matrix, scores)
    found = gauges(profile, matrix, scores)
    moved = found[name].psi
    assert moved is not None
    assert moved > SHIFT
    assert above_noise(found) == {name}


@pytest.mark.parametrize("count", [MIN_ROWS, 1000, 5000])
def test_the_twin_without_a_shift_every_gauge_is_within_noise(count: int, profile: Profile) -> None:
    found = gauges(profile, *rows(count, seed=3))
    assert above_noise(found) == set()
    assert {each.rows for each in found.values()} == {count}


def test_a_shift_that_comes_in_late_moves_the_gauge_as_it_fills_the_window(profile: Profile) -> None:
    """And it goes again, once the window holds good rows alone."""
    window = DriftWindow(profile, FEATURES, 1000)
    honest, shifted = rows(2000, seed=4), rows(2000, seed=5)
    shifted[0][:, POSITION["amount"]] *= 3
    found = []
    for matrix, scores in (honest, shifted, honest):
        for start in range(0, 2000, 500):
            window.add(matrix[start : start + 500], scores[start : start + 500])
            found.append(psi(window.counts(), window.reference)["amount"].psi or 0.0)
    before, during, after = found[:4], found[5:8], found[9:]
    assert max(*before, *after) < 0.05
    assert min(during) > SHIFT
    assert 0.05 < found[4] < found[5]


def test_one_row_that_training_never_saw_moves_nothing(profile: Profile) -> None:
    matrix, scores = rows(MIN_ROWS, seed=6)
    matrix[0] = [1e30, -5, 1, 1, 7, 1, 1]
    assert above_noise(gauges(profile, matrix, scores)) == set()


@pytest.mark.parametrize("count", [0, 1, MIN_ROWS - 1])
def test_of_few_rows_a_gauge_says_nothing_rather_than_something_wrong(count: int, profile: Profile) -> None:
    matrix, scores = rows(count, seed=7)
    matrix[:, POSITION["amount"]] = 1e9
    for found in gauges(profile, matrix, scores).values():
        assert (found.psi, found.expected, found.bound, found.rows) == (None, None, None, count)


def test_nor_does_it_beside_a_reference_of_few_rows() -> None:
    small = profile_of(rows(MIN_ROWS - 1, seed=1)[0], FEATURES, rows(MIN_ROWS - 1, seed=1)[1])
    assert {each.psi for each in gauges(small, *rows(1000, seed=2)).values()} == {None}


# ---- The index -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "reference", "expected"),
    [
        # (0.3 - 0.5) ln(0.3 / 0.5) + (0.7 - 0.5) ln(0.7 / 0.5)
        ([300_000, 700_000], [500_000, 500_000], 0.16946),
        # (0.2 - 0.1) ln 2 + 0 + (0.1 - 0.2) ln 0.5
        ([200_000, 700_000, 100_000], [1_000_000, 7_000_000, 2_000_000], 0.13863),
        ([100_000, 400_000], [200_000, 800_000], 0.0),
    ],
)
def test_the_index_by_hand_where_no_group_is_empty(current: list[int], reference: list[int], expected: float) -> None:
    assert stability_index(current, reference) == pytest.approx(expected, abs=2e-5)


def test_an_empty_group_counts_as_half_a_row_of_the_smaller_side() -> None:
    """By hand: n = 10, m = 20, h = 0.05; p = (0.05, 1.05) / 1.1, q = (0.55, 0.55) / 1.1."""
    p, q = (0.05 / 1.1, 1.05 / 1.1), (0.55 / 1.1, 0.55 / 1.1)
    expected = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert stability_index([0, 10], [10, 10]) == pytest.approx(1.3838, abs=1e-4) == expected
    assert stability_index([0, 10, 0], [0, 20, 0]) == 0.0


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=12))
def test_the_index_is_never_negative_the_same_both_ways_and_blind_to_the_order(pairs: list[tuple[int, int]]) -> None:
    current, reference = [a + 1 for a, _ in pairs], [b + 1 for _, b in pairs]
    found = stability_index(current, reference)
    assert found >= 0
    assert stability_index(reference, current) == pytest.approx(found)
    assert stability_index(current[::-1], reference[::-1]) == pytest.approx(found)


def test_without_drift_the_index_is_as_large_as_it_is_expected_to_be() -> None:
    """Ten equal groups, 400 windows: the mean within 5 %, one in a thousand above the bound."""
    generator = np.random.default_rng(8)
    draws = generator.multinomial(1000, np.full(10, 0.1), 400).tolist()
    reference = WindowCounts("same", 50_000, {"amount": (0, 0, *[5000] * 10)})
    found = [psi(WindowCounts("same", 1000, {"amount": (0, 0, *each)}), reference)["amount"] for each in draws]
    expected, bound = found[0].expected, found[0].bound
    assert expected is not None
    assert bound is not None
    assert expected == pytest.approx(9 * (1 / 1000 + 1 / 50_000))
    assert np.mean([each.psi for each in found if each.psi is not None]) == pytest.approx(expected, rel=0.05)
    assert sum(each.psi is not None and each.psi > bound for each in found) <= 2
    assert found[0].groups == 10


@pytest.mark.parametrize("groups", [2, 3, 10, 13])
def test_the_bound_is_that_of_a_chi_squared_as_scipy_has_it(groups: int) -> None:
    reference = WindowCounts("same", 5000 * groups, {"amount": (0, 0, *[5000] * groups)})
    bound = psi(WindowCounts("same", 100 * groups, {"amount": (0, 0, *[100] * groups)}), reference)["amount"].bound
    scale = 1 / (100 * groups) + 1 / (5000 * groups)
    assert bound == pytest.approx(stats.chi2.ppf(0.999, groups - 1) * scale, rel=0.035)


def test_a_constant_in_one_group_has_an_index_of_nothing_and_no_noise(profile: Profile) -> None:
    assert gauges(profile, *rows(1000, seed=3))["year"] == Gauge(0.0, 0.0, 0.0, 1, 1000)


# ---- The window ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(0, 17), max_size=12), st.integers(1, 13))
def test_the_window_holds_the_last_rows_in_whatever_batches_they_came(batches: list[int], size: int) -> None:
    features = (Feature("amount", Kind.NUMBER),)
    total = sum(batches)
    values = np.arange(1, total + 1, dtype=np.float64).reshape(-1, 1)
    profile = profile_of(values.astype(np.float32), features, values[:, 0])
    window, whole = DriftWindow(profile, features, size), DriftWindow(profile, features, size)
    start = 0
    for batch in batches:
        window.add(values[start : start + batch], values[start : start + batch, 0])
        start += batch
    for row in values[max(0, total - size) :]:
        whole.add(row.reshape(1, 1), row)
    assert window.counts() == whole.counts()
    assert window.counts().rows == min(size, total)
    assert sum(window.counts().groups[SCORE]) == min(size, total)


def test_rows_are_copied_so_that_a_caller_may_use_its_array_again(profile: Profile) -> None:
    matrix, scores = rows(300, seed=2)
    window = DriftWindow(profile, FEATURES)
    window.add(matrix, scores)
    before = window.counts()
    matrix[:], scores[:] = 0, 0
    assert window.counts() == before


def test_float64_rows_are_counted_as_the_float32_that_the_model_reads(profile: Profile) -> None:
    matrix, scores = rows(300, seed=2)
    narrow, wide = DriftWindow(profile, FEATURES), DriftWindow(profile, FEATURES)
    narrow.add(matrix, scores)
    wide.add(matrix.astype(np.float64), scores)
    assert narrow.counts() == wide.counts()


def test_the_reference_rows_themselves_have_the_counts_of_the_reference(profile: Profile) -> None:
    matrix, scores = rows(50_000, seed=1)
    window = DriftWindow(profile, FEATURES, 50_000)
    window.add(matrix, scores)
    assert window.counts() == window.reference
    assert {each.psi for each in psi(window.counts(), window.reference).values()} == {0.0}


def test_a_profile_that_came_through_its_file_has_the_same_groups(profile: Profile) -> None:
    again = Profile.from_json(profile.to_json())
    assert DriftWindow(again, FEATURES).reference == DriftWindow(profile, FEATURES).reference


@pytest.mark.parametrize(
    "feature",
    [
        pytest.param(Feature("price", Kind.NUMBER), id="a number that is not there"),
        pytest.param(Feature("shape", Kind.CATEGORY, ("a",)), id="a category that is not there"),
        pytest.param(Feature("amount", Kind.CATEGORY, ("a",)), id="a category that was a number"),
        pytest.param(Feature("channel", Kind.NUMBER), id="a number that was a category"),
        pytest.param(Feature("channel", Kind.CATEGORY, ("app", "desk")), id="other categories"),
    ],
)
def test_a_profile_of_other_features_is_refused(feature: Feature, profile: Profile) -> None:
    with pytest.raises(VerificationError, match=rf"^profile\.json: expected the {feature.kind} '{feature.name}'"):
        DriftWindow(profile, (FEATURES[1], feature))


# ---- Several workers -------------------------------------------------------------------------------------------------


def counted(profile: Profile, count: int, seed: int, features: tuple[Feature, ...] = FEATURES) -> WindowCounts:
    window = DriftWindow(profile, features)
    matrix, scores = rows(count, seed)
    window.add(matrix[:, : len(features)], scores)
    return window.counts()


def test_the_counts_of_workers_add_up_to_those_of_all_rows(profile: Profile) -> None:
    first, second = counted(profile, 300, 2), counted(profile, 500, 3)
    window = DriftWindow(profile, FEATURES)
    for count, seed in ((300, 2), (500, 3)):
        window.add(*rows(count, seed))
    assert first.merge(second) == second.merge(first) == window.counts()


def test_counts_in_other_groups_are_neither_added_nor_compared(profile: Profile) -> None:
    first, other = counted(profile, 300, 2), counted(profile, 300, 2, FEATURES[:3])
    with pytest.raises(VerificationError, match=r"drift: expected counts in the groups .*serve different models"):
        first.merge(other)
    with pytest.raises(VerificationError, match="ask the same model"):
        psi(other, first)


def test_whoever_is_asked_merges_the_counts_of_all_workers(profile: Profile, tmp_path: Path) -> None:
    first, second = counted(profile, 300, 2), counted(profile, 500, 3)
    write_counts(tmp_path / "drift", 1, counted(profile, 200, 4))
    write_counts(tmp_path / "drift", 1, first)
    write_counts(tmp_path / "drift", 2, second)
    now = (tmp_path / "drift" / "1.json").stat().st_mtime
    assert read_counts(tmp_path / "drift", now, first.grouping) == first.merge(second)
    assert sorted(path.name for path in (tmp_path / "drift").iterdir()) == ["1.json", "2.json"]


def test_a_worker_that_has_not_written_for_a_minute_is_left_out(profile: Profile, tmp_path: Path) -> None:
    first, second = counted(profile, 300, 2), counted(profile, 500, 3)
    for worker, counts, age in ((1, first, 59), (2, second, 61)):
        write_counts(tmp_path, worker, counts)
        os.utime(tmp_path / f"{worker}.json", (1000 - age, 1000 - age))
    assert read_counts(tmp_path, 1000, first.grouping) == first
    assert read_counts(tmp_path, 1010, first.grouping) is None


def test_counts_of_a_model_that_is_served_no_longer_are_left_out(profile: Profile, tmp_path: Path) -> None:
    first = counted(profile, 300, 2)
    write_counts(tmp_path, 1, first)
    write_counts(tmp_path, 2, counted(profile, 300, 2, FEATURES[:3]))
    assert read_counts(tmp_path, 0, first.grouping) == first


def test_a_folder_that_is_not_there_has_no_counts(tmp_path: Path) -> None:
    assert read_counts(tmp_path / "none", 0, "any") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"grouping": "g", "rows": 1, "groups": {"amount": [null]}}', "§"]
)
def test_a_file_that_is_none_of_counts_is_left_out_with_a_warning(
    text: str, profile: Profile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = counted(profile, 300, 2)
    write_counts(tmp_path, 1, first)
    (tmp_path / "0.json").write_bytes(text.encode("latin-1"))
    assert read_counts(tmp_path, 0, first.grouping) == first
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_the_gauges_take_numpy_and_no_training_library() -> None:
    show = "import mergeline.serve.drift, sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert loaded & {"pandas", "scipy", "pyarrow", "sklearn", "onnxruntime", "pydantic"} == set()
