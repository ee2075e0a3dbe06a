"""What a model was worth when it was released: the figures of its holdout, as `evaluate` recorded them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mergeline.errors import DataError
from mergeline.intervals import Interval
from mergeline.metrics import Metric

CALIBRATION = "expected_calibration_error"


@dataclass(frozen=True, slots=True)
class Holdout:
    """The metrics of a model on its holdout, by name, and its primary one by column and value of each slice.

    `commit` brought the record; None where it stands in the working tree alone.
    """

    model_sha256: str
    commit: str | None
    primary: str
    metrics: Mapping[str, Metric]
    slices: Mapping[tuple[str, str], Metric]


def holdout_of(model_sha256: str, commit: str | None, content: bytes) -> Holdout:
    """Return the figures of an `evaluation.json`; raise `DataError` for anything else."""
    try:
        raw: dict[str, Any] = json.loads(content)
        metrics = [_metric(each) for each in raw["metrics"]]
        slices = {
            (each["column"], each["value"]): _metric(each["metric"])
            for each in raw["slices"]
            if each["metric"] is not None
        }
        return Holdout(model_sha256, commit, raw["primary"], {each.name: each for each in metrics}, slices)
    except (ValueError, KeyError, TypeError) as err:
        where = f"evaluation.json of model {model_sha256[:12]}"
        raise DataError(f"{where}: not as `mergeline evaluate` writes it ({err!r}); see the commit {commit}") from err


def _metric(raw: Mapping[str, Any]) -> Metric:
    bounds = Interval(*(raw[name] for name in ("estimate", "low", "high", "method", "confidence")))
    return Metric(raw["name"], bounds, raw["greater_is_better"], raw["rows"])
