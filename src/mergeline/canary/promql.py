"""The part of PromQL that the conditions of a canary use, from text to a tree; what is beyond it is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mergeline.canary.series import Matcher, Selector

AGGREGATES = ("sum", "max", "min", "avg", "count")
WINDOWED = ("rate", "increase")
# what each function takes: a selector with a window, a vector, a number
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "rate": ("window",),
    "increase": ("window",),
    "histogram_quantile": ("number", "vector"),
    "clamp_min": ("vector", "number"),
    "clamp_max": ("vector", "number"),
    "vector": ("number",),
}
# what binds weakest comes first
PRECEDENCE = (("or",), ("and",), ("==", "!=", "<=", "<", ">=", ">"), ("+", "-"), ("*", "/"))
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_TOKEN = re.compile(
    r"\s*(?:#[^\n]*\s*)*(?:"
    r"(?P<duration>\d+(?:ms|[smhd])(?:\d+(?:ms|[smhd]))*)"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r'|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)"
    r"|(?P<sign>==|!=|<=|>=|=~|!~|[-+*/(){}\[\],=<>])"
    r")"
)


class QueryError(ValueError):
    """A query that is no PromQL, or more of it than is read here."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest values of series."""

    selector: Selector


@dataclass(frozen=True, slots=True)
class Window:
    """The values of series in the last seconds."""

    selector: Selector
    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """A function of some arguments."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One value for each group of series that have the same values of the labels `by`."""

    name: str
    by: tuple[str, ...]
    of: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """Two sides and what stands between them."""

    operator: str
    left: Node
    right: Node


Node = Number | Latest | Window | Call | Aggregate | Binary


def parse_query(text: str) -> Node:
    """Return the tree of a query; raise `QueryError` where it is not in the part of PromQL that is read here.

    >>> parse_query('sum by (le) (rate(seconds_bucket{route="predict"}[5m]))').by
    ('le',)
    """
    parser = _Parser(_tokens(text))
    node = parser.binary()
    parser.expect("end")
    if isinstance(node, Window):
        raise QueryError("expected a value, found a window of values")
    return node


def windows_of(node: Node) -> tuple[float, ...]:
    """Return the seconds of all windows in a tree."""
    if isinstance(node, Window):
        return (node.seconds,)
    if isinstance(node, Aggregate):
        return windows_of(node.of)
    below = node.arguments if isinstance(node, Call) else (node.left, node.right) if isinstance(node, Binary) else ()
    return tuple(seconds for each in below for seconds in windows_of(each))


def seconds_of(text: str) -> float:
    """Return a duration in seconds; raise `QueryError` for a text that is none.

    >>> seconds_of("1m30s")
    90.0
    """
    parts = re.findall(r"(\d+)(ms|[smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise QueryError(f"expected a duration like 5m or 30s, found {text!r}")
    return float(sum(int(number) * UNITS_S[unit] for number, unit in parts))


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise QueryError(f"cannot read {text[at:].split(maxsplit=1)[0][:20]!r}")
        found.append((str(match.lastgroup), str(match[match.lastgroup or 0])))
        at = match.end()
    return [*found, ("end", "the end")]


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def binary(self, level: int = 0) -> Node:
        """Whatever stands between operators that bind as strongly as those of a level, and them."""
        if level == len(PRECEDENCE):
            return self._operand()
        left = self.binary(level + 1)
        while self._next[1] in PRECEDENCE[level] and self._next[0] in ("sign", "name"):
            operator = self._take()
            if self._next[1] in ("on", "ignoring", "bool", "group_left", "group_right"):
                raise QueryError(f"{operator} {self._next[1]} is not read here")
            right = self.binary(level + 1)
            if isinstance(left, Window) or isinstance(right, Window):
                raise QueryError(f"expected values at both sides of {operator}, found a window of values")
            if operator in ("and", "or") and (_is_number(left) or _is_number(right)):
                raise QueryError(f"expected series at both sides of {operator}, found a number; vector(0) is one")
            left = Binary(operator, left, right)
        return left

    def expect(self, sign: str) -> str:
        """Take what has to come next."""
        if sign not in self._next:
            raise QueryError(f"expected {sign}, found {self._next[1]!r}")
        return self._take()

    @property
    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _operand(self) -> Node:
        kind, text = self._next
        if text == "-" and kind == "sign":
            self._take()
            return Binary("*", Number(-1.0), self._operand())
        if text == "(" and kind == "sign":
            self._take()
            node = self.binary()
            self.expect(")")
            return node
        if kind == "number":
            return Number(float(self._take()))
        if kind != "name":
            raise QueryError(f"expected a metric, a function or a number, found {text!r}")
        self._take()
        if text in AGGREGATES:
            return self._aggregate(text)
        return self._call(text) if self._next[1] == "(" else self._series(text)

    def _aggregate(self, name: str) -> Node:
        by = self._by()
        self.expect("(")
        of = self.binary()
        if isinstance(of, Window) or _is_number(of):
            raise QueryError(f"{name} takes series, neither a number nor a window of values")
        self.expect(")")
        return Aggregate(name, by or self._by(), of)

    def _by(self) -> tuple[str, ...]:
        if self._next[1] == "without":
            raise QueryError("without (...) is not read here; name the labels that stay with by (...)")
        if self._next[1] != "by":
            return ()
        self._take()
        self.expect("(")
        labels = []
        while self._next[0] == "name":
            labels.append(self._take())
            if self._next[1] != ")":
                self.expect(",")
        self.expect(")")
        return tuple(labels)

    def _call(self, name: str) -> Node:
        if name not in FUNCTIONS:
            raise QueryError(f"{name}() is not read here; {', '.join((*AGGREGATES, *FUNCTIONS))} are")
        self.expect("(")
        arguments = []
        for position, kind in enumerate(FUNCTIONS[name]):
            if position:
                self.expect(",")
            argument = self.binary()
            found = "window" if isinstance(argument, Window) else "number" if _is_number(argument) else "vector"
            if found != kind:
                raise QueryError(f"{name}() takes a {kind} as argument {position + 1}, found a {found}")
            arguments.append(argument)
        self.expect(")")
        return Call(name, tuple(arguments))

    def _series(self, name: str) -> Node:
        selector = Selector(name, self._matchers())
        for word in ("offset", "@"):
            if self._next[1] == word:
                raise QueryError(f"{word} is not read here")
        if self._next[1] != "[":
            return Latest(selector)
        self._take()
        seconds = seconds_of(self.expect("duration"))
        self.expect("]")
        return Window(selector, seconds)

    def _matchers(self) -> tuple[Matcher, ...]:
        found: list[Matcher] = []
        if self._next[1] != "{":
            return ()
        self._take()
        while self._next[1] != "}":
            label = self.expect("name")
            operator = self._take()
            if operator not in ("=", "!=", "=~", "!~"):
                raise QueryError(f"expected = != =~ or !~ after {label}, found {operator!r}")
            found.append(Matcher(label, operator, _text(self.expect("text"), operator)))
            if self._next[1] != "}":
                self.expect(",")
        self._take()
        return tuple(found)


def _is_number(node: Node) -> bool:
    if isinstance(node, Binary):
        return _is_number(node.left) and _is_number(node.right)
    return isinstance(node, Number)


def _text(token: str, operator: str) -> str:
    text = re.sub(r"\\(.)", r"\1", token[1:-1])
    if "~" in operator:
        try:
            re.compile(text)
        except re.error as err:
            raise QueryError(f"{token} is no regular expression ({err})") from err
    return text
