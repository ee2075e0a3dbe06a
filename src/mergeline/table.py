"""The training table: a folder of Parquet partitions, read in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def partitions(folder: Path) -> tuple[Path, ...]:
    """Return the Parquet files of `folder` in the order of their names; raise `DataError` where there are none."""
    found = tuple(sorted(folder.glob("*.parquet")))
    if not found:
        raise DataError(f"{folder}/: expected Parquet partitions, found none; `mergeline pull` puts the data in place")
    return found


def read_partition(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the named columns of one partition, all of them by default, in the order asked for.

    Raises `DataError` for a file that is not whole and for a column that is not there.
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
    return table.select(columns if columns is not None else held).to_pandas()


def read_partitions(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield name and rows of one partition after the other, so that one at a time is in memory."""
    for path in partitions(folder):
        yield path.stem, read_partition(path)


def read_table(folder: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return the named columns of all partitions as one table; raise `DataError` where it has no row."""
    import pandas as pd

    table = pd.concat([read_partition(path, columns) for path in partitions(folder)], ignore_index=True)
    if table.empty:
        raise DataError(f"{folder}/: the partitions hold no row")
    return table
