"""The summary: the few lines that a person reads after a run."""

from __future__ import annotations

from typing import Any

from mergeline.report.summary import summary

VALIDATION: dict[str, Any] = {
    "rows": {"2024-01": 1200, "2024-02": 300},
    "quality": {"score": 0.98765},
    "expectations": [{"passed": True}, {"passed": True}, {"passed": False}],
}
TRAINING: dict[str, Any] = {"family": "random_forest", "training_rows": 1000, "tuning_rows": 111}
METRIC = {"name": "roc_auc", "estimate": 0.75, "low": 0.7, "high": 0.8, "confidence": 0.9}
EVALUATION: dict[str, Any] = {"primary": "roc_auc", "rows": 389, "metrics": [METRIC]}


def test_a_run_in_five_lines() -> None:
    assert summary(["validate", "train"], VALIDATION, TRAINING, EVALUATION).splitlines() == [
        "ran      validate, train",
        "data     1,500 rows in 2 partitions, 2 of 3 expectations hold, quality 0.988",
        "model    random_forest on 1,111 rows",
        "holdout  ROC AUC 0.75 (90 % 0.7 to 0.8) on 389 rows",
        "read     reports/evaluate/model_card.md, reports/validate/",
    ]


def test_a_run_of_nothing_and_a_figure_that_is_not_defined_say_so() -> None:
    text = summary([], VALIDATION, TRAINING, {**EVALUATION, "metrics": []})
    assert "ran      nothing: everything is up to date" in text
    assert "holdout  ROC AUC is not defined on 389 rows" in text
