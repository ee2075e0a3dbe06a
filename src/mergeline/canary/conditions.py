"""The part of the expr language that an AnalysisTemplate's conditions use; what is beyond it is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mergeline.canary.evaluation import COMPARISONS

PREDICATES = ("all", "any", "none")
FLOAT_CHECKS: dict[str, Callable[[float], bool]] = {"isNaN": math.isnan, "isInf": math.isinf}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[<>!(){}\[\],#-]))"
)

Values = Sequence[float]
# what a part of a condition is of a result and, inside of a predicate, of one of its values
Part = Callable[[Values, float], float | bool]


class ConditionError(ValueError):
    """A condition that cannot be read, or that has no answer for a result."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A question about the values of a query, as the controller asks it."""

    text: str
    part: Part

    def holds(self, values: Values) -> bool:
        """Whether it holds; raise `ConditionError` where it asks for a value that is not there."""
        return bool(self.part(values, math.nan))


def parse_condition(text: str) -> Condition:
    """Return a condition; raise `ConditionError` where it is not in the part of the language that is read here.

    >>> condition = parse_condition("len(result) > 0 && all(result, {# >= 0.95})")
    >>> [condition.holds(values) for values in ([], [float("nan")], [0.94], [0.96])]
    [False, False, False, True]
    """
    parser = _Parser(_tokens(text))
    part = parser.either(inside=False)
    parser.expect("end")
    if not parser.is_question:
        raise ConditionError("expected a comparison, found a number")
    return Condition(text, part)


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ConditionError(f"cannot read {text[at:].split(maxsplit=1)[0][:20]!r}")
        found.append((str(match.lastgroup), str(match[match.lastgroup or 0])))
        at = match.end()
    return [*found, ("end", "the end")]


class _Parser:
    """Reads tokens from left to right; `inside` says whether # stands for a value of the result.

    `is_question` says of the part that was read last whether its answer is yes or no.
    """

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self.is_question = False

    def expect(self, sign: str) -> str:
        """Take what has to come next."""
        if sign not in self._tokens[self._at]:
            raise ConditionError(f"expected {sign}, found {self._tokens[self._at][1]!r}")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def either(self, *, inside: bool) -> Part:
        """Questions with || between them."""
        left = self._both(inside)
        while self._takes("||"):
            left = _or(self._asked(left), self._asked(self._both(inside)))
        return left

    def _both(self, inside: bool) -> Part:
        left = self._comparison(inside)
        while self._takes("&&"):
            left = _and(self._asked(left), self._asked(self._comparison(inside)))
        return left

    def _comparison(self, inside: bool) -> Part:
        left = self._operand(inside)
        sign = self._tokens[self._at][1]
        if sign not in COMPARISONS:
            return left
        if self.is_question:
            raise ConditionError(f"expected a number before {sign}, found a question")
        self._at += 1
        right = self._operand(inside)
        if self.is_question:
            raise ConditionError(f"expected a number after {sign}, found a question")
        self.is_question = True
        return _compared(COMPARISONS[sign], left, right)

    def _operand(self, inside: bool) -> Part:
        if self._takes("!"):
            return _not(self._asked(self._operand(inside)))
        if self._takes("("):
            part = self.either(inside=inside)
            self.expect(")")
            return part
        if self._takes("-"):
            return _constant(-float(self._number()))
        kind, text = self._tokens[self._at]
        if kind == "number":
            return _constant(self._number())
        if text == "#":
            if not inside:
                raise ConditionError(f"# stands for a value within {', '.join(PREDICATES)} alone")
            self._at += 1
            self.is_question = False
            return lambda values, one: one
        return self._named(self.expect("name"), inside)

    def _named(self, name: str, inside: bool) -> Part:
        if name == "result":
            self.expect("[")
            position = int(self._number())
            self.expect("]")
            return _at(position)
        if name not in (*PREDICATES, *FLOAT_CHECKS, "len"):
            raise ConditionError(f"{name} is not read here; result, len, isNaN, isInf, all, any and none are")
        self.expect("(")
        if name in FLOAT_CHECKS:
            part = self._operand(inside)
            if self.is_question:
                raise ConditionError(f"{name} takes a number, found a question")
            made = _checked(FLOAT_CHECKS[name], part)
            self.is_question = True
        else:
            if self.expect("name") != "result":
                raise ConditionError(f"{name} takes the result")
            made = _length if name == "len" else self._predicate(name)
            self.is_question = name != "len"
        self.expect(")")
        return made

    def _predicate(self, name: str) -> Part:
        self.expect(",")
        braces = self._takes("{")
        part = self._asked(self.either(inside=True))
        if braces:
            self.expect("}")
        return _quantified(name, part)

    def _number(self) -> float:
        number = float(self.expect("number"))
        self.is_question = False
        return number

    def _takes(self, sign: str) -> bool:
        is_next = self._tokens[self._at] == ("sign", sign)
        self._at += is_next
        return is_next

    def _asked(self, part: Part) -> Part:
        """A part that has to be a question."""
        if not self.is_question:
            raise ConditionError("expected a comparison beside && and || and after !, found a number")
        return part


def _constant(value: float) -> Part:
    return lambda values, one: value


def _at(position: int) -> Part:
    def read(values: Values, _one: float) -> float:
        if position >= len(values):
            raise ConditionError(f"result[{position}] of {len(values)} values; ask for len(result) > {position} first")
        return values[position]

    return read


def _length(values: Values, _one: float) -> float:
    return len(values)


def _checked(check: Callable[[float], bool], part: Part) -> Part:
    return lambda values, one: check(part(values, one))


def _compared(compare: Callable[[float, float], bool], left: Part, right: Part) -> Part:
    return lambda values, one: compare(left(values, one), right(values, one))


def _and(left: Part, right: Part) -> Part:
    return lambda values, one: bool(left(values, one)) and bool(right(values, one))


def _or(left: Part, right: Part) -> Part:
    return lambda values, one: bool(left(values, one)) or bool(right(values, one))


def _not(part: Part) -> Part:
    return lambda values, one: not part(values, one)


def _quantified(name: str, part: Part) -> Part:
    def ask(values: Values, _one: float) -> bool:
        answers = [bool(part(values, each)) for each in values]
        return all(answers) if name == "all" else any(answers) is (name == "any")

    return ask
