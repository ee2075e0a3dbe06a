"""From a table to the float32 matrix that every model reads, by the signature alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import DataError
from mergeline.schema import FIRST_CATEGORY_CODE, MISSING_CODE, OTHER_CODE, Feature, Kind

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.params import DataParams, Preprocessing

SECONDS_A_DAY = 86_400.0


def fit_features(rows: pd.DataFrame, data: DataParams, settings: Preprocessing) -> tuple[Feature, ...]:
    """Return the features with their kinds and, for categories, the values that `rows` (training rows only) hold.

    Raises `DataError` for a column whose type fits neither list that it may stand in.
    """
    numbers = [Feature(name, _numeric_kind(rows[name])) for name in data.numeric]
    return (*numbers, *(_category(rows[name], settings) for name in data.categorical))


def encode(rows: pd.DataFrame, features: Sequence[Feature]) -> NDArray[np.float32]:
    """Return `rows` as float32 of shape (rows, features).

    A number is itself, a boolean 0 or 1, a time stamp the days since 1970-01-01 UTC, a category its code; a missing
    number is NaN. Raises `DataError` for a missing column, a column of another kind, and an infinite number.
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

    A column of whole numbers reads as text in one way, whether it has missing values (and so came as floats) or not.
    """
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype):
        return column.astype("boolean").map({True: "true", False: "false"}, na_action="ignore").astype("string")
    if pd.api.types.is_float_dtype(column.dtype):
        known = column.dropna()
        if (known == np.floor(known)).all() and np.isfinite(known.to_numpy(dtype=float)).all():
            return column.astype("Int64").astype("string")
    if column.dtype == object:
        booleans = column.map(lambda value: isinstance(value, bool))
        return column.where(~booleans, column.map({True: "true", False: "false"})).astype("string")
    return column.astype("string")


def _numeric_kind(column: pd.Series) -> Kind:
    import pandas as pd

    kind = pd.api.types
    if kind.is_bool_dtype(column.dtype):
        return Kind.BOOLEAN
    if kind.is_datetime64_any_dtype(column.dtype):
        return Kind.DATETIME
    if kind.is_numeric_dtype(column.dtype):
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


def _numbers(column: pd.Series, feature: Feature) -> NDArray[np.float32]:
    import pandas as pd

    if column.dropna().empty:
        return np.full(len(column), np.nan, dtype=np.float32)
    found = _numeric_kind(column)
    if (found is Kind.DATETIME) != (feature.kind is Kind.DATETIME):
        raise DataError(f"{feature.name}: expected {feature.kind} values, found {found}")
    if found is Kind.DATETIME:
        times = pd.to_datetime(column, utc=True).dt.tz_localize(None)
        days = (times - pd.Timestamp(0)).dt.total_seconds() / SECONDS_A_DAY
        return days.to_numpy(dtype=np.float32)
    values = column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    infinite = np.isinf(narrow)
    if infinite.any():
        first = int(np.flatnonzero(infinite)[0])
        raise DataError(f"{feature.name}: expected numbers within float32, found {values[first]} in row {first}")
    return narrow


def _first(column: pd.Series) -> object:
    known = column.dropna()
    return known.iloc[0] if len(known) else None
