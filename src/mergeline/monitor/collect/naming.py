"""What a partition's name says: the month or the day that its rows are of."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from mergeline.errors import ConfigurationError
from mergeline.monitor.windows import Window

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def period_of(name: str) -> Window:
    """Return the month or the day of a name; raise `ConfigurationError` for a name that says neither.

    >>> period_of("2013-12").end.isoformat()
    '2014-01-01T00:00:00+00:00'
    """
    try:
        if _MONTH.fullmatch(name):
            start = dt.date.fromisoformat(f"{name}-01")
            return _between(start, (start + dt.timedelta(days=31)).replace(day=1))
        if _DAY.fullmatch(name):
            start = dt.date.fromisoformat(name)
            return _between(start, start + dt.timedelta(days=1))
    except (ValueError, OverflowError):
        pass
    raise ConfigurationError(
        f"data/{name}.parquet: expected partitions named by month (2013-07) or day (2013-07-01), so that the next one"
        " follows; rename them, or bring new rows by `mergeline ingest`"
    )


def following(names: Sequence[str], now: dt.datetime) -> Iterator[tuple[str, Window]]:
    """Return the names and times of the partitions after the last one that are over, in the manner of the last one."""
    return takewhile(lambda each: each[1].end <= now, _after(max(names)))


def upcoming(names: Sequence[str], now: dt.datetime) -> tuple[str, Window]:
    """Return the name and the time of the first partition after the last one that is not over."""
    return next(each for each in _after(max(names)) if each[1].end > now)


def _after(name: str) -> Iterator[tuple[str, Window]]:
    form = "%Y-%m" if _MONTH.fullmatch(name) else "%Y-%m-%d"
    window = period_of(name)
    while True:
        name = f"{window.end:{form}}"
        window = period_of(name)
        yield name, window


def _between(start: dt.date, end: dt.date) -> Window:
    return Window(*(dt.datetime.combine(each, dt.time(), dt.UTC) for each in (start, end)))
