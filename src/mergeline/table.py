"""The training table: a folder of Parquet partitions, read in the order of their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def partitions(folder: Path) -> tuple[Path, ...]:
    """Return the Parquet files of `folder` in the order of their names; raise `DataError` where there are none."""
    found = tuple(sorted(folder.glob("*.parquet")))
    if not found:
        raise DataError(f"{folder}/: expected Parquet partitions, found none; `mergeline pull` puts the data in place")
    return found


def columns(folder: Path) -> tuple[str, ...]:
    """Return the names of the columns that every partition of a folder has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shared: dict[str, None] | None = None
    for path in partitions(folder):
        try:
            names = pq.read_schema(path).names
        except (pa.ArrowInvalid, OSError) as err:
            raise DataError(f"{path}: not a whole Parquet file ({str(err).splitlines()[0]})") from err
        shared = dict.fromkeys(names) if shared is None else {name: None for name in shared if name in names}
    return tuple(shared or ())


def read_partition(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the named columns of one partition, all of them by default, in the order asked for.

    Whatever the file's writer chose, dictionaries come as their values, decimals as floats, dates as time stamps, and
    no column as the index. Raises `DataError` for a file that is not whole and for a column that is not there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            held = file.schema_arrow.names
            absent = [name for name in columns or () if name not in held]
            if absent:
                raise DataError(f"{path}: no column {', '.join(map(repr, absent))}; it has {', '.join(held)}")
            table = file.read(columns=list(columns) if columns is not None else None)
    except (pa.ArrowInvalid, OSError) as err:
        raise DataError(f"{path}: not a whole Parquet file ({str(err).splitlines()[0]})") from err
    rows: pd.DataFrame = _plain(table.select(columns if columns is not None else held)).to_pandas(
        ignore_metadata=True, date_as_object=False
    )
    return rows


def _plain(table: pa.Table) -> pa.Table:
    """The table without types that pandas would give as categoricals or as objects."""
    import pyarrow as pa

    fields = []
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        fields.append(field.with_type(pa.float64() if pa.types.is_decimal(kind) else kind))
    return table.cast(pa.schema(fields))


def read_table(folder: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return the named columns of all partitions as one table; raise `DataError` where it has no row."""
    import pandas as pd

    table = pd.concat([read_partition(path, columns) for path in partitions(folder)], ignore_index=True)
    if table.empty:
        raise DataError(f"{folder}/: the partitions hold no row")
    return table
