"""Whylogs: a profile of each side, then its drift scores. Usage: with_whylogs.py FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import whylogs
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

if __name__ == "__main__":
    place = Path(sys.argv[1])
    views = [whylogs.log(pandas=pd.read_parquet(place / f"{name}.parquet")).view() for name in ("current", "reference")]
    scores = calculate_drift_scores(target_view=views[0], reference_view=views[1], with_thresholds=True)
    print(json.dumps({"columns": len(scores)}))
