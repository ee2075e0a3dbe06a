"""The model card: what a reader needs to know, taken from the records and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tables import TARGETS, orders, params

from mergeline.models.scorer import Scorer
from mergeline.params import Params
from mergeline.report.card import interval, model_card, table
from mergeline.schema import Signature
from mergeline.stages.evaluate import evaluate
from mergeline.stages.train import train

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

SLICED = {"slices": ["channel", "member"], "min_slice_rows": 20}


def records(trained: Trained, settings: Params) -> tuple[dict[str, Any], dict[str, Any]]:
    """Training and evaluation as the next command reads them."""
    measured = evaluate(orders(), Scorer(trained.model, trained.signature), settings)
    return tuple(json.loads(json.dumps(each)) for each in (trained.record.as_dict(), measured.as_dict()))


def validation(*passed: bool) -> dict[str, Any]:
    quality = {"score": 0.9876, "completeness": 0.97, "consistency": 1.0, "freshness": None}
    expectations = [{"passed": each, "severity": "warn"} for each in passed]
    return {"rows": {"2024-01": 300, "2024-02": 180}, "quality": quality, "expectations": expectations}


@pytest.fixture(scope="module")
def card(candidate: Trained) -> str:
    settings = params(evaluate=SLICED)
    return model_card(settings, candidate.signature, *records(candidate, settings), validation(True))


def test_the_card_says_what_the_model_is_for_and_when_it_calls_a_row_positive(card: str) -> None:
    assert card.startswith("# Model card: `bought`\n\nA hist_gradient_boosting model that says how likely it is that")
    assert "`bought` is `1`, and calls it so from 0.5 on." in card


def test_the_card_has_every_section_in_order_and_ends_with_a_line(card: str) -> None:
    heads = [line for line in card.splitlines() if line.startswith("## ")]
    names = ["Data", "How good it is", "Slices", "Confusion", "Features", "Training", "Limits"]
    assert heads == [f"## {name}" for name in names]
    assert card.endswith(".\n")
    assert "\n\n\n" not in card


def test_the_card_tells_the_rows_and_the_times_of_training_and_of_judgement(card: str) -> None:
    assert "- trained on 360 rows, 2024-01-01T00:00:00 to 2024-01-15T23:00:00" in card
    assert "- judged on 120 rows that nothing was fitted on, 2024-01-16T00:00:00 to 2024-01-20T23:00:00" in card
    assert "- 0 rows have no `bought` and were left out" in card
    assert "- data quality 0.988 of 1 (completeness 0.970, consistency 1.000)\n" in card


def test_the_figure_that_counts_stands_first_with_its_interval(candidate: Trained, card: str) -> None:
    _, evaluation = records(candidate, params(evaluate=SLICED))
    primary = next(each for each in evaluation["metrics"] if each["name"] == "roc_auc")
    assert f"**roc_auc {interval(primary)}** on the holdout." in card
    for each in evaluation["metrics"]:
        assert f"| {each['name']} | {each['estimate']:.4g} |" in card


def test_every_feature_has_its_kind_and_its_importance(candidate: Trained, card: str) -> None:
    for kind in ("| amount | number |", "| since | datetime |", "| member | boolean |", "| shop | category of 30 |"):
        assert kind in card


def test_the_weakest_slice_is_named(candidate: Trained) -> None:
    settings = params(evaluate=SLICED)
    training, evaluation = records(candidate, settings)
    metrics = [each for each in evaluation["slices"] if each["metric"]]
    worst = min(metrics, key=lambda each: each["metric"]["estimate"])
    expected = f"weakest on {worst['column']} = {worst['value']}: roc_auc"
    assert expected in model_card(settings, candidate.signature, training, evaluation, validation())
    for each in metrics:  # of an error the highest is the worst
        each["metric"]["greater_is_better"] = False
    worst = max(metrics, key=lambda each: each["metric"]["estimate"])
    expected = f"weakest on {worst['column']} = {worst['value']}: roc_auc"
    assert expected in model_card(settings, candidate.signature, training, evaluation, validation())


def test_warnings_of_the_data_are_counted(candidate: Trained) -> None:
    settings = params()
    training, evaluation = records(candidate, settings)
    warned = model_card(settings, candidate.signature, training, evaluation, validation(True, False, False))
    assert "; 2 expectations failed as warnings" in warned


def test_what_is_not_defined_is_said_to_be_so(candidate: Trained) -> None:
    settings = params(evaluate=SLICED)
    training, evaluation = records(candidate, settings)
    evaluation["metrics"] = [each for each in evaluation["metrics"] if each["name"] != "roc_auc"]
    for each in evaluation["slices"]:
        each["metric"] = None
    card = model_card(settings, candidate.signature, training, evaluation, validation())
    assert "`roc_auc` is not defined on this holdout." in card
    assert "| channel = app | 49 | not defined |" in card or "| not defined |" in card
    assert "weakest" not in card


@pytest.mark.parametrize("task", TARGETS)
def test_every_task_has_a_card_with_the_sections_that_it_needs(task: str) -> None:
    settings = params(task)
    made = train(orders(), settings)
    card = model_card(settings, made.signature, *records(made, settings), validation())
    purpose = {
        "binary": "says how likely it is that `bought` is `1`",
        "multiclass": "says how likely each value of `kind` is: `low`, `mid`, `top`",
        "regression": "predicts `price`, in its own unit",
    }
    assert purpose[task] in card
    assert ("## Confusion" in card) == (task != "regression")
    assert "## Slices" not in card
    assert "None" not in card.split("## Training")[0]


def test_without_a_time_the_card_warns_that_it_says_nothing_of_the_future(candidate: Trained) -> None:
    settings = params(data={"time": None, "holdout": {"share": 0.3}})
    timeless = model_card(settings, candidate.signature, *records(candidate, settings), validation())
    assert "says nothing of the future" in timeless


def test_the_threshold_of_the_signature_is_the_one_that_is_told(candidate: Trained) -> None:
    settings, signature = params(), candidate.signature
    moved: Signature = replace(signature, threshold=0.12345)
    assert "calls it so from 0.123 on" in model_card(settings, moved, *records(candidate, settings), validation())


def test_a_table_keeps_its_columns_whatever_stands_in_a_cell() -> None:
    shown = table(["a|b", "c"], [["x\ny", "|"], [None, 0.5]])
    assert shown.splitlines() == ["| a\\|b | c |", "|---|---|", "| x y | \\| |", "| None | 0.5 |"]


def test_an_interval_in_words() -> None:
    metric = {"estimate": 0.75678, "low": 0.75, "high": 0.7634567, "confidence": 0.95}
    assert interval(metric) == "0.7568 (95 % 0.75 to 0.7635)"
