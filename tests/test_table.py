"""The table: partitions in the order of their names, read whole or refused by name."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal
from tables import months

from mergeline.errors import DataError
from mergeline.table import columns, partitions, read_partition, read_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    for name, rows in months(20, 10, 15).items():
        rows.to_parquet(place / f"{name}.parquet", index=False)
    return place


def test_partitions_come_in_the_order_of_their_names_and_other_files_do_not_count(folder: Path) -> None:
    (folder / "notes.txt").write_text("not a partition")
    assert [path.stem for path in partitions(folder)] == ["2024-01", "2024-02", "2024-03"]


@pytest.mark.parametrize("place", [".", "nowhere"])
def test_a_folder_without_partitions_is_refused_and_says_how_to_fill_it(tmp_path: Path, place: str) -> None:
    with pytest.raises(DataError, match="expected Parquet partitions, found none; `mergeline pull` puts the data"):
        partitions(tmp_path / place)


def test_the_table_is_its_partitions_one_below_the_other(folder: Path) -> None:
    expected = pd.concat(months(20, 10, 15).values(), ignore_index=True)
    assert_frame_equal(read_table(folder, ["order", "shop"]), expected[["order", "shop"]])


def test_columns_come_in_the_order_asked_for_and_all_of_them_by_default(folder: Path) -> None:
    path = folder / "2024-01.parquet"
    assert list(read_partition(path, ["shop", "order"])) == ["shop", "order"]
    assert_frame_equal(read_partition(path), months(20, 10, 15)["2024-01"])


def test_a_column_that_is_not_there_is_named_with_those_that_are(folder: Path) -> None:
    with pytest.raises(DataError, match=r"2024-01\.parquet: no column 'shopp', 'x'; it has order, placed, amount"):
        read_table(folder, ["shopp", "order", "x"])


def test_the_columns_are_those_that_every_partition_has_in_the_order_of_the_first(folder: Path) -> None:
    every = tuple(months(1)["2024-01"].columns)
    assert columns(folder) == every
    pd.read_parquet(folder / "2024-02.parquet").drop(columns="shop")[["visits", "order"]].assign(extra=1).to_parquet(
        folder / "2024-02.parquet", index=False
    )
    assert columns(folder) == ("order", "visits")


def test_columns_need_no_row_and_partitions_that_share_none_have_none(tmp_path: Path) -> None:
    pd.DataFrame({"a": [], "b": []}).to_parquet(tmp_path / "2024-01.parquet", index=False)
    assert columns(tmp_path) == ("a", "b")
    pd.DataFrame({"c": [1]}).to_parquet(tmp_path / "2024-02.parquet", index=False)
    assert columns(tmp_path) == ()


def test_there_are_no_columns_without_partitions_or_with_a_broken_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected Parquet partitions, found none"):
        columns(tmp_path / "nowhere")
    (folder / "2024-03.parquet").write_bytes(b"order,shop\n1,a\n")
    with pytest.raises(DataError, match=r"2024-03\.parquet: not a whole Parquet file \(") as caught:
        columns(folder)
    assert "\n" not in str(caught.value)


def test_a_table_without_a_row_is_refused(tmp_path: Path) -> None:
    months(20)["2024-01"].iloc[:0].to_parquet(tmp_path / "2024-01.parquet", index=False)
    with pytest.raises(DataError, match="the partitions hold no row"):
        read_table(tmp_path, ["order"])


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped", "missing"])
def test_a_file_that_is_not_whole_is_refused_by_its_name(folder: Path, damage: str) -> None:
    path = folder / "2024-02.parquet"
    content = path.read_bytes()
    footer = len(content) - 8
    path.write_bytes(
        {
            "truncated": content[:-100],
            "empty": b"",
            "text": b"order,shop\n1,a\n",
            "flipped": content[:footer] + bytes([content[footer] ^ 0xFF]) + content[footer + 1 :],
            "missing": b"",
        }[damage]
    )
    if damage == "missing":
        path.unlink()
    with pytest.raises(DataError, match=r"2024-02\.parquet: not a whole Parquet file \(") as caught:
        read_partition(path)
    assert "\n" not in str(caught.value)


def test_a_files_writer_does_not_decide_what_a_column_is(tmp_path: Path) -> None:
    """Dictionaries, decimals, dates and an index are choices of the writing library, not of the data."""
    path = tmp_path / "2024-01.parquet"
    written = pd.DataFrame(
        {
            "order": [17, 3, 4],
            "shop": pd.Categorical(["b", None, "a"]),
            "visits": pd.Categorical([3, 1, 3]),
            "price": [Decimal("1.25"), None, Decimal("7.00")],
            "day": [dt.date(2024, 1, 2), None, dt.date(1999, 12, 31)],
        }
    )
    written.set_index("order").to_parquet(path)
    read = read_partition(path, ["order", "shop", "visits", "price", "day"])
    assert read["order"].tolist() == [17, 3, 4]
    assert isinstance(read.index, pd.RangeIndex)
    assert read["shop"].dtype == "str"
    assert read["visits"].dtype == np.int64
    assert read["price"].dropna().tolist() == [1.25, 7.0]
    assert read["day"].dropna().tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("1999-12-31")]


def test_the_bytes_of_a_column_that_nothing_asks_for_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "2024-01.parquet"
    nested = pa.table({"order": [1, 2], "history": [[1], [2, 3]]})
    pq.write_table(nested, path)
    assert read_partition(path, ["order"])["order"].tolist() == [1, 2]
