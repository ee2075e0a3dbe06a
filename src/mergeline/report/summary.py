"""What `mergeline repro` prints: a few lines, from the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mergeline.report.card import interval
from mergeline.report.escape import clean


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
    figure = f"{primary['name']} {interval(primary)}" if primary else f"{evaluation['primary']} is not defined"
    fitted = training["training_rows"] + training["tuning_rows"]
    number = len(validation["rows"])
    lines = [
        ("ran", ", ".join(ran) if ran else "nothing: everything is up to date"),
        ("data", f"{rows:,} rows in {number} partition{'s' * (number != 1)}, {held}, quality {quality['score']:.3f}"),
        ("model", f"{training['family']} on {fitted:,} rows"),
        ("holdout", f"{figure} on {evaluation['rows']:,} rows"),
    ]
    read = "reports/evaluate/model_card.md, reports/validate/"
    if comparison is not None:
        lines.append(("verdict", clean(comparison["sentence"], 1000)))
        read = f"reports/report.md, {read}"
    lines.append(("read", read))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)
