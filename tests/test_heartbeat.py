"""R12: a beat is as old as it is, and one of a time to come is none."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from mergeline.errors import DataError
from mergeline.heartbeat import KEY, Beat, read_beat
from mergeline.logstore import open_log

NOW = dt.datetime(2024, 9, 30, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("ahead", "overdue"),
    [
        pytest.param(dt.timedelta(days=2000), True, id="of a year to come"),
        pytest.param(dt.timedelta(minutes=6), True, id="beyond what clocks differ by"),
        pytest.param(dt.timedelta(minutes=4), False, id="the twin: by a clock that is somewhat fast"),
        pytest.param(-dt.timedelta(hours=30), False, id="the twin: as old as is allowed"),
        pytest.param(-dt.timedelta(hours=31), True, id="older"),
    ],
)
def test_r12_a_beat_of_a_time_to_come_is_overdue(ahead: dt.timedelta, overdue: bool) -> None:
    assert Beat(NOW + ahead, 30.0).is_overdue(NOW) is overdue


def test_the_age_of_a_beat_that_is_somewhat_ahead_is_0_and_of_one_to_come_below() -> None:
    assert Beat(NOW + dt.timedelta(minutes=4), 30.0).age_hours(NOW) == 0.0
    assert Beat(NOW + dt.timedelta(hours=48), 30.0).age_hours(NOW) == -48.0


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param({"last_success": "2024-09-30T12:00:00", "allowed_hours": 30}, id="without a zone"),
        pytest.param({"last_success": "2024-09-30T12:00:00Z", "allowed_hours": 10**400}, id="beyond every number"),
        pytest.param({"last_success": "yesterday", "allowed_hours": 30}, id="in words"),
        pytest.param({"last_success": None, "allowed_hours": 30}, id="never"),
        pytest.param([], id="a list"),
    ],
)
def test_a_record_that_does_not_say_how_long_ago_is_refused_by_its_place(tmp_path: Path, planted: object) -> None:
    store = open_log(str(tmp_path), Path())
    store.put(KEY, json.dumps(planted).encode())
    with pytest.raises(DataError, match=f"{KEY}: no heartbeat"):
        read_beat(store)


@pytest.mark.parametrize("text", ["2024-09-30T12:00:00+00:00", "2024-09-30T12:00:00Z", "2024-09-30T14:00:00+02:00"])
def test_the_twin_a_time_with_its_zone_is_read_whichever_it_is(tmp_path: Path, text: str) -> None:
    store = open_log(str(tmp_path), Path())
    store.put(KEY, json.dumps({"last_success": text, "allowed_hours": 30}).encode())
    assert read_beat(store) == Beat(NOW, 30.0)
