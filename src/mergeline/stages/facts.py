"""What is known of a table after its partitions have passed one by one: types, counts, order, overlap, age."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.models.encoder import category_text
from mergeline.schema import Task
from mergeline.stages.expectations import EMPTY, Check, plain

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.params import Params, Severity

ANY_TYPE = ("number", "boolean", "time", "text")
NUMERIC_TYPES = ("number", "boolean", "time")
DERIVED_MARGIN = 0.1  # of the earlier range, on each side
DERIVED_MOSTLY = 0.99
DERIVED_MISSING = 0.1  # more missing values than any earlier partition had
DERIVED_CATEGORIES = 1000  # a column with more values than that is no category that a list describes


@dataclass(slots=True)
class TableFacts:
    """Facts of the partitions seen so far, and the checks that they are put to.

    Memory: a row of facts a partition, 1000 categories a column, and eight bytes an id (a hash; that two ids of a
    million share one has a chance of 3e-8).
    """

    params: Params
    missing: int = 0
    cells: int = 0
    examples: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _id_hashes: list[NDArray[np.uint64]] = field(default_factory=list)
    _earlier: dict[str, _Earlier] = field(default_factory=dict)
    _latest: Any = None  # the newest time stamp so far

    @property
    def rows(self) -> dict[str, int]:
        """The number of rows of each partition."""
        return {fact["partition"]: fact["rows"] for fact in self._rows}

    @property
    def age_days(self) -> int | None:
        """Whole days from the newest row to `data.as_of`; negative for a row after it; None without time or day."""
        import pandas as pd

        as_of = self.params.data.as_of
        if as_of is None or self._latest is None:
            return None
        return int((pd.Timestamp(as_of) - self._latest.normalize()).days)

    def add(self, name: str, rows: pd.DataFrame) -> dict[str, str]:
        """Note the facts of the next partition; return its columns of a right type, each with that type."""
        data = self.params.data
        found = {column: value_type(rows[column]) if column in rows else "absent" for column in data.columns}
        allowed = column_types(self.params)
        usable = {column: kind for column, kind in found.items() if kind in (*allowed[column], EMPTY)}
        self._rows.append(
            {
                "partition": name,
                "rows": len(rows),
                "ids of earlier partitions": self._repeated_ids(name, rows) if data.id in usable else 0,
                **(self._order(name, rows) if data.time in usable else {"out of order": 0, "before earlier rows": 0}),
                **{_type_of(column): kind for column, kind in found.items()},
            }
        )
        self.cells += len(rows) * len(usable)
        self.missing += int(rows[list(usable)].isna().to_numpy().sum())
        return usable

    def remember(self, rows: pd.DataFrame, usable: Collection[str]) -> None:
        """Widen the earlier ranges by a partition that has been checked."""
        data = self.params.data
        if self.params.validation.derived == "off":
            return
        for name in usable:
            if name in data.features and name not in self.params.validation.columns:
                self._earlier.setdefault(name, _Earlier()).add(rows[name], numeric=name in data.numeric)

    def derived_checks(self, usable: Collection[str]) -> list[Check]:
        """The checks that earlier partitions suggest for the newest one, of columns without a written rule."""
        severity = self.params.validation.derived
        if severity == "off":
            return []
        return [
            check for name, kept in self._earlier.items() if name in usable for check in kept.checks(name, severity)
        ]

    def frame(self) -> pd.DataFrame:
        """One row a partition; only the newest has an age."""
        import pandas as pd

        ages = [None] * (len(self._rows) - 1) + [self.age_days]
        return pd.DataFrame(self._rows).assign(age=pd.array(ages, dtype="Float64"))

    def checks(self) -> list[Check]:
        """The checks of the facts."""
        validation, data = self.params.validation, self.params.data
        least = validation.min_rows
        found = [Check.fact(None, "rows", f"at least {least} rows a partition", "error", least, None)]
        found += [Check.of_type(column, _type_of(column), types) for column, types in self._types().items()]
        if data.id:
            rule = "no id of an earlier partition again"
            found.append(Check.fact(data.id, "ids of earlier partitions", rule, "error", None, 0))
        if data.time:
            order = validation.time_order
            found.append(Check.fact(data.time, "out of order", "rows in the order of time", order, None, 0))
            rule = "no row from before the newest of the earlier partitions"
            found.append(Check.fact(data.time, "before earlier rows", rule, order, None, 0))
        if self.age_days is not None:
            rule = f"no row after data.as_of, {data.as_of}"
            found.append(Check.fact(data.time, "age", rule, "error", 0, None))
        if self.age_days is not None and validation.max_age_days is not None:
            rule = f"a newest row at most {validation.max_age_days} days older than data.as_of, {data.as_of}"
            found.append(Check.fact(data.time, "age", rule, "error", None, validation.max_age_days))
        return found

    def _types(self) -> dict[str, tuple[str, ...]]:
        """The types that the columns may have; a class keeps the one that it has in the first partition."""
        types = column_types(self.params)
        target = self.params.data.target
        first = next((fact[_type_of(target)] for fact in self._rows if fact[_type_of(target)] in types[target]), None)
        return types if first is None else types | {target: (first,)}

    def _note(self, partition: str, fact: str, rows: pd.DataFrame, column: str, at_fault: NDArray[np.bool_]) -> int:
        """Count the rows at fault, and keep the first of them as the example."""
        positions = np.flatnonzero(at_fault)
        if len(positions):
            id_column, first = self.params.data.id, int(positions[0])
            named = {"id": plain(rows[id_column].iloc[first])} if id_column in rows.columns else {}
            self.examples[partition, fact] = {"row": first, **named, "value": plain(rows[column].iloc[first])}
        return len(positions)

    def _repeated_ids(self, partition: str, rows: pd.DataFrame) -> int:
        """How many ids of this partition an earlier one has."""
        from pandas.util import hash_pandas_object

        column = str(self.params.data.id)
        ids = category_text(rows[column])
        hashes = np.asarray(hash_pandas_object(ids, index=False, categorize=False), dtype=np.uint64)
        known = ids.notna().to_numpy()
        repeated = np.zeros(len(rows), dtype=np.bool_)
        for earlier in self._id_hashes:
            repeated |= np.isin(hashes, earlier) & known
        self._id_hashes.append(hashes[known])
        return self._note(partition, "ids of earlier partitions", rows, column, repeated)

    def _order(self, partition: str, rows: pd.DataFrame) -> dict[str, int]:
        """How the partition's times lie among themselves and against the earlier partitions."""
        column = str(self.params.data.time)
        times = rows[column] if rows[column].dt.tz is None else rows[column].dt.tz_convert(None)
        backwards = (times < times.ffill().shift()).to_numpy()
        before = (times < self._latest).to_numpy() if self._latest is not None else np.zeros(len(rows), dtype=np.bool_)
        if times.notna().any():
            self._latest = times.max() if self._latest is None else max(self._latest, times.max())
        return {
            "out of order": self._note(partition, "out of order", rows, column, backwards),
            "before earlier rows": self._note(partition, "before earlier rows", rows, column, before),
        }


@dataclass(slots=True)
class _Earlier:
    """The range, the categories and the missing share that a column had in the earlier partitions."""

    low: Any = None
    high: Any = None
    categories: set[Any] = field(default_factory=set)
    missing: float = 0.0

    def add(self, column: pd.Series, *, numeric: bool) -> None:
        known = column.dropna()
        if len(column):
            self.missing = max(self.missing, 1 - len(known) / len(column))
        if numeric and value_type(column) == "number":
            low, high = float(known.min()), float(known.max())
            self.low, self.high = (low, high) if self.low is None else (min(self.low, low), max(self.high, high))
        elif not numeric and len(self.categories) <= DERIVED_CATEGORIES:
            self.categories |= set(known.unique()[: DERIVED_CATEGORIES + 1].tolist())

    def checks(self, name: str, severity: Severity) -> list[Check]:
        found = [Check.present(name, min(1.0, self.missing + DERIVED_MISSING), severity)]
        if self.low is not None:
            margin = DERIVED_MARGIN * (self.high - self.low)
            found.append(Check.between(name, self.low - margin, self.high + margin, severity, DERIVED_MOSTLY))
        if 0 < len(self.categories) <= DERIVED_CATEGORIES:
            found.append(Check.within(name, sorted(self.categories, key=str), severity, DERIVED_MOSTLY))
        return found


def column_types(params: Params) -> dict[str, tuple[str, ...]]:
    """Return the value types that each column of the table may have; one with limits has to be comparable with them."""
    data = params.data
    types: dict[str, tuple[str, ...]] = dict.fromkeys(data.columns, ANY_TYPE)
    types |= dict.fromkeys(data.numeric, NUMERIC_TYPES)
    for name, rule in params.validation.columns.items():
        limit = rule.max if rule.min is None else rule.min
        if limit is not None:
            types[name] = ("time",) if isinstance(limit, dt.date) else ("number", "boolean")
    if data.time:
        types[data.time] = ("time",)
    if data.task is Task.REGRESSION:
        types[data.target] = ("number",)
    return types


def value_type(column: pd.Series) -> str:
    """Return number, boolean, time or text; empty where no cell has a value; mixed for unlike ones.

    >>> import pandas as pd
    >>> value_type(pd.Series([1, None])), value_type(pd.Series(["a", None])), value_type(pd.Series([1, "a"]))
    ('number', 'text', 'mixed')
    """
    from pandas.api import types

    if types.is_datetime64_any_dtype(column.dtype):
        return "time"
    if column.isna().all():
        return EMPTY
    if types.is_bool_dtype(column.dtype):
        return "boolean"
    if types.is_numeric_dtype(column.dtype):
        return "number"
    names = {"string": "text", "boolean": "boolean", "decimal": "number"}
    return names.get(types.infer_dtype(column, skipna=True), "mixed")


def _type_of(column: str) -> str:
    return f"type of {column}"
