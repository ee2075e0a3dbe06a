"""What a column holds (text, numbers, times, ...), and the pandas types that tables have between the sources.

Whole numbers and truth values are plain NumPy where all are present, and nullable where one is missing, so that
neither a gap nor a left join turns them into floating point: identifiers beyond 2**53 stay exact, and the type in
the Parquet file is the same with and without gaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

MIXTURE = "a mixture of types"

KIND_BY_INFERRED_TYPE = {
    "string": "text",
    "integer": "numbers",
    "floating": "numbers",
    "mixed-integer-float": "numbers",
    "boolean": "truth values",
    "datetime64": "times",
    "date": "dates",
    "decimal": "decimals",
    "mixed-integer": MIXTURE,
    "mixed": MIXTURE,
}


def kind(column: pandas.Series) -> str:
    """Say in a word what the column's values are; "nothing" where all are missing.

    >>> import pandas
    >>> kind(pandas.Series(["007"])), kind(pandas.Series([7, 1.5])), kind(pandas.Series([None, None]))
    ('text', 'numbers', 'nothing')
    """
    import pandas

    present = column.dropna()
    if present.empty:
        return "nothing"
    if isinstance(present.dtype, pandas.DatetimeTZDtype):
        return f"times in {present.dtype.tz}"
    inferred = pandas.api.types.infer_dtype(present, skipna=True)
    return KIND_BY_INFERRED_TYPE.get(inferred, inferred)


def plain(table: pandas.DataFrame) -> pandas.DataFrame:
    """Return the table with plain types: nullable ones remain only for whole numbers and truth values with gaps."""
    import pandas

    targets: dict[str, str] = {}
    for name, column in table.items():
        dtype = column.dtype
        if isinstance(dtype, pandas.StringDtype):
            targets[str(name)] = "str"
        elif not pandas.api.types.is_extension_array_dtype(dtype) or not hasattr(dtype, "numpy_dtype"):
            continue
        elif pandas.api.types.is_float_dtype(dtype) or not column.hasnans:
            targets[str(name)] = str(dtype.numpy_dtype)
    return table.astype(targets)


def nullable(table: pandas.DataFrame) -> pandas.DataFrame:
    """Return the table with whole numbers and truth values in types that can hold a gap."""
    import pandas

    targets: dict[str, str] = {}
    for name, column in table.items():
        if pandas.api.types.is_extension_array_dtype(column.dtype):
            continue
        if pandas.api.types.is_integer_dtype(column.dtype):
            targets[str(name)] = str(column.dtype).replace("uint", "UInt").replace("int", "Int")
        elif pandas.api.types.is_bool_dtype(column.dtype):
            targets[str(name)] = "boolean"
    return table.astype(targets)
