"""A declared source -> its table; all declared sources -> the joined table."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.errors import DataError
from mergeline.sources.declaration import Source, Sources
from mergeline.sources.files import read_file, read_files, refuse_repeated
from mergeline.sources.http import Patience, downloaded, shown
from mergeline.sources.join import join_tables
from mergeline.sources.sql import read_sql
from mergeline.sources.times import utc_times

if TYPE_CHECKING:
    import pandas

log = logging.getLogger(__name__)

PATIENT = Patience()


def read_joined(
    sources: Sources, root: Path, environment: Mapping[str, str], patience: Patience = PATIENT
) -> pandas.DataFrame:
    """Return the one table that the `sources` section declares; see `read` and `join_tables`."""
    tables = {
        name: read(source, root, environment, name=name, patience=patience) for name, source in sources.root.items()
    }
    return join_tables(tables, sources)


def read(
    declaration: Source,
    root: Path,
    environment: Mapping[str, str],
    name: str = "source",
    patience: Patience = PATIENT,
) -> pandas.DataFrame:
    """Return the table of one source, its columns renamed, selected and parsed as declared.

    Files are found under `root`; ${NAME} is looked up in `environment`; `name` is the source's in messages. Text is
    pandas' default string; whole numbers and truth values with gaps are nullable, all else is plain.
    Raises DataError for data that cannot be used (no rows included), ServiceError for a server or database that
    does not answer, ConfigurationError for a declaration that cannot be followed.
    """
    where = f"sources.{name}"
    table = _read_any(declaration, root, environment, where, patience)
    if table.empty:
        raise DataError(f"{where}: expected rows, found none; check the source")
    return as_declared(table, declaration, where)


def _read_any(
    source: Source, root: Path, environment: Mapping[str, str], where: str, patience: Patience
) -> pandas.DataFrame:
    if source.url is not None:
        with downloaded(source, environment, where, patience) as path:
            return read_file(path, source, f"{where}: {shown(source.url)}")
    if source.sql is not None:
        return read_sql(source.sql, source.connection or "", root, environment, where)
    return read_files(source, root, where)


def as_declared(table: pandas.DataFrame, source: Source, where: str) -> pandas.DataFrame:
    """Return the table with columns renamed, then selected, then parsed as times."""
    _refuse_unknown(table, list(source.rename), f"{where}.rename")
    table = table.rename(columns=source.rename)
    refuse_repeated(list(table.columns), f"{where}.rename")
    _refuse_unknown(table, list(source.select), f"{where}.select")
    table = table[list(source.select)] if source.select else table
    _refuse_unknown(table, list(source.date_formats), f"{where}.parse_dates")
    times = {
        name: utc_times(table[name], f"{where}: column {name!r}", form) for name, form in source.date_formats.items()
    }
    return table.assign(**times)


def _refuse_unknown(table: pandas.DataFrame, names: list[str], where: str) -> None:
    unknown = [name for name in names if name not in table.columns]
    if unknown:
        raise DataError(f"{where}: expected the columns {unknown}, found {list(table.columns)}; correct the names")
