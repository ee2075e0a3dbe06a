"""distributions: shares of a column then and now, on the same bins, the most important feature first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mergeline.gates.evidence import Contender
from mergeline.schema import SCORE, Feature, Kind, Signature, Task
from mergeline.stages.distributions import CATEGORIES, FEATURES, NUMBERS, OTHER, Distribution, distributions

NUMBER, CATEGORY = Feature("amount", Kind.NUMBER), Feature("shop", Kind.CATEGORY, ("a", "b"))
CLASSES = {Task.BINARY: ("no", "yes"), Task.MULTICLASS: ("a", "b", "c"), Task.REGRESSION: ()}


def contender(*features: Feature, task: Task = Task.BINARY, ranked: Sequence[str] | None = None) -> Contender:
    class Known:
        signature = Signature(task, "bought", features, CLASSES[task], None)

    scorer: Any = Known()
    names = [each.name for each in features] if ranked is None else ranked
    return Contender("c" * 64, scorer, {"importance": [{"feature": name} for name in names]}, None, 1)


def compared(then: dict[str, Any], now: dict[str, Any], *features: Feature) -> tuple[Distribution, ...]:
    rows = pd.DataFrame(now)
    return distributions(pd.DataFrame(then), rows, contender(*features), np.zeros((len(rows), 2)))


def test_a_number_is_cut_into_the_same_bins_then_and_now_and_the_missing_stand_apart() -> None:
    (found,) = compared({"amount": [0.0, 1.0, 2.0, np.nan]}, {"amount": [2.0, 2.0]}, NUMBER)
    assert (found.feature, found.kind, found.labels) == ("amount", "number", ())
    assert len(found.edges) == NUMBERS + 1
    assert len(found.then) == len(found.now) == NUMBERS
    assert (found.missing_then, found.missing_now) == (0.25, 0.0)
    assert [share for share in found.then if share] == [0.25, 0.25, 0.25]
    assert found.now[-1] == 1.0


def test_what_lies_beyond_the_outer_edges_is_counted_in_the_outer_bins() -> None:
    values = [*np.linspace(0, 1, 1000), -1e9, 1e9]
    (found,) = compared({"amount": values}, {"amount": [-1e12, 0.5, 1e12, 0.5]}, NUMBER)
    assert -0.1 < found.edges[0] < found.edges[-1] < 1.1
    assert sum(found.then) == pytest.approx(1)
    assert (found.now[0], found.now[-1]) == (0.25, 0.25)


def test_a_constant_has_bins_about_its_value() -> None:
    (found,) = compared({"amount": [7.0, 7.0]}, {"amount": [7.0]}, NUMBER)
    assert (found.edges[0], found.edges[-1]) == (6.5, 7.5)
    assert sum(found.then) == sum(found.now) == 1


def test_a_column_without_any_value_is_all_missing() -> None:
    (found,) = compared({"amount": [np.nan, np.nan]}, {"amount": [np.nan]}, NUMBER)
    assert sum(found.then) == sum(found.now) == 0
    assert (found.missing_then, found.missing_now) == (1.0, 1.0)


def test_time_stamps_and_booleans_are_numbers() -> None:
    times = pd.to_datetime(["2024-01-01", "2024-01-11"])
    since, member = Feature("since", Kind.DATETIME), Feature("member", Kind.BOOLEAN)
    table = {"since": times, "member": [True, False]}
    found = compared(table, table, since, member)
    assert (found[0].edges[0], found[0].edges[-1]) == (19723.0, 19733.0)  # days since 1970
    assert found[1].now[0] == found[1].now[-1] == 0.5


def test_categories_stand_by_their_share_then_and_new_ones_behind_them() -> None:
    then, now = {"shop": ["b", "b", "a", None]}, {"shop": ["c", "a", "a", "a"]}
    (found,) = compared(then, now, CATEGORY)
    assert (found.kind, found.labels, found.edges) == ("category", ("b", "a", "c"), ())
    assert found.then == (0.5, 0.25, 0.0)
    assert found.now == (0.0, 0.75, 0.25)
    assert (found.missing_then, found.missing_now) == (0.25, 0.0)


def test_rare_categories_are_put_together() -> None:
    shops = [f"s{at:02}" for at in range(CATEGORIES + 5) for _ in range(100 - at)]
    (found,) = compared({"shop": shops}, {"shop": ["s12", "s00", "new", "s14"]}, CATEGORY)
    assert found.labels == (*(f"s{at:02}" for at in range(CATEGORIES)), OTHER)
    assert found.now[0] == 0.25
    assert found.now[-1] == 0.75
    assert sum(found.then) == pytest.approx(1, abs=1e-6)


def test_a_category_of_numbers_reads_the_same_whatever_its_type() -> None:
    (found,) = compared({"shop": [1, 2, 2]}, {"shop": [1.0, np.nan, 2.0]}, CATEGORY)
    assert found.labels == ("2", "1")
    assert found.missing_now == pytest.approx(1 / 3, abs=1e-6)


@pytest.mark.parametrize(
    ("task", "scores", "first", "last"),
    [
        pytest.param(Task.BINARY, [[0.9, 0.1], [0.4, 0.6]], 0.1, 0.6, id="of the positive class"),
        pytest.param(Task.MULTICLASS, [[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]], 0.4, 0.7, id="of the likeliest class"),
        pytest.param(Task.REGRESSION, [[17.0], [-4.0]], -4.0, 17.0, id="the value"),
    ],
)
def test_the_score_stands_first(task: Task, scores: list[list[float]], first: float, last: float) -> None:
    rows = pd.DataFrame({"amount": [1.0, 2.0]})
    reference = rows.assign(**{SCORE: [first, last]})
    found = distributions(reference, rows, contender(NUMBER, task=task), np.array(scores))
    assert [each.feature for each in found] == [SCORE, "amount"]
    assert found[0].then == found[0].now
    assert found[0].edges[0] == pytest.approx(first, abs=0.2)
    assert found[0].edges[-1] == pytest.approx(last, abs=0.2)


def test_the_most_important_features_come_first_and_not_too_many() -> None:
    features = [Feature(f"x{at}", Kind.NUMBER) for at in range(FEATURES + 3)]
    rows = pd.DataFrame({each.name: [1.0, 2.0] for each in features})
    ranked = [each.name for each in reversed(features)]
    found = distributions(rows, rows, contender(*features, ranked=ranked), np.zeros((2, 2)))
    assert [each.feature for each in found] == ranked[:FEATURES]


def test_a_feature_that_the_running_model_did_not_have_is_left_out() -> None:
    found = compared({"amount": [1.0, 2.0]}, {"amount": [1.0], "shop": ["a"]}, NUMBER, CATEGORY)
    assert [each.feature for each in found] == ["amount"]


def test_a_feature_that_was_text_for_the_running_model_is_left_out_and_one_that_was_a_number_is_shown() -> None:
    """A column that changed its kind must not stop the comparison."""
    found = compared(
        {"amount": ["cheap", "dear"], "shop": [1, 2]}, {"amount": [1.0, 2.0], "shop": ["1", "2"]}, NUMBER, CATEGORY
    )
    assert [each.feature for each in found] == ["shop"]


@pytest.mark.parametrize("reference", [None, pd.DataFrame({"amount": []})])
def test_without_a_reference_there_is_nothing_to_show(reference: pd.DataFrame | None) -> None:
    assert distributions(reference, pd.DataFrame({"amount": [1.0]}), contender(NUMBER), np.zeros((1, 2))) == ()


def test_shares_and_the_missing_sum_to_one_and_are_json() -> None:
    generator = np.random.default_rng(3)
    then = {"amount": np.where(generator.random(300) < 0.1, np.nan, generator.normal(size=300)), "shop": ["a"] * 300}
    now = {"amount": generator.normal(3, 1, 200), "shop": generator.choice(["a", "b", "c"], 200)}
    for each in compared(then, now, NUMBER, CATEGORY):
        assert sum(each.then) + each.missing_then == pytest.approx(1, abs=1e-5)
        assert sum(each.now) + each.missing_now == pytest.approx(1, abs=1e-5)
        json.dumps(asdict(each), allow_nan=False)
