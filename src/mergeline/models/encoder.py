"""From a table to the float32 matrix that every model reads, by the signature alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import DataError
from mergeline.schema import FIRST_CATEGORY_CODE, MISSING_CODE, OTHER_CODE, Feature, Kind

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.params import DataParams, Preprocessing

SECONDS_A_DAY = 86_400.0
INT64_LIMIT = 2.0**63


def fit_features(rows: pd.DataFrame, data: DataParams, settings: Preprocessing) -> tuple[Feature, ...]:
    """Return the features with their kinds and, for categories, the values that `rows` (training rows only) hold.

    Raises `DataError` for a column whose type fits neither list that it may stand in.
    """
    numbers = [Feature(name, _numeric_kind(rows[name])) for name in data.numeric]
    return (*numbers, *(_category(rows[name], settings) for name in data.categorical))


def encode(rows: pd.DataFrame, features: Sequence[Feature]) -> NDArray[np.float32]:
    """Return `rows` as float32 of shape (rows, features).

    A number is itself, a boolean 0 or 1, a time stamp (or its ISO 8601 text, as JSON has it) the days since 1970-01-01
    UTC, a category its code; a missing number is NaN. Raises `DataError` for a missing column, for a column of another
    kind, and for an infinite number.
    """
    matrix = np.empty((len(rows), len(features)), dtype=np.float32)
    for position, feature in enumerate(features):
        if feature.name not in rows.columns:
            raise DataError(f"{feature.name}: expected a column of this name, found none")
        column = rows[feature.name]
        matrix[:, position] = _codes(column, feature) if feature.kind is Kind.CATEGORY else _numbers(column, feature)
    return matrix


def category_text(column: pd.Series) -> pd.Series:
    """Return the values as text, missing ones as NA: `true` and `false` for booleans, no `.0` behind whole numbers.

    A value reads the same whatever stands in the other rows: 3 is `3` in a column of whole numbers, in one that has
    missing values or fractions (and so came as floats), and in one of mixed types. A time stamp is ISO 8601.
    """
    import pandas as pd

    if pd.api.types.is_float_dtype(column.dtype):
        return _float_text(column)
    if pd.api.types.is_integer_dtype(column.dtype) or isinstance(column.dtype, pd.StringDtype):
        return column.astype("string")
    return column.astype(object).map(_value_text, na_action="ignore").astype("string")


def _float_text(column: pd.Series) -> pd.Series:
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    whole = (values == np.floor(values)) & (np.abs(values) < INT64_LIMIT)
    text = column.astype("string")
    text[whole] = values[whole].astype(np.int64).astype(str)
    return text


def _value_text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _numeric_kind(column: pd.Series) -> Kind:
    from pandas.api import types

    kind = _inferred(column).dtype
    if types.is_bool_dtype(kind):
        return Kind.BOOLEAN
    if types.is_datetime64_any_dtype(kind):
        return Kind.DATETIME
    if types.is_numeric_dtype(kind):
        return Kind.NUMBER
    raise DataError(
        f"{column.name}: expected numbers (it stands under data.numeric), found {column.dtype}"
        f" such as {_first(column)!r}; list it under data.categorical or mend the column"
    )


def _category(column: pd.Series, settings: Preprocessing) -> Feature:
    counts = category_text(column).value_counts()
    counts = counts[counts >= settings.min_category_rows]
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    kept = sorted(str(value) for value, _ in ranked[: settings.max_categories])
    return Feature(str(column.name), Kind.CATEGORY, tuple(kept))


def _codes(column: pd.Series, feature: Feature) -> NDArray[np.float32]:
    import pandas as pd

    text = category_text(column)
    codes = pd.Index(feature.categories, dtype="string").get_indexer(pd.Index(text))  # -1 where not among them
    codes = np.where(codes >= 0, codes + FIRST_CATEGORY_CODE, OTHER_CODE)
    return np.where(text.isna().to_numpy(), MISSING_CODE, codes).astype(np.float32)


def _inferred(column: pd.Series) -> pd.Series:
    """A column of Python objects as what they are: numbers or booleans among None come as objects."""
    return column.convert_dtypes() if column.dtype == object else column


def _numbers(column: pd.Series, feature: Feature) -> NDArray[np.float32]:
    if column.dropna().empty:
        return np.full(len(column), np.nan, dtype=np.float32)
    column = _times(column) if feature.kind is Kind.DATETIME else _inferred(column)
    found = _numeric_kind(column)
    if (found is Kind.DATETIME) != (feature.kind is Kind.DATETIME):
        raise DataError(f"{feature.name}: expected {feature.kind} values, found {found} such as {_first(column)!r}")
    if found is Kind.DATETIME:
        return _days(column)
    values = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    infinite = np.isinf(narrow)
    if infinite.any():
        first = int(np.flatnonzero(infinite)[0])
        raise DataError(f"{feature.name}: expected numbers within float32, found {values[first]} in row {first}")
    return narrow


def _times(column: pd.Series) -> pd.Series:
    """Time stamps from their text; other columns as they are."""
    import pandas as pd

    if not pd.api.types.is_string_dtype(column.dropna()):
        return column
    times = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce")
    unread = column[times.isna() & column.notna()]
    if len(unread):
        raise DataError(f"{column.name}: expected time stamps as ISO 8601, found {_first(unread)!r}")
    return times


def _days(column: pd.Series) -> NDArray[np.float32]:
    import pandas as pd

    times = pd.to_datetime(column, utc=True).dt.tz_localize(None)
    days = (times - pd.Timestamp("1970-01-01")).dt.total_seconds() / SECONDS_A_DAY
    return days.to_numpy(dtype=np.float32)


def _first(column: pd.Series) -> object:
    return next(iter(column.dropna().tolist()), None)
