"""Evidently's own preset, its defaults. Usage: with_evidently.py FOLDER, or with_evidently.py alarms WINDOWS SIGMAS."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset


def drifted(now: pd.DataFrame, then: pd.DataFrame) -> list[str]:
    """The columns that the preset calls drifted."""
    found: dict[str, Any] = Report([DataDriftPreset()]).run(now, then).dict()
    return [
        each["config"]["column"] for each in found["metrics"] if "ValueDrift" in each["metric_name"] and _beyond(each)
    ]


def _beyond(each: dict[str, Any]) -> bool:
    """A distance drifts above its threshold, a p-value below."""
    is_p = "p_value" in each["config"]["method"] or each["config"]["method"].endswith("p_value")
    return bool(each["value"] < each["config"]["threshold"] if is_p else each["value"] >= each["config"]["threshold"])


def alarms(windows: int, sigmas: float) -> None:
    """Say how many windows of 5,000 rows have a column that drifted, and how many have the one that was moved."""
    from benchmarks.drift.alarms import REFERENCE_ROWS, WINDOW_ROWS, window_seed
    from benchmarks.drift.population import drawn, frame

    then = frame(drawn(REFERENCE_ROWS, 0))
    found = [drifted(frame(drawn(WINDOW_ROWS, window_seed(at), moved=sigmas)), then) for at in range(windows)]
    print(json.dumps({"any": sum(map(bool, found)), "moved": sum("n5" in each for each in found), "windows": windows}))


if __name__ == "__main__":
    if sys.argv[1] == "alarms":
        alarms(int(sys.argv[2]), float(sys.argv[3]))
    else:
        place = Path(sys.argv[1])
        sides = [pd.read_parquet(place / f"{name}.parquet") for name in ("current", "reference")]
        print(json.dumps({"drifted": drifted(*sides)}))
