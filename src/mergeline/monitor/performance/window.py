"""One window of the log and the labels that are known: from rows to its record."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mergeline.metrics import Metric
from mergeline.models.encoder import category_text
from mergeline.monitor.experiments.arm import Arm, Problem, arm_of
from mergeline.monitor.experiments.sides import SERVED, label_values, units
from mergeline.monitor.performance.expected import expected
from mergeline.monitor.performance.holdout import CALIBRATION, Holdout
from mergeline.monitor.performance.measure import enough, figures, measured, scores_of
from mergeline.monitor.performance.record import (
    Bias,
    Figure,
    Maturity,
    ModelFigures,
    SliceFigure,
    State,
    WindowPerformance,
)
from mergeline.monitor.performance.rows import FEATURE_PREFIX, TIME
from mergeline.monitor.performance.selection import bias_of
from mergeline.monitor.performance.wording import reason_of
from mergeline.monitor.windows import Window
from mergeline.report.wording import count, share

if TYPE_CHECKING:
    import pandas as pd

    from mergeline.monitor.labels import Joined
    from mergeline.params.performance import PerformanceParams

SHADOW = "shadow"
MISSING_SLICE = "(missing)"  # as `evaluate` calls it
UNCALIBRATED = 0.05  # from which calibration error of the holdout on an estimate says so
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a record is made by: the settings, the metric that judges, the columns of slices, and the time of now.

    `problems` names what each model answers and its threshold, `holdouts` what it was worth, by the models' SHA-256.
    `labels` counts all labels that are known, whoever they belong to.
    """

    settings: PerformanceParams
    primary: Mapping[str, str]
    slices: tuple[str, ...]
    slice_rows: int
    now: dt.datetime
    problems: Mapping[str, tuple[Problem, float | None]]
    holdouts: Mapping[str, Holdout]
    labels: int = 0


def window_of(window: Window, joined: Joined | None, asked: Asked) -> WindowPerformance:
    """Return the record of a window.

    joined: its predictions with `request_id`, `ts`, `TIME`, `entity_id`, `model_sha256`, `variant`, `score`,
    `decision`, `status`, `sampling_rate`, of several classes `scores`, and the features that slices name; beside them
    the labels that were known; None where there is no prediction. What a shadow answered is left out.
    """
    settled = asked.now - window.end >= asked.settings.maturity_days * DAY
    rows = joined.rows[joined.rows["variant"] != SHADOW] if joined else None
    if joined is None or rows is None or rows.empty:
        reason = "no prediction in this window; see whether the server runs and logs"
        return WindowPerformance(window, "", State.NO_TRAFFIC, reason, None, settled, ())
    maturity = _maturity(rows, asked.settings, settled=settled)
    models = tuple(_model(rows[rows["model_sha256"] == name], name, maturity, asked) for name in _models(rows))
    late, early, delay = _timing(rows, window, asked.settings)
    return WindowPerformance(
        window=window,
        primary=asked.primary[models[0].model_sha256],
        state=models[0].state,
        reason=models[0].reason,
        maturity=maturity,
        settled=settled,
        models=models,
        repeated=joined.repeated,
        corrected=joined.corrected,
        late=late,
        early=early,
        delay_days=delay,
        notes=tuple(_notes(rows, models, asked)),
    )


def _models(rows: pd.DataFrame) -> list[str]:
    """The models that answered: the champion that answered last, then the others by their last answer."""
    last = rows.groupby("model_sha256")["ts"].max()
    champions = set(rows["model_sha256"][rows["variant"] == "champion"])
    return sorted(map(str, last.index), key=lambda name: (name in champions, last[name], name), reverse=True)


def _maturity(rows: pd.DataFrame, settings: PerformanceParams, *, settled: bool) -> Maturity | None:
    answered = _answered(rows)
    covered = len(answered) > 0 and answered["label"].notna().mean() >= settings.mature_coverage
    return Maturity.AGE if settled else Maturity.COVERAGE if covered else None


def _answered(rows: pd.DataFrame) -> pd.DataFrame:
    found: pd.DataFrame = rows[rows["score"].notna() & (rows["status"] == SERVED)]
    return found


# ---- One model -------------------------------------------------------------------------------------------------------


def _model(rows: pd.DataFrame, name: str, maturity: Maturity | None, asked: Asked) -> ModelFigures:
    settings, (problem, threshold) = asked.settings, asked.problems[name]
    answered = _answered(rows)
    label, unreadable = label_values(answered["label"], problem)
    here = ~np.isnan(label)
    everyone = arm_of(answered, np.where(here, label, 0.0), units(answered), problem)
    arm = everyone.select(np.flatnonzero(here))
    holdout = asked.holdouts.get(name)
    estimated = expected(problem.task, everyone.scores, threshold)
    found = measured(arm, problem, settings.confidence) if arm.rows else {}
    known = dict(holdout.metrics) if holdout else {}
    compared = _primary_first(
        figures(found, known, estimated, settings.margin, settings.confidence), asked.primary[name]
    )
    state = State.NO_ANSWERS
    if len(answered):
        state = _state(arm, problem, asked.primary[name], compared, maturity, settings)
    slices = tuple(_slices(answered[here], arm, problem, holdout, asked, asked.primary[name]))
    bias = bias_of(scores_of(everyone)[here], scores_of(everyone)[~here], settings.bias)
    failed = len(rows) - len(answered)
    model = ModelFigures(name, len(answered), failed, arm.rows, unreadable, state, "", compared, slices, bias)
    return replace(model, reason=reason_of(model, asked.primary[name], settings.min_labels))


def _primary_first(found: Iterator[Figure], primary: str) -> tuple[Figure, ...]:
    return tuple(sorted(found, key=lambda each: each.name != primary))


def _state(
    arm: Arm,
    problem: Problem,
    primary: str,
    compared: tuple[Figure, ...],
    maturity: Maturity | None,
    settings: PerformanceParams,
) -> State:
    if maturity is None:
        return State.IMMATURE
    if not arm.rows:
        return State.NO_LABELS
    figure = next((each for each in compared if each.name == primary), None)
    if figure is None or figure.measured is None or not enough(arm, problem, primary, settings.min_labels):
        return State.FEW_LABELS
    if figure.difference is None:
        return State.NO_HOLDOUT
    return State.DEGRADED if figure.degraded else State.HOLDS


def _slices(
    rows: pd.DataFrame, arm: Arm, problem: Problem, holdout: Holdout | None, asked: Asked, primary: str
) -> Iterator[SliceFigure]:
    """The primary metric of each slice with labels enough, its confidence corrected for the number of slices."""
    parts = []
    for column in asked.slices:
        if FEATURE_PREFIX + column not in rows:
            continue
        values = category_text(rows[FEATURE_PREFIX + column]).fillna(MISSING_SLICE).to_numpy(dtype=object)
        for value in sorted(set(values)):
            chosen = arm.select(np.flatnonzero(values == value))
            if enough(chosen, problem, primary, asked.slice_rows):
                parts.append((column, str(value), chosen))
    settings = asked.settings
    confidence = 1 - (1 - settings.confidence) / max(len(parts), 1)
    for column, value, chosen in parts:
        now = measured(chosen, problem, confidence).get(primary)
        then = holdout.slices.get((column, value)) if holdout else None
        if now is not None:
            yield SliceFigure(column, value, _only(now, then, settings.margin, confidence))


def _only(now: Metric, then: Metric | None, margin: float, confidence: float) -> Figure:
    known = {} if then is None or then.name != now.name else {then.name: then}
    return next(figures({now.name: now}, known, {}, margin, confidence))


# ---- The window ------------------------------------------------------------------------------------------------------


def _timing(rows: pd.DataFrame, window: Window, settings: PerformanceParams) -> tuple[int, int, float | None]:
    """Labels that came after the window was mature, labels from before the prediction, the median delay in days."""
    known = rows[rows["label"].notna()]
    if known.empty:
        return 0, 0, None
    late = known["label_ts"] > window.end + settings.maturity_days * DAY
    days = (known["label_ts"] - known[TIME]).dt.total_seconds() / DAY.total_seconds()
    return int(late.sum()), int((days < 0).sum()), round(float(days.median()), 4)


def _notes(rows: pd.DataFrame, models: tuple[ModelFigures, ...], asked: Asked) -> Iterator[str]:
    rates = np.unique(rows["sampling_rate"].to_numpy(dtype=np.float64))
    if len(rates) > 1:
        yield f"sampling rates from {rates[0]:g} to {rates[-1]:g}; rows are not weighted by them"
    if asked.labels and not rows["label"].notna().any():
        yield (
            f"{count(asked.labels)} labels are in the log, and none belongs to a prediction of this window; compare"
            " their request ids with those of the answers"
        )
    for each in models:
        name = each.model_sha256[:12]
        if each.failed:
            yield f"model {name} failed on {count(each.failed)} of {count(each.answers + each.failed)} requests"
        if each.unreadable:
            yield f"{count(each.unreadable)} labels of model {name} are none of its classes, and are not counted"
        if each.bias is not None and each.bias.found:
            yield _biased(each, each.bias)
        calibration = _calibration(asked.holdouts.get(each.model_sha256))
        if calibration is not None and not each.labelled and calibration > UNCALIBRATED:
            yield (
                f"the estimates of model {name} rest on scores whose calibration error on the holdout is"
                f" {calibration:.3f}; they are off by about as much"
            )


def _biased(model: ModelFigures, bias: Bias) -> str:
    some = f"{share(model.coverage or 0.0)} of model {model.model_sha256[:12]}'s answers"
    return (
        f"labels are missing not at random: the scores of the {some} that have one lie apart from those of the rest"
        f" (Kolmogorov-Smirnov {bias.distance:.2f}); what is measured speaks of the labelled alone"
    )


def _calibration(holdout: Holdout | None) -> float | None:
    found = holdout.metrics.get(CALIBRATION) if holdout else None
    return found.interval.estimate if found else None
