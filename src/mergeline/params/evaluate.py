"""The section `evaluate`: what is shown of the candidate, and the metric that the verdict turns on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field

from mergeline.params.section import Names, Section
from mergeline.schema import Task

# The metrics that a verdict can turn on; the first of a task does where `evaluate.primary` names none.
PRIMARY_METRICS: Final[Mapping[Task, tuple[str, ...]]] = MappingProxyType(
    {
        Task.BINARY: (
            "roc_auc",
            "average_precision",
            "log_loss",
            "brier_score",
            "accuracy",
            "precision",
            "recall",
            "f1",
        ),
        Task.MULTICLASS: ("log_loss", "accuracy", "balanced_accuracy", "macro_f1", "roc_auc_ovr"),
        Task.REGRESSION: ("rmse", "mae", "median_absolute_error", "r2"),
    }
)


class EvaluateParams(Section):
    """What is shown of the candidate beside its metrics."""

    primary: str | None = None
    slices: Names = ()
    min_slice_rows: Annotated[int, Field(ge=1)] = 200
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
