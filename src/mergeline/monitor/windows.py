"""Stretches of time that lie end to end: what a monitor looks at once, whenever it was last started."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mergeline.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
OUTSIDE = -1
OLDEST_REQUEST_US = 7305 * 86_400_000_000  # what was asked 20 years before now was asked by a clock that goes wrong


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The time from `start` on, up to and without `end`, both UTC."""

    start: dt.datetime
    end: dt.datetime

    def __post_init__(self) -> None:
        if not (_is_utc(self.start) and _is_utc(self.end) and self.start < self.end):
            raise DataError(f"window: expected two times in UTC, the earlier one first, found {self.start}, {self.end}")

    @property
    def name(self) -> str:
        """What files call it: names sort as the windows do.

        >>> Window(dt.datetime(2013, 4, 1, tzinfo=dt.UTC), dt.datetime(2013, 4, 8, tzinfo=dt.UTC)).name
        '2013-04-01--2013-04-08'
        """
        return f"{_named(self.start)}--{_named(self.end)}"

    def __contains__(self, moment: dt.datetime) -> bool:
        return self.start <= moment < self.end

    def as_dict(self) -> dict[str, str]:
        """Both ends as ISO 8601."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}

    @classmethod
    def from_dict(cls, raw: Any) -> Window:
        """Return the window of `as_dict`; raise `DataError` for anything else."""
        try:
            return cls(dt.datetime.fromisoformat(raw["start"]), dt.datetime.fromisoformat(raw["end"]))
        except (KeyError, TypeError, ValueError) as err:
            raise DataError(f"window: expected start and end as ISO 8601, found {raw!r}") from err


def windows(watermark: dt.datetime, now: dt.datetime, days: int) -> tuple[Window, ...]:
    """Return the windows of so many days that are over, the first from `watermark` on, each from the end of the last.

    They tile the time exactly: the next call's watermark is the end of the last one (the watermark itself where none is
    over yet), so that a schedule that was skipped loses nothing. Raises `DataError` for times that are not in UTC.

    >>> first = dt.datetime(2013, 4, 1, tzinfo=dt.UTC)
    >>> [each.name for each in windows(first, first + dt.timedelta(days=20), 7)]
    ['2013-04-01--2013-04-08', '2013-04-08--2013-04-15']
    """
    if not (_is_utc(watermark) and _is_utc(now)) or days < 1:
        raise DataError(f"windows: expected times in UTC and one day or more, found {watermark}, {now} and {days}")
    length = dt.timedelta(days=days)
    count = max(0, (now - watermark) // length)
    return tuple(Window(watermark + at * length, watermark + (at + 1) * length) for at in range(count))


def midnight(moment: dt.datetime) -> dt.datetime:
    """Return the beginning of a moment's day, UTC: where the first watermark lies best."""
    return moment.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def microseconds(moment: dt.datetime) -> int:
    """Return a time as the logs hold it: microseconds since 1970-01-01 UTC."""
    return (moment - EPOCH) // MICROSECOND


def placed(moments_us: NDArray[np.int64], tiles: Sequence[Window]) -> NDArray[np.intp]:
    """Return for each time [n], in microseconds since 1970, the position of its window among tiles in order.

    Times in no window have `OUTSIDE`. The tiles need not touch each other.
    """
    import numpy as np

    starts = np.array([microseconds(each.start) for each in tiles], dtype=np.int64)
    ends = np.array([microseconds(each.end) for each in tiles], dtype=np.int64)
    found = np.searchsorted(starts, moments_us, side="right") - 1
    if not len(tiles):
        return found
    return np.where((found >= 0) & (moments_us < ends[found]), found, OUTSIDE)


def too_early(time_us: NDArray[np.int64], ts_us: NDArray[np.int64], now_us: int, behind_us: int) -> NDArray[np.bool_]:
    """Return which rows [n] have a time that cannot be: further than `behind_us` before the moment of their request.

    So is one whose request itself lies decades before now. A single one would begin the first window in 1970.
    """
    found: NDArray[np.bool_] = (time_us < ts_us - behind_us) | (ts_us < now_us - OLDEST_REQUEST_US)
    return found


def _is_utc(moment: dt.datetime) -> bool:
    return moment.utcoffset() == dt.timedelta(0)


def _named(moment: dt.datetime) -> str:
    """A day where it begins there, else the time to the second (and below where there is more)."""
    if moment == midnight(moment):
        return f"{moment:%Y-%m-%d}"
    return f"{moment:%Y-%m-%dT%H%M%S}" + (f"{moment.microsecond:06d}" if moment.microsecond else "")
