"""What one variant of an experiment answered, beside the labels, as the arrays that metrics take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import DataError
from mergeline.gates.evidence import UNBOUNDED
from mergeline.intervals import Floats
from mergeline.metrics import (
    LARGEST_LOG_LOSS,
    Codes,
    Metric,
    binary_metrics,
    multiclass_metrics,
    regression_metrics,
)
from mergeline.paired import BY_THRESHOLD, THRESHOLD
from mergeline.schema import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Problem:
    """What the models of an experiment answer; `classes` in the order of the scores, none of a regression."""

    task: Task
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """The labelled answers of one model.

    label: float [n], codes of the classes or values. scores: [n, k], a probability a class, or [n, 1] of a regression.
    unit: [n], equal where one entity asked; what one unit asks is not independent. threshold: from which probability
    of the second of two classes on the model said so; None where it decided nothing.
    """

    label: Floats
    scores: Floats
    unit: Codes
    threshold: float | None = None

    @property
    def rows(self) -> int:
        """The labelled answers."""
        return len(self.label)

    @property
    def units(self) -> int:
        """The entities that they went to; an answer without an entity counts as one of its own."""
        return len(np.unique(self.unit))

    def select(self, kept: Codes) -> Arm:
        """The rows at some positions."""
        return Arm(self.label[kept], self.scores[kept], self.unit[kept], self.threshold)


def arm_of(rows: pd.DataFrame, label: Floats, unit: Codes, problem: Problem) -> Arm:
    """The arm of some rows of the log, all of one model, each with a label.

    rows: `score`, `decision` and, of several classes, `scores`. Raises DataError where the scores are none or one
    model's decisions contradict its scores.
    """
    score = np.asarray(rows["score"].to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    if problem.task is Task.REGRESSION:
        return Arm(label, score[:, None], unit)
    if problem.task is Task.MULTICLASS:
        return Arm(label, _distributions(rows["scores"], len(problem.classes)), unit)
    return Arm(label, np.column_stack([1 - score, score]), unit, _threshold(rows, score, problem.classes[1]))


def _distributions(lists: pd.Series, classes: int) -> Floats:
    found = [np.empty((0, classes)), *(np.asarray(each, dtype=np.float64)[None, :] for each in lists)]
    wrong = {each.shape[1] for each in found} - {classes}
    if wrong:
        raise DataError(f"scores: expected {classes} a row, one a class, found {wrong.pop()}; see what wrote the log")
    return np.concatenate(found)


def _threshold(rows: pd.DataFrame, score: Floats, positive: str) -> float | None:
    """What the decisions say of it: a log names the threshold once a file, and a file may hold two models."""
    decision = rows["decision"]
    if decision.isna().all():
        return None
    yes = (decision == positive).to_numpy(dtype=bool, na_value=False)
    least = float(score[yes].min()) if yes.any() else float(np.nextafter(score.max(), 2))
    if decision.isna().any() or (not yes.all() and score[~yes].max() >= least):
        raise DataError(
            f"decision: expected {positive!r} from one score of a model on, found it below scores that were decided"
            " otherwise; see which models wrote the log"
        )
    return least


def reported(metric: str, problem: Problem, arm: Arm, confidence: float) -> Metric | None:
    """The metric of one arm as `mergeline.metrics` reports it, every row for itself; None where it is not defined."""
    if problem.task is Task.REGRESSION:
        found = regression_metrics(arm.label, arm.scores[:, 0], confidence=confidence)
    elif problem.task is Task.MULTICLASS:
        found = multiclass_metrics(arm.label, arm.scores, problem.classes, confidence=confidence)
    else:
        if metric in BY_THRESHOLD and arm.threshold is None:
            return None
        cut = THRESHOLD if arm.threshold is None else arm.threshold
        found = binary_metrics(arm.label, arm.scores[:, 1], cut, confidence=confidence)
    return next((each for each in found if each.name == metric), None)


def value_range(metric: str) -> tuple[float, float]:
    """The least and the largest value of a metric."""
    if metric == "log_loss":
        return (0.0, LARGEST_LOG_LOSS)
    if metric == "r2":
        return (-math.inf, 1.0)
    return (0.0, math.inf if metric in UNBOUNDED else 1.0)


def gap_range(metric: str) -> tuple[float, float]:
    """The least and the largest difference of two values of a metric."""
    low, high = value_range(metric)
    return (low - high, high - low)
