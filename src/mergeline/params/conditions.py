"""What a rule may ask of the evidence: named facts, and tests of their values as they stand in `params.yaml`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mergeline.params.section import suggestion

Value = bool | int | float | str

_COMPARISON = re.compile(r"(>=|<=|>|<|=)\s*(-?\d+(?:\.\d+)?(?:e-?\d+)?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fact:
    """What a fact says, and its values: words, or numbers from `least` to `most`; with neither a yes or no."""

    says: str
    words: tuple[str, ...] = ()
    least: float | None = None
    most: float = math.inf

    @property
    def is_number(self) -> bool:
        """Whether its values are compared."""
        return self.least is not None


def _count(says: str) -> Fact:
    return Fact(says, least=0)


def _share(says: str) -> Fact:
    return Fact(says, least=0, most=1)


FACTS: Final[Mapping[str, Fact]] = {
    "errors.rows": _count("requests of the window to production's model since its release, as the champion"),
    "errors.share": _share("the share of them that failed"),
    "traffic.rows": _count("requests of the window, whichever model answered"),
    "traffic.failed": _share("the share of them that failed"),
    "drift.outcome": Fact("what the drift check found", ("none", "drift", "too few rows", "no data")),
    "drift.severity": Fact("how far the worst feature moved", ("none", "minor", "major")),
    "drift.sustained": Fact("drift in k of the last n windows, the latest among them"),
    "drift.features": _count("features that moved"),
    "drift.weighted": _share("what the features that moved hold of the model's importance"),
    "drift.score": Fact("the distribution of the scores moved"),
    "performance.outcome": Fact(
        "the model on late labels against its holdout",
        (
            "holds",
            "degraded",
            "immature",
            "too few labels",
            "no labels",
            "no holdout figures",
            "no answers",
            "no traffic",
        ),
    ),
    "performance.estimate": Fact("the newest window, estimated from scores alone", ("holds", "degraded")),
    "performance.mature": Fact("labels are as complete as they get"),
    "performance.coverage": _share("the share of predictions that have a label"),
    "labels.new_rows": _count("labelled predictions that are newer than the model's training data"),
    "labels.shift": Fact("the labels themselves are spread otherwise than in training"),
    "labels.days_since_last": _count("days since a label was handed in, or since the first answer where none was"),
    "release.age_days": _count("days since production's release, model and image, came; a rollback makes none new"),
    "model.served_days": _count("days since production's model came, whatever image serves it"),
    "model.age_days": _count("days since the newest row that the model was trained or judged on"),
    "data.partition_due": Fact("the table's next partition is over and has its labels: there is something to train on"),
    "retraining.open": Fact("a retraining waits for its merge"),
    "retraining.days_since_last": _count("days since a retraining was merged or closed"),
    "request.made": Fact("a person asked for a retraining"),
    "schedule.due": Fact("`decide.every_days` have passed since the model was trained"),
    "canary.under_way": Fact("production serves two models"),
    "heartbeat.missed": _count("scheduled runs that did not happen before this one"),
}

# What follows from a value: a condition that asks for the first and against the second never holds.
FOLLOWS: Final[tuple[tuple[str, frozenset[str], str, Value], ...]] = tuple(
    (given, frozenset(values), fact, value)
    for given, values, fact, value in (
        ("drift.outcome", ("none", "too few rows", "no data"), "drift.sustained", False),
        ("drift.outcome", ("none", "too few rows", "no data"), "drift.severity", "none"),
        ("drift.outcome", ("too few rows", "no data"), "drift.features", 0),
        ("drift.outcome", ("too few rows", "no data"), "drift.weighted", 0),
        ("performance.outcome", ("immature",), "performance.mature", False),
    )
)


@dataclass(frozen=True, slots=True)
class Test:
    """Which values pass: those of a list, or the numbers between two bounds; `text` is how it was written."""

    text: str
    values: frozenset[Value] | None = None
    low: float = -math.inf
    high: float = math.inf
    with_low: bool = True
    with_high: bool = True

    def holds(self, value: Value) -> bool:
        """Return whether a value passes."""
        if self.values is not None:
            return value in self.values and isinstance(value, bool) is any(
                isinstance(each, bool) for each in self.values
            )
        if isinstance(value, str | bool):
            return False
        above = value > self.low or (self.with_low and value == self.low)
        return above and (value < self.high or (self.with_high and value == self.high))

    @property
    def empty(self) -> bool:
        """Whether no number can pass."""
        if self.values is not None:
            return not self.values
        closed = self.with_low and self.with_high
        return self.low > self.high or (self.low == self.high and not closed)

    def within(self, other: Test) -> bool:
        """Return whether every value that passes this one passes the other one, too."""
        if self.values is not None:
            return all(map(other.holds, self.values))
        if other.values is not None:
            return False
        low = self.low > other.low or (self.low == other.low and (other.with_low or not self.with_low))
        high = self.high < other.high or (self.high == other.high and (other.with_high or not self.with_high))
        return low and high

    def both(self, other: Test) -> Test:
        """Return the test of what passes this one and the other one."""
        text = f"{self.text}, {other.text}"
        if self.values is not None:
            return Test(text, frozenset(filter(other.holds, self.values)))
        if other.values is not None:
            return other.both(self)
        low = max((self.low, not self.with_low), (other.low, not other.with_low))
        high = min((self.high, self.with_high), (other.high, other.with_high))
        return Test(text, None, low[0], high[0], not low[1], high[1])


def number_test(text: str) -> Test:
    """Return the test of comparisons such as `> 3` or `>= 1, < 5`; raise `ValueError` for anything else.

    >>> number_test(">= 1, < 5").holds(5)
    False
    """
    found = Test("any")
    for part in text.split(","):
        matched = _COMPARISON.fullmatch(part.strip())
        if matched is None:
            raise ValueError(f'expected comparisons such as ">= 3" or "> 0.1, < 0.5", found {text!r}')
        sign, number = matched[1], float(matched[2])
        found = found.both(
            Test(
                text,
                None,
                number if sign[0] in ">=" else -math.inf,
                number if sign[0] in "<=" else math.inf,
                sign != ">",
                sign != "<",
            )
        )
    return Test(text.strip(), None, found.low, found.high, found.with_low, found.with_high)


def fact_test(name: str, raw: Any) -> Test:
    """Return the test of a fact as it stands in `params.yaml`; raise `ValueError` where it is none, or never holds."""
    if name not in FACTS:
        raise ValueError(f"{name!r} is no fact{suggestion(name, FACTS)}")
    fact = FACTS[name]
    if not fact.is_number and not fact.words:
        if not isinstance(raw, bool):
            raise ValueError(f"{name}: expected true or false, found {raw!r}")
        return Test(str(raw).lower(), frozenset([raw]))
    if fact.words:
        return _words(name, fact, raw)
    if not isinstance(raw, str):
        # a ValueError, not a TypeError: of those alone pydantic makes one of its problems
        raise ValueError(f'{name}: expected a comparison such as ">= 3", found {raw!r}')  # noqa: TRY004
    try:
        found = number_test(raw)
    except ValueError as err:
        raise ValueError(f"{name}: {err}") from None
    if found.both(Test("possible", None, fact.least or 0.0, fact.most)).empty:
        most = "" if math.isinf(fact.most) else f" to {fact.most:g}"
        raise ValueError(f"{name}: {raw!r} never holds; its values are from {fact.least:g}{most}")
    return found


def _words(name: str, fact: Fact, raw: Any) -> Test:
    listed = raw if isinstance(raw, list | tuple) else [raw]
    for each in listed:
        if not isinstance(each, str) or each not in fact.words:
            close = suggestion(each, fact.words) if isinstance(each, str) else ""
            raise ValueError(f"{name}: expected one of {', '.join(fact.words)}, found {each!r}{close}")
    if not listed:
        raise ValueError(f"{name}: an empty list never holds")
    return Test(" or ".join(listed), frozenset(listed))


def contradiction(tests: Mapping[str, Test]) -> str | None:
    """Return why tests cannot hold together; None where they can, as far as can be told."""
    for given, values, fact, value in FOLLOWS:
        asked = tests.get(given)
        if asked is None or asked.values is None or not asked.values <= values or fact not in tests:
            continue
        if not tests[fact].holds(value):
            shown = str(value).lower() if isinstance(value, bool) else value
            return f"{given} {asked.text} means {fact} {shown}"
    return None
