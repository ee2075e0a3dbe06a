"""The rows that all contenders read: 13 numbers, 6 categories and a score, the same wherever numpy draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBERS = tuple(f"n{at}" for at in range(13))
CATEGORIES = {"c0": 4, "c1": 8, "c2": 12, "c3": 30, "c4": 1000, "c5": 300}  # and how many values each has
SCORE = "score"
REFERENCE_ROWS = 200_000


def drawn(rows: int, seed: int, *, moved: float = 0.0) -> dict[str, NDArray[Any]]:
    """Return columns [rows]: numbers with NaN where missing, categories as codes; `moved` is added to n5, in sigmas."""
    generator = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for at, name in enumerate(NUMBERS):
        if at < 5:
            values = generator.lognormal(size=rows)
        elif at < 10:
            values = generator.normal(size=rows) if at == 5 else generator.standard_t(3, size=rows)
        else:
            values = generator.pareto(2, size=rows)
        if at == 5:
            values += moved
        values[generator.random(rows) < 0.01 * (at % 5)] = np.nan
        found[name] = values
    for name, size in CATEGORIES.items():
        found[name] = np.minimum(generator.zipf(1.5, size=rows) - 1, size - 1).astype(np.int32)
    found[SCORE] = generator.beta(2, 5, size=rows)
    return found


def texts(name: str) -> list[str]:
    """Return the values of a category in the order of their codes."""
    return [f"{name} value {at}" for at in range(CATEGORIES[name])]


def frame(columns: Mapping[str, NDArray[Any]]) -> Any:
    """Return columns as pandas has them."""
    import pandas as pd

    made = {
        name: np.array(texts(name), dtype=object)[values] if name in CATEGORIES else values
        for name, values in columns.items()
    }
    return pd.DataFrame(made)
