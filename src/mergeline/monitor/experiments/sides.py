"""The rows of an experiment: which requests count, for whom, and with which label."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import DataError
from mergeline.intervals import Floats
from mergeline.metrics import Codes
from mergeline.monitor.experiments.arm import Arm, Problem, arm_of
from mergeline.schema import Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SERVED = 200


class Kind(StrEnum):
    """Each request goes to one variant, or the shadow answers what the champion answers."""

    AB = "A/B"
    SHADOW = "shadow"

    @property
    def variant(self) -> str:
        """What the log calls the challenger."""
        return "shadow" if self is Kind.SHADOW else "challenger"


@dataclass(frozen=True, slots=True)
class Models:
    """Who is compared: the models' SHA-256 and how the challenger met its requests."""

    champion: str
    challenger: str
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """The answers of both variants that count, in one order.

    variant: 0 champion, 1 challenger [n]; unit: see `units` [n]; label: codes of the classes or values, NaN where there
    is none [n]. Of a shadow both variants have the same requests in the same order. `failed`: answers that are none;
    `unreadable`: labels that are none of the task's.
    """

    rows: pd.DataFrame
    variant: Codes
    unit: Codes
    label: Floats
    failed: int
    unreadable: int

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Where there is a label [n]."""
        return ~np.isnan(self.label)

    def of(self, side: int) -> pd.DataFrame:
        """The rows of one variant."""
        rows: pd.DataFrame = self.rows[self.variant == side]
        return rows

    def arm(self, side: int, problem: Problem) -> Arm:
        """The labelled answers of one variant."""
        chosen = np.flatnonzero((self.variant == side) & self.labelled)
        return arm_of(self.rows.iloc[chosen], self.label[chosen], self.unit[chosen], problem)


def sides_of(rows: pd.DataFrame, models: Models, problem: Problem) -> Sides:
    """The rows of the two models that can be compared.

    A/B: the answers from the first of the later variant to the last of the earlier one. Shadow: the requests that both
    answered. Raises DataError where there are none.
    """
    asked = _named(rows, models.champion, "champion"), _named(rows, models.challenger, models.kind.variant)
    found, failed = (_shadowed if models.kind is Kind.SHADOW else _side_by_side)(*asked)
    if found is None:
        raise DataError(
            f"log: expected requests that champion {models.champion[:12]} and {models.kind.variant}"
            f" {models.challenger[:12]} answered side by side, found none; name other models or other days"
        )
    label, unreadable = label_values(found["label"], problem)
    variant = np.asarray(found["variant"] != "champion", dtype=np.int64)
    return Sides(found, variant, units(found), label, failed, unreadable)


def _named(rows: pd.DataFrame, model: str, variant: str) -> pd.DataFrame:
    return rows[(rows["variant"] == variant) & (rows["model_sha256"] == model)]


def _side_by_side(champion: pd.DataFrame, challenger: pd.DataFrame) -> tuple[pd.DataFrame | None, int]:
    """The answers of the time that both variants share, and how many there were none."""
    import pandas as pd

    start, end = (
        max(champion["ts"].min(), challenger["ts"].min()),
        min(champion["ts"].max(), challenger["ts"].max()),
    )
    shared = [side[side["ts"].between(start, end)] for side in (champion, challenger)]
    answered = [side[_answered(side)] for side in shared]
    if any(side.empty for side in answered):
        return None, 0
    found = pd.concat(answered, ignore_index=True)
    return found, sum(map(len, shared)) - len(found)


def _shadowed(champion: pd.DataFrame, shadow: pd.DataFrame) -> tuple[pd.DataFrame | None, int]:
    """The requests that both answered, the champion's rows first; how many of them the shadow failed on."""
    import pandas as pd

    asked = champion[_answered(champion)].merge(shadow["request_id"])["request_id"]
    good = shadow[_answered(shadow)].merge(asked)
    if good.empty:
        return None, 0
    same = champion.merge(good["request_id"])
    pair = [side.sort_values("request_id", ignore_index=True) for side in (same, good)]
    return pd.concat(pair, ignore_index=True), len(asked) - len(good)


def _answered(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["score"].notna() & (rows["status"] == SERVED)


def units(rows: pd.DataFrame) -> Codes:
    """A number for each row [n], equal where one entity asked; a request without an entity has its own, in any variant.

    A server sends an entity's requests to one variant, and one entity's requests are alike: it is what was drawn.
    """
    import pandas as pd

    entity, entities = pd.factorize(rows["entity_id"].replace("", None))
    request, _ = pd.factorize(rows["request_id"])
    return np.where(entity >= 0, entity, len(entities) + request).astype(np.int64)


def label_values(labels: pd.Series, problem: Problem) -> tuple[Floats, int]:
    """Codes of the classes or values [n], NaN where there is no label; how many labels are none of the task's.

    >>> import pandas as pd
    >>> label_values(pd.Series(["no", "yes", None, "maybe"]), Problem(Task.BINARY, ("no", "yes")))
    (array([ 0.,  1., nan, nan]), 1)
    """
    import pandas as pd

    if problem.task is Task.REGRESSION:
        values = pd.to_numeric(labels, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        values = np.where(np.isfinite(values), values, np.nan)
    else:
        codes = pd.Index(problem.classes, dtype=object).get_indexer(pd.Index(labels, dtype=object))
        values = np.where(codes >= 0, codes, np.nan).astype(np.float64)
    return values, int((labels.notna().to_numpy() & np.isnan(values)).sum())
