"""Facts of a table: what is known after its partitions have passed one by one."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import months, params

from mergeline.stages.facts import DERIVED_CATEGORIES, TableFacts, column_types, value_type

AS_OF = {"as_of": "2024-03-01"}


def passed(tables: dict[str, pd.DataFrame], **sections: Any) -> TableFacts:
    """The facts after all these partitions."""
    facts = TableFacts(params(**sections))
    for name, rows in tables.items():
        facts.remember(rows, facts.add(name, rows))
    return facts


def column(tables: dict[str, pd.DataFrame], fact: str, **sections: Any) -> list[Any]:
    values: list[Any] = passed(tables, **sections).frame()[fact].tolist()
    return values


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "number"),
        ([1.5, None], "number"),
        (pd.array([1, None], dtype="Int64"), "number"),
        ([Decimal("1.5")], "number"),
        ([True, False], "boolean"),
        (pd.Series([True, None], dtype=object), "boolean"),
        (pd.array([True, None], dtype="boolean"), "boolean"),
        (["a", None], "text"),
        (pd.Series(["a", None], dtype=object), "text"),
        (pd.to_datetime(["2024-01-01"]), "time"),
        (pd.to_datetime(["2024-01-01"], utc=True), "time"),
        (pd.Series([pd.NaT, pd.NaT]), "time"),
        ([None, None], "empty"),
        ([np.nan], "empty"),
        ([], "empty"),
        ([1, "a"], "mixed"),
        (pd.Series([True, 2], dtype=object), "mixed"),
        ([[1], [2]], "mixed"),
    ],
)
def test_the_type_of_a_column_is_that_of_its_values(values: Any, kind: str) -> None:
    assert value_type(pd.Series(values)) == kind


def test_each_column_may_have_the_types_of_its_roles() -> None:
    found = column_types(params())
    assert found["amount"] == found["since"] == ("number", "boolean", "time")
    assert found["shop"] == found["order"] == found["bought"] == ("number", "boolean", "time", "text")
    assert found["placed"] == ("time",)
    assert column_types(params("regression"))["price"] == ("number",)


def test_a_column_with_limits_has_to_be_comparable_with_them() -> None:
    rules = {"shop": {"min": 3}, "noise": {"max": 3}, "since": {"max": "2024-01-01"}, "channel": {"missing": 0.1}}
    found = column_types(params(validate={"columns": rules}))
    assert found["shop"] == found["noise"] == ("number", "boolean")
    assert found["since"] == ("time",)
    assert found["channel"] == ("number", "boolean", "time", "text")


def test_a_column_of_a_wrong_type_is_noted_and_not_used() -> None:
    tables = months(30, 20)
    tables["2024-02"] = tables["2024-02"].assign(amount="much").drop(columns="shop")
    facts = TableFacts(params())
    assert set(facts.add("2024-01", tables["2024-01"])) == set(params().data.columns)
    assert set(params().data.columns) - set(facts.add("2024-02", tables["2024-02"])) == {"amount", "shop"}
    assert facts.frame()["type of amount"].tolist() == ["number", "text"]
    assert facts.frame()["type of shop"].tolist() == ["text", "absent"]


def test_an_empty_column_is_of_every_type() -> None:
    facts = TableFacts(params())
    assert facts.add("2024-01", months(5)["2024-01"].assign(amount=None))["amount"] == "empty"


def test_rows_cells_and_gaps_are_counted() -> None:
    tables = months(30, 20)
    facts = passed(tables)
    assert facts.rows == {"2024-01": 30, "2024-02": 20}
    used = list(params().data.columns)
    assert facts.cells == 50 * len(used)
    assert facts.missing == sum(int(rows[used].isna().to_numpy().sum()) for rows in tables.values()) > 0


# ---- Ids -------------------------------------------------------------------------------------------------------------


def test_ids_of_earlier_partitions_are_counted_again_in_every_later_one() -> None:
    tables = months(20, 20, 20)
    assert column(tables, "ids of earlier partitions") == [0, 0, 0]
    tables["2024-03"].loc[:2, "order"] = [1000, 1005, 1025]
    assert column(tables, "ids of earlier partitions") == [0, 0, 3]


def test_an_id_is_the_same_in_a_column_that_came_as_floats() -> None:
    tables = months(20, 20)
    tables["2024-02"]["order"] = tables["2024-02"]["order"].astype(float)
    tables["2024-02"].loc[:1, "order"] = [1003, np.nan]
    assert column(tables, "ids of earlier partitions") == [0, 1]


def test_ids_that_differ_in_the_last_of_many_digits_differ() -> None:
    tables = months(2, 2)
    for name, first in (("2024-01", 2**60), ("2024-02", 2**60 + 2)):
        tables[name]["order"] = [first, first + 1]
    assert column(tables, "ids of earlier partitions") == [0, 0]


# ---- Time ------------------------------------------------------------------------------------------------------------


def test_rows_that_go_back_in_time_are_counted_and_equal_times_do_not() -> None:
    tables = months(6)
    rows = tables["2024-01"]
    assert column(tables, "out of order") == [0]
    rows["placed"] = rows["placed"].iloc[[0, 0, 3, 2, 5, 4]].to_numpy()
    assert column(tables, "out of order") == [2]


def test_rows_from_before_an_earlier_partition_are_counted() -> None:
    tables = months(6, 6, 6)
    assert column(tables, "before earlier rows") == [0, 0, 0]
    tables["2024-03"].loc[0, "placed"] = tables["2024-02"]["placed"].iloc[-1]
    assert column(tables, "before earlier rows") == [0, 0, 0]
    tables["2024-03"].loc[:1, "placed"] -= pd.Timedelta(hours=9)
    assert column(tables, "before earlier rows") == [0, 0, 2]


def test_times_of_different_zones_are_one_time() -> None:
    tables = months(6, 6)
    rows = tables["2024-02"]
    rows["placed"] = rows["placed"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    assert column(tables, "before earlier rows") == [0, 0]


@pytest.mark.parametrize(
    ("newest", "age"),
    [("2024-02-29T23:59", 1), ("2024-03-01T12:00", 0), ("2024-03-02T00:00", -1), ("2024-01-01", 60)],
)
def test_age_is_whole_days_from_the_newest_row_to_as_of(newest: str, age: int) -> None:
    tables = months(3)
    tables["2024-01"].loc[2, "placed"] = pd.Timestamp(newest)
    facts = passed(tables, data=AS_OF)
    assert facts.age_days == age
    assert facts.frame()["age"].tolist() == [age]


def test_only_the_newest_partition_has_an_age_and_without_a_day_or_a_time_none_has() -> None:
    frame = passed(months(3, 3), data=AS_OF).frame()
    assert frame["age"].isna().tolist() == [True, False]
    assert passed(months(3)).age_days is None
    timeless = {**AS_OF, "time": None, "holdout": {"share": 0.2}}
    assert passed(months(3), data=timeless).age_days is None
    assert passed({"2024-01": months(3)["2024-01"].iloc[:0]}, data=AS_OF).age_days is None


# ---- What the earlier partitions suggest -----------------------------------------------------------------------------


def derived(tables: dict[str, pd.DataFrame], **sections: Any) -> dict[str, list[str]]:
    """The derived rules for a next partition, by column."""
    rules: dict[str, list[str]] = {}
    for check in passed(tables, **sections).derived_checks(params().data.columns):
        assert check.severity == sections.get("validate", {}).get("derived", "warn")
        rules.setdefault(str(check.column), []).append(check.rule)
    return rules


def test_range_categories_and_missing_share_are_learnt_from_the_earlier_partitions() -> None:
    tables = months(3, 3)
    for name, amounts in (("2024-01", [0.0, 5.0, None]), ("2024-02", [3.0, 10.0, 4.0])):
        tables[name] = tables[name].assign(amount=pd.Series(amounts), shop=["a", "b", "a"])
    found = derived(tables)
    assert found["amount"] == [
        "at most 43.3% missing values",
        "at least 99% of the values at least -1 and at most 11",
    ]
    assert found["shop"] == ["at most 10.0% missing values", "at least 99% of the values one of a, b"]


def test_a_written_rule_takes_the_place_of_the_derived_ones_and_they_can_be_turned_off() -> None:
    tables = months(9, 9)
    assert "amount" not in derived(tables, validate={"columns": {"amount": {"max": 5}}})
    assert "amount" in derived(tables, validate={"derived": "error"})
    assert derived(tables, validate={"derived": "off"}) == {}


def test_there_is_nothing_to_derive_from_no_partition_and_no_range_from_no_number() -> None:
    assert derived({}) == {}
    found = derived({"2024-01": months(4)["2024-01"].assign(amount=None, shop=None)})
    assert found["amount"] == found["shop"] == ["at most 100.0% missing values"]
    assert len(found["member"]) == len(found["since"]) == 1


def test_a_column_of_very_many_values_is_no_list_of_categories_and_takes_no_memory_for_one() -> None:
    rows = months(3)["2024-01"].iloc[[0] * 3000].assign(shop=[f"s{number}" for number in range(3000)])
    facts = passed({f"2024-{month:02}": rows.assign(shop=rows["shop"] + str(month)) for month in range(1, 9)})
    assert [check.rule for check in facts.derived_checks(["shop"])] == ["at most 10.0% missing values"]
    assert len(facts._earlier["shop"].categories) <= 2 * DERIVED_CATEGORIES + 2


# ---- The checks ------------------------------------------------------------------------------------------------------


def test_the_facts_are_put_to_the_rules_that_the_settings_ask_for() -> None:
    full = passed(months(3), data=AS_OF, validate={"min_rows": 7, "max_age_days": 9, "time_order": "warn"}).checks()
    rules = {check.rule: check.severity for check in full}
    assert rules["at least 7 rows a partition"] == "error"
    assert rules["no id of an earlier partition again"] == "error"
    assert rules["rows in the order of time"] == "warn"
    assert rules["no row from before the newest of the earlier partitions"] == "warn"
    assert rules[f"no row after data.as_of, {dt.date(2024, 3, 1)}"] == "error"
    assert rules["a newest row at most 9 days older than data.as_of, 2024-03-01"] == "error"
    bare = passed(months(3), data={"time": None, "id": None, "holdout": {"share": 0.2}}).checks()
    assert {check.rule.split()[0] for check in bare} == {"at", "a"}
