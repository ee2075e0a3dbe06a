"""Which rows judge a model: the newest by time or, where there is no time, a hash's choice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import DataError
from mergeline.models.encoder import category_text

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mergeline.params import DataParams

HASH_KEY = "mergeline-holdout"  # 16 bytes would be a valid key too; pandas takes a string and encodes it


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers (int64) of a labelled table: those to fit on, oldest first, and those that only judge."""

    training: NDArray[np.int64]
    holdout: NDArray[np.int64]


def labelled(table: pd.DataFrame, data: DataParams) -> pd.DataFrame:
    """Return the rows that have a target; a row without one is not a negative, it is not known yet."""
    rows = table[table[data.target].notna()].reset_index(drop=True)
    if rows.empty:
        raise DataError(f"data: no row has a value in {data.target!r}, the target")
    return rows


def split(rows: pd.DataFrame, data: DataParams) -> Split:
    """Divide labelled rows into training and holdout by `data.holdout`.

    With `days`, the holdout begins at midnight UTC that many days before the end of the newest row's day. With `share`,
    it is the newest `ceil(share * n)` rows and every row of the same instant as the oldest of them; without a time
    column, the rows whose hash (of the id, or of all features where there is no id) falls under the share: a row never
    changes sides when others come.
    Raises `DataError` where a side would be empty.
    """
    order, newest = _newest(rows, data)
    parts = Split(training=order[~newest[order]], holdout=order[newest[order]])
    for side, chosen in (("training", parts.training), ("holdout", parts.holdout)):
        if not len(chosen):
            setting = data.holdout.model_dump(exclude_none=True)
            raise DataError(f"data.holdout: {setting} leaves no {side} row of {len(rows)}; choose another size")
    return parts


def tuning_split(training: NDArray[np.int64], share: float) -> Split:
    """Divide training rows again: the last `share` of them is for early stopping, calibration and the threshold.

    `training` is in time order (see `split`), so these are its newest rows. Raises `DataError` under two rows.
    """
    count = max(1, round(share * len(training)))
    if count >= len(training):
        raise DataError(f"train.tuning_share: {share} of {len(training)} training rows leaves none to fit on")
    return Split(training=training[:-count], holdout=training[-count:])


def _newest(rows: pd.DataFrame, data: DataParams) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the rows' order and, per row, whether it is in the holdout."""
    if data.time is None:
        hashes = _hash(rows, data)
        return np.argsort(hashes, kind="stable"), hashes < float(data.holdout.share or 0) * 2.0**64
    import pandas as pd

    times = rows[data.time]
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        raise DataError(f"data.time: expected dates in {data.time!r}, found {times.dtype} such as {times.iloc[0]!r}")
    if times.isna().any():
        raise DataError(f"data.time: {int(times.isna().sum())} labelled rows have no {data.time!r}")
    times = pd.to_datetime(times, utc=True).dt.tz_localize(None)
    order = np.argsort(times.to_numpy(), kind="stable")
    if data.holdout.days is not None:
        start = times.max().normalize() + pd.Timedelta(days=1 - data.holdout.days)
    else:
        count = math.ceil(float(data.holdout.share or 0) * len(rows))
        start = times.iloc[order[-count]]
    return order, (times >= start).to_numpy()


def _hash(rows: pd.DataFrame, data: DataParams) -> NDArray[np.uint64]:
    """A hash a row that does not depend on the other rows, on their order or on the type that they give the column."""
    import pandas as pd
    from pandas.util import hash_pandas_object

    named = [data.id] if data.id is not None else data.features
    texts = pd.DataFrame({name: category_text(rows[name]) for name in named})
    hashed = hash_pandas_object(texts, index=False, categorize=False)
    return np.asarray(hashed.to_numpy(), dtype=np.uint64)
