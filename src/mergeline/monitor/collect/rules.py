"""Why a row of the log cannot become a row of the table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.models.encoder import category_text
from mergeline.monitor.collect.convert import numbers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.params import ColumnRule, Params

Reason = tuple[str, "NDArray[np.bool_]"]


def broken(rows: pd.DataFrame, params: Params) -> Iterator[Reason]:
    """Return each written rule that single rows break, in words, and which rows [n] break it.

    rows: the columns of the table in their types. Rules of `validate.columns` that only warn hold nothing up; a share
    of missing values above 0 is the partition's and no row's.
    """
    for name, rule in params.validation.columns.items():
        if rule.severity == "error" and name in rows:
            if rule.missing == 0 and name != params.data.target:  # of a label there is a reason of its own
                yield f"{name}: no value", rows[name].isna().to_numpy()
            yield from _of_column(rows[name], rule)


def _of_column(column: pd.Series, rule: ColumnRule) -> Iterator[Reason]:
    name, there = column.name, column.notna().to_numpy()
    if rule.values is not None:
        shown = ", ".join(map(str, rule.values[:8])) + (", ..." if len(rule.values) > 8 else "")
        yield f"{name}: none of {shown}", there & ~column.isin(list(rule.values)).to_numpy()
    for words, limit in (("below", rule.min), ("above", rule.max)):
        if limit is not None:
            yield f"{name}: {words} {limit}", there & _beyond(column, words, limit)


def _beyond(column: pd.Series, words: str, limit: Any) -> NDArray[np.bool_]:
    """Where a value lies on the wrong side of a limit; a day is meant to its end."""
    import pandas as pd

    if isinstance(limit, dt.date):
        times = pd.to_datetime(column, utc=True)
        bound = pd.Timestamp(limit, tz="UTC") + pd.Timedelta(days=1 if words == "above" else 0)
        return np.asarray(times < bound if words == "below" else times >= bound, dtype=np.bool_)
    values, _ = numbers(column)
    return np.asarray(values < limit if words == "below" else values > limit, dtype=np.bool_)


def identity(rows: pd.DataFrame, column: str, source: str, known: frozenset[str]) -> Iterator[Reason]:
    """Return why a row's id is none that the table can take.

    known: the ids of the table, as `encoder.category_text` writes them. source: what the log calls it.
    """
    ids = category_text(rows[column])
    yield f"{column}: no {source}", ids.isna().to_numpy()
    yield f"{column}: in the table already", ids.isin(known).to_numpy()


@dataclass(frozen=True, slots=True, eq=False)
class HeldUp:
    """All reasons of each row as one text, None of a good row [n], and how many rows each reason holds up."""

    texts: NDArray[Any]
    counts: dict[str, int]

    @property
    def good(self) -> NDArray[np.bool_]:
        """The rows that nothing holds up [n]."""
        return np.array([text is None for text in self.texts], dtype=np.bool_)

    def add(self, reasons: Iterable[Reason]) -> None:
        """Note more reasons."""
        for words, where in reasons:
            if where.any():
                self.counts[words] = self.counts.get(words, 0) + int(where.sum())
                self.texts[where] = [words if text is None else f"{text}; {words}" for text in self.texts[where]]

    @classmethod
    def none_of(cls, rows: int) -> HeldUp:
        """So many good rows."""
        return cls(np.full(rows, None, dtype=object), {})


def refusals(rows: pd.DataFrame, params: Params) -> Iterator[str]:
    """Return the rules of `validate` that a partition breaks as a whole: too few rows, too many missing values."""
    least = params.validation.min_rows
    if len(rows) < least:
        yield f"{len(rows)} rows are good, `validate.min_rows` asks for {least}"
    for name, rule in params.validation.columns.items():
        if rule.severity == "error" and rule.missing and name in rows and len(rows):
            share = float(rows[name].isna().mean())
            if share > rule.missing:
                yield f"{share:.1%} of {name} is missing, `validate.columns.{name}.missing` allows {rule.missing:.1%}"
