"""Which rows judge: the newest, or a hash's choice, and never a row that something is fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import orders, params

from mergeline.errors import DataError
from mergeline.holdout import labelled, split, tuning_split
from mergeline.params import DataParams

TIMELESS: dict[str, Any] = {"time": None, "holdout": {"share": 0.25}}


def data(**changes: Any) -> DataParams:
    return params(data=changes).data


def at(*times: str) -> pd.DataFrame:
    return pd.DataFrame({"placed": pd.to_datetime(list(times), format="ISO8601"), "bought": 1})


def sides(rows: pd.DataFrame, settings: DataParams) -> dict[Any, str]:
    """The side of each row, by its id."""
    parts = split(rows, settings)
    ids = rows["order"].to_numpy()
    return dict.fromkeys(ids[parts.training], "training") | dict.fromkeys(ids[parts.holdout], "holdout")


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(0, 400), min_size=2, max_size=40), st.integers(1, 9) | st.floats(0.05, 0.9))
def test_every_row_is_on_one_side_and_the_holdout_is_the_newer(hours: list[int], size: float) -> None:
    rows = at("2024-01-01").loc[[0] * len(hours)].reset_index(drop=True)
    rows["placed"] += pd.to_timedelta(pd.Series(hours), unit="h")
    chosen: Mapping[str, Any] = {"days": size} if isinstance(size, int) else {"share": size}
    try:
        parts = split(rows, data(holdout=chosen))
    except DataError:
        return
    assert sorted([*parts.training, *parts.holdout]) == list(range(len(rows)))
    assert rows["placed"].iloc[parts.training].max() < rows["placed"].iloc[parts.holdout].min()
    assert rows["placed"].iloc[parts.training].is_monotonic_increasing


def test_days_count_whole_days_back_from_the_end_of_the_newest_rows_day() -> None:
    rows = at("2024-01-30T23:59", "2024-01-31T00:00", "2024-02-01T08:00", "2024-01-01T00:00")
    parts = split(rows, data(holdout={"days": 2}))
    assert parts.training.tolist() == [3, 0]
    assert parts.holdout.tolist() == [1, 2]


def test_a_day_ends_at_midnight_utc_whatever_zone_and_daylight_saving_the_column_has() -> None:
    rows = at("2024-03-09T12:00", "2024-03-10T00:00", "2024-03-10T23:59", "2024-03-11T01:00")
    parts = split(rows, data(holdout={"days": 2}))
    abroad = rows.assign(placed=rows["placed"].dt.tz_localize("UTC").dt.tz_convert("America/New_York"))
    for found in (parts, split(abroad, data(holdout={"days": 2}))):
        assert found.holdout.tolist() == [1, 2, 3]


def test_a_share_takes_the_newest_and_every_row_of_the_oldest_ones_instant() -> None:
    rows = at("2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03")
    assert split(rows, data(holdout={"share": 0.5})).holdout.tolist() == [1, 2, 3]
    assert split(rows, data(holdout={"share": 0.25})).holdout.tolist() == [3]


@pytest.mark.parametrize("holdout", [{"days": 400}, {"share": 0.999}])
def test_a_holdout_that_leaves_nothing_to_fit_on_is_refused(holdout: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="leaves no training row of 48; choose another size"):
        split(orders(48), data(holdout=holdout))


def test_a_hash_that_chooses_no_row_is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.holdout: \{'share': 1e-09\} leaves no holdout row"):
        split(orders(48), data(time=None, holdout={"share": 1e-9}))


def test_without_time_about_the_share_of_the_rows_judges() -> None:
    rows = orders(4000)
    assert len(split(rows, data(**TIMELESS)).holdout) / 4000 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("by", ["order", None], ids=["by id", "by features"])
def test_a_row_never_changes_sides_when_others_come_go_or_move(by: str | None) -> None:
    settings, rows = data(**TIMELESS, id=by), orders(300)
    before = sides(rows, settings)
    shuffled = rows.sample(frac=1, random_state=1).reset_index(drop=True)
    assert sides(shuffled, settings) == before
    fewer = rows.iloc[:150].reset_index(drop=True)
    assert sides(fewer, settings) == {order: before[order] for order in fewer["order"]}


@pytest.mark.parametrize("by", ["order", None], ids=["by id", "by features"])
def test_a_row_keeps_its_side_when_another_one_changes_the_type_of_its_column(by: str | None) -> None:
    settings = data(**TIMELESS, id=by)
    rows = orders(300).assign(visits=lambda each: each["visits"].fillna(1).astype(int))
    before = sides(rows, settings)
    newcomer = rows.iloc[[0]].assign(order=np.nan, visits=1.5, since=pd.Timestamp("2020-01-01T10:30"), member=None)
    joined = pd.concat([rows, newcomer], ignore_index=True)
    assert set(joined[["order", "visits"]].dtypes) == {np.dtype("float64")}
    after = sides(joined, settings)
    assert {order: after[order] for order in before} == before


def test_the_sides_of_a_hash_are_those_of_every_machine_and_version() -> None:
    parts = split(pd.DataFrame({"order": [1, 2, 3, 4, 5, 6]}), data(**TIMELESS))
    assert sorted(parts.holdout.tolist()) == [1, 3, 5]


def test_rows_without_a_target_are_left_out_and_are_no_negatives() -> None:
    rows = orders(10).assign(bought=pd.Series([1, None] * 5))
    assert labelled(rows, data())["order"].tolist() == [1000, 1002, 1004, 1006, 1008]
    with pytest.raises(DataError, match="no row has a value in 'bought', the target"):
        labelled(rows.assign(bought=None), data())


def test_a_time_that_is_none_or_missing_is_refused_by_its_column() -> None:
    rows = orders(20)
    with pytest.raises(DataError, match=r"data\.time: expected dates in 'placed', found int64 such as .*5"):
        split(rows.assign(placed=5), data())
    with pytest.raises(DataError, match=r"data\.time: 1 labelled rows have no 'placed'"):
        split(rows.assign(placed=rows["placed"].mask(rows.index == 3)), data())


def test_the_tuning_rows_are_the_newest_of_the_training_rows() -> None:
    parts = tuning_split(np.array([7, 3, 5, 1, 9]), 0.4)
    assert parts.training.tolist() == [7, 3, 5]
    assert parts.holdout.tolist() == [1, 9]
    assert tuning_split(np.array([7, 3]), 0.01).holdout.tolist() == [3]
    with pytest.raises(DataError, match=r"train\.tuning_share: 0\.9 of 1 training rows leaves none to fit on"):
        tuning_split(np.array([7]), 0.9)
