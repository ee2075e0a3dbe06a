"""The target column as numbers: class numbers of a classification, values of a regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import ConfigurationError, DataError
from mergeline.models.encoder import category_text
from mergeline.schema import Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.params import DataParams


def classes(rows: pd.DataFrame, data: DataParams) -> tuple[str, ...]:
    """Return the names of the classes in the order of the scores' columns; none for a regression.

    Of a binary task the second one is `data.positive`, which may be left out where the values are booleans or 0 and 1.
    Raises `DataError` where the rows do not hold as many classes as the task needs.
    """
    if data.task is Task.REGRESSION:
        return ()
    found = sorted(category_text(rows[data.target]).dropna().unique())
    if len(found) < 2 or (data.task is Task.BINARY and len(found) > 2):
        expected = "two" if data.task is Task.BINARY else "at least two"
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise DataError(f"data.target: expected {expected} values in {data.target!r}, found {len(found)} ({shown})")
    if data.task is Task.MULTICLASS:
        return tuple(found)
    positive = _positive(found, data)
    return (next(name for name in found if name != positive), positive)


def encode_target(rows: pd.DataFrame, data: DataParams, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return float64 of shape (rows,): a class's position in `names`, or a value; raise `DataError` for others."""
    if data.task is Task.REGRESSION:
        return _values(rows[data.target])
    import pandas as pd

    text = category_text(rows[data.target])
    numbers = pd.Index(names, dtype="string").get_indexer(pd.Index(text))  # -1 where not among them
    unknown = text[numbers < 0].unique()
    if len(unknown):
        raise DataError(f"data.target: {data.target!r} holds {unknown[0]!r}, known are {', '.join(names)}")
    return numbers.astype(np.float64)


def _positive(found: list[str], data: DataParams) -> str:
    import pandas as pd

    if data.positive is not None:
        named = str(category_text(pd.Series([data.positive])).iloc[0])
        if named not in found:
            raise ConfigurationError(f"data.positive: expected one of {', '.join(found)}, found {data.positive!r}")
        return named
    for pair in (["false", "true"], ["0", "1"]):
        if found == pair:
            return pair[1]
    raise ConfigurationError(f"data.positive: say which of {', '.join(found)} in {data.target!r} is the positive class")


def _values(column: pd.Series) -> NDArray[np.float64]:
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        raise DataError(f"data.target: a regression needs numbers in {column.name!r}, found {column.dtype}")
    values = np.asarray(column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"data.target: {int(np.sum(~np.isfinite(values)))} values of {column.name!r} are not finite")
    return values
