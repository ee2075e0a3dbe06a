"""The task that the target sets, and which of two values is looked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mergeline.errors import ConfigurationError, DataError
from mergeline.init.column import REPEATING, Column
from mergeline.init.values import plain, short
from mergeline.models.encoder import category_text
from mergeline.params import Scalar
from mergeline.schema import Task

MULTICLASS_NUMBERS = 10  # as many whole numbers, and as many rows of each, are classes; more are quantities
MOST_CLASSES = 100
POSITIVE_WORDS = frozenset({"true", "t", "yes", "y", "1", "positive", "pos", "+", "on", "oui", "ja", "si", "sí", "sim"})


@dataclass(frozen=True, slots=True)
class FoundTask:
    """A task, and why."""

    task: Task
    reason: str


@dataclass(frozen=True, slots=True)
class Positive:
    """The positive class as the target has it, and why."""

    value: Scalar
    reason: str


def find_task(target: Column, wish: str | None) -> FoundTask:
    """Return the task of a target, the wished one if there is a wish.

    Raises `DataError` for a target that nothing can be learnt from, `ConfigurationError` for a wish that does not suit.
    """
    if target.kind not in ("number", "boolean", "text"):
        raise DataError(f"init: expected numbers, text or truth values in target {target.name!r}, found {target.kind}")
    if target.distinct < 2:
        every = short(target.first())
        raise DataError(f"init: the target {target.name!r} is {every} in every row; nothing can be learnt")
    if target.kind == "number" and not target.finite:
        raise DataError(
            f"init: the target {target.name!r} holds values that are not finite; correct or drop their rows"
        )
    found = _guessed(target) if wish is None else FoundTask(Task(wish), "as you said")
    if found.task is Task.BINARY and target.distinct != 2:
        raise ConfigurationError(f"init: a binary task has two values, {target.name!r} has {target.distinct}")
    if found.task is Task.REGRESSION and target.kind != "number":
        raise ConfigurationError(f"init: a regression needs numbers, {target.name!r} holds {target.kind}")
    return found


def _guessed(target: Column) -> FoundTask:
    if target.distinct == 2:
        counts = category_text(target.values).value_counts()
        both = [f"{plain(str(name))} ({count} rows)" for name, count in counts.items()]
        return FoundTask(Task.BINARY, f"two values, {' and '.join(both)}")
    classlike = target.distinct <= MULTICLASS_NUMBERS and target.known >= MULTICLASS_NUMBERS * target.distinct
    if target.kind == "number":
        if target.whole and classlike:
            said = f"{target.distinct} whole numbers; `--task regression` if they are quantities"
            return FoundTask(Task.MULTICLASS, said)
        return FoundTask(Task.REGRESSION, f"{target.distinct} numbers")
    if target.distinct > min(MOST_CLASSES, target.known * REPEATING):
        raise DataError(
            f"init: the target {target.name!r} has {target.distinct} texts in {target.known} rows, such as"
            f" {short(target.first())}, too many for classes; `--task multiclass` if they are"
        )
    return FoundTask(Task.MULTICLASS, f"text with {target.distinct} values")


def find_positive(target: Column) -> Positive:
    """Return the one of two values to look for."""
    text = category_text(target.values)
    counts = {str(name): int(count) for name, count in text.value_counts().items()}
    name, reason = _looked_for(counts, target.kind)
    if target.kind == "boolean":
        return Positive(name == "true", reason)
    if target.kind == "number":
        return Positive(int(name) if re.fullmatch(r"-?\d+", name) else float(name), reason)
    return Positive(name, reason)


def _looked_for(counts: Mapping[str, int], kind: str) -> tuple[str, str]:
    one, other = sorted(counts)
    if kind == "number":
        return max(one, other, key=float), "the larger number"
    known = [name for name in (one, other) if name.strip().lower() in POSITIVE_WORDS]
    if len(known) == 1:
        return known[0], "by its name"
    for name, denial in ((one, other), (other, one)):
        if re.fullmatch(r"(no|not|non|un|in)[ _-]*" + re.escape(name.strip().lower()), denial.strip().lower()):
            return name, f"{denial!r} denies it"
    if counts[one] == counts[other]:
        return other, "both are as frequent, this one is the last of the alphabet"
    return min(counts, key=lambda name: counts[name]), "the rarer"
