"""What the drift gauges cost in the process: a window takes rows in, a scrape counts them. Prints JSON, microseconds.

Usage, in a repository where the pipeline has run: drift_cost.py
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

CALLS, SCRAPES = 20_000, 30
BATCH = 100


def main() -> None:
    """Time the calls on a full window of real rows."""
    import numpy as np

    from mergeline import table
    from mergeline.models.encoder import encode
    from mergeline.monitor.profile import Profile
    from mergeline.schema import Signature
    from mergeline.serve.drift import DriftWindow, psi

    candidate = Path("models/candidate")
    signature = Signature.from_json((candidate / "signature.json").read_text(encoding="utf-8"))
    profile = Profile.from_json((candidate / "profile.json").read_text(encoding="utf-8"))
    features = signature.features
    rows = table.read_partition(table.partitions(Path("data"))[-1], [feature.name for feature in features])
    values = encode(rows, features).astype(np.float64)
    scores = np.full(len(values), 0.2)
    window = DriftWindow(profile, features)
    for start in range(0, len(values) - BATCH, BATCH):
        window.add(values[start : start + BATCH], scores[start : start + BATCH])
    one, many = (values[:1], scores[:1]), (values[:BATCH], scores[:BATCH])
    counts = window.counts()
    print(
        json.dumps(
            {
                "add_1_us": _mean_us(lambda: window.add(*one), CALLS),
                f"add_{BATCH}_us": _mean_us(lambda: window.add(*many), CALLS // 10),
                "counts_us": _median_us(window.counts, SCRAPES),
                "psi_us": _median_us(lambda: psi(counts, window.reference), SCRAPES),
                "rows": counts.rows,
            }
        )
    )


def _mean_us(call: Callable[[], object], calls: int) -> float:
    """The mean of calls too short to time one by one, their loop included."""
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls * 1e6


def _median_us(call: Callable[[], object], calls: int) -> float:
    return statistics.median(_mean_us(call, 1) for _ in range(calls))


if __name__ == "__main__":
    main()
