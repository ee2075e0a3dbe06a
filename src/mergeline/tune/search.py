"""The search itself: what is tried next, within a number of trials and of minutes, and what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.metrics import PRIMARY_METRIC
from mergeline.schema import Task
from mergeline.tune.fold import make_folds
from mergeline.tune.spaces import SPACES, Setting, suggestion
from mergeline.tune.trial import LOG_LOSS, SQUARED_ERROR, TimeIsOver, Trial, tried

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from optuna.distributions import BaseDistribution

    from mergeline.params import Params


@dataclass(frozen=True, slots=True)
class Search:
    """What was tried, on how many folds: `trials[0]` are the current settings.

    `loss` and `primary` are the names of what the trials report; `in_time` says whether all trials were made.
    """

    family: str
    loss: str
    primary: str
    folds: int
    trials: tuple[Trial, ...]
    in_time: bool

    @property
    def current(self) -> Trial:
        """The settings that params.yaml has."""
        return self.trials[0]

    @property
    def best(self) -> Trial:
        """The trial with the lowest loss; of equals the earliest, so that nothing changes for nothing."""
        return min(self.trials, key=lambda trial: trial.loss)

    @property
    def gains(self) -> tuple[float, ...]:
        """By how much the best settings lower the loss, fold by fold."""
        return tuple(old - new for old, new in zip(self.current.losses, self.best.losses, strict=True))

    def changes(self) -> dict[tuple[str, ...], Any]:
        """Return the new values by their key path in params.yaml; none where the current settings are the best."""
        old = self.current.settings
        new = {key: value for key, value in self.best.settings.items() if value != old[key]}
        return {("train", self.family, key): _plain(value) for key, value in new.items()}

    def summary(self) -> str:
        """Return the lines for a terminal."""
        tried = f"{len(self.trials)} trials of {self.family} on {self.folds} folds of the training rows"
        lines = {"tried": tried + ("" if self.in_time else ", then the time was over"), "best": self._best_settings()}
        lines[self.primary] = self._primary_change()
        lines[self.loss] = self._loss_change()  # in its place where it is the primary metric too
        width = max(map(len, lines))
        return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())

    def _best_settings(self) -> str:
        if self.best is self.current:
            return "the current settings"
        settings = ", ".join(f"{key} {_plain(value)}" for key, value in self.best.settings.items())
        return f"trial {self.best.number}: {settings}"

    def _loss_change(self) -> str:
        if self.best is self.current:
            return _shown(self.current.loss)
        low, high = min(self.gains), max(self.gains)
        spread = f"lower by {np.mean(self.gains):.2g}, on the folds by {low:.2g} to {high:.2g}"
        chance = "; not on each of them, so it may be chance" if low <= 0 else ""
        return f"{_shown(self.current.loss)} -> {_shown(self.best.loss)}, {spread}{chance}"

    def _primary_change(self) -> str:
        old, new = self.current.primary, self.best.primary
        if self.best is self.current or old is None or new is None:
            return _shown(new)
        worse = new < old if self.primary == PRIMARY_METRIC[Task.BINARY] else new > old
        return f"{_shown(old)} -> {_shown(new)}" + (", which is worse" if worse else "")


def search(
    table: pd.DataFrame,
    params: Params,
    progress: Callable[[str], None] = lambda step: None,
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """Try settings on the training rows of `table`, at most `tune.trials` of them in `tune.minutes`.

    The trial with the current settings is finished whatever the time (`clock`, in seconds). Raises `DataError` where
    the rows make no fold, and where the current settings give scores that are not finite.
    """
    end = clock() + 60 * params.tune.minutes
    folds = make_folds(table, params)
    space = SPACES[params.train.family]
    current = {key: getattr(params.train.settings, key) for key in space}
    distributions = {key: within.around(current[key]) for key, within in space.items()}
    progress("the current settings")
    trials = [tried(0, current, folds, params)]
    study = _study(params.train.seed, distributions, trials[0])
    while len(trials) < params.tune.trials and clock() < end:
        lowest = min(trial.loss for trial in trials)
        progress(f"trial {len(trials)} of {params.tune.trials - 1}, lowest loss {lowest:.5g}")
        asked = study.ask(distributions)
        settings = {key: within.setting(asked.params[key]) for key, within in space.items()}
        try:
            trials.append(tried(len(trials), settings, folds, params, lambda: clock() < end))
        except TimeIsOver:
            break
        _tell(study, asked, trials[-1])
    names = (SQUARED_ERROR if params.data.task is Task.REGRESSION else LOG_LOSS, PRIMARY_METRIC[params.data.task])
    return Search(params.train.family, *names, len(folds), tuple(trials), len(trials) == params.tune.trials)


def _study(seed: int, distributions: Mapping[str, BaseDistribution], current: Trial) -> optuna.Study:
    """A study in memory that knows how the current settings did."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    known = {key: suggestion(value) for key, value in current.settings.items()}
    study.add_trial(optuna.trial.create_trial(params=known, distributions=dict(distributions), value=current.loss))
    return study


def _tell(study: optuna.Study, asked: optuna.Trial, trial: Trial) -> None:
    import optuna

    if math.isfinite(trial.loss):
        study.tell(asked, trial.loss)
    else:
        study.tell(asked, state=optuna.trial.TrialState.FAIL)


def _plain(value: Setting) -> Any:
    """A setting as params.yaml has it."""
    return list(value) if isinstance(value, tuple) else value


def _shown(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.5g}"
