"""The target as numbers: the class that counts as positive is never guessed wrong."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from tables import params

from mergeline.errors import ConfigurationError, DataError
from mergeline.target import classes, encode_target


def rows(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"bought": values, "kind": values, "price": values})


@pytest.mark.parametrize(
    ("values", "positive", "names"),
    [
        pytest.param([0, 1], None, ("0", "1"), id="zero and one"),
        pytest.param([1.0, 0.0, None], None, ("0", "1"), id="zero and one that came as floats"),
        pytest.param([True, False], None, ("false", "true"), id="booleans"),
        pytest.param(pd.Series([True, False, None], dtype=object), None, ("false", "true"), id="booleans with a gap"),
        pytest.param(["yes", "no"], "yes", ("no", "yes"), id="words"),
        pytest.param(["yes", "no"], "no", ("yes", "no"), id="the other word"),
        pytest.param([0, 1], 0, ("1", "0"), id="zero as the positive class"),
        pytest.param([0, 1], 0.0, ("1", "0"), id="zero written as a float"),
        pytest.param([True, False], False, ("true", "false"), id="false as the positive class"),
        pytest.param(["false", "true"], True, ("false", "true"), id="a switch for the text of a switch"),
    ],
)
def test_the_second_class_is_the_positive_one(values: Any, positive: Any, names: tuple[str, str]) -> None:
    data = params(data={"positive": positive}).data
    assert classes(rows(values), data) == names


def test_two_words_without_a_positive_one_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"data\.positive: say which of no, yes in 'bought' is the positive"):
        classes(rows(["yes", "no"]), params().data)
    with pytest.raises(ConfigurationError, match=r"data\.positive: expected one of no, yes, found 'Yes'"):
        classes(rows(["yes", "no"]), params(data={"positive": "Yes"}).data)


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        ("binary", [1, 1], r"expected two values in 'bought', found 1 \(1\)"),
        ("binary", [0, 1, 2], r"expected two values in 'bought', found 3 \(0, 1, 2\)"),
        ("multiclass", ["a"], r"expected at least two values in 'kind', found 1 \(a\)"),
        ("binary", list("abcdefg"), r"found 7 \(a, b, c, d, e, \.\.\.\)"),
    ],
)
def test_too_few_and_too_many_classes_are_refused(task: str, values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        classes(rows(values), params(task).data)


def test_many_classes_are_in_the_order_of_their_names_and_a_regression_has_none() -> None:
    assert classes(rows(["b", "c", "a", "b"]), params("multiclass").data) == ("a", "b", "c")
    assert classes(rows([1.5, 2.5]), params("regression").data) == ()


def test_a_class_becomes_its_position_and_an_unknown_one_is_refused() -> None:
    data = params("multiclass").data
    assert encode_target(rows(["b", "a", "b"]), data, ("a", "b")).tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(DataError, match=r"data\.target: 'kind' holds 'c', known are a, b"):
        encode_target(rows(["b", "c"]), data, ("a", "b"))


def test_the_values_of_a_regression_are_themselves() -> None:
    data = params("regression").data
    assert encode_target(rows([1, 2]), data, ()).tolist() == [1.0, 2.0]
    assert encode_target(rows(pd.array([1, 2], dtype="Int64")), data, ()).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "2"], "a regression needs numbers in 'price', found str"),
        ([True, False], "a regression needs numbers in 'price', found bool"),
        ([1.0, float("inf")], "1 values of 'price' are not finite"),
        ([1.0, None], "1 values of 'price' are not finite"),
    ],
)
def test_a_regression_of_anything_else_is_refused(values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"data\.target: {message}"):
        encode_target(rows(values), params("regression").data, ())
