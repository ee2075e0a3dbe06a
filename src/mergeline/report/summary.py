"""What `mergeline repro` prints: a few lines, from the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mergeline.report.escape import clean
from mergeline.report.wording import figure, metric_label


def summary(
    ran: Sequence[str],
    validation: dict[str, Any],
    training: dict[str, Any],
    evaluation: dict[str, Any],
    comparison: dict[str, Any] | None = None,
) -> str:
    """Return the lines for a terminal: what ran, the data, the model, the figure that counts, and where to read on."""
    quality, rows = validation["quality"], sum(validation["rows"].values())
    failed = sum(not each["passed"] for each in validation["expectations"])
    held = f"{len(validation['expectations']) - failed} of {len(validation['expectations'])} expectations hold"
    primary = next((each for each in evaluation["metrics"] if each["name"] == evaluation["primary"]), None)
    measured = f"{metric_label(evaluation['primary'])} {_interval(primary)}"
    fitted = training["training_rows"] + training["tuning_rows"]
    number = len(validation["rows"])
    lines = [
        ("ran", ", ".join(ran) if ran else "nothing: everything is up to date"),
        ("data", f"{rows:,} rows in {number} partition{'s' * (number != 1)}, {held}, quality {quality['score']:.3f}"),
        ("model", f"{training['family']} on {fitted:,} rows"),
        ("holdout", f"{measured} on {evaluation['rows']:,} rows"),
    ]
    read = "reports/evaluate/model_card.md, reports/validate/"
    if comparison is not None:
        lines.append(("verdict", clean(comparison["sentence"], 1000)))
        read = f"reports/report.md, {read}"
    lines.append(("read", read))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)


def _interval(metric: dict[str, Any] | None) -> str:
    if metric is None:
        return "is not defined"
    level = f"{metric['confidence'] * 100:.4g} %"
    return f"{figure(metric['estimate'])} ({level} {figure(metric['low'])} to {figure(metric['high'])})"
