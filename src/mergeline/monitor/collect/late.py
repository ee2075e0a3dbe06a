"""Rows, and labels of rows, that came after the partition of their time was collected: in no table, and said to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mergeline.monitor.collect.collected import ABSENT, REASON, no_label

if TYPE_CHECKING:
    import pandas as pd


def late(
    rows: pd.DataFrame, partition: str, target: str, taken: Collection[str], held_up: Mapping[str, str]
) -> pd.DataFrame:
    """Return the rows of a partition's time that came after it was collected, as logged, with the reason.

    rows: of one request each, with `label`. taken: the requests that the partition is of. held_up: why others were not
    taken; those that only had no label count here once they have one.
    """
    requests = rows["request_id"]
    came = (~requests.isin(set(taken) | set(held_up))).to_numpy()
    waited = {request for request, reason in held_up.items() if reason == no_label(target)}
    labelled = (requests.isin(waited) & rows["label"].notna()).to_numpy()
    reasons = np.where(
        came, f"came after {partition} was collected", f"{target}: label after {partition} was collected"
    )
    found: pd.DataFrame = rows.assign(**{REASON: reasons})[came | labelled].drop(columns=[ABSENT])
    return found.reset_index(drop=True)
