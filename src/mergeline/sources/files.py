"""CSV and Parquet files -> one table."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline.errors import ConfigurationError, DataError
from mergeline.sources.declaration import FORMATS, Format, Source
from mergeline.sources.kinds import kind, nullable, plain

if TYPE_CHECKING:
    import pandas
    import pyarrow

log = logging.getLogger(__name__)

# Outside `text` columns these stand for "no value", as R, pandas and most databases write it.
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null")


def read_files(source: Source, root: Path, where: str) -> pandas.DataFrame:
    """Return the rows of all files of a source, in the declared order and, within a glob or folder, by name.

    Raises DataError, naming the file, where one is missing, empty, damaged, or differs from the first in its columns.
    """
    paths = located(source.patterns, root, where, source.format)
    tables = {name: read_file(path, source, f"{where}: {name}") for name, path in paths.items()}
    log.info("%s: %d file%s", where, len(tables), "s" * (len(tables) != 1))
    return stacked(tables, where)


def located(patterns: Sequence[str], root: Path, where: str, form: Format | None) -> dict[str, Path]:
    """Map the path under the root of each file that the patterns name to where it is, each file once."""
    found: dict[str, Path] = {}
    for pattern in patterns:
        for path in _matches(pattern, root, where, form):
            found.setdefault(path.relative_to(root).as_posix(), path)
    return found


def _matches(pattern: str, root: Path, where: str, form: Format | None) -> list[Path]:
    # A path that exists is taken literally, since a file's name may hold brackets.
    literal = root / pattern
    if literal.is_file():
        return [literal]
    if literal.is_dir():
        candidates: Iterator[Path] = literal.iterdir()
    elif any(sign in pattern for sign in "*?["):
        candidates = root.glob(pattern)
    else:
        raise DataError(f"{where}: expected the file {pattern}, found nothing there; add it or correct `files`")
    # A link to nothing (data that were not pulled) is kept: reading it fails, leaving it out would lose rows.
    files = (path for path in candidates if path.is_file() or (path.is_symlink() and not path.exists()))
    found = sorted(path for path in files if not path.name.startswith("."))
    if literal.is_dir() and form is None:
        found = [path for path in found if path.suffix.lower() in FORMATS]
    if not found:
        raise DataError(f"{where}: expected files at {pattern}, found none; add them or correct `files`")
    return found


def read_file(path: Path, source: Source, where: str) -> pandas.DataFrame:
    """Return one file's table under its own column names; `where` names the file in messages."""
    form = source.format or FORMATS.get(Path(path.name).suffix.lower())
    if form is None:
        raise ConfigurationError(
            f"{where}: expected a name that ends in .csv or .parquet, found {path.name}; add `format: csv` or parquet"
        )
    old_names = {new: old for old, new in source.rename.items()}
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{where}: expected a table, found an empty file; write it again")
        if form == "parquet":
            return read_parquet(path, where)
        return read_csv(path, where, [old_names.get(name, name) for name in source.text])
    except OSError as err:
        raise DataError(f"{where}: expected a readable file, found {err.strerror or err}; make it readable") from err


def read_parquet(path: Path, where: str) -> pandas.DataFrame:
    """Return a Parquet file's table; what pandas kept as a named index is a column like any other."""
    import pyarrow
    import pyarrow.parquet

    try:
        # One file and no dataset: a folder called `month=7` above it adds no column.
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as err:
        raise DataError(f"{where}: expected a whole Parquet file, found {_one_line(err)}; write it again") from err
    refuse_repeated(table.column_names, where)
    return _to_pandas(_with_named_index(table))


def _with_named_index(table: pyarrow.Table) -> pyarrow.Table:
    # pandas stores an index as a column, called __index_level_0__ where it has no name, and a range in the metadata.
    import pyarrow

    nameless = [name for name in table.column_names if name.startswith("__index_level_")]
    for index in (table.schema.pandas_metadata or {}).get("index_columns", []):
        if isinstance(index, dict) and index.get("name") and index["name"] not in table.column_names:
            values = range(index["start"], index["stop"], index["step"])
            table = table.append_column(index["name"], pyarrow.array(values))
    return table.drop_columns(nameless)


def _to_pandas(table: pyarrow.Table) -> pandas.DataFrame:
    import pandas
    import pyarrow

    for position, field in enumerate(table.schema):
        if pyarrow.types.is_dictionary(field.type):
            decoded = table.column(position).cast(field.type.value_type)
            table = table.set_column(position, field.name, decoded)
    types = {pyarrow.bool_(): pandas.BooleanDtype()}
    for size in (8, 16, 32, 64):
        types[getattr(pyarrow, f"int{size}")()] = getattr(pandas, f"Int{size}Dtype")()
        types[getattr(pyarrow, f"uint{size}")()] = getattr(pandas, f"UInt{size}Dtype")()
    return plain(table.to_pandas(types_mapper=types.get, ignore_metadata=True))


def read_csv(path: Path, where: str, text: Sequence[str] = ()) -> pandas.DataFrame:
    """Return the table of a UTF-8 CSV file with a header; the columns of `text` are read letter by letter.

    Elsewhere NA, N/A, NaN, nan, NULL, null and nothing are gaps. Raises DataError for a repeated column name, a row
    that is shorter or longer than the header (a file cut in the middle), and bytes that are not UTF-8.
    """
    import pandas

    try:
        names = csv_header(path, where)
        unknown = [name for name in text if name not in names]
        if unknown:
            raise DataError(f"{where}: expected the columns {unknown} of `text`, found {names}; correct `text`")
        table = pandas.read_csv(
            path,
            encoding="utf-8-sig",
            header=0,
            names=names,
            dtype=dict.fromkeys(text, "str"),
            keep_default_na=False,
            na_values={name: [""] if name in text else list(MISSING) for name in names},
            dtype_backend="numpy_nullable",
            low_memory=False,  # in chunks, a column could be numbers at its top and text below
        )
    except UnicodeDecodeError as err:
        raise DataError(f"{where}: expected UTF-8, found byte {err.object[err.start]:#04x}; save it as UTF-8") from err
    except (csv.Error, pandas.errors.ParserError) as err:
        raise DataError(f"{where}: expected a CSV table, found {_one_line(err)}; correct or write it again") from err
    return plain(table)


def csv_header(path: Path, where: str) -> list[str]:
    """Return the column names of a CSV file after a look at every row's width; pandas would pad or shift the rows."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines)
        header = next((row for row in rows if not _is_blank(row)), None)
        if header is None:
            raise DataError(f"{where}: expected a header and rows, found blank lines; write the file again")
        refuse_repeated(header, where)
        for row in rows:
            if len(row) != len(header) and not _is_blank(row):
                raise DataError(
                    f"{where}: expected {len(header)} values as in the header, found {len(row)} "
                    f"in the row that ends in line {rows.line_num}; correct or write the file again"
                )
    return [name or f"Unnamed: {position}" for position, name in enumerate(header)]


def _is_blank(row: list[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def refuse_repeated(names: Sequence[str], where: str) -> None:
    """Raise DataError where two columns share a name."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{where}: expected each column name once, found {repeated} repeated; correct the source")


def stacked(tables: Mapping[str, pandas.DataFrame], where: str) -> pandas.DataFrame:
    """Return the rows of all tables under each other in the first one's column order; the keys name their files.

    Raises DataError, naming the file, where a table lacks or adds a column, or holds another kind of values in one.
    """
    import pandas

    if len(tables) == 1:
        return next(iter(tables.values()))
    tables = {name: nullable(table) for name, table in tables.items()}
    first_name, first = next(iter(tables.items()))
    for name, table in tables.items():
        _refuse_other_columns(table, first, f"{where}: {name}", first_name)
    models = {column: _model(column, tables, where) for column in first.columns}
    filled = [_with_typed_gaps(table[list(first.columns)], models) for table in tables.values()]
    return plain(pandas.concat(filled, ignore_index=True))


def _refuse_other_columns(table: pandas.DataFrame, first: pandas.DataFrame, where: str, first_name: str) -> None:
    missing = [name for name in first.columns if name not in table.columns]
    added = [name for name in table.columns if name not in first.columns]
    if missing or added:
        differences = [f"without {missing}"] * bool(missing) + [f"with {added} besides"] * bool(added)
        raise DataError(
            f"{where}: expected the columns of {first_name}, found them {' and '.join(differences)}; "
            "give all files of a source the same columns"
        )


def _model(column: str, tables: Mapping[str, pandas.DataFrame], where: str) -> Any:
    """Return the empty column whose type stands for all files: the first file's in which it holds a value."""
    model, model_kind, model_file = None, "", ""
    for name, table in tables.items():
        held = kind(table[column])
        if held == "nothing":
            continue
        if model is None:
            model, model_kind, model_file = table[column].iloc[:0], held, name
        elif held != model_kind:
            raise DataError(
                f"{where}: {name}: expected {model_kind} in column {column!r} as in {model_file}, found {held}; "
                "correct the file, or list the column under `text`"
            )
    return model


def _with_typed_gaps(table: pandas.DataFrame, models: Mapping[str, Any]) -> pandas.DataFrame:
    # Concatenated as it is, a column of nothing but gaps would turn the text of the other files into objects.
    gaps = {
        name: model.reindex(table.index)
        for name, model in models.items()
        if model is not None and kind(table[name]) == "nothing"
    }
    return table.assign(**gaps)


def _one_line(err: Exception) -> str:
    return " ".join(str(err).split()) or type(err).__name__
