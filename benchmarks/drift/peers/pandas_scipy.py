"""What people write: a loop over the columns with pandas and scipy, the same statistics as ours, exact.

Usage: pandas_scipy.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial.distance import jensenshannon


def grouped(now: np.ndarray, then: np.ndarray) -> dict[str, float]:
    """PSI, Jensen-Shannon and KL of counts."""
    p, q = (np.maximum(side / side.sum(), 1e-6) for side in (now, then))
    return {"psi": float(((p - q) * np.log(p / q)).sum()), "js": float(jensenshannon(p, q, base=2)),
            "kl": float(stats.entropy(p, q))}  # fmt: skip


def number(now: pd.Series, then: pd.Series) -> dict[str, float]:
    """The statistics of a number."""
    mine, theirs = now.dropna().to_numpy(), then.dropna().to_numpy()
    cuts = np.unique(np.quantile(theirs, np.linspace(0, 1, 11))[1:-1])
    counts = [
        np.append(np.bincount(np.searchsorted(cuts, side), minlength=len(cuts) + 1), whole.isna().sum())
        for side, whole in ((mine, now), (theirs, then))
    ]
    found = stats.ks_2samp(mine, theirs, method="asymp")
    return {"ks": float(found.statistic), "p": float(found.pvalue),
            "wasserstein": float(stats.wasserstein_distance(mine, theirs)), **grouped(*counts)}  # fmt: skip


def category(now: pd.Series, then: pd.Series) -> dict[str, float]:
    """The statistics of a category."""
    counts = pd.concat([now.value_counts(), then.value_counts()], axis=1).fillna(0).to_numpy().T
    found = stats.chi2_contingency(counts)
    return {"chi_squared": float(found.statistic), "p": float(found.pvalue), **grouped(*counts)}


def main(folder: Path) -> None:
    """Compare all columns."""
    now, then = (pd.read_parquet(folder / f"{name}.parquet") for name in ("current", "reference"))
    found = {
        name: number(now[name], then[name]) if now[name].dtype.kind == "f" else category(now[name], then[name])
        for name in now
    }
    corrected = stats.false_discovery_control([each["p"] for each in found.values()])
    print(json.dumps({"drifted": int((corrected < 0.01).sum()), "columns": len(found)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
