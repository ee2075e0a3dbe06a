"""R12: a beat is as old as it is, and one of a time to come is none."""

from __future__ import annotations

import datetime as dt

import pytest

from mergeline.heartbeat import Beat

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
