"""What the columns look like now, beside what they looked like when the running model was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import DataError
from mergeline.gates.evidence import Contender
from mergeline.models.encoder import category_text, encode
from mergeline.schema import SCORE, Feature, Kind, Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

NUMBERS = 20  # bins of a number
CATEGORIES = 9  # categories by name, the rest together
FEATURES = 12
OTHER = "(other)"


@dataclass(frozen=True, slots=True)
class Distribution:
    """One column as shares of its rows, `then` and `now`; the missing ones apart, so that both sum to 1 with them.

    `edges` (of a number, one more than shares) are in its own unit; its outer bins hold what lies beyond them. `labels`
    are the categories.
    """

    feature: str
    kind: str
    labels: tuple[str, ...]
    edges: tuple[float, ...]
    then: tuple[float, ...]
    now: tuple[float, ...]
    missing_then: float
    missing_now: float


def distributions(
    reference: pd.DataFrame | None, rows: pd.DataFrame, candidate: Contender, scores: NDArray[np.float64]
) -> tuple[Distribution, ...]:
    """Return the score's distribution and those of the most important features, as many as a person looks at.

    `reference` holds training rows and their `score`; scores are the candidate's for `rows`, float64 (rows, classes).
    """
    if reference is None or not len(reference):
        return ()
    found = []
    if SCORE in reference.columns:
        likeliest = scores.max(axis=1) if candidate.signature.task is Task.MULTICLASS else scores[:, -1]
        found.append(_numbers(SCORE, reference[SCORE].to_numpy(dtype=np.float64), likeliest))
    features = {each.name: each for each in candidate.signature.features if each.name in reference.columns}
    ranked = [each["feature"] for each in candidate.training["importance"] if each["feature"] in features]
    shown = (_feature(features[name], reference, rows) for name in ranked[:FEATURES])
    return (*found, *(each for each in shown if each is not None))


def _feature(feature: Feature, reference: pd.DataFrame, rows: pd.DataFrame) -> Distribution | None:
    """None where the column was of another kind when the running model was trained."""
    name = feature.name
    if feature.kind is Kind.CATEGORY:
        return _categories(name, reference[name], rows[name])
    try:
        then = _column(reference, feature)
    except DataError:
        return None
    return _numbers(name, then, _column(rows, feature))


def _column(rows: pd.DataFrame, feature: Feature) -> NDArray[np.float64]:
    return encode(rows, (feature,))[:, 0].astype(np.float64)


def _numbers(name: str, then: NDArray[np.float64], now: NDArray[np.float64]) -> Distribution:
    known = np.concatenate([then[np.isfinite(then)], now[np.isfinite(now)]])
    low, high = np.quantile(known, [0.005, 0.995]) if len(known) else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, NUMBERS + 1)
    shares = [_histogram(values, edges) for values in (then, now)]
    missing = [float(np.mean(~np.isfinite(values))) if len(values) else 0.0 for values in (then, now)]
    return Distribution(name, "number", (), tuple(map(_round, edges)), shares[0], shares[1], *map(_round, missing))


def _histogram(values: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[float, ...]:
    known = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    counts, _ = np.histogram(known, edges)
    return tuple(_round(each / max(1, len(values))) for each in counts)


def _categories(name: str, then: pd.Series, now: pd.Series) -> Distribution:
    texts = [category_text(column) for column in (then, now)]
    counts = [text.value_counts() for text in texts]
    ranked = sorted(set(counts[0].index) | set(counts[1].index), key=lambda each: (-counts[0].get(each, 0), str(each)))
    kept, rest = ranked[:CATEGORIES], ranked[CATEGORIES:]
    labels = [*map(str, kept), *([OTHER] if rest else [])]
    shares = [
        tuple(
            _round(float(each) / len(text))
            for each in [
                *(count.get(label, 0) for label in kept),
                *([sum(count.get(label, 0) for label in rest)] if rest else []),
            ]
        )
        for text, count in zip(texts, counts, strict=True)
    ]
    missing = [_round(float(text.isna().mean())) for text in texts]
    return Distribution(name, "category", tuple(labels), (), shares[0], shares[1], missing[0], missing[1])


def _round(value: float) -> float:
    """Seven digits are more than a plot shows, and the same on every machine."""
    return float(f"{float(value):.7g}")
