"""The encoder: one value is one float32, in training, in evaluation and in a request."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import orders, params

from mergeline.errors import DataError
from mergeline.models.encoder import category_text, encode, fit_features
from mergeline.schema import Feature, Kind

SHOP = Feature("shop", Kind.CATEGORY, ("a", "b", "c"))
AMOUNT = Feature("amount", Kind.NUMBER)
MEMBER = Feature("member", Kind.BOOLEAN)
SINCE = Feature("since", Kind.DATETIME)
SEARCH = settings(deadline=None, derandomize=True, database=None)


def column(feature: Feature, values: Any) -> list[float]:
    """The codes of one column of values."""
    matrix = encode(pd.DataFrame({feature.name: values}), [feature])
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(values), 1)
    codes: list[float] = matrix[:, 0].tolist()
    return codes


def text(values: Any, kind: Any = None) -> list[str | None]:
    found = category_text(pd.Series(values, dtype=kind))
    assert found.dtype == "string"
    return [None if each is pd.NA else each for each in found.tolist()]


def features(table: pd.DataFrame, **preprocessing: Any) -> dict[str, Feature]:
    settings = params(train={"preprocessing": preprocessing})
    return {each.name: each for each in fit_features(table, settings.data, settings.train.preprocessing)}


# ---- What a column is ----------------------------------------------------------------------------------------------


def test_a_feature_has_the_kind_of_its_column_and_a_category_its_sorted_values() -> None:
    found = features(orders(200))
    assert [each.kind for each in found.values()] == [
        *(Kind.NUMBER, Kind.NUMBER, Kind.BOOLEAN, Kind.DATETIME, Kind.NUMBER),
        *(Kind.CATEGORY, Kind.CATEGORY),
    ]
    assert list(found) == list(params().data.features)
    assert found["channel"].categories == ("app", "desk", "web")


def test_of_many_values_the_most_frequent_are_kept_and_rare_ones_are_not() -> None:
    table = orders(40).assign(shop=["d"] * 12 + ["b"] * 11 + ["c"] * 10 + ["a"] * 6 + ["z"])
    assert features(table, max_categories=2)["shop"].categories == ("b", "d")
    assert features(table, min_category_rows=7)["shop"].categories == ("b", "c", "d")
    assert features(table, min_category_rows=7, max_categories=1)["shop"].categories == ("d",)
    tied = orders(40).assign(shop=["b", "a"] * 20)
    assert features(tied, max_categories=1)["shop"].categories == ("a",)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        pytest.param(["1", "x"], "str such as '1'", id="text"),
        pytest.param([1, "x"], "object such as 1", id="numbers and text"),
        pytest.param([None, dt.timedelta(1)], "timedelta64", id="spans of time"),
    ],
)
def test_a_column_that_is_no_number_is_refused_by_its_name(values: list[Any], shown: str) -> None:
    table = pd.DataFrame({"amount": values})
    data = params(data={"numeric": ["amount"], "categorical": []})
    with pytest.raises(DataError, match=rf"^amount: expected numbers .*data\.numeric.*found {shown}"):
        fit_features(table, data.data, data.train.preprocessing)


# ---- Numbers, booleans, times --------------------------------------------------------------------------------------


def test_a_number_is_itself_and_a_missing_one_is_nan() -> None:
    for values in ([1.5, None, 3], pd.array([1.5, None, 3], dtype="Float64"), pd.Series([1.5, None, 3], dtype=object)):
        np.testing.assert_array_equal(column(AMOUNT, values), [1.5, np.nan, 3])
    np.testing.assert_array_equal(column(AMOUNT, [None, None]), [np.nan, np.nan])


def test_a_boolean_is_zero_or_one_with_gaps_and_without() -> None:
    np.testing.assert_array_equal(column(MEMBER, [True, False]), [1, 0])
    for kind in ("boolean", object):
        np.testing.assert_array_equal(column(MEMBER, pd.Series([True, None, False], dtype=kind)), [1, np.nan, 0])
    table = orders(40).assign(member=pd.Series([True, None] * 20, dtype=object))
    assert features(table)["member"].kind is Kind.BOOLEAN


def test_a_time_stamp_is_days_since_1970_utc_in_every_zone_and_unit() -> None:
    noon = pd.Series(pd.to_datetime(pd.Series(["1970-01-02T12:00", None])))
    abroad = noon.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    for values in (noon, abroad, noon.astype("datetime64[s]"), noon.astype("datetime64[ns]"), noon.astype(object)):
        np.testing.assert_array_equal(column(SINCE, values), [1.5, np.nan])
    assert column(SINCE, pd.Series([dt.datetime(9999, 12, 31)])) == [2932896.0]


def test_a_time_stamp_may_come_as_the_text_that_json_has_for_it() -> None:
    np.testing.assert_array_equal(column(SINCE, ["1970-01-02T12:00:00", None]), [1.5, np.nan])
    assert column(SINCE, ["1970-01-02T14:00:00+02:00", "1970-01-03"]) == [1.5, 2.0]
    with pytest.raises(DataError, match="since: expected time stamps as ISO 8601, found 'soon'"):
        column(SINCE, ["1970-01-02", "soon"])


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e39, -1e300])
def test_a_number_that_float32_cannot_hold_is_refused_with_its_row(value: float) -> None:
    with pytest.raises(DataError, match=r"amount: expected numbers within float32, found \S+ in row 1"):
        column(AMOUNT, [1.0, value])


@pytest.mark.parametrize(
    ("feature", "values", "message"),
    [
        pytest.param(AMOUNT, ["a"], "amount: expected numbers .* found str such as 'a'", id="text for a number"),
        pytest.param(AMOUNT, [1, "a"], "amount: expected numbers .* found object such as 1", id="a mixture"),
        pytest.param(
            AMOUNT, [pd.Timestamp(0)], "amount: expected number values, found datetime such as ", id="time for a number"
        ),
        pytest.param(SINCE, [3], "since: expected datetime values, found number such as 3", id="a number for a time"),
    ],
)
def test_a_column_of_another_kind_than_in_training_is_refused(feature: Feature, values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        column(feature, values)


def test_a_column_that_is_not_there_is_refused_and_one_that_is_too_many_is_not_read() -> None:
    with pytest.raises(DataError, match="shop: expected a column of this name, found none"):
        encode(pd.DataFrame({"amount": [1.0]}), [AMOUNT, SHOP])
    assert encode(pd.DataFrame({"amount": [1.0], "more": ["x"]}), [AMOUNT]).tolist() == [[1.0]]


def test_no_rows_are_a_matrix_of_no_rows() -> None:
    assert encode(orders(3).iloc[:0], [AMOUNT, SHOP, SINCE]).shape == (0, 3)


# ---- Categories ----------------------------------------------------------------------------------------------------


def test_a_category_is_its_code_a_missing_one_zero_and_an_unseen_one_one() -> None:
    assert column(SHOP, ["a", "c", None, "z", "b", ""]) == [2, 4, 0, 1, 3, 1]
    assert column(SHOP, [None, np.nan]) == [0, 0]


def test_a_category_that_training_never_saw_any_value_of_is_missing_or_other() -> None:
    assert column(Feature("shop", Kind.CATEGORY), ["a", None]) == [1, 0]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        pytest.param([1, 2], None, ["1", "2"], id="integers"),
        pytest.param([1.0, None], None, ["1", None], id="integers that came as floats"),
        pytest.param([1.0, 2.5], None, ["1", "2.5"], id="an integer beside a fraction"),
        pytest.param([1, None], "Int64", ["1", None], id="integers with a gap"),
        pytest.param([1, None, 2.5], "Float64", ["1", None, "2.5"], id="nullable floats"),
        pytest.param([1, 2.0, "3", None, True], object, ["1", "2", "3", None, "true"], id="a mixture"),
        pytest.param([2**60 + 1], None, ["1152921504606846977"], id="an integer that no float holds"),
        pytest.param([-0.0, 1e300, float("inf")], None, ["0", "1e+300", "inf"], id="floats of any size"),
        pytest.param([True, False], None, ["true", "false"], id="booleans"),
        pytest.param([True, None], object, ["true", None], id="booleans with a gap"),
        pytest.param([True, None], "boolean", ["true", None], id="nullable booleans"),
        pytest.param(["True", "1.0"], None, ["True", "1.0"], id="text stays as it is"),
        pytest.param([1.0, None], "category", ["1", None], id="a categorical of numbers"),
        pytest.param([dt.date(2024, 1, 2), None], object, ["2024-01-02", None], id="dates"),
        pytest.param([Decimal("1.50")], object, ["1.50"], id="decimals"),
        pytest.param([], None, [], id="nothing"),
    ],
)
def test_a_value_reads_the_same_whatever_type_its_column_came_in(values: Any, kind: Any, expected: Any) -> None:
    assert text(values, kind) == expected


def test_a_time_stamp_as_a_category_is_iso_8601_whatever_stands_in_the_other_rows() -> None:
    midnight = pd.Series(pd.to_datetime(["2024-01-02"]))
    assert text(midnight) == ["2024-01-02T00:00:00"]
    assert text(pd.Series(pd.to_datetime(["2024-01-02T00:00", "2024-01-02T10:30"])))[0] == "2024-01-02T00:00:00"


@SEARCH
@given(st.lists(st.none() | st.integers(-5, 5) | st.floats(-3, 3), min_size=1, max_size=8), st.data())
def test_the_text_of_a_value_does_not_depend_on_the_rows_beside_it(values: list[Any], data: st.DataObject) -> None:
    chosen = data.draw(st.integers(0, len(values) - 1))
    alone = text([values[chosen]], None if values[chosen] is not None else object)
    assert text(values)[chosen] == alone[0]


@SEARCH
@given(st.lists(st.text(max_size=3) | st.none(), min_size=1, max_size=12))
def test_each_training_value_has_a_code_of_its_own(values: list[str | None]) -> None:
    rows = pd.DataFrame({"shop": pd.Series(values, dtype="str")})
    data = params(data={"numeric": [], "categorical": ["shop"]})
    feature = fit_features(rows, data.data, data.train.preprocessing)[0]
    codes = dict(zip(values, column(feature, rows["shop"]), strict=True))
    known = {value: code for value, code in codes.items() if value is not None}
    assert len(set(known.values())) == len(known)
    assert all(2 <= code < feature.codes for code in known.values())
    assert codes.get(None, 0) == 0
