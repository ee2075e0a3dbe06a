"""How the reports put things: verdicts and metrics in words, numbers and intervals as people read them."""

from __future__ import annotations

import math
from typing import Any

NOTHING = "–"
HEADLINES = {
    "promote": "Promote: the candidate beats the model in production",
    "hold": "Hold: the model in production stays as it is",
    "reject": "Reject: the candidate must not replace the model in production",
}
FIRST_HEADLINES = {
    "promote": "Promote: the candidate beats the baseline and may be the first model to run",
    "hold": "Hold: no model is released",
    "reject": "Reject: the candidate must not be released",
}
SYMBOLS = {"promote": "✅", "hold": "⏸️", "reject": "⛔"}
# what merging does, for a reader who knows no gate
MEANING = {
    "promote": "Merging sends exactly this model to staging; production follows by a pull request of its own.",
    "hold": "Merging changes no release: whatever serves today goes on serving.",
    "reject": "The required check fails: this pull request is not to be merged as it is.",
}
OUTCOMES = {"failed": "✗ failed", "passed": "✓ passed", "not applicable": "– not applicable"}
METRICS = {
    "roc_auc": "ROC AUC",
    "roc_auc_ovr": "ROC AUC (one against the rest)",
    "brier_score": "Brier score",
    "f1": "F1",
    "macro_f1": "macro F1",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}
POLICIES = {
    "base": "The gates of the base branch judged: a pull request cannot loosen the gate that it has to pass.",
    "branch": "The gates of this branch judged: there are none of a base branch that would fit it.",
}


def metric_label(name: str) -> str:
    """Return how people call a metric.

    >>> metric_label("roc_auc"), metric_label("log_loss")
    ('ROC AUC', 'log loss')
    """
    return METRICS.get(name, name.replace("_", " "))


def headline(comparison: dict[str, Any]) -> str:
    """Return the verdict in words that need no glossary."""
    running = comparison["champion"]["kind"] == "model"
    return (HEADLINES if running else FIRST_HEADLINES)[comparison["verdict"]]


def figure(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits, thousands in full.

    >>> figure(0.759106), figure(12345.6), figure(0.00002), figure(None)
    ('0.7591', '12,346', '2e-05', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def signed(value: float | None) -> str:
    """Return a difference with its sign, three significant digits.

    >>> signed(0.03141), signed(-2.0), signed(0.0)
    ('+0.0314', '-2', '0')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    shown = figure(value, 3)
    return f"+{shown}" if value > 0 else shown


def count(value: int | None) -> str:
    """Return a count with its thousands apart."""
    return NOTHING if value is None else f"{value:,}"


def share(value: float) -> str:
    """Return a share as per cent.

    >>> share(0.3141), share(0.00004), share(0)
    ('31 %', '<0.1 %', '0 %')
    """
    percent = value * 100
    if 0 < percent < 0.1:
        return "<0.1 %"
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def interval(record: dict[str, Any] | None, *, sign: bool = False) -> str:
    """Return an interval's record as `0.757 (95 % 0.751 to 0.763)`, with its signs if asked for."""
    if record is None:
        return NOTHING
    form = signed if sign else figure
    level = f"{record['confidence'] * 100:.4g} %"
    return f"{form(record['estimate'])} ({level} {form(record['low'])} to {form(record['high'])})"


def bounds(record: dict[str, Any] | None, *, sign: bool = False) -> str:
    """Return an interval's ends, `0.751 to 0.763`, with their signs if asked for."""
    form = signed if sign else figure
    return f"{form(record['low'])} to {form(record['high'])}" if record else ""


def better(difference: dict[str, Any] | None) -> str:
    """Return what an interval says of the candidate: its whole range has to lie on one side of zero."""
    if difference is None:
        return "not compared"
    if difference["low"] > 0:
        return "better"
    return "worse" if difference["high"] < 0 else "no clear difference"


def period(record: dict[str, Any]) -> str:
    """Return `2013-06-01 05:00 to 2013-06-30 23:59`, or nothing where the rows have no time."""
    if not record.get("first_time") or not record.get("last_time"):
        return ""
    first, last = (str(record[key]).replace("T", " ").removesuffix(":00") for key in ("first_time", "last_time"))
    return f"{first} to {last}"


def short(sha256: str | None) -> str:
    """Return the first 12 digits of a hash."""
    return sha256[:12] if sha256 else NOTHING
