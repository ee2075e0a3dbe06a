"""Which windows are to be looked at: every one once it is over, and again as long as labels may come."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from mergeline.monitor.performance.record import WindowPerformance
from mergeline.monitor.windows import Window, windows


def due(
    records: Sequence[WindowPerformance],
    first: dt.datetime,
    now: dt.datetime,
    days: int,
    revisit: int,
    since: dt.datetime | None = None,
) -> tuple[Window, ...]:
    """Return the windows to look at, in their order: those without a settled record, and the last `revisit` ones.

    `records` are those of earlier runs, the oldest first; `first` is where the first window begins that has none. All
    windows lie on one grid; where their length was changed, the new one begins at the end of the last record. With
    `since`, the windows that end after it are looked at once more, however old they are.
    """
    watermark = first
    for before, each in zip((None, *records), records, strict=False):
        if before is None or each.window.start != before.window.end or _days(each.window) != _days(before.window):
            watermark = each.window.start
    if records and _days(records[-1].window) != days:
        watermark = records[-1].window.end
    tiles = windows(watermark, now, days)
    settled = {each.window for each in records if each.settled}
    again = set(tiles[-revisit:])
    return tuple(
        each for each in tiles if each not in settled or each in again or (since is not None and each.end > since)
    )


def _days(window: Window) -> int:
    return (window.end - window.start).days
