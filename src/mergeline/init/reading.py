"""A file as a typed table: time stamps where there is ISO 8601, text where numbers would lose letters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.errors import ConfigurationError, DataError
from mergeline.sources.declaration import FORMATS, Source
from mergeline.sources.files import read_file
from mergeline.sources.times import utc_times
from mergeline.stages.facts import value_type

if TYPE_CHECKING:
    import pandas as pd

ISO_DATE = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}.*)?"
OTHER_DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?: .*)?"
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read(path: Path) -> pd.DataFrame:
    """Return the table of a CSV or Parquet file, typed (see `typed`).

    What looks like a number in a CSV file but is none, such as the code 00501 or an id of 20 digits, stays text. Raises
    `ConfigurationError` for another kind of file and `DataError` for one that cannot be read or has no row.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigurationError(f"{path}: expected a .csv or a .parquet file; convert it or correct its name")
    if FORMATS[path.suffix.lower()] == "csv":
        _refuse_other_separator(path)
    table = read_file(path, Source(files=path.name), str(path))
    if table.empty:
        raise DataError(f"{path}: expected rows, found none")
    if FORMATS[path.suffix.lower()] == "csv":
        codes = _codes(path, table)
        table = read_file(path, Source(files=path.name, text=codes), str(path)) if codes else table
    return typed(table)


def _refuse_other_separator(path: Path) -> None:
    """A header of one name that holds what other programs put between names; read as it is, its rows would not fit."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        header = file.readline().decode("utf-8", "replace").strip()
    found = next((words for sign, words in SEPARATORS.items() if sign in header), None)
    if found is not None and "," not in header:
        raise DataError(f"{path}: expected commas between the columns, found {found}; save the file with commas")


def _codes(path: Path, table: pd.DataFrame) -> tuple[str, ...]:
    """The number columns of a CSV file whose letters say more than their numbers."""
    numbers = tuple(str(name) for name in table.columns if value_type(table[name]) == "number")
    if not numbers:
        return ()
    letters = read_file(path, Source(files=path.name, text=numbers), str(path))
    floats = {name for name in numbers if table[name].dtype.kind == "f"}
    padded = {name for name in numbers if letters[name].str.fullmatch(r"0\d+").any()}
    long = {name for name in floats if letters[name].str.fullmatch(r"\d{16,}").any()}
    return tuple(name for name in numbers if name in padded | long)


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with ISO 8601 text and dates as time stamps (UTC, without a zone) and decimals as floats."""
    import pandas as pd

    return pd.DataFrame({str(name): _typed(column) for name, column in table.items()}, index=table.index)


def _typed(column: pd.Series) -> pd.Series:
    import pandas as pd

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return utc_times(column, str(column.name))
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if inferred == "decimal":
        return column.astype("Float64").astype("float64")
    if inferred == "date":
        return pd.to_datetime(column, errors="coerce")
    if inferred == "boolean" and column.dtype == object:
        return column.astype("boolean")
    if inferred == "string" and all_match(column, ISO_DATE):
        times = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None)
        return times if times.notna().sum() == column.notna().sum() else column
    return column


def all_match(column: pd.Series, pattern: str) -> bool:
    """Return whether there is text and all of it has this form (a regular expression)."""
    known = column.dropna()
    return bool(len(known)) and bool(known.iloc[:1].str.fullmatch(pattern).all() and known.str.fullmatch(pattern).all())
