"""Our side of the alarms: windows judged by the defaults. Usage: our_alarms.py WINDOWS SIGMAS."""

from __future__ import annotations

import datetime as dt
import json
import sys

import numpy as np

from benchmarks.drift.alarms import REFERENCE_ROWS, WINDOW_ROWS, window_seed
from benchmarks.drift.population import SCORE, drawn
from benchmarks.drift.prepare import FEATURES
from mergeline.monitor.drift.judge import Reference, Rules, judge
from mergeline.monitor.drift.tally import Counted, Sample, Tally
from mergeline.monitor.profile import Profile, profile_of
from mergeline.monitor.windows import Window
from mergeline.schema import FIRST_CATEGORY_CODE, Kind

WEEK = Window(dt.datetime(2024, 5, 6, tzinfo=dt.UTC), dt.datetime(2024, 5, 13, tzinfo=dt.UTC))


def profile(rows: int, seed: int, sigmas: float = 0.0) -> Profile:
    """The profile of drawn rows."""
    raw = drawn(rows, seed, moved=sigmas)
    codes = [raw[each.name] + (FIRST_CATEGORY_CODE if each.kind is Kind.CATEGORY else 0) for each in FEATURES]
    return profile_of(np.column_stack(codes).astype(np.float32), FEATURES, raw[SCORE])


def main(windows: int, sigmas: float) -> None:
    """Count the windows with a column that drifted."""
    reference = Reference("a" * 64, FEATURES, profile(REFERENCE_ROWS, 0))
    found = []
    for number in range(windows):
        tally = Tally(profile(WINDOW_ROWS, window_seed(number), sigmas), Sample.empty(0, len(FEATURES)))
        record = judge(WEEK, 0, Counted(tallies={(0, 1.0): tally}), reference, Rules(), [])
        found.append([each.name for each in record.drifted])
    print(json.dumps({"any": sum(map(bool, found)), "moved": sum("n5" in each for each in found), "windows": windows}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
