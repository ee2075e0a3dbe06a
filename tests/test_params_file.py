"""A change of params.yaml is as small as a person's: nothing but the value."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from ruamel.yaml import YAML

from mergeline.errors import ConfigurationError
from mergeline.params_file import edited

HOMELY = """\
# kept by hand
---
data:
    task:   binary     # two classes
    numeric:
    - a
    - "b"
    as_of: '2013-07-01'

train:     # all of it
    boosting:     # as tuned in May
        leaves:     31          # many


        l2: 0.10
    # the end
    hidden: [128,   64]
"""


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        pytest.param(
            ("train", "boosting", "leaves"), 16, "leaves:     31 ", "leaves:     16 ", id="a number in its column"
        ),
        pytest.param(("train", "hidden"), [32], "[128,   64]", "[32]", id="a list"),
        pytest.param(("data", "task"), "a: b", "binary", "'a: b'", id="text that needs quotes"),
        pytest.param(("data", "as_of"), dt.date(2014, 1, 2), "'2013-07-01'", '"2014-01-02"', id="a date, in quotes"),
        pytest.param(("data", "numeric"), ["c"], '\n    - a\n    - "b"', " [c]", id="a list over lines"),
        pytest.param(("train", "boosting", "c"), 1, "0.10\n", "0.10\n        c: 1\n", id="a new key behind the last"),
        pytest.param(("train", "mlp", "c"), 1, "64]\n", "64]\n    mlp: {c: 1}\n", id="a new section"),
    ],
)
def test_a_change_leaves_every_other_byte_as_it_was(path: tuple[str, ...], value: Any, old: str, new: str) -> None:
    assert HOMELY.count(old) == 1
    assert edited(HOMELY, {path: value}) == HOMELY.replace(old, new)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        pytest.param("a: {}\n", ("a", "x"), "a: {x: 7}\n", id="into an empty mapping"),
        pytest.param("a: {b: 1,}\n", ("a", "x"), "a: {b: 1, x: 7,}\n", id="before a last comma"),
        pytest.param("a:\n  b: 1", ("a", "x"), "a:\n  b: 1\n  x: 7", id="without an end of line"),
        pytest.param(
            "a:\r\n  b: 1 # c\r\nd: 2\r\n",
            ("a", "x"),
            "a:\r\n  b: 1 # c\r\n  x: 7\r\nd: 2\r\n",
            id="line ends of Windows",
        ),
        pytest.param(
            "a:\n  b:   # to be set\nc: 1\n",
            ("a", "b"),
            "a:\n  b: 7   # to be set\nc: 1\n",
            id="in the place of nothing",
        ),
        pytest.param(
            "a: 1 # ü\nb: |\n  two\n  lines\nc: 3\n", ("b",), "a: 1 # ü\nb: 7\nc: 3\n", id="in the place of lines"
        ),
    ],
)
def test_a_value_finds_its_place(text: str, path: tuple[str, ...], expected: str) -> None:
    assert edited(text, {path: 7}) == expected


def test_several_changes_are_made_together() -> None:
    new = edited(HOMELY, {("train", "boosting", "leaves"): 16, ("train", "boosting", "l2"): 1e-07})
    boosting = YAML(typ="safe").load(new)["train"]["boosting"]
    assert boosting == {"leaves": 16, "l2": 1e-07}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: &shared {x: 1}\nb: *shared\n", id="an alias"),
        pytest.param("a: &shared\n  x: 1\nb:\n  <<: *shared\n", id="a merge"),
    ],
)
def test_a_value_that_another_place_shares_is_not_changed(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^params\.yaml: b\.x: cannot be set alone; set it to 7 by hand$"):
        edited(text, {("b", "x"): 7})
