"""Windows tile time exactly: whoever starts them, whenever, and however often."""

from __future__ import annotations

import datetime as dt
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergeline.errors import DataError
from mergeline.monitor.windows import OUTSIDE, Window, microseconds, midnight, placed, windows

FIRST = dt.datetime(2013, 4, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=8), st.integers(1, 40))
def test_r12_windows_found_by_any_schedule_are_those_of_one_single_run(hours: list[int], days: int) -> None:
    watermark = FIRST
    found: list[Window] = []
    for hour in sorted(hours):  # each start of the schedule, however long after the last one
        some = windows(watermark, FIRST + hour * HOUR, days)
        watermark = some[-1].end if some else watermark
        found += some
    assert tuple(found) == windows(FIRST, FIRST + max(hours) * HOUR, days)
    assert all(before.end == after.start for before, after in itertools.pairwise(found))


def test_r12_a_watermark_that_jumps_to_now_would_lose_what_a_skipped_run_missed() -> None:
    whole = windows(FIRST, FIRST + 21 * DAY, 7)
    skipped = windows(FIRST + 14 * DAY, FIRST + 21 * DAY, 7)
    assert (len(whole), len(skipped)) == (3, 1)


def test_a_window_that_is_not_over_is_not_there() -> None:
    assert windows(FIRST, FIRST + 7 * DAY - dt.timedelta(microseconds=1), 7) == ()
    assert windows(FIRST, FIRST + 7 * DAY, 7) == (Window(FIRST, FIRST + 7 * DAY),)
    assert windows(FIRST, FIRST - 30 * DAY, 7) == ()


def test_the_end_belongs_to_the_next_window() -> None:
    one, two = windows(FIRST, FIRST + 2 * DAY, 1)
    assert FIRST in one
    assert one.end not in one
    assert one.end in two


def test_each_moment_has_one_window_or_none() -> None:
    tiles = windows(FIRST, FIRST + 3 * DAY, 1)
    gap = (tiles[0], tiles[2])
    moments = [FIRST - DAY, FIRST, FIRST + DAY, FIRST + 2 * DAY, FIRST + 3 * DAY]
    us = np.array([microseconds(each) for each in moments])
    assert placed(us, tiles).tolist() == [OUTSIDE, 0, 1, 2, OUTSIDE]
    assert placed(us, gap).tolist() == [OUTSIDE, 0, OUTSIDE, 1, OUTSIDE]
    assert placed(us, ()).tolist() == [OUTSIDE] * 5


def test_a_window_is_read_back_as_it_was_written_and_its_name_sorts_as_it_does() -> None:
    some = [Window(FIRST + HOUR, FIRST + DAY), *windows(FIRST, FIRST + 20 * DAY, 7)]
    assert [Window.from_dict(each.as_dict()) for each in some] == some
    assert sorted(each.name for each in some) == [each.name for each in sorted(some)]
    assert some[0].name == "2013-04-01T010000--2013-04-02"


def test_midnight_is_that_of_utc() -> None:
    berlin = dt.timezone(dt.timedelta(hours=2))
    assert midnight(dt.datetime(2013, 4, 2, 1, 30, tzinfo=berlin)) == FIRST


@pytest.mark.parametrize(
    ("watermark", "now", "days"),
    [
        pytest.param(FIRST.replace(tzinfo=None), FIRST, 7, id="no zone"),
        pytest.param(FIRST, FIRST.astimezone(dt.timezone(HOUR)), 7, id="another zone"),
        pytest.param(FIRST, FIRST, 0, id="no day"),
    ],
)
def test_times_without_utc_and_no_days_are_refused(watermark: dt.datetime, now: dt.datetime, days: int) -> None:
    with pytest.raises(DataError, match="windows: expected times in UTC"):
        windows(watermark, now, days)


@pytest.mark.parametrize("raw", [None, {}, {"start": "soon", "end": "later"}, {"start": "2013-04-01", "end": 3}])
def test_what_is_no_window_is_refused(raw: object) -> None:
    with pytest.raises(DataError, match="window: expected"):
        Window.from_dict(raw)
