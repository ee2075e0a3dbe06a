"""Plots of how two models rank and how well they are calibrated: ROC, precision and recall, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mergeline.report import svg
from mergeline.report.wording import figure

MODELS = ("champion", "candidate")  # the candidate is drawn last and so on top
LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 44, 328, 44, 296, 336


def roc(curves: dict[str, Any], summary: str) -> str:
    """Return the ROC curves of both models, or nothing where there are none."""
    found = _points(curves, "roc", "false_positive_rate", "true_positive_rate")
    across, up = _scale(0, 1), _scale(0, 1, vertical=True)
    chance = svg.line(across(0), up(0), across(1), up(1), "reference")
    label = f"ROC curves: the share of positive rows found against the share of false alarms. {summary}"
    return _curves(found, (across, up), ("false positive rate", "true positive rate"), chance, label)


def precision_recall(curves: dict[str, Any], summary: str) -> str:
    """Return the curves of precision against recall of both models, or nothing where there are none."""
    found = _points(curves, "precision_recall", "recall", "precision")
    label = f"Precision against recall of both models. {summary}"
    return _curves(found, (_scale(0, 1), _scale(0, 1, vertical=True)), ("recall", "precision"), "", label)


def calibration(curves: dict[str, Any]) -> str:
    """Return what each model predicted against what came, with intervals, or nothing where there are no bins."""
    bins = {model: curves.get(model, {}).get("calibration", []) for model in MODELS}
    bins = {model: found for model, found in bins.items() if found}
    if not bins:
        return ""
    low, high = _range(list(bins.values()))
    across, up = _scale(low, high), _scale(low, high, vertical=True)
    parts = [*svg.axes(across, up, ("mean prediction", "observed")), _diagonal(across, up, low, high)]
    for model, found in bins.items():
        parts += [part for each in found for part in _bin(model, each, across, up)]
    return svg.drawing(HEIGHT, _calibration_label(bins), [*parts, *_legend(list(bins))])


def _diagonal(across: svg.Scale, up: svg.Scale, low: float, high: float) -> str:
    return svg.line(across(low), up(low), across(high), up(high), "reference")


def _bin(model: str, each: dict[str, Any], across: svg.Scale, up: svg.Scale) -> list[str]:
    aside = 2 if model == "candidate" else -2  # both can be seen where they agree
    x, observed = across(each["mean_prediction"]) + aside, each["observed"]
    whisker = svg.line(x, up(observed["low"]), x, up(observed["high"]), f"whisker {model}")
    return [whisker, marker(model, x, up(observed["estimate"]))]


def _range(bins: Sequence[Sequence[dict[str, Any]]]) -> tuple[float, float]:
    """The smallest range that holds predictions and intervals, from zero where nothing is negative."""
    values = [
        value
        for found in bins
        for each in found
        for value in (each["mean_prediction"], each["observed"]["low"], each["observed"]["high"])
    ]
    return min(0.0, *values), max(values)


def _calibration_label(bins: dict[str, Sequence[dict[str, Any]]]) -> str:
    said = [f"{model}, {_worst_gap(found)}" for model, found in bins.items()]
    return f"Calibration: what was predicted against what came; on the diagonal both agree. {'; '.join(said)}."


def _worst_gap(bins: Sequence[dict[str, Any]]) -> str:
    worst = max(bins, key=lambda each: abs(each["mean_prediction"] - each["observed"]["estimate"]))
    return f"widest apart where {figure(worst['mean_prediction'], 3)} met {figure(worst['observed']['estimate'], 3)}"


def marker(model: str, x: float, y: float) -> str:
    """Return the sign of a model: a filled dot for the candidate, a hollow square for the champion."""
    return svg.circle(x, y, 4, "dot candidate") if model == "candidate" else svg.square(x, y, 3.6, "dot champion")


def _points(curves: dict[str, Any], name: str, x: str, y: str) -> dict[str, list[tuple[float, float]]]:
    found = {model: [(each[x], each[y]) for each in curves.get(model, {}).get(name, [])] for model in MODELS}
    return {model: points for model, points in found.items() if points}


def _scale(low: float, high: float, *, vertical: bool = False) -> svg.Scale:
    return svg.Scale(low, high, BOTTOM, TOP) if vertical else svg.Scale(low, high, LEFT, RIGHT)


def _curves(
    found: dict[str, list[tuple[float, float]]],
    scales: tuple[svg.Scale, svg.Scale],
    names: tuple[str, str],
    reference: str,
    label: str,
) -> str:
    if not found:
        return ""
    across, up = scales
    drawn = [svg.path([(across(x), up(y)) for x, y in points], f"curve {model}") for model, points in found.items()]
    return svg.drawing(
        HEIGHT, label, [*svg.axes(across, up, names), reference, *drawn, *_legend(list(found), signs=False)]
    )


def _legend(models: Sequence[str], *, signs: bool = True) -> list[str]:
    """A sample of each line and its name, at the top right."""
    parts = []
    for number, model in enumerate(models):
        x = RIGHT - 106 * (len(models) - number)
        parts.append(svg.line(x, 12, x + 22, 12, f"{'whisker' if signs else 'curve'} {model}"))
        parts += [marker(model, x + 11, 12)] if signs else []
        parts.append(svg.text(x + 28, 16, model, "name"))
    return parts
