"""The features: the columns that a model may see, and why it sees no others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import DataError
from mergeline.init.column import REPEATING, Column
from mergeline.init.reading import OTHER_DATE, all_match
from mergeline.init.values import kept, short
from mergeline.models.encoder import category_text
from mergeline.params.data import servable
from mergeline.schema import SCORE, Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

NUMBER = r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*"
FEWEST_NUMBERS = 10  # that a word stands among: fewer are the names of groups
SAME_LINE = 1e-9  # of the squared correlation: a copy of the target in another unit
LEAK = "says the same as the target; a model would learn nothing else"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that no model will see, and why."""

    name: str
    reason: str

    @property
    def sentence(self) -> str:
        """The name and the reason on a line."""
        return f"{self.name!r}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Features:
    """The columns that a model sees, and those that it does not."""

    used: tuple[Column, ...]
    left_out: tuple[LeftOut, ...]


def choose_features(columns: Sequence[Column], target: Column, known: NDArray[np.bool_], task: Task) -> Features:
    """Return which of the columns are features; `known` are the rows with a label.

    Raises `DataError` where there is none.
    """
    reasons = {column.name: _reason_against(column, target, known, task) for column in columns}
    used = tuple(column for column in columns if reasons[column.name] is None)
    left_out = tuple(LeftOut(name, reason) for name, reason in reasons.items() if reason is not None)
    if not used:
        raise DataError("init: no column is left to learn from: " + "; ".join(each.sentence for each in left_out))
    return Features(used, left_out)


def _reason_against(column: Column, target: Column, known: NDArray[np.bool_], task: Task) -> str | None:
    """Why a column is no feature; None where it is one."""
    if column.kind == "empty":
        return "no value in any row"
    if column.kind == "mixed":
        return f"neither text nor numbers nor dates, such as {short(column.first())}"
    if column.distinct == 1 and column.complete:
        return f"{short(column.first())} in every row"
    if not kept(column.name):
        return "its name holds a sign that dvc.lock does not keep; rename it"
    if not servable(column.name):
        return "its name holds a quote or another sign that no request can carry; rename it"
    if column.name == SCORE:
        return "its name is that of the model's own column; rename it"
    if _leaks(column, target, known, task):
        return LEAK
    if column.kind == "number" and not column.finite:
        return "holds numbers that are not finite, or too large for float32"
    if column.kind == "time" and not _within_nanoseconds(column.values):
        return "holds dates before 1678 or after 2261"
    return _reason_against_repeats(column)


def _reason_against_repeats(column: Column) -> str | None:
    if column.kind == "text" and (word := _word_among_numbers(column.values)) is not None:
        return f"numbers but for {short(word)}, which stands for none; leave those cells empty to use it"
    repeats = column.distinct <= column.known * REPEATING
    shown = short(column.first())
    if column.kind == "text" and not repeats:
        if all_match(column.values, OTHER_DATE):
            return f"dates in another form than 2013-07-31, such as {shown}; convert them to use them"
        return f"text that hardly repeats ({column.distinct} values in {column.known} rows), such as {shown}"
    if column.whole and ((column.unique and column.numbers_rows) or (column.named_like_id and not repeats)):
        return f"another id ({column.distinct} values in {column.known} rows)"
    return None


def _word_among_numbers(values: pd.Series) -> str | None:
    """Return the one word, without a digit, that stands in a column of many numbers: it says that there is none."""
    known = values.dropna().drop_duplicates()
    words = known[~known.str.fullmatch(NUMBER)]
    alone = len(words) == 1 and len(known) > FEWEST_NUMBERS and not re.search(r"\d", words.iloc[0])
    return str(words.iloc[0]) if alone else None


def _leaks(column: Column, target: Column, known: NDArray[np.bool_], task: Task) -> bool:
    """Whether the column tells every label: one value (or none) to each class, or a straight line to the number."""
    import pandas as pd

    if task is Task.REGRESSION:
        return _on_a_line(column, target, known)
    values = category_text(column.values[known]).fillna("").to_numpy()
    labels = category_text(target.values[known]).to_numpy()
    pairs = pd.DataFrame({"value": values, "label": labels}).drop_duplicates()
    return len(pairs) == target.distinct and pairs["value"].is_unique and pairs["label"].is_unique


def _on_a_line(column: Column, target: Column, known: NDArray[np.bool_]) -> bool:
    if column.kind != "number" or column.distinct < 3 or not column.complete or not column.finite:
        return False
    values, labels = (each.values[known].to_numpy(dtype=np.float64) for each in (column, target))
    if not np.ptp(values) or not np.ptp(labels):
        return False
    return bool(np.corrcoef(values, labels)[0, 1] ** 2 > 1 - SAME_LINE)


def _within_nanoseconds(values: pd.Series) -> bool:
    """Whether Great Expectations, which counts nanoseconds, can compare these times."""
    import pandas as pd

    low, high = pd.Timestamp.min.year + 1, pd.Timestamp.max.year - 1
    return bool(values.dropna().dt.year.between(low, high).all())
