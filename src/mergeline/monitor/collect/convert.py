"""Values of the log as the types of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import DataError
from mergeline.models.encoder import category_text

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

Converted = tuple[Any, "NDArray[np.bool_]"]
TRUTH = {"true": True, "false": False, "1": True, "0": False}


def converted(column: pd.Series, kind: pa.DataType) -> Converted:
    """Return a column of the log as a `pyarrow.Array` of a type, and where a value cannot be one [n].

    Such a value is null in the array: text that is no number, 2.5 or 300 in a column of whole numbers of eight bits,
    an infinite number. Times without a zone are UTC. Raises `DataError` for a type that no value of a log can become.

    >>> import pandas as pd, pyarrow as pa
    >>> found, bad = converted(pd.Series([1.0, 2.5, None]), pa.int8())
    >>> found.to_pylist(), bad.tolist()
    ([1, None, None], [False, True, False])
    """
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        found, bad = converted(column, kind.value_type)
        return found.dictionary_encode().cast(kind), bad
    for fits, make in _KINDS:
        if fits(pa.types, kind):
            return make(column, kind)
    raise DataError(f"data: column {column.name!r} has the type {kind}, which a log does not hold; ingest it instead")


def _whole(column: pd.Series, kind: pa.DataType) -> Converted:
    """Whole numbers; those of the log are doubles, which hold them exactly up to 2**53."""
    import pyarrow as pa

    values, bad = numbers(column)
    limits = np.iinfo(kind.to_pandas_dtype())
    with np.errstate(invalid="ignore"):
        wrong = (values != np.floor(values)) | (values < limits.min) | (values > limits.max) | (abs(values) > 2.0**53)
    there = ~np.isnan(values) & ~wrong
    whole = np.where(there, values, 0).astype(np.int64)
    return pa.array(whole, mask=~there).cast(kind), bad | (wrong & ~np.isnan(values))


def _real(column: pd.Series, kind: pa.DataType) -> Converted:
    import pyarrow as pa

    values, bad = numbers(column)
    with np.errstate(over="ignore"):
        wrong = np.isinf(values.astype(kind.to_pandas_dtype()))
    return pa.array(values, mask=np.isnan(values) | wrong).cast(kind), bad | wrong


def _decimal(column: pd.Series, kind: pa.DataType) -> Converted:
    import pyarrow as pa

    values, bad = numbers(column)
    wrong = np.isinf(values) | (abs(np.nan_to_num(values)) >= 10.0 ** (kind.precision - kind.scale))
    return pa.array(values, mask=np.isnan(values) | wrong).cast(kind, safe=False), bad | wrong


def numbers(column: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return values as doubles [n], true as 1, and where there is one that is no number [n]."""
    import pandas as pd

    values = pd.to_numeric(column.replace({True: 1.0, False: 0.0, "true": 1.0, "false": 0.0}), errors="coerce")
    found = np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    return found, np.isnan(found) & column.notna().to_numpy()


def _truth(column: pd.Series, kind: pa.DataType) -> Converted:
    import pyarrow as pa

    values = [None if text is None else TRUTH.get(text) for text in _texts(column)]
    bad = np.array([value is None for value in values], dtype=np.bool_) & column.notna().to_numpy()
    return pa.array(values, kind), bad


def _text(column: pd.Series, kind: pa.DataType) -> Converted:
    import pyarrow as pa

    return pa.array(_texts(column), kind), np.zeros(len(column), dtype=np.bool_)


def _texts(column: pd.Series) -> list[str | None]:
    return [None if missing else str(text) for text, missing in zip(category_text(column), column.isna(), strict=True)]


def _time(column: pd.Series, kind: pa.DataType) -> Converted:
    import pandas as pd
    import pyarrow as pa

    if column.dtype == object or pd.api.types.is_string_dtype(column.dtype):
        times = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
    else:
        times = pd.to_datetime(column, utc=True, errors="coerce")
    bad = times.isna().to_numpy() & column.notna().to_numpy()
    found = pa.array(times.dt.tz_convert(None).to_numpy(dtype="datetime64[us]"))  # no time is null
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        found = found.cast(pa.timestamp("us", tz="UTC"))
    return found.cast(kind, safe=False), bad


_KINDS: tuple[tuple[Callable[[Any, Any], bool], Callable[[Any, Any], Converted]], ...] = (
    (lambda types, kind: types.is_boolean(kind), _truth),
    (lambda types, kind: types.is_integer(kind), _whole),
    (lambda types, kind: types.is_floating(kind), _real),
    (lambda types, kind: types.is_decimal(kind), _decimal),
    (lambda types, kind: types.is_timestamp(kind) or types.is_date(kind), _time),
    (lambda types, kind: types.is_string(kind) or types.is_large_string(kind), _text),
)
