"""Sources: what is declared is what arrives, and what cannot be used is refused by name."""

from __future__ import annotations

import gzip
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from pydantic import ValidationError
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from mergeline.errors import ConfigurationError, DataError, MergelineError, ServiceError
from mergeline.sources import (
    IngestRecord,
    Join,
    Patience,
    Source,
    Sources,
    join_tables,
    partition,
    read,
    read_joined,
    write_partitions,
)

HASTY = Patience(backoff_s=0.0, timeout_s=5.0)


def csv(root: Path, name: str, text: str | bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def parquet(root: Path, name: str, table: pa.Table) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def files(*patterns: str, **options: Any) -> Source:
    return Source.model_validate({"files": list(patterns), **options})


def refused(kind: type[MergelineError], *words: str) -> Any:
    """Expect an error of exactly this class whose one line holds all the words."""
    together = "".join(f"(?=.*{re.escape(word)})" for word in words)
    return pytest.raises(kind, match=rf"\A{together}[^\n]+\Z", check=lambda err: type(err) is kind)


# --- the declaration ---------------------------------------------------------------------------------------------

FLIGHTS = {"files": "raw/flights/*.csv"}
PLANES = {"sql": "select 1", "connection": "${DB}", "join": {"on": ["tail_number"]}}


def test_the_documented_section_is_accepted_in_its_order() -> None:
    """The section of the documentation parses, and keeps the order of its sources."""
    sources = Sources.model_validate(
        {
            "flights": FLIGHTS,
            "weather": {"url": "https://example.org/weather.csv", "join": {"on": ["origin", "hour"], "how": "left"}},
            "planes": PLANES,
        }
    )
    assert list(sources.root) == ["flights", "weather", "planes"]
    weather = sources.root["weather"].join
    assert weather is not None
    assert weather.keys == {"origin": "origin", "hour": "hour"}


def test_a_bare_on_that_a_yaml_1_1_reader_took_for_true_is_still_on() -> None:
    """`on:` without quotes means the keys with every YAML reader."""
    assert Join.model_validate({True: ["origin"]}).keys == {"origin": "origin"}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        pytest.param({}, "expected at least one source, found none", id="no source"),
        pytest.param({"a": {}}, "expected exactly one of files, url and sql, found none of them", id="no kind"),
        pytest.param({"a": FLIGHTS | {"sql": "select 1", "connection": "x"}}, "found files and sql", id="two kinds"),
        pytest.param({"a": FLIGHTS | {"join": {"on": ["x"]}}}, "a.join: the first source is the base", id="base joins"),
        pytest.param({"a": FLIGHTS, "b": FLIGHTS}, "b.join: expected its keys, found no join", id="second has no join"),
        pytest.param({"a": FLIGHTS | {"fromat": "csv"}}, "Extra inputs are not permitted", id="unknown key"),
        pytest.param({"a": FLIGHTS, "b": FLIGHTS | {"join": {"on": []}}}, "at least 1 item", id="join on nothing"),
        pytest.param({"a": FLIGHTS, "b": FLIGHTS | {"join": {"on": ["x", "x"]}}}, "each column once", id="key twice"),
        pytest.param(
            {"a": FLIGHTS, "b": PLANES | {"join": {"on": ["x"], "how": "outer"}}}, "'left' or 'inner'", id="how"
        ),
        pytest.param({"a": {"files": "/raw/a.csv"}}, "relative to the repository's root", id="absolute path"),
        pytest.param({"a": {"files": []}}, "at least 1 item", id="empty list of files"),
        pytest.param({"a": {"url": "ftp://example.org/a.csv"}}, "starts with https://", id="ftp"),
        pytest.param(
            {"a": {"url": "https://example.org/a?b=c.csv"}}, "format: the address ends", id="url of no format"
        ),
        pytest.param({"a": {"sql": "select 1"}}, "connection: expected a database URL", id="no connection"),
        pytest.param({"a": FLIGHTS | {"connection": "x"}}, "connection: belongs to a source with sql", id="connection"),
        pytest.param({"a": FLIGHTS | {"headers": {"A": "b"}}}, "headers: belongs to a source with url", id="headers"),
        pytest.param({"a": {"sql": "s", "connection": "c", "format": "csv"}}, "format: belongs to", id="format of sql"),
        pytest.param({"a": FLIGHTS | {"rename": {"x": "z", "y": "z"}}}, "rename: expected each new name", id="rename"),
    ],
)
def test_a_declaration_that_cannot_be_followed_is_refused(section: dict[str, Any], message: str) -> None:
    """Each wrong declaration is refused when params.yaml is read, with the key in the message."""
    with pytest.raises(ValidationError, match=re.escape(message)):
        Sources.model_validate(section)


def test_importing_the_package_loads_no_heavy_library() -> None:
    """The declaration can be read without pandas, pyarrow, requests or SQLAlchemy."""
    code = "import sys, mergeline.sources; print({'pandas', 'pyarrow', 'requests', 'sqlalchemy'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "set()"


# --- files -------------------------------------------------------------------------------------------------------


def test_a_nasty_csv_arrives_letter_by_letter(tmp_path: Path) -> None:
    """Spaces, accents, quotes, commas, line breaks, a byte order mark and blank lines change no value."""
    nasty = ["  padded  ", "Zoë Ångström", 'she said "no"', "a,b;c\td", "first\nsecond", "第一", "'", "#not a comment"]
    lines = [f'{n},"{value.replace(chr(34), chr(34) * 2)}"' for n, value in enumerate(nasty)]
    csv(tmp_path, "a.csv", "\ufeff\n\nnumber,the value\r\n" + "\r\n".join(lines) + "\r\n   \r\n\r\n")
    table = read(files("a.csv"), tmp_path, {})
    assert table["the value"].tolist() == nasty
    assert table["number"].tolist() == list(range(len(nasty)))
    assert table.dtypes.astype(str).to_dict() == {"number": "int64", "the value": "str"}


def test_numbers_of_a_csv_are_exact_with_and_without_gaps(tmp_path: Path) -> None:
    """A gap turns neither a long identifier nor a truth value into floating point; fractions are the nearest double."""
    csv(tmp_path, "a.csv", "id,late,delay\n9007199254740993,True,0.1\n,,2.675\n-3,FALSE,NA\n")
    table = read(files("a.csv"), tmp_path, {})
    assert table.dtypes.astype(str).to_dict() == {"id": "Int64", "late": "boolean", "delay": "float64"}
    assert table["id"].dropna().tolist() == [9007199254740993, -3]
    assert table["late"].dropna().tolist() == [True, False]
    assert table["delay"].dropna().tolist() == [0.1, 2.675]


def test_a_long_column_is_text_throughout_where_it_is_text_at_its_end(tmp_path: Path) -> None:
    """A file too long to be parsed in one piece has one type a column."""
    csv(tmp_path, "a.csv", ",".join(["x", *map(str, range(39))]) + "\n" + f"7{',' * 39}\n" * 30_000 + f"N7{',' * 39}\n")
    column = read(files("a.csv"), tmp_path, {})["x"]
    assert (str(column.dtype), column.iloc[0], column.iloc[-1]) == ("str", "7", "N7")


def test_text_columns_keep_zeros_and_the_word_na(tmp_path: Path) -> None:
    """A column under `text`, named as after `rename`, is read letter by letter; only nothing is a gap."""
    csv(tmp_path, "a.csv", "code,country\n007,NA\n010,\n,null\n")
    table = read(files("a.csv", rename={"code": "carrier"}, text=["carrier", "country"]), tmp_path, {})
    assert table["carrier"].fillna("gap").tolist() == ["007", "010", "gap"]
    assert table["country"].fillna("gap").tolist() == ["NA", "gap", "null"]
    assert read(files("a.csv"), tmp_path, {})["country"].isna().all()


def test_columns_are_renamed_then_selected_then_parsed(tmp_path: Path) -> None:
    """`select` and `parse_dates` use the new names; an offset is converted to UTC, a declared format is followed."""
    csv(tmp_path, "a.csv", "t,d,x\n2013-07-01T10:00:00-04:00,01/02/2013,1\n2013-07-01 10:00,13/02/2013,2\n,,3\n")
    source = files(
        "a.csv",
        rename={"t": "departure"},
        select=["departure", "d"],
        parse_dates={"departure": "ISO8601", "d": "%d/%m/%Y"},
    )
    table = read(source, tmp_path, {})
    assert list(table.columns) == ["departure", "d"]
    assert table["departure"].tolist()[:2] == [pd.Timestamp("2013-07-01 14:00"), pd.Timestamp("2013-07-01 10:00")]
    assert table["d"].tolist()[:2] == [pd.Timestamp("2013-02-01"), pd.Timestamp("2013-02-13")]
    assert table.isna().sum().to_dict() == {"departure": 1, "d": 1}


def test_dates_are_left_as_text_where_none_are_declared(tmp_path: Path) -> None:
    """A column of dates that parse_dates does not name stays text."""
    csv(tmp_path, "a.csv", "t\n2013-07-01\n")
    assert read(files("a.csv"), tmp_path, {})["t"].tolist() == ["2013-07-01"]


@pytest.mark.parametrize("declared", [["raw/*.csv"], ["raw"], ["raw/a.csv", "raw/b.csv", "raw/*.csv"], ["r*/**/*.csv"]])
def test_a_folder_a_glob_and_a_list_give_the_same_rows_once(tmp_path: Path, declared: list[str]) -> None:
    """Files come in the order of their names, each once; hidden files are left out; columns may be in another order."""
    csv(tmp_path, "raw/b.csv", "y,x\nq,3\n")
    csv(tmp_path, "raw/a.csv", "x,y\n1,p\n2,\n")
    csv(tmp_path, "raw/.a.csv", "x,y\n9,hidden\n")
    csv(tmp_path, "raw/notes.txt", "no table")
    table = read(files(*declared), tmp_path, {})
    assert list(table.columns) == ["x", "y"]
    assert table["x"].tolist() == [1, 2, 3]
    assert table["y"].fillna("gap").tolist() == ["p", "gap", "q"]


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    """A path that exists is not taken for a glob."""
    csv(tmp_path, "a [1].csv", "x\n1\n")
    csv(tmp_path, "a 1.csv", "x\n2\n")
    assert read(files("a [1].csv"), tmp_path, {})["x"].tolist() == [1]


def test_a_month_without_a_value_in_a_column_keeps_the_type_of_the_others(tmp_path: Path) -> None:
    """Files that hold only gaps, or only a header, neither turn text into objects nor long numbers into fractions."""
    csv(tmp_path, "raw/1.csv", "reason,id,late\n,,\n")
    csv(tmp_path, "raw/2.csv", "reason,id,late\nfog,9007199254740993,True\n")
    csv(tmp_path, "raw/3.csv", "reason,id,late\n")
    table = read(files("raw"), tmp_path, {})
    assert table.dtypes.astype(str).to_dict() == {"reason": "str", "id": "Int64", "late": "boolean"}
    assert table["id"].tolist()[1] == 9007199254740993


def test_parquet_keeps_its_types_and_drops_what_only_pandas_put_there(tmp_path: Path) -> None:
    """Whole numbers with gaps, text, dictionaries, times and a named index arrive, a nameless one does not."""
    frame = pd.DataFrame({"n": pd.array([1, None], dtype="Int16"), "c": pd.Categorical(["a", None]), "s": ["é", None]})
    frame["t"] = pd.Series([pd.Timestamp("2013-07-01T00:00:00.123456"), pd.NaT])
    frame.set_index(pd.Index(["b", "a"], name="id")).to_parquet(tmp_path / "named.parquet")
    frame.set_index(pd.RangeIndex(7, 9, name="id")).to_parquet(tmp_path / "range.parquet")
    frame.set_axis(["b", "a"]).to_parquet(tmp_path / "nameless.parquet")
    table = read(files("named.parquet"), tmp_path, {})
    assert table.dtypes.astype(str).to_dict() == {
        "n": "Int16",
        "c": "str",
        "s": "str",
        "t": "datetime64[us]",
        "id": "str",
    }
    assert read(files("range.parquet"), tmp_path, {})["id"].tolist() == [7, 8]
    assert list(read(files("nameless.parquet"), tmp_path, {}).columns) == ["n", "c", "s", "t"]


def test_a_folder_called_like_a_hive_partition_adds_no_column(tmp_path: Path) -> None:
    """What is read is what is in the file."""
    parquet(tmp_path, "month=7/a.parquet", pa.table({"x": [1]}))
    assert list(read(files("month=7/a.parquet"), tmp_path, {}).columns) == ["x"]


def test_the_format_can_be_declared_for_other_names(tmp_path: Path) -> None:
    """`format: csv` reads a file of any name; without it the name is refused."""
    csv(tmp_path, "a.txt", "x\n1\n")
    assert read(files("a.txt", format="csv"), tmp_path, {})["x"].tolist() == [1]
    with refused(ConfigurationError, "a.txt", "format"):
        read(files("a.txt"), tmp_path, {})


WHOLE_PARQUET = pa.BufferOutputStream()
pq.write_table(pa.table({"x": list(range(1000))}), WHOLE_PARQUET)
PARQUET_BYTES = WHOLE_PARQUET.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        pytest.param("a.csv", b"x,y,x\n1,2,3\n", ["'x'", "repeated"], id="repeated column"),
        pytest.param("a.csv", b"", ["empty file"], id="empty csv"),
        pytest.param("a.csv", b"\n  \n\n", ["blank lines"], id="blank csv"),
        pytest.param("a.csv", b"x,y\n1,2\n3", ["2 values", "found 1", "line 3"], id="cut in a row"),
        pytest.param("a.csv", b"x,y\n1,2\n3,4,5\n", ["2 values", "found 3", "line 3"], id="row too long"),
        pytest.param("a.csv", b"x,y\n1,2,9\n3,4,9\n", ["2 values", "found 3", "line 2"], id="every row too long"),
        pytest.param("a.csv", b'x,y\n1,"2\n3,4\n', ["expected a CSV table", "string"], id="quote left open"),
        pytest.param("a.csv", "x\né\n".encode("latin-1"), ["UTF-8", "0xe9"], id="latin-1"),
        pytest.param("a.parquet", b"", ["empty file"], id="empty parquet"),
        pytest.param("a.parquet", PARQUET_BYTES[:-9], ["whole Parquet file"], id="truncated parquet"),
        pytest.param(
            "a.parquet", PARQUET_BYTES[:40] + PARQUET_BYTES[90:], ["whole Parquet file"], id="hole in parquet"
        ),
        pytest.param("a.parquet", b"x,y\n1,2\n", ["whole Parquet file"], id="csv called parquet"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    """Each damage is a DataError that names the source and the file, even where the other files are well."""
    csv(tmp_path, f"raw/0.{name[2:]}", PARQUET_BYTES if name.endswith("parquet") else b"x,y\n1,2\n")
    csv(tmp_path, f"raw/{name}", content)
    with refused(DataError, "sources.source", f"raw/{name}", *words):
        read(files("raw"), tmp_path, {})


def test_missing_files_are_refused_by_name(tmp_path: Path) -> None:
    """A file that is not there, a glob without a match, a folder without tables and a link to nothing are refused."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "linked").mkdir()
    csv(tmp_path, "linked/a.csv", "x\n1\n")
    (tmp_path / "linked" / "b.csv").symlink_to(tmp_path / "not pulled")
    for pattern, named in [("a.csv", "a.csv"), ("raw/*.csv", "raw/*.csv"), ("empty", "empty"), ("linked", "b.csv")]:
        with refused(DataError, "sources.flights", named):
            read(files(pattern), tmp_path, {}, name="flights")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        pytest.param("x\n1\n", ["raw/b.csv", "raw/a.csv", "without ['y']"], id="column missing"),
        pytest.param("x,y,z\n1,2,3\n", ["raw/b.csv", "with ['z']"], id="column added"),
        pytest.param("x,Y\n1,2\n", ["raw/b.csv", "without ['y'] and with ['Y']"], id="column renamed"),
        pytest.param("x,y\nN1,2\n", ["raw/b.csv", "expected numbers in column 'x'", "found text", "`text`"], id="kind"),
    ],
)
def test_files_that_differ_in_their_columns_are_refused(tmp_path: Path, second: str, words: list[str]) -> None:
    """The files of one source have the same columns with the same kind of values; the odd one out is named."""
    csv(tmp_path, "raw/a.csv", "x,y\n1,2\n")
    csv(tmp_path, "raw/b.csv", second)
    with refused(DataError, *words):
        read(files("raw"), tmp_path, {})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"rename": {"nope": "z"}}, [".rename", "nope"], id="rename of nothing"),
        pytest.param({"rename": {"x": "y"}}, [".rename", "'y'", "repeated"], id="rename onto a column"),
        pytest.param({"select": ["nope"]}, [".select", "nope"], id="select of nothing"),
        pytest.param({"parse_dates": ["nope"]}, [".parse_dates", "nope"], id="dates of nothing"),
        pytest.param({"text": ["nope"]}, ["text", "nope"], id="text of nothing"),
        pytest.param({"parse_dates": ["y"]}, ["column 'y'", "2 of 3", "row 2", "'yesterday'"], id="no dates"),
        pytest.param({"parse_dates": ["x"]}, ["column 'x'", "numbers such as 20130701"], id="dates as numbers"),
    ],
)
def test_options_that_do_not_fit_the_table_are_refused(tmp_path: Path, options: Any, words: list[str]) -> None:
    """A name that the table lacks and a date that is none are DataErrors with the name or the first such value."""
    csv(tmp_path, "a.csv", "x,y\n20130701,2013-07-01\n20130702,yesterday\n20130703,12:30\n")
    with refused(DataError, *words):
        read(files("a.csv", **options), tmp_path, {})


def test_a_source_without_rows_is_refused(tmp_path: Path) -> None:
    """Zero rows are a failure, not a small table."""
    csv(tmp_path, "a.csv", "x,y\n")
    with refused(DataError, "sources.source", "expected rows, found none"):
        read(files("a.csv"), tmp_path, {})


# --- SQL ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def planes(tmp_path: Path) -> Path:
    """A SQLite file with a space in its name, and two planes in it."""
    path = tmp_path / "the planes.db"
    with sqlite3.connect(path) as database:
        database.execute("create table planes (tailnum text, built integer, seats integer, thrust real)")
        rows = [("N1", 9007199254740993, 2, 1.5), ("Ñ2", None, 4, None)]
        database.executemany("insert into planes values (?, ?, ?, ?)", rows)
    database.close()
    return path


def query(sql: str, connection: str = "sqlite:///the planes.db", **options: Any) -> Source:
    return Source.model_validate({"sql": sql, "connection": connection, **options})


@pytest.mark.usefixtures("planes")
def test_a_query_gives_its_rows_with_exact_numbers(tmp_path: Path) -> None:
    """A relative SQLite path starts at the root; text, gaps, long numbers, colons and percent signs hold."""
    sql = "select *, '10:30 :x a::b 100%s' as literal from planes order by seats"
    table = read(query("${SQL}", "${DB}").model_copy(update={"sql": sql}), tmp_path, {"DB": "sqlite:///the planes.db"})
    assert table["tailnum"].tolist() == ["N1", "Ñ2"]
    assert table["built"].tolist()[0] == 9007199254740993
    assert table["literal"].tolist() == ["10:30 :x a::b 100%s"] * 2
    types = {"tailnum": "str", "built": "Int64", "seats": "int64", "thrust": "float64", "literal": "str"}
    assert table.dtypes.astype(str).to_dict() == types


@pytest.mark.parametrize("sql", ["delete from planes", "drop table planes", "create table other (x)"])
def test_a_query_that_writes_is_refused_and_writes_nothing(tmp_path: Path, planes: Path, sql: str) -> None:
    """The database file is byte for byte what it was."""
    before = planes.read_bytes()
    with refused(DataError, "sources.planes.sql", "readonly"):
        read(query(sql), tmp_path, {}, name="planes")
    assert planes.read_bytes() == before


@pytest.mark.usefixtures("planes")
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        pytest.param("select nope from planes", ["no such column: nope"], id="unknown column"),
        pytest.param("select * from nope", ["no such table: nope"], id="unknown table"),
        pytest.param("selec 1", ["syntax error"], id="syntax"),
        pytest.param("select 1 as a, 2 as a", ["'a'", "repeated"], id="repeated column"),
        pytest.param("select * from planes where seats > 9", ["found none"], id="no rows"),
    ],
)
def test_a_bad_query_is_a_data_error(tmp_path: Path, sql: str, words: list[str]) -> None:
    """A database that answers and refuses the query means that the query is wrong."""
    with refused(DataError, "sources.planes", *words):
        read(query(sql), tmp_path, {}, name="planes")


def test_a_missing_sqlite_file_is_a_service_error_and_is_not_created(tmp_path: Path) -> None:
    """A wrong path does not become an empty database."""
    with refused(ServiceError, "sources.planes", "sqlite:///nope.db", "unable to open"):
        read(query("select 1", "sqlite:///nope.db"), tmp_path, {}, name="planes")
    assert list(tmp_path.iterdir()) == []


def test_a_locked_database_is_a_service_error(tmp_path: Path, planes: Path) -> None:
    """A database that somebody else writes to is not a bad query."""
    with sqlite3.connect(planes, isolation_level=None) as writer:
        writer.execute("begin exclusive")
        with refused(ServiceError, "sources.source.sql", "locked"):
            read(query("select * from planes", "sqlite:///the planes.db?timeout=0"), tmp_path, {})
        writer.execute("rollback")
    writer.close()


class _Refusing(SQLiteDialect_pysqlite):
    """A server that is not there, whose driver repeats the password, as some do."""

    supports_statement_cache = True

    def create_connect_args(self, url: sqlalchemy.URL) -> Any:
        return (str(url.password),), {}

    def connect(self, *arguments: Any, **_: Any) -> Any:
        raise sqlite3.OperationalError(f"no server for\npassword {arguments[0]}")


class _Dying(SQLiteDialect_pysqlite):
    """A server that goes away after the connection is made."""

    supports_statement_cache = True

    def create_connect_args(self, url: sqlalchemy.URL) -> Any:
        del url
        return (":memory:",), {}

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        raise sqlite3.OperationalError("server closed the connection")


registry.register("refusing", __name__, "_Refusing")
registry.register("dying", __name__, "_Dying")


def test_an_unreachable_database_is_a_service_error_without_its_password(caplog: pytest.LogCaptureFixture) -> None:
    """Neither message, cause nor log holds the password, not even where the driver repeats it."""
    environment = {"DB": "refusing://reader:s3cr%40t@db.internal/flights?sslpassword=other"}
    with (
        caplog.at_level("DEBUG"),
        refused(ServiceError, "sources.planes", "refusing://reader:***@db.internal/flights", "no server") as caught,
    ):
        read(query("select 1", "${DB}"), Path(), environment, name="planes")
    everything = f"{caught.value} {caught.value.__cause__} {caplog.text}"
    assert not any(secret in everything for secret in ("s3cr@t", "s3cr%40t", "other"))
    assert caught.value.exit_code == 7


def test_a_database_that_goes_away_is_a_service_error() -> None:
    """A failed query on a server that no longer answers is not blamed on the query."""
    with refused(ServiceError, "sources.source.sql", "server closed the connection"):
        read(query("select 1", "dying://"), Path(), {})


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        pytest.param("${DB}", [".connection", "variable DB"], id="variable missing"),
        pytest.param("${EMPTY}", [".connection", "variable EMPTY"], id="variable empty"),
        pytest.param("hunter2 is no URL", [".connection", "expected a URL"], id="no URL"),
        pytest.param("postgresql://u:hunter2@h:port/d", [".connection", "expected a URL"], id="port is no number"),
        pytest.param("martian://u:hunter2@h/d", [".connection", "martian"], id="unknown database"),
        pytest.param("oracle://u:hunter2@h/d", [".connection", "driver of oracle"], id="driver not installed"),
    ],
)
def test_a_connection_that_cannot_be_used_is_a_configuration_error(connection: str, words: list[str]) -> None:
    """The dotted key and the variable or the database are named, the URL is not repeated."""
    with refused(ConfigurationError, "sources.source", *words) as caught:
        read(query("select 1", connection), Path(), {"EMPTY": ""})
    assert "hunter2" not in str(caught.value)


# --- HTTP --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reply:
    status: int = 200
    body: bytes = b"x,y\n1,2\n"
    headers: dict[str, str] = field(default_factory=dict)
    after: threading.Event | None = None


@dataclass(slots=True)
class Site:
    """A web server on this machine: the replies to a path in turn, the last for ever; and what it was asked."""

    address: str
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    count: Counter[str] = field(default_factory=Counter)

    def serve(self, path: str, *replies: Reply) -> str:
        self.replies[path] = list(replies)
        return self.address + path

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        self.asked.append({name.lower(): value for name, value in handler.headers.items()})
        known = self.replies.get(path, [Reply(status=404)])
        reply = known[min(self.count[path], len(known) - 1)]
        self.count[path] += 1
        if reply.after is not None:
            reply.after.wait(10)
            return
        handler.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.body)


@pytest.fixture
def new_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Site]]:
    """Start web servers on the loopback interface, and stop them at the end."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers: list[ThreadingHTTPServer] = []

    def start() -> Site:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                started.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        started = Site(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return started

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(new_site: Callable[[], Site]) -> Site:
    return new_site()


def page(url: str, **options: Any) -> Source:
    return Source.model_validate({"url": url, **options})


def fetched(source: Source, **environment: str) -> pd.DataFrame:
    return read(source, Path(), environment, name="weather", patience=HASTY)


def test_a_web_address_gives_its_table(site: Site) -> None:
    """CSV and Parquet are told by the path's ending or by `format`; a compressed transfer is unpacked."""
    packed = gzip.compress(b"x,y\n1,2\n")
    plain = site.serve("/a.csv", Reply())
    zipped = site.serve("/b.CSV", Reply(body=packed, headers={"Content-Encoding": "gzip"}))
    assert fetched(page(plain + "?day=1"))["y"].tolist() == [2]
    assert fetched(page(zipped))["y"].tolist() == [2]
    assert fetched(page(site.serve("/export", Reply(body=PARQUET_BYTES)), format="parquet"))["x"].sum() == 499500


def test_a_server_that_recovers_is_asked_again(site: Site) -> None:
    """A 500, a 429 and then the table: the table, in three tries."""
    url = site.serve("/a.csv", Reply(status=500), Reply(status=429), Reply())
    assert fetched(page(url))["x"].tolist() == [1]
    assert site.count["/a.csv"] == 3


def test_a_server_that_stays_ill_is_a_service_error_after_three_tries(site: Site) -> None:
    """The message holds the status and the number of tries."""
    url = site.serve("/a.csv", Reply(status=503))
    with refused(ServiceError, "sources.weather", url, "status 503", "3 tries"):
        fetched(page(url))
    assert site.count["/a.csv"] == 3


def test_a_missing_page_is_asked_for_once_and_named_without_its_secrets(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """404 is final; the address in the message has no account and no query."""
    host = site.address.removeprefix("http://")
    with caplog.at_level("DEBUG"), refused(ServiceError, f"http://{host}/no.csv:", "found 404") as caught:
        fetched(page(f"http://reader:hunter2@{host}/no.csv?token=${{TOKEN}}"), TOKEN="abc123")
    assert site.count["/no.csv"] == 1
    everything = f"{caught.value} {caught.value.__cause__} {caplog.text}"
    assert not any(secret in everything for secret in ("hunter2", "abc123", "reader"))


def test_a_body_that_ends_early_is_a_service_error(site: Site) -> None:
    """A body shorter than its Content-Length is never taken for a table, though it would read as one."""
    url = site.serve("/a.csv", Reply(headers={"Content-Length": "1000"}))
    with refused(ServiceError, url, "ends early"):
        fetched(page(url))
    assert site.count["/a.csv"] == 3


def test_a_compressed_body_that_is_damaged_is_a_service_error(site: Site) -> None:
    """What cannot be unpacked is asked for again, and then refused."""
    url = site.serve("/a.csv", Reply(headers={"Content-Encoding": "gzip"}))
    with refused(ServiceError, url, "damaged", "3 tries"):
        fetched(page(url))


def test_redirects_in_a_circle_are_a_service_error(site: Site) -> None:
    """A server that sends its visitors round in a circle is not asked again."""
    url = site.serve("/a.csv", Reply(status=302, headers={"Location": site.address + "/a.csv"}))
    with refused(ServiceError, url, "TooManyRedirects"):
        fetched(page(url))


def test_a_body_that_ends_early_once_is_read_whole_the_next_time(site: Site) -> None:
    """Nothing of the broken try remains in the table."""
    broken = Reply(body=b"x,y\n8,8\n9,9\n9,9\n", headers={"Content-Length": "1000"})
    assert fetched(page(site.serve("/a.csv", broken, Reply())))["x"].tolist() == [1]


def test_nobody_at_the_address_is_a_service_error(
    new_site: Callable[[], Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed port is tried three times, waiting twice as long each time."""
    waits: list[float] = []
    monkeypatch.setattr("mergeline.sources.http.time.sleep", waits.append)
    new_site()
    with refused(ServiceError, "http://127.0.0.1:1/a.csv", "no connection"):
        read(page("http://127.0.0.1:1/a.csv?token=abc"), Path(), {}, patience=Patience(backoff_s=0.5))
    assert waits == [0.5, 1.0]


def test_a_silent_server_is_a_service_error(site: Site) -> None:
    """Silence longer than the timeout counts as a try in vain."""
    released = threading.Event()
    url = site.serve("/a.csv", Reply(after=released))
    with refused(ServiceError, url, "no answer for 0.05 s"):
        read(page(url), Path(), {}, patience=Patience(tries=1, timeout_s=0.05))
    released.set()


def test_a_response_beyond_the_limit_is_a_service_error(site: Site) -> None:
    """The limit is in bytes; a body of exactly the limit is read."""
    url = site.serve("/a.csv", Reply())
    assert len(read(page(url), Path(), {}, patience=Patience(largest_bytes=8))) == 1
    with refused(ServiceError, url, "at most 7 bytes"):
        read(page(url), Path(), {}, patience=Patience(largest_bytes=7))


def test_headers_carry_secrets_of_the_environment(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """${NAME} in a header is resolved, a line break at a secret's end is dropped, and nothing of it is logged."""
    source = page(site.serve("/a.csv", Reply()), headers={"Authorization": "Bearer ${TOKEN}"})
    with caplog.at_level("DEBUG"):
        fetched(source, TOKEN="abc123\n")
    assert site.asked[0]["authorization"] == "Bearer abc123"
    assert "abc123" not in caplog.text
    with refused(ConfigurationError, "sources.weather.headers.Authorization", "variable TOKEN"):
        fetched(source)
    with refused(ConfigurationError, "headers") as caught:
        fetched(source, TOKEN="abc\ndef")
    assert "abc" not in f"{caught.value} {caught.value.__cause__}"


def test_headers_stay_with_their_host(new_site: Callable[[], Site]) -> None:
    """A redirect to another server gets none of the declared headers; one on the same server gets them all."""
    declared, other = new_site(), new_site()
    headers = {"Authorization": "Bearer a", "X-Api-Key": "b"}
    away = declared.serve("/away.csv", Reply(status=302, headers={"Location": other.serve("/a.csv", Reply())}))
    here = declared.serve("/here.csv", Reply(status=302, headers={"Location": declared.serve("/a.csv", Reply())}))
    fetched(page(away, headers=headers))
    fetched(page(here, headers=headers))
    assert {"authorization", "x-api-key"}.isdisjoint(other.asked[0])
    assert all(asked["x-api-key"] == "b" and asked["authorization"] == "Bearer a" for asked in declared.asked)


def test_a_damaged_download_is_named_by_its_address(site: Site) -> None:
    """The temporary file's path is no help to anyone and is not in the message."""
    url = site.serve("/a.parquet", Reply(body=PARQUET_BYTES[:-9]))
    with refused(DataError, f"sources.weather: {url}:", "whole Parquet file"):
        fetched(page(url))
    with refused(DataError, "/b.csv", "empty file"):
        fetched(page(site.serve("/b.csv", Reply(body=b""))))


# --- joins -------------------------------------------------------------------------------------------------------


def joined(base: pd.DataFrame, other: pd.DataFrame, on: Any, how: str = "left") -> pd.DataFrame:
    declared = {"base": FLIGHTS, "other": FLIGHTS | {"join": {"on": on, "how": how}}}
    return join_tables({"base": base, "other": other}, Sources.model_validate(declared))


BASE = pd.DataFrame({"origin": ["JFK", "LGA", None, "JFK"], "hour": [2, 1, 1, 9], "n": [0, 1, 2, 3]})
OTHER = pd.DataFrame(
    {"origin": ["LGA", "JFK", None], "hour": [1, 2, 1], "wind": [10, 20, 30], "wet": [True, False, True]}
)


def test_a_left_join_keeps_the_rows_and_their_order() -> None:
    """Unmatched rows stay; a gap in a key matches no gap; whole numbers and truth values stay such beside gaps."""
    table = joined(BASE, OTHER, ["origin", "hour"])
    assert table["n"].tolist() == [0, 1, 2, 3]
    assert table["wind"].astype("object").where(table["wind"].notna(), None).tolist() == [20, 10, None, None]
    assert (str(table["wind"].dtype), str(table["wet"].dtype), str(table["n"].dtype)) == ("Int64", "boolean", "int64")


def test_an_inner_join_keeps_the_matches_in_order() -> None:
    """Only rows with a partner remain, in the base's order, and all types are plain again."""
    table = joined(BASE, OTHER, ["origin", "hour"], "inner")
    assert table[["n", "wind"]].to_numpy().tolist() == [[0, 20], [1, 10]]
    assert str(table["wind"].dtype) == "int64"


def test_keys_of_other_names_are_joined_under_the_base_s_name() -> None:
    """A mapping base column -> source column joins them; the source's own name for the key disappears."""
    planes = pd.DataFrame({"tailnum": ["JFK"], "seats": [4]})
    table = joined(BASE, planes, {"origin": "tailnum"})
    assert list(table.columns) == ["origin", "hour", "n", "seats"]
    assert table["seats"].notna().tolist() == [True, False, False, True]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=1),
    st.lists(st.integers(0, 5), min_size=1, unique=True),
)
def test_a_left_join_is_a_look_up(keys: list[int | None], known: list[int]) -> None:
    """Each row of the base gets the value of its key, or a gap; no row is added, lost or moved."""
    base = pd.DataFrame({"k": pd.array([0, *keys], dtype="Int64"), "row": range(len(keys) + 1)})
    values = {key: 2**53 + 1 + key for key in known}
    table = joined(base, pd.DataFrame({"k": list(values), "v": list(values.values())}), ["k"])
    assert table["row"].tolist() == base["row"].tolist()
    found = [None if pd.isna(value) else value for value in table["v"]]
    assert found == [values.get(key) if key is not None else None for key in [0, *keys]]


@pytest.mark.parametrize(
    ("other", "on", "words"),
    [
        pytest.param(
            pd.concat([OTHER, OTHER.iloc[[1]]]), ["origin", "hour"], ["origin=JFK, hour=2 in 2 rows"], id="repeated key"
        ),
        pytest.param(OTHER, ["origin"], ["expected new columns", "['hour']"], id="overlap"),
        pytest.param(OTHER, ["gate"], ["'gate'", "the tables before it"], id="key missing in base"),
        pytest.param(OTHER, {"origin": "airport"}, ["'airport'", "the source"], id="key missing in source"),
        pytest.param(
            OTHER[["origin", "wind"]].assign(origin=[1, 2, 3]),
            ["origin"],
            ["text", "'origin'", "numbers"],
            id="str, int",
        ),
        pytest.param(
            OTHER[["hour", "wind"]].assign(hour=["1", "2", "3"]), ["hour"], ["numbers", "'hour'", "text"], id="int, str"
        ),
        pytest.param(pd.DataFrame({"mixed": [1, "a"]}), ["mixed"], ["'mixed'", "a mixture of types"], id="mixed key"),
        pytest.param(
            OTHER[["origin", "wind"]].assign(origin=None), ["origin"], ["'origin' of the source", "none"], id="all gaps"
        ),
    ],
)
def test_a_join_that_would_lie_is_refused(other: pd.DataFrame, on: Any, words: list[str]) -> None:
    """Multiplied rows, shadowed columns and keys that can never meet are DataErrors that say so."""
    with refused(DataError, "sources.other", *words):
        joined(BASE.assign(mixed=[1, "a", 2, "b"]), other, on)


def test_times_with_and_without_a_zone_do_not_meet() -> None:
    """A key with a zone and one without are of different kinds, whatever their clock says."""
    times = pd.DataFrame({"t": pd.to_datetime(["2013-07-01"])})
    aware = times.assign(t=times["t"].dt.tz_localize("UTC"), v=1)
    with refused(DataError, "expected times in the key 't'", "times in UTC"):
        joined(times, aware, ["t"])


def test_an_inner_join_without_a_match_is_refused() -> None:
    """A table without rows is a failure of the keys."""
    with refused(DataError, "sources.other", "inner join", "found none"):
        joined(BASE, OTHER.assign(hour=77), ["origin", "hour"], "inner")


@pytest.mark.usefixtures("planes")
def test_files_web_and_sql_become_one_table(tmp_path: Path, site: Site) -> None:
    """The section of params.yaml, all three kinds in it, gives the joined table in the base's order."""
    csv(tmp_path, "raw/flights/2013-07.csv", "flight,tail_number,origin,hour\nB,N1,JFK,2\nA,N9,LGA,1\n")
    weather = site.serve("/weather.csv", Reply(body=b"origin,hour,wind\nLGA,1,10\nJFK,2,20\n"))
    sources = Sources.model_validate(
        {
            "flights": {"files": "raw/flights/*.csv"},
            "weather": {"url": weather, "join": {"on": ["origin", "hour"]}},
            "planes": {
                "sql": "select tailnum, seats from planes",
                "connection": "${PLANES_DATABASE}",
                "rename": {"tailnum": "tail_number"},
                "join": {"on": ["tail_number"]},
            },
        }
    )
    table = read_joined(sources, tmp_path, {"PLANES_DATABASE": "sqlite:///the planes.db"}, HASTY)
    assert table["flight"].tolist() == ["B", "A"]
    assert table["wind"].tolist() == [20, 10]
    assert table["seats"].fillna(-1).tolist() == [2, -1]


# --- partitions --------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4 * 31 * 86_400).map(lambda s: pd.Timestamp("2012-11-01") + pd.Timedelta(seconds=s)),
            st.text("abé", max_size=2),
            st.one_of(st.none(), st.integers(-(2**62), 2**62)),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_the_partitions_under_each_other_are_the_sorted_table(rows: list[tuple[Any, str, int | None]]) -> None:
    """Every row is in the month of its time, once; nothing else changes."""
    table = pd.DataFrame(rows, columns=["time", "id", "n"]).astype({"n": "Int64", "id": "str"})
    parts = partition(table, "time", "id")
    assert list(parts) == sorted(parts)
    assert all(set(part["time"].dt.strftime("%Y-%m")) == {month} for month, part in parts.items())
    expected = table.sort_values(["time", "id"], kind="stable", ignore_index=True)
    assert_frame_equal(pd.concat(list(parts.values()), ignore_index=True), expected)


def test_rows_of_one_time_keep_their_order_where_there_is_no_id() -> None:
    """Sorting by time alone moves no row past another of the same minute."""
    table = pd.DataFrame({"t": pd.to_datetime(["2013-07-02", "2013-07-01"] * 500), "row": range(1000)})
    rows = partition(table, "t", None)["2013-07"]["row"].tolist()
    assert rows == [*range(1, 1000, 2), *range(0, 1000, 2)]


def test_times_with_a_zone_are_partitioned_in_utc() -> None:
    """The last evening of July in New York is August in UTC; the zone is dropped."""
    table = pd.DataFrame({"t": ["2013-07-31T22:00:00-04:00", "2013-07-31T12:00:00-04:00"]})
    parts = partition(table, "t", None)
    assert {month: part["t"].tolist() for month, part in parts.items()} == {
        "2013-07": [pd.Timestamp("2013-07-31 16:00")],
        "2013-08": [pd.Timestamp("2013-08-01 02:00")],
    }
    aware = pd.DataFrame({"t": pd.to_datetime(table["t"], utc=True).dt.tz_convert("Europe/Paris")})
    assert_frame_equal(partition(aware, "t", None)["2013-08"], parts["2013-08"])


def test_a_table_without_time_is_one_partition() -> None:
    """It is called all, sorted by the id where there is one, in its own order otherwise."""
    table = pd.DataFrame({"id": ["b", "a"]})
    assert partition(table, None, "id")["all"]["id"].tolist() == ["a", "b"]
    assert list(partition(table, None, None)) == ["all"]
    assert partition(table, None, None)["all"]["id"].tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        pytest.param({"x": [1]}, ["'t'", "['x']"], id="time missing"),
        pytest.param({"t": ["2013-07-01"]}, ["'x'"], id="id missing"),
        pytest.param({"t": [], "x": []}, ["expected rows, found none"], id="no rows"),
        pytest.param(
            {"t": ["2013-07-01", "soon", "late"], "x": [1, 2, 3]}, ["2 of 3", "row 2", "'soon'"], id="no time"
        ),
        pytest.param({"t": ["2013-07-01", None, None], "x": [1, 2, 3]}, ["2 of 3", "row 2", "NaT"], id="gap"),
        pytest.param({"t": [pd.NaT, pd.Timestamp(0)], "x": [1, 2]}, ["1 of 2", "row 1", "NaT"], id="NaT"),
        pytest.param({"t": [2013, 2014], "x": [1, 2]}, ["'t'", "numbers such as 2013"], id="numbers"),
        pytest.param({"t": ["2013-07-01"] * 2, "x": [1, "a"]}, ["'x'", "mixture"], id="mixed id"),
    ],
)
def test_a_table_that_cannot_be_partitioned_is_refused(table: dict[str, list[Any]], words: list[str]) -> None:
    """The column, the number of rows and the first value at fault are named."""
    with refused(DataError, *words):
        partition(pd.DataFrame(table), "t", "x")


# --- writing -----------------------------------------------------------------------------------------------------

JULY = pd.DataFrame({"t": pd.to_datetime(["2013-07-01"]), "s": ["é"], "n": pd.array([1], dtype="Int16"), "x": [0.5]})
AUGUST = JULY.assign(t=pd.to_datetime(["2013-08-01"]), n=pd.array([None], dtype="Int16"), x=[float("nan")])


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_partitions_are_written_once_and_then_left_alone(tmp_path: Path) -> None:
    """The second run writes nothing, gaps and NaN included: same bytes, same time of change, nothing left beside."""
    folder = tmp_path / "new" / "data"
    parts = {"2013-08": AUGUST, "2013-07": JULY}
    assert write_partitions(parts, folder, replace=False) == IngestRecord(("2013-07", "2013-08"), (), ())
    before = snapshot(folder)
    for replace in (False, True):
        record = write_partitions(parts, folder, replace=replace)
        assert record == IngestRecord(written=(), unchanged=("2013-07", "2013-08"), replaced=())
    assert snapshot(folder) == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["data"]


def test_the_bytes_depend_on_the_rows_alone(tmp_path: Path) -> None:
    """Two folders get the same bytes: zstd, no metadata of pandas, the types of the table."""
    for name in ("a", "b"):
        write_partitions({"all": JULY}, tmp_path / name, replace=False)
    assert (tmp_path / "a/all.parquet").read_bytes() == (tmp_path / "b/all.parquet").read_bytes()
    file = pq.ParquetFile(tmp_path / "a/all.parquet")
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert b"pandas" not in (file.metadata.metadata or {})
    assert [str(field.type) for field in file.schema_arrow] == ["timestamp[us]", "large_string", "int16", "double"]


def test_the_same_rows_in_other_bytes_are_unchanged(tmp_path: Path) -> None:
    """What another version of pyarrow or another compression wrote is recognised by its rows."""
    path = parquet(tmp_path, "all.parquet", pa.Table.from_pandas(JULY, preserve_index=False))
    before = path.read_bytes()
    assert write_partitions({"all": JULY}, tmp_path, replace=False).unchanged == ("all",)
    assert path.read_bytes() == before


def test_a_new_month_beside_the_old_ones_is_written(tmp_path: Path) -> None:
    """Old partitions that are not in the table, and foreign files, stay."""
    write_partitions({"2013-07": JULY}, tmp_path, replace=False)
    (tmp_path / "README.md").write_text("ours")
    assert write_partitions({"2013-08": AUGUST}, tmp_path, replace=False).written == ("2013-08",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2013-07.parquet", "2013-08.parquet", "README.md"]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(JULY.assign(x=0.25), id="value"),
        pytest.param(JULY.assign(x=None), id="gap"),
        pytest.param(JULY.assign(x=1), id="type"),
        pytest.param(pd.concat([JULY, JULY]), id="row"),
        pytest.param(JULY.rename(columns={"x": "y"}), id="name"),
    ],
)
def test_other_rows_are_refused_and_nothing_is_written(tmp_path: Path, changed: pd.DataFrame) -> None:
    """All or nothing: one partition that differs keeps the new one from being written too; `replace` writes both."""
    write_partitions({"2013-07": JULY}, tmp_path / "data", replace=False)
    before = snapshot(tmp_path / "data")
    parts = {"2013-06": changed, "2013-07": changed}
    with refused(DataError, "data", "2013-07", "nothing is written"):
        write_partitions(parts, tmp_path / "data", replace=False)
    assert snapshot(tmp_path / "data") == before
    record = write_partitions(parts, tmp_path / "data", replace=True)
    assert record == IngestRecord(written=("2013-06",), unchanged=(), replaced=("2013-07",))
    assert write_partitions(parts, tmp_path / "data", replace=False).unchanged == ("2013-06", "2013-07")


def test_a_damaged_partition_is_refused_and_mended_by_replace(tmp_path: Path) -> None:
    """A file that cannot be read holds other rows."""
    write_partitions({"all": JULY}, tmp_path, replace=False)
    whole = (tmp_path / "all.parquet").read_bytes()
    (tmp_path / "all.parquet").write_bytes(whole[:-9])
    with refused(DataError, "all"):
        write_partitions({"all": JULY}, tmp_path, replace=False)
    assert write_partitions({"all": JULY}, tmp_path, replace=True).replaced == ("all",)
    assert (tmp_path / "all.parquet").read_bytes() == whole


def test_a_column_of_mixed_types_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """The column is named, and the partition before it is not written either."""
    mixed = pd.DataFrame({"n": pd.Series([1, "a"], dtype="object")})
    with refused(DataError, "column n"):
        write_partitions({"a": pd.DataFrame({"n": [1]}), "b": mixed}, tmp_path / "data", replace=False)
    assert list(tmp_path.iterdir()) == []


def test_a_month_of_gaps_has_the_schema_of_the_others(tmp_path: Path) -> None:
    """Objects without a value in one month are written with the type that they have elsewhere."""
    prices = pd.DataFrame({"price": pd.Series([Decimal("1.50")], dtype="object")})
    write_partitions({"a": prices.assign(price=None), "b": prices}, tmp_path, replace=False)
    assert pq.read_schema(tmp_path / "a.parquet") == pq.read_schema(tmp_path / "b.parquet")


def test_a_failure_in_the_middle_of_writing_leaves_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full before the last partition is written changes none of them and leaves nothing beside.

    Nothing unfinished is ever in the folder, where a killed run would leave it to DVC.
    """
    folder = tmp_path / "data"
    write_partitions({"2013-07": JULY}, folder, replace=False)
    before = snapshot(folder)
    write_bytes = Path.write_bytes

    def full(path: Path, content: Any) -> int:
        assert folder not in path.parents
        if path.name == "2013-08.parquet":
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with refused(ServiceError, "data", "No space left"):
        write_partitions({"2013-07": JULY.assign(x=1.5), "2013-08": AUGUST}, folder, replace=True)
    assert snapshot(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_source_survives_the_way_to_disk_and_back(tmp_path: Path) -> None:
    """Ingested again from its own partitions, a table gives the same partitions."""
    csv(tmp_path, "raw.csv", "t,id,n,late\n2013-07-01,007,9007199254740993,True\n2013-08-01,NA,,\n")
    source = files("raw.csv", text=["id"], parse_dates=["t"])
    write_partitions(partition(read(source, tmp_path, {}), "t", "id"), tmp_path / "data", replace=False)
    again = partition(read(files("data"), tmp_path, {}), "t", "id")
    assert write_partitions(again, tmp_path / "data", replace=False).unchanged == ("2013-07", "2013-08")
