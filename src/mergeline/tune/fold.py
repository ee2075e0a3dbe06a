"""The folds of the training rows: what a trial is fitted on, and what judges it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import DataError
from mergeline.holdout import labelled, split, tuning_split
from mergeline.models.encoder import encode, fit_features
from mergeline.models.family import Problem, Rows, stops_early
from mergeline.schema import Signature
from mergeline.target import classes, encode_target

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.params import Params

ROWS_PER_FOLD = 2  # one row has no mean loss


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows to fit on, rows that end a fit early (where the family does so), and later rows that judge."""

    signature: Signature
    problem: Problem
    fit: Rows
    tuning: Rows | None
    judge: Rows


def make_folds(table: pd.DataFrame, params: Params) -> tuple[Fold, ...]:
    """Return the folds of the training rows, encoded, each by what its own fitted rows hold.

    With a time there are `tune.folds` blocks, each judging what was fitted on all rows before it; without one, as many
    parts by the rows' hash, each judging what was fitted on the others. A fold whose fitted rows lack a class is left
    out; raises `DataError` where none is left.
    """
    rows = labelled(table, params.data)
    chosen = rows.iloc[split(rows, params.data).training].reset_index(drop=True)
    names = classes(chosen, params.data)
    if len(chosen) < ROWS_PER_FOLD * (params.tune.folds + 1):
        raise DataError(
            f"tune.folds: {params.tune.folds} folds of {len(chosen)} training rows are too small; take fewer"
        )
    made = [_fold(chosen, *each, names, params) for each in _positions(len(chosen), params)]
    folds = tuple(fold for fold in made if fold is not None)
    if not folds:
        raise DataError(f"tune.folds: in each of {params.tune.folds} folds the rows to fit on lack a class; take fewer")
    return folds


def _positions(rows: int, params: Params) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Row numbers to fit on and to judge by; the rows are in the order of time, or of their hash."""
    from sklearn.model_selection import KFold, TimeSeriesSplit

    folding = KFold(params.tune.folds) if params.data.time is None else TimeSeriesSplit(params.tune.folds)
    yield from folding.split(np.empty((rows, 0)))


def _fold(
    rows: pd.DataFrame, fit: NDArray[np.int64], judge: NDArray[np.int64], names: tuple[str, ...], params: Params
) -> Fold | None:
    ends = stops_early(params.train)
    parts = tuning_split(fit, params.train.tuning_share) if ends else None
    learnt = fit if parts is None else parts.training
    features = fit_features(rows.iloc[fit], params.data, params.train.preprocessing)

    def encoded(positions: NDArray[np.int64]) -> Rows:
        chosen = rows.iloc[positions]
        return Rows(encode(chosen, features), encode_target(chosen, params.data, names))

    fitted = encoded(learnt)
    if names and len(np.unique(fitted.target)) < len(names):
        return None
    problem = Problem(params.data.task, max(1, len(names)), features)
    tuning = encoded(parts.holdout) if parts else None
    return Fold(
        Signature(params.data.task, params.data.target, features, names, None), problem, fitted, tuning, encoded(judge)
    )
