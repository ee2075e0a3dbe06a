"""The verdict in what a run prints."""

from __future__ import annotations

from typing import Any

import report_records as made

from mergeline.report.summary import summary

EVALUATION: dict[str, Any] = {"primary": "roc_auc", "rows": 389, "metrics": []}
TRAINING: dict[str, Any] = {"family": "random_forest", "training_rows": 1000, "tuning_rows": 111}


def test_a_run_with_a_comparison_ends_with_the_verdict_and_where_to_read_on() -> None:
    *_, verdict, read = summary([], made.validation(), TRAINING, EVALUATION, made.comparison()).splitlines()
    assert verdict == "verdict  better by 0.031 ROC AUC (95 % 0.025 to 0.037): promoted"
    assert read.startswith("read     reports/report.md, reports/evaluate/model_card.md")


def test_a_run_without_a_comparison_names_neither_verdict_nor_report() -> None:
    text = summary([], made.validation(), TRAINING, EVALUATION, None)
    assert "verdict" not in text
    assert "report.md" not in text


def test_a_verdict_cannot_steer_the_terminal() -> None:
    said = {**made.comparison(), "sentence": "worse\x1b[2J\non carrier=\u202eAA"}
    text = summary([], made.validation(), TRAINING, EVALUATION, said)
    assert "verdict  worse[2J on carrier=AA\n" in text
