"""The numbered promises that tests hold, counted by the names of the tests: for the site and for the book."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable

NUMBERED = re.compile(r"^test_((?:[rs][1-9][0-9]*_)+)")


def names_in(text: str) -> tuple[str, ...]:
    r"""Return the names of the functions in the text of a module, at any depth; none where it is no Python.

    >>> names_in("def test_r6_a(): ...\nclass TestB:\n    async def test_s1_b(self): ...")
    ('test_r6_a', 'test_s1_b')
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return ()
    return tuple(each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def numbers(name: str) -> tuple[str, ...]:
    """Return the promises that a test holds, by its name.

    >>> numbers("test_r6_r19_the_revert_of_a_promotion_is_green"), numbers("test_the_rest")
    (('R6', 'R19'), ())
    """
    found = NUMBERED.match(name)
    return tuple(each.upper() for each in found[1].split("_") if each) if found else ()


def held(names: Iterable[str]) -> dict[str, int]:
    """Return how many tests hold each promise, in the order of the numbers; one that holds two counts for both."""
    found = Counter(number for name in names for number in numbers(name))
    return {each: found[each] for each in sorted(found, key=lambda each: (each[0], int(each[1:])))}


def holding(names: Iterable[str]) -> int:
    """Return how many tests hold a promise, one or more."""
    return sum(bool(numbers(name)) for name in names)
