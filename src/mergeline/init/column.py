"""A column of the table, and what the rules ask of its values and of its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.stages.facts import value_type

if TYPE_CHECKING:
    import pandas as pd

REPEATING = 0.5  # text with more distinct values than this share of its rows names rows, it does not group them
ID_WORDS = frozenset({"id", "ids", "uuid", "guid", "key", "identifier", "rowid", "unnamed"})  # first or last
ID_ENDINGS = frozenset({"no", "nr", "number", "index"})
CODE_WORDS = frozenset({"code", "zip", "zipcode", "postcode", "type", "category", "class", "group", "region"})


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column and what is asked of it again and again; `kind` is as `value_type` says."""

    name: str
    values: pd.Series
    kind: str
    known: int
    distinct: int

    @classmethod
    def of(cls, values: pd.Series) -> Column:
        known = int(values.notna().sum())
        kind = value_type(values) if known else "empty"
        counted = kind not in ("empty", "mixed")  # a list in a cell cannot be counted
        return cls(str(values.name), values, kind, known, int(values.nunique()) if counted else 0)

    @property
    def complete(self) -> bool:
        return self.known == len(self.values)

    @property
    def unique(self) -> bool:
        return self.complete and self.distinct == len(self.values)

    @property
    def whole(self) -> bool:
        """Whether these are whole numbers by their type: a float is none, whatever its values."""
        from pandas.api.types import is_integer_dtype

        return bool(is_integer_dtype(self.values.dtype))

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the name, in lower case: `patientID` and `patient_id` have the same."""
        parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.name)
        return tuple(re.findall(r"[^\W_]+", parted.lower()))

    @property
    def named_like_id(self) -> bool:
        words = self.words
        return bool(words) and (bool({words[0], words[-1]} & ID_WORDS) or words[-1] in ID_ENDINGS)

    def first(self) -> Any:
        """The first value that is there."""
        return self.values.dropna().iloc[0]

    @property
    def is_category(self) -> bool:
        """Whether the values group the rows: text, or whole numbers that are named like a code and repeat."""
        coded = self.named_like_id or bool(set(self.words) & CODE_WORDS)
        return self.kind == "text" or (self.whole and coded and self.distinct <= self.known * REPEATING)

    @property
    def numbers_rows(self) -> bool:
        """Whether the values are 0, 1, 2, ... or 1, 2, 3, ... in some order."""
        low, high = int(self.values.min()), int(self.values.max())
        return low in (0, 1) and high - low + 1 == len(self.values)

    @property
    def finite(self) -> bool:
        """Whether all numbers that are there fit into float32."""
        known = self.values.dropna().to_numpy(dtype=np.float64)
        return bool((np.abs(known) <= float(np.finfo(np.float32).max)).all())
