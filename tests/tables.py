"""Small tables and settings, made by plain functions, for tests of the pure modules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mergeline.params import Params, parse

FAMILIES = ("hist_gradient_boosting", "random_forest", "logistic_regression", "torch_mlp")
TARGETS = {"binary": "bought", "multiclass": "kind", "regression": "price"}
START = dt.datetime(2024, 1, 1)

# Small enough for a fit in a fraction of a second, large enough to learn `orders`.
QUICK: dict[str, dict[str, Any]] = {
    "hist_gradient_boosting": {"iterations": 15, "learning_rate": 0.2, "leaves": 7, "min_leaf_rows": 5},
    "random_forest": {"trees": 12, "depth": 6, "min_leaf_rows": 5, "feature_share": 0.8},
    "logistic_regression": {"iterations": 200},
    "torch_mlp": {"hidden": [8], "epochs": 4, "patience": 2, "batch_rows": 64, "learning_rate": 0.01},
}


def orders(rows: int = 480, seed: int = 7) -> pd.DataFrame:
    """An order an hour: every kind of feature, gaps among them, and a target for each task.

    The targets follow from `amount`, `shop` and `member`; `noise` says nothing of them.
    """
    generator = np.random.default_rng(seed)
    amount = generator.normal(50, 20, rows)
    visits = generator.integers(1, 9, rows).astype(float)
    shop = generator.integers(0, 30, rows)
    member = generator.random(rows) < 0.4
    signal = (amount - 50) / 20 + (shop % 3 - 1) + member - 0.4
    gaps = generator.random((rows, 3)) < 0.05
    return pd.DataFrame(
        {
            "order": np.arange(rows) + 1000,
            "placed": pd.date_range(START, periods=rows, freq="h"),
            "amount": np.where(gaps[:, 0], np.nan, amount),
            "visits": np.where(gaps[:, 1], np.nan, visits),
            "member": member,
            "since": pd.Timestamp("2020-03-01") + pd.to_timedelta(generator.integers(0, 1400, rows), unit="D"),
            "noise": generator.normal(size=rows),
            "channel": pd.Series(generator.choice(["app", "desk", "web"], rows)).mask(gaps[:, 2]),
            "shop": [f"s{number:02}" for number in shop],
            "bought": (signal + generator.normal(0, 0.6, rows) > 0).astype(int),
            "kind": np.where(signal < -0.6, "low", np.where(signal > 0.6, "top", "mid")),
            "price": 1000 + 10 * signal + generator.normal(0, 2, rows),
        }
    )


def raw_params(task: str = "binary", **sections: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for `orders` as YAML would give them; a section's keys are laid over the defaults of this function."""
    data = {
        "task": task,
        "target": TARGETS[task],
        "time": "placed",
        "id": "order",
        "numeric": ["amount", "visits", "member", "since", "noise"],
        "categorical": ["channel", "shop"],
        "holdout": {"days": 5},
    }
    return {
        "data": {**data, **sections.get("data", {})},
        "validate": dict(sections.get("validate", {})),
        "train": {"seed": 3, **QUICK, **sections.get("train", {})},
        "evaluate": {"min_slice_rows": 20, **sections.get("evaluate", {})},
    }


def params(task: str = "binary", **sections: Mapping[str, Any]) -> Params:
    """The same, as records."""
    return parse(raw_params(task, **sections))


def months(*counts: int) -> dict[str, pd.DataFrame]:
    """Consecutive partitions of `orders` with so many rows each, by name."""
    table = orders(sum(counts))
    ends = np.cumsum(counts)
    return {
        f"2024-{number + 1:02}": table.iloc[end - count : end].reset_index(drop=True)
        for number, (count, end) in enumerate(zip(counts, ends, strict=True))
    }
