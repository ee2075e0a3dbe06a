"""A trial: one set of settings, fitted and judged on every fold."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import DataError
from mergeline.metrics import PRIMARY_METRIC
from mergeline.models.family import Fitting, fitter
from mergeline.schema import Task
from mergeline.stages.evaluate import task_metrics
from mergeline.tune.fold import Fold
from mergeline.tune.spaces import Setting

if TYPE_CHECKING:
    from mergeline.params import Params, TrainParams

LOG_LOSS, SQUARED_ERROR = "log_loss", "squared_error"
CONFIDENCE = 0.95  # of intervals that are not shown: only the estimates are compared


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of settings and how it did on each fold.

    `losses` are mean log losses (nats) or mean squared errors; `primaries` the task's primary metric, None where a fold
    does not define it. A trial without losses could not be fitted, or was cut off by the time limit.
    """

    number: int
    settings: Mapping[str, Setting]
    losses: tuple[float, ...] = ()
    primaries: tuple[float | None, ...] = ()

    @property
    def loss(self) -> float:
        """The mean over the folds; infinite where there is none."""
        return float(np.mean(self.losses)) if self.losses else math.inf

    @property
    def primary(self) -> float | None:
        """The mean over the folds that define the primary metric."""
        known = [value for value in self.primaries if value is not None]
        return float(np.mean(known)) if known else None


@dataclass(frozen=True, slots=True)
class _Judged:
    """What one fit scored on the rows that judge it."""

    loss: float
    primary: float | None


class TimeIsOver(Exception):
    """The time limit was reached between two fits."""


def tried(
    number: int,
    settings: Mapping[str, Setting],
    folds: Sequence[Fold],
    params: Params,
    in_time: Callable[[], bool] = lambda: True,
) -> Trial:
    """Fit and judge settings on every fold; raise `TimeIsOver` between two of them where the time is over.

    Settings that diverge give a trial without losses; those of trial 0, which are the current ones, raise `DataError`.
    """
    chosen = params.train.settings.model_copy(update=dict(settings))
    train = params.train.model_copy(update={params.train.family: chosen})
    judged = []
    for fold in folds:
        if not in_time():
            raise TimeIsOver
        try:
            judged.append(_judged(fold, train))
        except DataError:
            if number == 0:
                raise
            return Trial(number, settings)  # these settings diverged: scores that are not finite
    return Trial(number, settings, tuple(each.loss for each in judged), tuple(each.primary for each in judged))


def _judged(fold: Fold, train: TrainParams) -> _Judged:
    """The loss and the primary metric of one fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a search meets settings that do not converge; their loss says so
        fitted = fitter(train.family)(Fitting(fold.problem, fold.fit, fold.tuning, None, train, lambda step: None))
    measured = task_metrics(fold.signature, fold.judge.target, fitted.predict(fold.judge.matrix), CONFIDENCE)
    found = {each.name: each.interval.estimate for each in measured}
    loss = found["rmse"] ** 2 if fold.problem.task is Task.REGRESSION else found[LOG_LOSS]
    return _Judged(loss, found.get(PRIMARY_METRIC[fold.problem.task]))
