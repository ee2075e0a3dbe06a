"""validate: every kind of bad data is found, named by column, partition and rows, and only what is meant to blocks."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import months, orders, params

from mergeline.errors import DataError
from mergeline.params import Params
from mergeline.stages.data_docs import self_contained
from mergeline.stages.validate import Outcome, Quality, Validation, validate

Tables = dict[str, pd.DataFrame]
RULES: dict[str, Any] = {
    "min_rows": 20,
    "max_age_days": 30,
    "derived": "off",
    "columns": {
        "amount": {"min": -100, "max": 200, "missing": 0.2},
        "channel": {"values": ["app", "desk", "web"], "missing": 0.2},
        "placed": {"min": "2024-01-01", "max": "2024-12-31"},
        "noise": {"min": -9, "severity": "warn"},
    },
}
DERIVING = {**RULES, "derived": "warn"}
DATA: dict[str, Any] = {
    "as_of": "2024-01-20",
    "numeric": ["amount", "visits", "noise"],
    "categorical": ["channel", "shop"],
}


def checked(tables: Tables, settings: Params | None = None) -> Validation:
    chosen = settings or params(data=DATA, validate=RULES)
    return validate({name: lambda rows=rows: rows for name, rows in tables.items()}, chosen)  # type: ignore[misc]


def failed(found: Validation) -> list[tuple[str | None, str, str]]:
    return [(each.column, each.rule, each.severity) for each in found.outcomes if not each.passed]


def good() -> Tables:
    return {name: rows.assign(shop="s" + (rows.index % 5).astype(str)) for name, rows in months(150, 150).items()}


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> Iterator[None]:
    """validate collects circles after each partition: those of all other tests need no second look."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time goes into pages that nobody looks at here."""
    monkeypatch.setattr("mergeline.stages.data_docs.page", lambda outcome: "")


def test_a_good_table_keeps_every_rule() -> None:
    found = checked(good())
    assert failed(found) == []
    assert failed(checked(good(), params(data=DATA, validate=DERIVING))) == []
    assert found.rows == {"2024-01": 150, "2024-02": 150}
    assert found.as_dict()["success"] is True
    found.raise_if_blocked("reports/validation.json")


# ---- Planted failures; the untouched table is the twin of each -------------------------------------------------


def newest(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Tables], Tables]:
    """Plant something in the newest partition."""
    return lambda tables: {**tables, "2024-02": change(tables["2024-02"].copy())}


def cell(column: str, value: Any, rows: int = 1) -> Callable[[Tables], Tables]:
    """Plant a value in the first rows of the newest partition."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        if not isinstance(value, float) or column in ("order", "member"):
            table[column] = table[column].astype(object)
        table.loc[: rows - 1, column] = value
        return table.infer_objects()

    return newest(change)


def ids_again(tables: Tables) -> Tables:
    tables["2024-02"].loc[:4, "order"] = tables["2024-01"]["order"].iloc[:5].to_numpy()
    return tables


def overlap(tables: Tables) -> Tables:
    tables["2024-02"]["placed"] -= pd.Timedelta(hours=3)
    return tables


PLANTED = [
    pytest.param(
        newest(lambda rows: rows.drop(columns="noise")),
        ("noise", "a column of number or boolean", "error"),
        "column 'noise': expected a column of number or boolean, found 'absent' in partition 2024-02 (1 of 2"
        " partitions)",
        id="missing column",
    ),
    pytest.param(
        newest(lambda rows: rows.assign(visits=rows["visits"].astype("str"))),
        ("visits", "a column of number or boolean or time", "error"),
        "column 'visits': expected a column of number or boolean or time, found 'text' in partition 2024-02 (1 of 2"
        " partitions)",
        id="wrong type",
    ),
    pytest.param(
        cell("shop", 5),
        ("shop", "a column of number or boolean or time or text", "error"),
        "found 'mixed' in partition 2024-02 (1 of 2 partitions)",
        id="mixed types",
    ),
    pytest.param(
        newest(lambda rows: rows.assign(amount="much")),
        ("amount", "a column of number or boolean", "error"),
        "found 'text' in partition 2024-02",
        id="text under limits, which nothing could compare",
    ),
    pytest.param(
        cell("amount", 250.0, 3),
        ("amount", "at least -100 and at most 200", "error"),
        "column 'amount': expected at least -100 and at most 200, found 3 of 150 in partition 2024-02, such as 250.0 in"
        " row 0 (id 1150)",
        id="out of range",
    ),
    pytest.param(
        cell("channel", "pigeon"),
        ("channel", "one of app, desk, web", "error"),
        "found 1 of 150 in partition 2024-02, such as 'pigeon' in row 0 (id 1150)",
        id="unseen category",
    ),
    pytest.param(
        cell("amount", float("nan"), 50),
        ("amount", "at most 20.0% missing values", "error"),
        "of 150 in partition 2024-02, such as None in row 0 (id 1150)",
        id="nulls above the limit",
    ),
    pytest.param(
        newest(lambda rows: rows.assign(order=[1150, 1150, 1150, *rows["order"][3:]])),
        ("order", "no value twice", "error"),
        "column 'order': expected no value twice, found 3 of 150 in partition 2024-02, such as 1150 in row 0",
        id="duplicate ids within a partition",
    ),
    pytest.param(
        ids_again,
        ("order", "no id of an earlier partition again", "error"),
        "column 'order': expected no id of an earlier partition again, found 5 of 150 in partition 2024-02, such as"
        " 1000 in row 0 (id 1000)",
        id="duplicate ids across partitions",
    ),
    pytest.param(
        cell("order", float("nan")), ("order", "no missing value", "error"), "found 1 of 150", id="a row without id"
    ),
    pytest.param(
        newest(lambda rows: rows.head(19)),
        (None, "at least 20 rows a partition", "error"),
        "expected at least 20 rows a partition, found 19 in partition 2024-02 (1 of 2 partitions)",
        id="too few rows",
    ),
    pytest.param(
        newest(lambda rows: rows.head(0)),
        (None, "at least 20 rows a partition", "error"),
        "found 0 in partition 2024-02 (1 of 2 partitions)",
        id="empty partition",
    ),
    pytest.param(
        newest(lambda rows: rows.iloc[[1, 0, *range(2, 150)]].reset_index(drop=True)),
        ("placed", "rows in the order of time", "error"),
        "column 'placed': expected rows in the order of time, found 1 of 150 in partition 2024-02, such as"
        " '2024-01-07 06:00:00' in row 1 (id 1150)",
        id="rows out of order",
    ),
    pytest.param(
        overlap,
        ("placed", "no row from before the newest of the earlier partitions", "error"),
        "found 2 of 150 in partition 2024-02, such as '2024-01-07 03:00:00' in row 0 (id 1150)",
        id="overlap with an earlier partition",
    ),
    pytest.param(
        cell("amount", float("inf")),
        ("amount", "at least -100 and at most 200", "error"),
        "such as 'inf' in row 0",
        id="infinity under both limits",
    ),
    pytest.param(
        cell("visits", float("-inf")),
        ("visits", "finite numbers", "error"),
        "column 'visits': expected finite numbers, found 1 of 150 in partition 2024-02, such as '-inf' in row 0",
        id="infinity without limits",
    ),
    pytest.param(
        cell("noise", float("inf")),
        ("noise", "finite numbers", "error"),
        "column 'noise': expected finite numbers",
        id="infinity under one limit",
    ),
    pytest.param(
        newest(lambda rows: rows.assign(placed=rows["placed"].mask(rows.index == 149, pd.Timestamp("2025-01-01")))),
        ("placed", "at least 2024-01-01 and at most 2024-12-31", "error"),
        "such as '2025-01-01 00:00:00' in row 149",
        id="a time after its limit",
    ),
]


@pytest.mark.usefixtures("no_pages")
@pytest.mark.parametrize(("plant", "rule", "sentence"), PLANTED)
def test_bad_data_are_found_and_block(
    plant: Callable[[Tables], Tables], rule: tuple[str | None, str, str], sentence: str
) -> None:
    found = checked(plant(good()))
    assert rule in failed(found)
    assert found.as_dict()["success"] is False
    with pytest.raises(DataError) as caught:
        found.raise_if_blocked("reports/validation.json")
    assert caught.value.exit_code == 3
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_pages")
def test_bad_data_of_an_older_partition_are_found_as_well() -> None:
    tables = {**cell("amount", 250.0)(ids_again(good())), "2024-03": months(150, 150, 150)["2024-03"]}
    found = checked(tables, params(data={**DATA, "as_of": "2024-01-31"}, validate=RULES))
    assert [(each.column, [finding.partition for finding in each.findings]) for each in found.blocking] == [
        ("amount", ["2024-02"]),
        ("order", ["2024-02"]),
    ]


@pytest.mark.usefixtures("no_pages")
@pytest.mark.parametrize(
    ("as_of", "rule"),
    [
        ("2024-02-20", "a newest row at most 30 days older than data.as_of, 2024-02-20"),
        ("2024-01-10", "no row after data.as_of, 2024-01-10"),
    ],
)
def test_stale_data_and_rows_from_the_future_block(as_of: str, rule: str) -> None:
    found = checked(good(), params(data={**DATA, "as_of": as_of}, validate=RULES))
    assert failed(found) == [("placed", rule, "error")]


@pytest.mark.usefixtures("no_pages")
@pytest.mark.parametrize("as_of", ["2024-01-13", "2024-02-12", None])
def test_from_the_newest_rows_day_to_the_last_day_of_the_limit_data_are_fresh(as_of: str | None) -> None:
    assert failed(checked(good(), params(data={**DATA, "as_of": as_of}, validate=RULES))) == []


# ---- What the earlier partitions suggest -----------------------------------------------------------------------------


shifted = newest(lambda rows: rows.assign(visits=rows["visits"] + 50))
DRIFTED = [
    pytest.param(shifted, ("visits", "at least 99% of the values at least 0.3 and at most 8.7"), id="a shifted range"),
    pytest.param(
        newest(lambda rows: rows.assign(shop="s" + rows["shop"])),
        ("shop", "at least 99% of the values one of"),
        id="new",
    ),
    pytest.param(
        newest(lambda rows: rows.assign(visits=rows["visits"].mask(rows.index % 3 == 0))),
        ("visits", "missing values"),
        id="more missing values",
    ),
]


@pytest.mark.usefixtures("no_pages")
@pytest.mark.parametrize(("plant", "rule"), DRIFTED)
def test_what_the_earlier_partitions_did_not_have_is_found_in_the_newest(
    plant: Callable[[Tables], Tables], rule: tuple[str, str]
) -> None:
    found = checked(plant(good()), params(data=DATA, validate=DERIVING))
    hits = [each for each in failed(found) if each[0] == rule[0] and rule[1] in each[1]]
    assert [each[2] for each in hits] == ["warn"]
    assert not found.blocking


@pytest.mark.usefixtures("no_pages")
@pytest.mark.parametrize("severity", ["error", "off"])
def test_a_derived_rule_blocks_or_is_not_asked_at_all_if_the_settings_say_so(severity: str) -> None:
    found = checked(shifted(good()), params(data=DATA, validate={**RULES, "derived": severity}))
    assert [each.column for each in found.blocking] == ([] if severity == "off" else ["visits"])


@pytest.mark.usefixtures("no_pages")
def test_the_first_partition_has_nothing_to_be_held_against() -> None:
    assert failed(checked({"2024-01": shifted(good())["2024-02"]}, params(data=DATA, validate=DERIVING))) == []


# ---- Severity, sentences, records ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pages")
def test_a_warning_is_reported_and_blocks_nothing() -> None:
    found = checked(cell("noise", -50.0)(good()))
    assert failed(found) == [("noise", "at least -9", "warn")]
    assert found.blocking == ()
    assert found.as_dict()["success"] is True
    found.raise_if_blocked("reports/validation.json")


@pytest.mark.usefixtures("no_pages")
def test_order_may_be_made_a_warning() -> None:
    turned = newest(lambda rows: rows.iloc[::-1].reset_index(drop=True))(good())
    found = checked(turned, params(data=DATA, validate={**RULES, "time_order": "warn"}))
    assert failed(found) == [("placed", "rows in the order of time", "warn")]


@pytest.mark.usefixtures("no_pages")
def test_the_error_names_the_first_three_and_counts_the_rest() -> None:
    tables = good()
    for column in ("visits", "noise"):
        tables = cell(column, float("inf"))(tables)
    for column, value in (("channel", "pigeon"), ("amount", 1e6)):
        tables = cell(column, value)(tables)
    with pytest.raises(DataError) as caught:
        checked(tables).raise_if_blocked("reports/validation.json")
    assert str(caught.value).startswith("validate: column ")
    assert str(caught.value).count("; column") == 2
    assert str(caught.value).endswith("; and 1 more (all of it in reports/validation.json)")


@pytest.mark.usefixtures("no_pages")
def test_the_record_has_the_blocking_failures_first_then_warnings_then_what_holds() -> None:
    found = checked(cell("noise", -50.0)(cell("amount", 1e6)(good()))).as_dict()
    order = [(each["passed"], each["severity"]) for each in found["expectations"]]
    assert order[:3] == [(False, "error"), (False, "warn"), (True, "error")]
    assert order == sorted(order, key=lambda each: (each[0], each[1] != "error"))
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))


@pytest.mark.usefixtures("no_pages")
@pytest.mark.parametrize("examples", [0, 2])
def test_examples_are_bounded_by_the_settings(examples: int) -> None:
    broken = newest(lambda rows: rows.assign(amount=1e6, channel="pigeon"))(good())
    found = checked(broken, params(data=DATA, validate={**RULES, "examples": examples}))
    findings = [finding for each in found.blocking for finding in each.findings]
    assert {finding.unexpected for finding in findings} == {150}
    assert {len(finding.examples) for finding in findings} == {examples}
    found_text = str(found.as_dict())
    assert found_text.count("pigeon") == examples


@pytest.mark.usefixtures("no_pages")
def test_a_rule_that_fails_in_two_partitions_is_one_outcome_with_two_findings() -> None:
    tables = {name: rows.assign(amount=rows["amount"] + 1e4) for name, rows in good().items()}
    outcome = next(each for each in checked(tables).blocking if each.column == "amount")
    assert [finding.partition for finding in outcome.findings] == ["2024-01", "2024-02"]
    assert outcome.partitions == 2


@pytest.mark.usefixtures("no_pages")
def test_times_booleans_and_gaps_among_the_numeric_columns_are_no_failure() -> None:
    tables = {
        name: rows.assign(member=rows["member"].astype(object).mask(rows.index == 3)) for name, rows in good().items()
    }
    every = params(validate={"min_rows": 20})
    assert failed(checked(tables, every)) == []
    assert tables["2024-01"]["member"].dtype == object


@pytest.mark.usefixtures("no_pages")
def test_the_target_of_a_regression_has_to_be_a_finite_number() -> None:
    rules = params("regression", data=DATA, validate={"min_rows": 20})
    assert failed(checked(good(), rules)) == []
    assert failed(checked(cell("price", float("inf"))(good()), rules)) == [("price", "finite numbers", "error")]
    assert ("price", "a column of number", "error") in failed(
        checked(newest(lambda rows: rows.assign(price="free"))(good()), rules)
    )


# ---- Quality ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pages")
def test_quality_by_hand() -> None:
    """Ten rows of three columns, two cells empty; of the forty checked cells (day there, amount finite and at most 50,
    bought there) one is broken; fifteen days old where ten are fresh."""
    rows = pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=10),
            "amount": [*range(8), None, 99.0],
            "bought": [0, 1, None, *([1] * 7)],
        }
    )
    data = {"time": "day", "id": None, "numeric": ["amount"], "categorical": [], "as_of": "2024-01-25"}
    rules = {"max_age_days": 10, "columns": {"amount": {"max": 50}, "bought": {"missing": 0.2}}}
    found = validate({"2024-01": lambda: rows}, params(data=data, validate=rules)).quality
    assert found.completeness == pytest.approx(1 - 2 / 30)
    assert found.consistency == pytest.approx(1 - 1 / 40)
    assert found.freshness == pytest.approx(2 - 15 / 10)
    assert found.score == pytest.approx((28 / 30 + 39 / 40 + 0.5) / 3)
    assert found.as_dict() == {"score": 0.802778, "completeness": 0.933333, "consistency": 0.975, "freshness": 0.5}


@pytest.mark.usefixtures("no_pages")
@pytest.mark.parametrize(("age", "limit", "freshness"), [(0, 0, 1.0), (10, 10, 1.0), (15, 10, 0.5), (90, 10, 0.0)])
def test_freshness_falls_in_a_line_from_the_limit_to_twice_the_limit(age: int, limit: int, freshness: float) -> None:
    as_of = (orders(60)["placed"].max().normalize() + pd.Timedelta(days=age)).date().isoformat()
    found = checked(months(60), params(data={"as_of": as_of}, validate={"max_age_days": limit}))
    assert found.quality.freshness == pytest.approx(freshness)


@pytest.mark.usefixtures("no_pages")
def test_without_a_limit_quality_is_the_mean_of_the_parts_that_there_are() -> None:
    found = checked(good(), params(validate={"min_rows": 20}))
    assert found.quality.freshness is None
    assert found.quality.score == (found.quality.completeness + found.quality.consistency) / 2
    assert found.quality.as_dict()["freshness"] is None


@pytest.mark.usefixtures("no_pages")
def test_a_table_without_a_row_has_no_quality() -> None:
    assert checked(months(0)).quality == Quality(0.0, 0.0, None)


# ---- Pages -----------------------------------------------------------------------------------------------------------


def test_the_pages_of_the_newest_partition_and_of_every_failure_are_the_same_bytes_twice() -> None:
    tables = cell("amount", 1e6)(months(150, 150, 150))
    tables["2024-02"], tables["2024-01"] = tables["2024-02"], tables["2024-01"].assign(channel="pigeon")
    first, second = checked(tables).pages, checked(tables).pages
    assert set(first) == {"2024-01.html", "2024-02.html", "2024-03.html", "table.html"}
    assert first == second
    assert set(checked(good()).pages) == {"2024-02.html", "table.html"}


def test_a_page_shows_the_failure_and_fetches_nothing() -> None:
    html = checked(cell("channel", "pigeon")(good())).pages["2024-02.html"]
    assert "pigeon" in html
    for foreign in ("<script", "<img", "http://", "https://"):
        assert foreign not in html.replace("http://www.w3.org", "")


def test_what_differs_from_one_rendering_to_the_next_is_taken_out() -> None:
    ids = ["6f1c3a52-0b1d-4c8e-9d0a-1f2e3d4c5b6a", "00000000-0000-0000-0000-000000000000"]
    html = f'<a id="{ids[0]}"></a><a id="{ids[1]}"></a><a href="#{ids[0]}">x</a>20260101T000000.000001Z'
    cleaned = self_contained(html)
    assert not any(each in cleaned for each in ids)
    assert "20260101T" not in cleaned
    other = self_contained(html.replace(ids[0], "11111111-1111-1111-1111-111111111111"))
    assert other == cleaned


# ---- Memory ----------------------------------------------------------------------------------------------------------


def test_a_partition_is_gone_before_the_next_one_is_read() -> None:
    """Neither the frame nor its columns: whoever keeps a copy keeps those."""
    seen: list[weakref.ref[Any]] = []
    alive_at_load: list[int] = []
    tables = {f"2024-{month:02}": orders(40).assign(order=np.arange(40) + 100 * month) for month in range(1, 4)}

    def loader(rows: pd.DataFrame) -> Callable[[], pd.DataFrame]:
        def load() -> pd.DataFrame:
            gc.collect()
            alive_at_load.append(sum(ref() is not None for ref in seen))
            loaded = rows.copy(deep=True)
            values = loaded["noise"].to_numpy()
            seen.extend([weakref.ref(loaded), weakref.ref(values if values.base is None else values.base)])
            return loaded

        return load

    loaders = {name: loader(rows) for name, rows in tables.items()}
    validate(loaders, params(data=DATA, validate={"time_order": "warn"}))
    assert alive_at_load == [0, 0, 0]


def test_progress_is_told_partition_by_partition() -> None:
    told: list[str] = []
    validate({name: lambda rows=rows: rows for name, rows in good().items()}, params(), told.append)  # type: ignore[misc]
    assert told == ["2024-01", "2024-02"]


def test_an_outcome_without_a_column_is_told_without_one() -> None:
    found = checked(newest(lambda rows: rows.head(1))(good()))
    outcome: Outcome = found.blocking[0]
    assert outcome.sentence().startswith("expected at least 20 rows a partition, found 1 in partition 2024-02")
