"""Times without a zone, in UTC: the one form in which tables are partitioned and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mergeline.errors import DataError

if TYPE_CHECKING:
    import pandas

ISO_8601 = "ISO8601"


def utc_times(column: pandas.Series, where: str, form: str = ISO_8601) -> pandas.Series:
    """Return the column as times without a zone; a gap stays a gap.

    Times with a zone or an offset are converted to UTC before the zone is dropped; times without one are taken as
    they stand. Numbers are refused, since nothing says what they count. Raises DataError with the number of rows
    that are no times, and the first.

    >>> import pandas
    >>> utc_times(pandas.Series(["2013-07-01T10:00:00-04:00"]), "placed").tolist()
    [Timestamp('2013-07-01 14:00:00')]
    """
    import pandas

    if pandas.api.types.is_numeric_dtype(column.dtype) and column.notna().any():
        raise DataError(
            f"{where}: expected times, found numbers such as {column.dropna().iloc[0]}; "
            "list the column under `text` and parse_dates, or convert it at its source"
        )
    parsed = pandas.to_datetime(column, format=form, utc=True, errors="coerce")
    wrong = column.notna() & parsed.isna()
    if wrong.any():
        position = int(wrong.to_numpy().argmax())
        expected = "ISO 8601" if form == ISO_8601 else form
        raise DataError(
            f"{where}: expected times as {expected}, found {int(wrong.sum())} of {len(column)} rows that are none, "
            f"first in row {position + 1}: {str(column.iloc[position])!r}; correct them or give parse_dates a format"
        )
    naive: pandas.Series = parsed.dt.tz_localize(None)
    return naive
