"""profile: training rows as counts that add up, exact to the bits that are kept, and read back or refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from scipy import stats

from mergeline.errors import DataError, VerificationError
from mergeline.monitor.groups import NAMED_CATEGORIES, NUMBER_GROUPS, CategoryGroups, NumberGroups
from mergeline.monitor.profile import Profile, profile_of
from mergeline.monitor.sketch import KEYS, CategoryCounts, NumberSketch, edges, keys_of, packed, unpacked, values_of
from mergeline.schema import Feature, Kind

SEARCH = settings(max_examples=60, deadline=None, derandomize=True, database=None)

FEATURES = (
    Feature("amount", Kind.NUMBER),
    Feature("member", Kind.BOOLEAN),
    Feature("since", Kind.DATETIME),
    Feature("shop", Kind.CATEGORY, ("a", "b", "ä")),
)

floats = st.floats(width=32, allow_nan=False)
columns = st.lists(st.floats(width=32), max_size=30)
rows_of_all_kinds = st.lists(
    st.tuples(
        st.floats(width=32, allow_infinity=False),
        st.sampled_from([0.0, 1.0, np.nan]),
        st.integers(0, 25_000),
        st.integers(0, 4),
        st.floats(0, 1),
        st.integers(0, 1),
    ),
    max_size=12,
)


def profiled(rows: Sequence[tuple[float, ...]]) -> Profile:
    """The profile of tuples: the features' codes, the score, the class."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    classes = table[:, 5].astype(int).tolist()
    labels = CategoryCounts(0, 0, {"no": classes.count(0), "yes": classes.count(1)})
    return profile_of(table[:, :4].astype(np.float32), FEATURES, table[:, 4], labels)


def sketch(*values: float) -> NumberSketch:
    return NumberSketch.of(np.array(values, dtype=np.float32))


# ---- The keys of numbers ---------------------------------------------------------------------------------------------


@SEARCH
@given(floats, floats)
def test_keys_are_in_the_order_of_the_numbers(first: float, second: float) -> None:
    low, high = sorted((first, second))
    keys = keys_of(np.array([low, high]))
    assert 0 <= keys[0] <= keys[1] < KEYS


@SEARCH
@given(floats)
def test_a_key_holds_the_numbers_between_its_edges_and_no_others(value: float) -> None:
    key = keys_of(np.array([value]))
    low, high = edges(key)
    assert low[0] <= value <= high[0]
    if np.isfinite([low, high]).all():
        around = np.array([np.nextafter(np.float32(low[0]), np.float32(-np.inf)), low[0], high[0]], dtype=np.float32)
        assert (keys_of(around) - key[0]).tolist() == [-1, 0, 0] or high[0] == 0
        assert keys_of(np.nextafter(np.float32(high), np.float32(np.inf)))[0] >= key[0] + (high[0] != 0)


@SEARCH
@given(floats)
def test_the_value_of_a_key_is_its_number_cut_to_ten_bits_of_mantissa(value: float) -> None:
    (found,) = values_of(keys_of(np.array([value])))
    assert abs(found) <= abs(value)
    assert found == value or abs(found - value) <= max(abs(value) * 2.0**-10, 2.0**-136)


def test_zero_has_one_key_whatever_its_sign_and_infinity_is_the_last() -> None:
    keys = keys_of(np.array([-np.inf, -1e39, -1.0, -0.0, 0.0, 1.0, 1e39, np.inf]))
    assert keys[3] == keys[4]
    assert (keys[0], keys[-1]) == (keys[1], keys[-2])
    assert [each.tolist() for each in edges(keys[[0, -1]])] == [[-np.inf, np.inf], [-np.inf, np.inf]]


# ---- Sketches --------------------------------------------------------------------------------------------------------


def test_a_sketch_counts_equal_values_and_the_missing() -> None:
    found = sketch(3, np.nan, -2, 3, 0, -0.0, np.nan)
    assert values_of(found.keys).tolist() == [-2, 0, 3]
    assert found.counts.tolist() == [1, 2, 2]
    assert (found.missing, found.known, found.rows) == (2, 5, 7)
    assert found.shares().tolist() == [0.2, 0.6, 1.0]


def test_whole_numbers_to_2048_and_days_of_a_month_are_told_apart_as_far_as_the_docstring_says() -> None:
    assert len(NumberSketch.of(np.arange(-2048, 2049)).keys) == 4097
    assert len(NumberSketch.of(np.arange(20_000, 20_016)).keys) <= 2


@SEARCH
@given(st.lists(floats, min_size=1, max_size=40), st.integers(0, 8))
def test_a_quantile_is_the_exact_one_cut_to_its_bits(values: list[float], eighths: int) -> None:
    given_values = np.sort(np.array(values, dtype=np.float32))
    exact = given_values[max(0, -(-eighths * len(values) // 8) - 1)]
    assert NumberSketch.of(given_values).quantiles(eighths / 8) == values_of(keys_of(np.array([exact])))[0]


def test_nothing_known_has_no_quantile_and_no_share() -> None:
    for values in ((), (np.nan, np.nan)):
        found = sketch(*values)
        assert np.isnan(found.quantiles([0.1, 0.9])).all()
        assert len(found.shares()) == 0
        assert found.rows == len(values)


@SEARCH
@given(columns, columns)
def test_aligned_counts_are_those_of_each_at_the_keys_of_both(first: list[float], second: list[float]) -> None:
    one, two = NumberSketch.of(np.array(first)), NumberSketch.of(np.array(second))
    keys, own, others = one.aligned(two)
    assert_array_equal(keys, np.union1d(one.keys, two.keys))
    assert dict(zip(keys[own > 0].tolist(), own[own > 0].tolist(), strict=True)) == dict(
        zip(one.keys.tolist(), one.counts.tolist(), strict=True)
    )
    assert others.sum() == two.known


def test_two_sketches_are_enough_for_a_kolmogorov_smirnov_and_a_wasserstein_distance() -> None:
    """Against scipy on the values themselves: KS within the largest key, Wasserstein within 0.1 %."""
    generator = np.random.default_rng(5)
    then, now = generator.lognormal(size=20_000), generator.lognormal(0.1, 1.1, 15_000)
    one, two = NumberSketch.of(then), NumberSketch.of(now)
    keys, own, others = one.aligned(two)
    apart = np.abs(np.cumsum(own) / own.sum() - np.cumsum(others) / others.sum())
    largest = max((own / own.sum()).max(), (others / others.sum()).max())
    assert abs(apart.max() - stats.ks_2samp(then, now).statistic) <= largest
    middles = np.mean(edges(keys), axis=0)
    distance = (apart[:-1] * np.diff(middles)).sum()
    assert distance == pytest.approx(stats.wasserstein_distance(then, now), rel=1e-3)


def test_aligned_categories_are_in_the_order_of_codes() -> None:
    one, two = CategoryCounts(1, 2, {"b": 3}), CategoryCounts(0, 5, {"a": 4, "b": 6})
    values, own, others = one.aligned(two)
    assert values == ("a", "b")
    assert (own.tolist(), others.tolist()) == ([1, 2, 0, 3], [0, 5, 4, 6])
    assert one.merge(two) == CategoryCounts(1, 7, {"a": 4, "b": 9})
    assert one.merge(two).rows == one.rows + two.rows == 21


# ---- Groups ----------------------------------------------------------------------------------------------------------


def test_groups_of_a_number_have_about_equal_mass() -> None:
    of = NumberSketch.of(np.random.default_rng(1).normal(size=50_000))
    counts = NumberGroups.of(of).reference(of)
    assert counts[:2].tolist() == [0, 0]
    assert len(counts) == 2 + NUMBER_GROUPS
    assert_array_equal(np.abs(counts[2:] - 5000) < 50, True)


def test_a_value_that_many_rows_have_is_a_group_of_its_own_and_never_parted() -> None:
    of = NumberSketch.of(np.array([0.0] * 700 + [float(each) for each in range(1, 301)]))
    groups = NumberGroups.of(of)
    counts = groups.reference(of)
    assert counts[2] == 700
    assert 3 <= len(counts[2:]) <= 4
    assert groups.count(np.array([0.0, 0.0, 0.5, 300.0])).tolist() == [0, 0, 3, *[0] * (len(counts) - 4), 1]


def test_numbers_beyond_those_of_training_and_the_missing_stand_apart() -> None:
    of = sketch(*range(1, 11))
    counts = NumberGroups.of(of).count(np.array([0.9, 1, 10, 10.5, np.nan, -np.inf, 1e39]))
    assert counts[:2].tolist() == [1, 4]
    assert (counts[2], counts[-1], counts.sum()) == (1, 1, 7)


@SEARCH
@given(st.lists(floats, min_size=1, max_size=60))
def test_a_window_of_the_reference_itself_is_counted_as_the_reference_is(values: list[float]) -> None:
    column = np.array([*values, np.nan], dtype=np.float32)
    of = NumberSketch.of(column)
    groups = NumberGroups.of(of)
    assert_array_equal(groups.count(column), groups.reference(of))
    assert len(groups.reference(of)) <= 2 + NUMBER_GROUPS


@pytest.mark.parametrize("values", [(), (np.nan,)], ids=["no rows", "all missing"])
def test_where_training_knew_no_number_every_one_is_beyond(values: tuple[float, ...]) -> None:
    groups = NumberGroups.of(sketch(*values))
    assert groups.reference(sketch(*values)).tolist() == [len(values), 0]
    assert groups.count(np.array([1.0, np.nan, 2.0])).tolist() == [1, 2]


def test_rare_categories_are_counted_together_and_frequent_ones_by_themselves() -> None:
    counted = CategoryCounts(3, 2, {"a": 2, "b": 500, "c": 4, "d": 489})
    groups = CategoryGroups.of(counted, ("a", "b", "c", "d"))
    assert groups.reference(counted).tolist() == [3, 2, 500, 489, 6]
    assert groups.count(np.array([0, 1, 2, 3, 4, 5, 5, 4], dtype=np.float32)).tolist() == [1, 1, 1, 2, 3]


def test_of_many_frequent_categories_the_first_ten_are_kept_apart() -> None:
    names = tuple(f"v{number:02}" for number in range(30))
    counted = CategoryCounts(0, 0, dict.fromkeys(names, 10))
    assert CategoryGroups.of(counted, names).reference(counted).tolist() == [0, 0, *[10] * NAMED_CATEGORIES, 200]


def test_where_all_categories_are_frequent_none_is_rare() -> None:
    counted = CategoryCounts(0, 0, {"a": 5, "b": 7})
    assert CategoryGroups.of(counted, ("a", "b")).reference(counted).tolist() == [0, 0, 7, 5]


# ---- The profile -----------------------------------------------------------------------------------------------------


def test_a_profile_counts_every_kind_of_feature_the_score_and_the_labels() -> None:
    found = profiled([(1.5, 1, 20_000, 2, 0.25, 1), (np.nan, 0, 20_000, 0, 0.5, 0), (1.5, np.nan, 3, 1, 0.5, 1)])
    assert (found.version, found.rows) == (1, 3)
    assert list(found.numbers) == ["amount", "member", "since"]
    assert (found.numbers["amount"].missing, found.numbers["amount"].counts.tolist()) == (1, [2])
    assert values_of(found.numbers["member"].keys).tolist() == [0, 1]
    assert found.categories == {"shop": CategoryCounts(1, 1, {"a": 1, "b": 0, "ä": 0})}
    assert values_of(found.score.keys).tolist() == [0.25, 0.5]
    assert found.labels == CategoryCounts(0, 0, {"no": 1, "yes": 2})


@SEARCH
@given(rows_of_all_kinds, rows_of_all_kinds, rows_of_all_kinds)
def test_profiles_of_parts_merge_in_any_order_to_the_profile_of_the_whole(
    first: list[tuple[float, ...]], second: list[tuple[float, ...]], third: list[tuple[float, ...]]
) -> None:
    a, b, c = profiled(first), profiled(second), profiled(third)
    whole = profiled([*first, *second, *third]).to_json()
    assert a.merge(b).merge(c).to_json() == whole
    assert a.merge(b.merge(c)).to_json() == whole
    assert c.merge(a).merge(b).to_json() == whole


def test_labels_of_a_regression_merge_as_numbers() -> None:
    def of(*target: float) -> Profile:
        matrix = np.zeros((len(target), 1), dtype=np.float32)
        return profile_of(matrix, FEATURES[:1], np.zeros(len(target)), NumberSketch.of(np.array(target)))

    assert of(1.0, 2.0).merge(of(2.0)).to_json() == of(2.0, 1.0, 2.0).to_json()
    assert Profile.from_json(of(1.0, 2.0).to_json()).to_json() == of(2.0, 1.0).to_json()


def test_the_text_is_the_same_in_whatever_order_the_rows_come() -> None:
    rows = [(float(each), each % 2, each, each % 5, each / 50, each % 2) for each in range(50)]
    assert profiled(rows).to_json() == profiled(rows[::-1]).to_json()
    assert profiled(rows[1:]).to_json() != profiled(rows).to_json()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (profile_of(np.zeros((1, 1), np.float32), FEATURES[1:2], np.zeros(1)), r"profile\.numbers: expected \['amount"),
        (profile_of(np.zeros((1, 3), np.float32), FEATURES[:3], np.zeros(1)), r"profile\.categories: .* found \[\]"),
        (profile_of(np.zeros((1, 4), np.float32), FEATURES, np.zeros(1)), r"profile\.labels: .* found NoneType"),
    ],
    ids=["other numbers", "other categories", "no labels"],
)
def test_profiles_of_other_columns_are_not_merged(other: Profile, message: str) -> None:
    with pytest.raises(DataError, match=message):
        profiled([(1, 1, 1, 1, 1, 1)]).merge(other)


def test_a_matrix_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected a matrix of \(rows, features\) \(3, 4\), found \(2, 4\)"):
        profile_of(np.zeros((2, 4), np.float32), FEATURES, np.zeros(3))


# ---- Its text --------------------------------------------------------------------------------------------------------


@SEARCH
@given(rows_of_all_kinds)
def test_a_profile_reads_back_as_it_was_written(rows: list[tuple[float, ...]]) -> None:
    found = profiled(rows)
    again = Profile.from_json(found.to_json())
    assert again.to_json() == found.to_json()
    assert_array_equal(again.numbers["amount"].keys, found.numbers["amount"].keys)


@SEARCH
@given(st.dictionaries(st.integers(0, KEYS - 1), st.integers(1, 2**53 - 1), max_size=300))
def test_any_histogram_is_unpacked_as_it_was_packed(histogram: dict[int, int]) -> None:
    keys, counts = np.array(sorted(histogram), dtype=np.int64), np.array([histogram[key] for key in sorted(histogram)])
    again = unpacked(packed(keys, counts.astype(np.int64)))
    assert again[0].tolist() == keys.tolist()
    assert again[1].tolist() == counts.tolist()


def test_a_histogram_is_packed_as_its_docstring_says() -> None:
    """By hand: one block, 2^18 / 128 = 2048 (zero is key 2^18), least 0, two bits a count, both in the first byte."""
    text = packed(np.array([1 << 18, (1 << 18) + 1]), np.array([1, 2]))
    expected = bytes([1, 0, 0, 8, *[0] * 8, 2, 0b1001, *[0] * 31])
    assert b64decode(text) == expected


def test_a_histogram_whose_blocks_are_not_in_the_order_of_their_widths_is_refused() -> None:
    """Two blocks, of two bits a count and of one; the other way round nothing would say where the second begins."""
    text = packed(np.array([0, 128]), np.array([1, 2]))
    content = bytearray(b64decode(text))
    assert list(content[22:24]) == [1, 2]
    assert unpacked(text)[1].tolist() == [1, 2]
    content[22:24] = [2, 1]
    with pytest.raises(ValueError, match="expected the blocks by their widths"):
        unpacked(b64encode(content).decode())


WIDE: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "normal": lambda generator, rows: generator.normal(size=rows),
    "lognormal": lambda generator, rows: generator.lognormal(0, 2, rows),
    "uniform": lambda generator, rows: generator.random(rows),
    "heavy tails": lambda generator, rows: generator.standard_t(3, rows),
}


@pytest.mark.parametrize("name", WIDE)
def test_a_million_rows_of_25_continuous_columns_take_less_than_a_megabyte(name: str) -> None:
    """One column of each distribution 25 times: the text of a column is as long as its values are wide."""
    values = WIDE[name](np.random.default_rng(2), 1_000_000)
    column = NumberSketch.of(values)
    numbers = {f"number {position}": column for position in range(25)}
    text = Profile(1_000_000, numbers, {}, NumberSketch.of(np.abs(values) % 1)).to_json()
    assert len(text.encode()) < 1_000_000


def test_a_hundred_times_the_rows_do_not_take_a_hundred_times_the_space() -> None:
    """Counts grow by their logarithm."""
    column = NumberSketch.of(np.random.default_rng(2).normal(size=200_000))
    hundredfold = packed(column.keys, column.counts * 100)
    assert len(hundredfold) < 3 * len(packed(column.keys, column.counts))


def changed(**parts: Any) -> str:
    raw = json.loads(profiled([(1.5, 1, 20_000, 2, 0.25, 1)]).to_json())
    return json.dumps({**raw, **parts})


ONE = sketch(1.5).as_dict()
SHORT = {"missing": 0, "histogram": ONE["histogram"][:8]}
CUT = {"missing": 0, "histogram": ONE["histogram"][:-8]}
NOT_BASE64 = {"missing": 0, "histogram": "§"}
# blocks by hand: a place beyond the last, a place twice, a count of 2^60, a width of 60
BEYOND = bytes([1, 0, 0xFF, 0xFF, *[0] * 9])
TWICE = bytes([2, 0, 1, 0, 1, 0, *[0] * 18])
HUGE = bytes([1, 0, 1, 0, *[0] * 7, 16, 0])
WIDTH = bytes([1, 0, 1, 0, *[0] * 8, 60, *[0] * (60 * 16)])


def histogram(content: bytes) -> dict[str, Any]:
    return {"missing": 0, "histogram": b64encode(content).decode()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "here: Expecting property name", id="not JSON"),
        pytest.param("[]", "here: expected a profile of version 1, found None", id="not a record"),
        pytest.param(changed(version=2), "here: expected a profile of version 1, found 2", id="another version"),
        pytest.param(changed(more=1), "here: expected categories, labels, numbers, ", id="a part too many"),
        pytest.param(changed(rows=-1), "here: rows: expected a count, found -1", id="rows below none"),
        pytest.param(changed(rows=True), "here: rows: expected a count, found True", id="rows that are no number"),
        pytest.param(changed(rows=2), "here: amount: expected 2 rows, found 1", id="columns of other rows"),
        pytest.param(changed(numbers=[]), r"here: numbers: expected columns by name, found []", id="no columns"),
        pytest.param(changed(score=None), "here: score: expected histogram, missing, found None", id="no score"),
        pytest.param(
            changed(numbers={"amount": {"missing": 1}}),
            "here: numbers.amount: expected histogram, missing, found ['missing']",
            id="no histogram",
        ),
        pytest.param(changed(numbers={"amount": {**ONE, "histogram": 1}}), "expected a packed", id="no text"),
        pytest.param(changed(numbers={"amount": SHORT}), "expected a histogram of 13 bytes or more", id="cut early"),
        pytest.param(changed(numbers={"amount": CUT}), "expected a histogram of 29 bytes, found", id="cut late"),
        pytest.param(changed(numbers={"amount": NOT_BASE64}), "here: numbers.amount: string argument", id="no base 64"),
        pytest.param(changed(score=histogram(BEYOND)), "here: score: expected each block once", id="a block beyond"),
        pytest.param(changed(score=histogram(TWICE)), "here: score: expected each block once", id="a block twice"),
        pytest.param(changed(score=histogram(HUGE)), "here: score: expected counts below 2^53", id="a huge count"),
        pytest.param(changed(score=histogram(WIDTH)), "here: score: expected counts below 2^53", id="a huge width"),
        pytest.param(
            changed(categories={"shop": {"missing": 0, "other": 0, "counts": {"a": 1.5}}}),
            "here: categories.shop: expected a count, found 1.5",
            id="half a row",
        ),
        pytest.param(
            changed(categories={"shop": {"missing": 0, "other": 0, "counts": [1]}}),
            "here: categories.shop: expected counts by value, found [1]",
            id="no values",
        ),
        pytest.param(changed(labels=3), "here: labels: argument of type 'int'", id="labels that are none"),
        pytest.param(
            changed(labels={"missing": 0, "other": 0, "counts": {"yes": 2}}),
            "here: labels: expected 1 rows, found 2",
            id="labels of other rows",
        ),
    ],
)
def test_r1_a_damaged_profile_is_refused_in_one_line_that_names_the_place(text: str, message: str) -> None:
    with pytest.raises(VerificationError, match=re.escape(message)) as caught:
        Profile.from_json(text, "here")
    assert "\n" not in str(caught.value)


def test_the_twin_the_same_text_unharmed_is_read() -> None:
    assert Profile.from_json(changed()).rows == 1


def test_reading_a_profile_takes_numpy_and_no_other_library() -> None:
    """The server reads it at its start."""
    show = "import mergeline.monitor.profile, mergeline.monitor.groups, sys; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert "numpy" in loaded
    assert loaded & {"pandas", "scipy", "pyarrow", "sklearn", "onnxruntime", "pydantic"} == set()
