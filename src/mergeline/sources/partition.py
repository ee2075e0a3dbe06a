"""One table -> monthly partitions -> Parquet files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mergeline.errors import DataError, ServiceError
from mergeline.sources.kinds import MIXTURE, kind
from mergeline.sources.times import utc_times

if TYPE_CHECKING:
    import pandas
    import pyarrow

log = logging.getLogger(__name__)

WHOLE = "all"


@dataclass(frozen=True, slots=True)
class IngestRecord:
    """The names of the partitions that were written anew, found as they are, and replaced by other rows."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    replaced: tuple[str, ...]


def partition(
    table: pandas.DataFrame,
    time: str | None,
    id: str | None,  # noqa: A002 - the column's key in params.yaml
) -> dict[str, pandas.DataFrame]:
    """Return the table's rows by calendar month of `time` ("2013-07"), the oldest first; without `time`, as "all".

    Rows are sorted by time, then id; rows equal in both keep their order. Times with a zone are converted to UTC and
    lose the zone, and the month is UTC's. Raises DataError for no rows, a missing column, and a row without a time.
    """
    for name in (time, id):
        if name is not None and name not in table.columns:
            raise DataError(f"data: expected the column {name!r}, found {list(table.columns)}; correct the name")
    if table.empty:
        raise DataError("data: expected rows, found none; check the sources")
    if time is None:
        return {WHOLE: _sorted(table, [id] if id is not None else [])}
    times = utc_times(table[time], f"data: column {time!r}")
    _refuse_gaps(times, time)
    rows = _sorted(table.assign(**{time: times}), [time] if id is None else [time, id])
    months = rows[time].dt.strftime("%Y-%m")
    return {str(month): part.reset_index(drop=True) for month, part in rows.groupby(months.to_numpy(), sort=True)}


def _refuse_gaps(times: pandas.Series, time: str) -> None:
    gaps = times.isna()
    if gaps.any():
        raise DataError(
            f"data: column {time!r}: expected a time in every row, found {int(gaps.sum())} of {len(times)} rows "
            f"without one, first in row {int(gaps.to_numpy().argmax()) + 1} ({times[gaps].iloc[0]}); correct them"
        )


def _sorted(table: pandas.DataFrame, by: list[str]) -> pandas.DataFrame:
    mixed = [name for name in by if kind(table[name]) == MIXTURE]
    if mixed:
        raise DataError(f"data: expected values of one type in {mixed}, found {MIXTURE}; convert them at the source")
    return table.sort_values(by, kind="stable", ignore_index=True) if by else table.reset_index(drop=True)


def write_partitions(partitions: Mapping[str, pandas.DataFrame], folder: Path, replace: bool) -> IngestRecord:
    """Write each partition to `<folder>/<name>.parquet`, and leave alone the files that hold the same rows already.

    The bytes depend on the rows and the version of pyarrow alone. Everything is checked and written beside the
    folder before the first file takes its place, and each takes it at once. Other files in the folder stay.

    Raises DataError where a partition has other rows than its file and `replace` is false, and then writes nothing;
    ServiceError where the disk refuses.
    """
    contents = _contents(partitions)
    standing = {name: folder / f"{name}.parquet" for name in contents if (folder / f"{name}.parquet").exists()}
    unchanged = [name for name, path in standing.items() if _holds(path, contents[name])]
    differing = [name for name in standing if name not in unchanged]
    if differing and not replace:
        raise DataError(
            f"{folder.name}: expected the rows that are there already in {', '.join(differing)}, found others; "
            "nothing is written; replace them on purpose or correct the sources"
        )
    try:
        _put({name: content for name, content in contents.items() if name not in unchanged}, folder)
    except OSError as err:
        found = err.strerror or str(err)
        raise ServiceError(f"{folder.name}: expected to write here, found {found}; check the disk") from err
    written = tuple(name for name in contents if name not in standing)
    log.info("%s: %d written, %d unchanged, %d replaced", folder.name, len(written), len(unchanged), len(differing))
    return IngestRecord(written=written, unchanged=tuple(unchanged), replaced=tuple(differing))


def _contents(partitions: Mapping[str, pandas.DataFrame]) -> dict[str, pyarrow.Buffer]:
    """Return each partition as the bytes of its Parquet file, all with one schema."""
    import pyarrow

    try:
        tables = {name: _arrow_table(rows) for name, rows in sorted(partitions.items())}
        # A column without a value in one month has the type that it has in the others.
        schema = pyarrow.unify_schemas([table.schema for table in tables.values()]) if tables else None
        return {name: _encoded(table.cast(schema)) for name, table in tables.items()}
    except (pyarrow.ArrowException, OverflowError) as err:
        words = " ".join(str(err).split())
        raise DataError(f"data: expected columns of one type each, found {words}; convert them at the source") from err


def _arrow_table(rows: pandas.DataFrame) -> pyarrow.Table:
    import pyarrow

    # pandas' own metadata hold its version, and so would change the bytes.
    return pyarrow.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)


def _encoded(table: pyarrow.Table) -> pyarrow.Buffer:
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _holds(path: Path, content: pyarrow.Buffer) -> bool:
    """Say whether the file has these rows; another version of pyarrow may have written them as other bytes."""
    import pyarrow
    import pyarrow.parquet

    if path.read_bytes() == content.to_pybytes():
        return True
    try:
        standing = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError):
        return False  # damaged, which only `replace` may mend
    same: bool = standing.equals(pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content)).read())
    return same


def _put(contents: Mapping[str, pyarrow.Buffer], folder: Path) -> None:
    if not contents:
        return
    folder.mkdir(parents=True, exist_ok=True)
    # Beside the folder and not in it: what a killed run leaves must not become data.
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
        for name, content in contents.items():
            (Path(beside) / f"{name}.parquet").write_bytes(content)
        for name in contents:
            (Path(beside) / f"{name}.parquet").replace(folder / f"{name}.parquet")
