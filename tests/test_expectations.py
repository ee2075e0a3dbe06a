"""Expectations: a check says what it means, and Great Expectations finds what breaks it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mergeline.errors import DataError
from mergeline.stages.expectations import Check, Finding, Inspector, plain

TABLE = pd.DataFrame(
    {
        "order": [11, 12, 13, 14],
        "amount": [1.0, 2.0, np.nan, 4.0],
        "shop": ["a", "b", None, "a"],
        "placed": pd.Series(["2024-01-01", "2024-01-31T23:59:59.5", "2024-02-01", None], dtype="datetime64[ns]"),
        "member": [True, False, True, True],
    }
)


def finding(check: Check, table: pd.DataFrame = TABLE, examples: int = 5) -> Finding | None:
    """What one check finds in the table."""
    inspector = Inspector(examples, "order")
    ids = Check.unique("order")
    found = inspector.rows("2024-01", table, [ids, check], keep_page=False)
    assert [each for each, _ in found] == [ids, check]
    assert found[0][1] is None
    return found[1][1]


def values(found: Finding | None) -> list[Any]:
    assert found is not None
    return [each["value"] for each in found.examples]


# Each check with a table cell that breaks it; the untouched table passes.
BROKEN = [
    pytest.param(Check.unique("placed"), "placed", TABLE["placed"][0], 2, id="a value twice"),
    pytest.param(Check.present("member", 0, "error"), "member", None, 1, id="a missing value"),
    pytest.param(Check.present("amount", 0.25, "warn"), "amount", None, 2, id="more missing values than allowed"),
    pytest.param(Check.within("shop", ["a", "b"], "error"), "shop", "z", 1, id="another category"),
    pytest.param(Check.within("member", [True, False], "error"), "member", 7, 1, id="no boolean"),
    pytest.param(Check.between("amount", 1, None, "error"), "amount", 0.5, 1, id="below the minimum"),
    pytest.param(Check.between("amount", None, 4, "error"), "amount", 4.5, 1, id="above the maximum"),
    pytest.param(Check.between("amount", 1, 4, "error"), "amount", np.inf, 1, id="infinity within limits"),
    pytest.param(Check.finite("amount"), "amount", -np.inf, 1, id="infinity"),
    pytest.param(Check.finite("amount"), "amount", 1e39, 1, id="more than float32 holds"),
    pytest.param(
        Check.between("placed", dt.date(2024, 1, 1), dt.date(2024, 2, 1), "error"),
        "placed",
        pd.Timestamp("2024-02-02"),
        1,
        id="a time after the last day",
    ),
    pytest.param(
        Check.between("placed", dt.date(2024, 1, 1), None, "error"),
        "placed",
        pd.Timestamp("1900-01-01"),
        1,
        id="a time before the first day",
    ),
]


@pytest.mark.parametrize(("check", "column", "value", "unexpected"), BROKEN)
def test_a_check_finds_the_row_that_breaks_it_and_nothing_in_a_good_table(
    check: Check, column: str, value: Any, unexpected: int
) -> None:
    assert finding(check) is None
    broken = TABLE.astype({column: object}) if column in ("member", "shop") else TABLE.copy()
    broken.loc[1, column] = value
    found = finding(check, broken)
    assert found is not None
    assert (found.partition, found.unexpected, found.checked) == ("2024-01", unexpected, 4)
    assert {"row": 1, "id": 12, "value": plain(broken.loc[1, column])} in found.examples


def test_a_share_of_the_values_may_break_a_rule_that_says_so() -> None:
    assert finding(Check.within("shop", ["a"], "warn", mostly=0.6)) is None
    assert finding(Check.within("shop", ["a"], "warn", mostly=0.7)) is not None


@pytest.mark.parametrize("tenths", range(11))
def test_a_share_of_missing_values_that_is_exactly_allowed_is_allowed(tenths: int) -> None:
    """1 - 0.7 is a little more than 0.3 in floats."""
    table = pd.DataFrame({"order": range(10), "amount": [None] * tenths + [1.0] * (10 - tenths)})
    assert finding(Check.present("amount", tenths / 10, "error"), table) is None
    if tenths:
        assert finding(Check.present("amount", tenths / 10 - 0.01, "error"), table) is not None


def test_a_day_is_meant_to_its_end() -> None:
    assert finding(Check.between("placed", None, dt.date(2024, 2, 1), "error")) is None
    found = finding(Check.between("placed", None, dt.date(2024, 1, 31), "error"))
    assert values(found) == ["2024-02-01 00:00:00"]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_times_are_compared_in_utc(zone: str) -> None:
    abroad = TABLE.assign(placed=TABLE["placed"].dt.tz_localize("UTC").dt.tz_convert(zone))
    assert finding(Check.between("placed", dt.date(2024, 1, 1), dt.date(2024, 2, 1), "error"), abroad) is None


def test_a_date_that_nanoseconds_do_not_reach_is_checked_as_well() -> None:
    far = TABLE.assign(placed=[dt.datetime(9999, 12, 31), *TABLE["placed"][1:]])
    assert finding(Check.between("placed", dt.date(2024, 1, 1), None, "error"), far) is None
    assert values(finding(Check.between("placed", None, dt.date(2024, 12, 31), "error"), far)) == [
        "9999-12-31 00:00:00"
    ]


@pytest.mark.parametrize("kind", ["Int64", "Float64", "int32", "float32", "object"])
def test_a_number_is_checked_whatever_type_it_came_in(kind: Any) -> None:
    table = TABLE.assign(amount=pd.Series([1, 2, 3, 4]).astype(kind))
    assert finding(Check.between("amount", 1, 4, "error"), table) is None
    assert values(finding(Check.between("amount", 2, 4, "error"), table)) == [1]


def test_rows_are_counted_from_the_first_whatever_index_the_table_has() -> None:
    table = TABLE.set_index(pd.Index([7, 3, 9, 1])).assign(amount=[1, 2, 99, 4])
    found = finding(Check.between("amount", 1, 4, "error"), table)
    assert found is not None
    assert found.examples == ({"row": 2, "id": 13, "value": 99},)


@pytest.mark.parametrize("examples", [0, 1, 3])
def test_examples_are_bounded_and_the_count_is_not(examples: int) -> None:
    found = finding(Check.between("amount", 100, None, "error"), TABLE.fillna({"amount": 3.0}), examples)
    assert found is not None
    assert found.unexpected == 4
    assert values(found) == [1.0, 2.0, 3.0][:examples]


def test_a_check_that_cannot_be_made_names_its_own_column_and_no_other() -> None:
    """Great Expectations lists those that raised first; by their place they would blame the wrong column."""
    with pytest.raises(DataError, match="validate: column 'shop': cannot check 'at least 0': ") as caught:
        finding(Check.between("shop", 0, None, "error"))
    assert "\n" not in str(caught.value)


def test_checked_and_unexpected_cells_are_summed_up() -> None:
    inspector = Inspector(5, None)
    inspector.rows("a", TABLE, [Check.finite("amount"), Check.within("shop", ["a"], "warn")], keep_page=False)
    inspector.rows("b", TABLE, [Check.finite("amount")], keep_page=False)
    assert (inspector.checked, inspector.unexpected) == (12, 1)


def test_a_page_is_kept_where_it_is_asked_for_and_where_something_failed() -> None:
    inspector = Inspector(5, None)
    good, bad = Check.finite("amount"), Check.within("shop", ["a"], "warn")
    inspector.rows("good", TABLE, [good], keep_page=False)
    inspector.rows("asked", TABLE, [good], keep_page=True)
    inspector.rows("bad", TABLE, [bad], keep_page=False)
    assert list(inspector.pages) == ["asked.html", "bad.html"]
    assert "shop" in inspector.pages["bad.html"]


def test_without_an_id_an_example_is_named_by_its_row_alone() -> None:
    found = Inspector(5, None).rows("a", TABLE, [Check.within("shop", ["a"], "error")], keep_page=False)[0][1]
    assert found is not None
    assert found.examples == ({"row": 1, "value": "b"},)


# ---- In words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "rule"),
    [
        (Check.unique("order"), "no value twice"),
        (Check.present("shop", 0, "error"), "no missing value"),
        (Check.present("shop", 0.125, "error"), "at most 12.5% missing values"),
        (Check.within("shop", ["a", 1, True], "error"), "one of a, 1, True"),
        (Check.within("shop", range(10), "error"), "one of 0, 1, 2, 3, 4, 5, 6, 7, ... (10 in all)"),
        (Check.within("shop", ["a"], "warn", 0.99), "at least 99% of the values one of a"),
        (Check.between("amount", 1, 2.5, "error"), "at least 1 and at most 2.5"),
        (Check.between("amount", None, 1234567.75, "error"), "at most 1234567.75"),
        (Check.between("placed", dt.date(2024, 1, 2), None, "error"), "at least 2024-01-02"),
        (Check.finite("amount"), "finite numbers"),
        (Check.of_type("amount", "type of amount", ("number", "boolean")), "a column of number or boolean"),
    ],
)
def test_a_rule_says_what_is_expected(check: Check, rule: str) -> None:
    assert check.rule == rule


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Finding("2024-01", 3, 9, ()), "3 of 9 in partition 2024-01"),
        (
            Finding("2024-01", 3, 9, ({"row": 4, "value": -1},)),
            "3 of 9 in partition 2024-01, such as -1 in row 4",
        ),
        (
            Finding("2024-01", 1, 9, ({"row": 4, "id": "x7", "value": None},)),
            "1 of 9 in partition 2024-01, such as None in row 4 (id 'x7')",
        ),
        (
            Finding("2024-02", 1, 3, ({"fact": "type of shop", "value": "absent"},)),
            "'absent' in partition 2024-02 (1 of 3 partitions)",
        ),
    ],
)
def test_a_finding_says_what_was_found(found: Finding, sentence: str) -> None:
    assert found.sentence() == sentence


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (float("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (float("-inf"), "-inf"),
        ("text", "text"),
        (pd.Timestamp("2024-01-02"), "2024-01-02 00:00:00"),
        (dt.date(2024, 1, 2), "2024-01-02"),
    ],
)
def test_a_cell_is_shown_as_json_can_have_it(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)
