"""The column for a role: the time of a row, and what names it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import ConfigurationError, DataError
from mergeline.init.column import Column
from mergeline.init.reading import OTHER_DATE
from mergeline.init.settings import HOLDOUT_SHARE
from mergeline.init.values import kept, listed, short

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

TIME_WORDS = frozenset({"time", "timestamp", "datetime", "date", "day", "at", "created", "when"})
NOT_WHEN = frozenset({"birth", "birthday", "birthdate", "born", "dob", "expiry", "expires", "due", "deadline"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person said on the command line; None is for guessing."""

    target: str
    task: str | None = None
    time: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """A column for a role, or None, and why."""

    name: str | None
    reason: str


def find_time(columns: Mapping[str, Column], wishes: Wishes, known: NDArray[np.bool_]) -> Role:
    """Return the column of the rows' time, the wished one if there is a wish; `known` are the rows with a label.

    Raises `ConfigurationError` or `DataError` for a wish that holds no dates, or not in every row.
    """
    if wishes.time is not None:
        _refuse_no_time(columns.get(wishes.time), wishes.time)
        return Role(wishes.time, "as you said")
    dated = [column for column in columns.values() if column.kind == "time" and kept(column.name)]
    able = [each for each in dated if each.complete and not set(each.words) & NOT_WHEN and _parts(each.values[known])]
    if not able:
        found = f"; {listed(each.name for each in dated)}: gaps, a deadline, or too few dates" if dated else ""
        return Role(None, f"no complete column of dates{found}; the holdout is a part of the rows by their hash")
    best = min(able, key=lambda each: (not each.values.is_monotonic_increasing, not set(each.words) & TIME_WORDS))
    others = len(able) - 1
    return Role(best.name, "dates in every row" + (f"; {others} other columns could be it" if others else ""))


def _refuse_no_time(column: Column | None, name: str) -> None:
    if column is None:
        raise ConfigurationError(f"init: --time: {name!r} is the target")
    refuse_unkept(name)
    if column.kind != "time":
        found = f"{column.kind} such as {short(column.first())}" if column.known else "nothing"
        raise ConfigurationError(f"init: --time: expected dates such as 2013-07-01 in {name!r}, found {found}")
    if not column.complete:
        gaps = len(column.values) - column.known
        raise DataError(
            f"init: --time: expected a time in every row of {name!r}, found {gaps} row{'s' * (gaps != 1)} without one"
        )


def _parts(times: pd.Series) -> bool:
    """Whether the newest rows, with all of the same instant, are the smaller half."""
    if times.empty:
        return False
    oldest = times.sort_values().iloc[-math.ceil(HOLDOUT_SHARE * len(times))]
    return bool((times >= oldest).mean() < 1 / 2)


def find_id(columns: Mapping[str, Column], wishes: Wishes, time: str | None) -> Role:
    """Return the column that names each row once, the wished one if there is a wish.

    Raises `ConfigurationError` or `DataError` for a wish that cannot name rows, or names one twice.
    """
    if wishes.id is not None:
        _refuse_no_id(columns.get(wishes.id), wishes, time)
        return Role(wishes.id, "as you said")
    able = [each for each in columns.values() if each.name != time and _names_rows(each) and kept(each.name)]
    if not able:
        return Role(None, "no text or whole number that is in every row and never twice")
    best = min(able, key=lambda each: (not each.named_like_id, each.kind != "text"))
    return Role(best.name, "in every row, never twice" + (", and named like one" if best.named_like_id else ""))


def _names_rows(column: Column) -> bool:
    if not column.unique or len(column.values) < 2:
        return False
    if column.kind == "text":
        return column.named_like_id or not column.values.str.contains(r"\s|^" + OTHER_DATE + "$").any()
    return column.whole and (column.named_like_id or column.numbers_rows)


def _refuse_no_id(column: Column | None, wishes: Wishes, time: str | None) -> None:
    if column is None or column.name == time:
        raise ConfigurationError(f"init: --id: {wishes.id!r} is the {'target' if column is None else 'time'} already")
    refuse_unkept(column.name)
    if not (column.kind == "text" or column.whole):
        raise ConfigurationError(f"init: --id: expected text or whole numbers in {column.name!r}, found {column.kind}")
    if not column.unique:
        gaps, again = len(column.values) - column.known, column.known - column.distinct
        raise DataError(f"init: --id: {column.name!r} is missing in {gaps} rows and an earlier one again in {again}")


def refuse_unkept(name: str) -> None:
    """Raise `ConfigurationError` for a name that dvc.lock would not give back."""
    if not kept(name):
        raise ConfigurationError(f"init: {name!r} holds a sign that dvc.lock does not keep; rename the column")
