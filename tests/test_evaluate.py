"""evaluate: what is measured on the holdout, and what is left out where it has no meaning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from tables import TARGETS, orders, params

from mergeline.errors import DataError
from mergeline.holdout import split
from mergeline.models.scorer import Scorer
from mergeline.schema import Signature, Task
from mergeline.stages.evaluate import Evaluation, decide, evaluate
from mergeline.stages.train import train

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

SLICES: dict[str, Any] = {"evaluate": {"slices": ["channel", "member"], "min_slice_rows": 30}}


class Fixed:
    """A scorer that says the same of every row."""

    def __init__(self, signature: Signature, scores: list[float]) -> None:
        self.signature = signature
        self.scores = scores

    def score_matrix(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.tile(np.array(self.scores, dtype=float), (len(matrix), 1))


@pytest.fixture(scope="module")
def scorer(candidate: Trained) -> Scorer:
    return Scorer(candidate.model, candidate.signature)


@pytest.fixture(scope="module")
def evaluation(scorer: Scorer) -> Evaluation:
    return evaluate(orders(), scorer, params(**SLICES))


def holdout(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[split(table, params().data).holdout].reset_index(drop=True)


def test_the_holdout_alone_is_measured_and_the_model_beats_a_coin(evaluation: Evaluation) -> None:
    assert evaluation.rows == 120
    assert evaluation.first_time == "2024-01-16T00:00:00"
    assert evaluation.last_time == "2024-01-20T23:00:00"
    primary = evaluation.metric("roc_auc")
    assert evaluation.primary == "roc_auc"
    assert primary is not None
    assert primary.interval.low > 0.6


def test_the_training_rows_may_be_anything(scorer: Scorer, evaluation: Evaluation) -> None:
    table = orders()
    inside = split(table, params().data).training
    table.loc[inside, "amount"] = 1e9
    table.loc[inside, "bought"] = 1 - table.loc[inside, "bought"]
    assert evaluate(table, scorer, params(**SLICES)).as_dict() == evaluation.as_dict()
    held = split(table, params().data).holdout
    table.loc[held[0], "bought"] = 1 - table.loc[held[0], "bought"]
    assert evaluate(table, scorer, params(**SLICES)).as_dict() != evaluation.as_dict()


def test_predictions_have_a_row_for_each_holdout_row_in_the_order_of_time(scorer: Scorer) -> None:
    table = orders()
    shuffled = table.sample(frac=1, random_state=2).reset_index(drop=True)
    found = evaluate(shuffled, scorer, params()).predictions
    expected = holdout(table)
    assert list(found.columns) == ["order", "placed", "target", "score 0", "score 1"]
    assert found["order"].tolist() == expected["order"].tolist()
    assert found["target"].tolist() == expected["bought"].astype(str).tolist()
    np.testing.assert_allclose(found["score 1"], scorer.score(expected)[:, 1], rtol=1e-6)
    assert found["score 1"].dtype == np.float32


def test_confusion_counts_every_row_once_by_what_it_is_and_what_it_is_called(evaluation: Evaluation) -> None:
    assert evaluation.confusion is not None
    predictions = evaluation.predictions
    called = np.where(predictions["score 1"] >= 0.5, "1", "0")
    for i, actual in enumerate(evaluation.confusion.classes):
        for j, name in enumerate(evaluation.confusion.classes):
            expected = int(((predictions["target"] == actual) & (called == name)).sum())
            assert evaluation.confusion.counts[i][j] == expected


def test_slices_are_the_primary_metric_of_their_rows_and_small_ones_are_left_out(
    scorer: Scorer, evaluation: Evaluation
) -> None:
    rows = holdout(orders())
    counts = rows["channel"].fillna("(missing)").value_counts()
    expected = [("channel", name) for name in sorted(counts.index) if counts[name] >= 30]
    assert 0 < counts["(missing)"] < 30
    assert [(each.column, each.value) for each in evaluation.slices] == [
        *expected,
        *(("member", "false"), ("member", "true")),
    ]
    first = evaluation.slices[0]
    assert first.rows == counts[first.value]
    only = orders()
    drop = (only.index >= 360) & (only["channel"] != first.value)
    alone = evaluate(only[~drop].reset_index(drop=True), scorer, params())
    assert first.metric == alone.metric("roc_auc")


def test_rows_without_a_value_are_a_slice_of_their_own(scorer: Scorer) -> None:
    found = evaluate(orders(), scorer, params(evaluate={"slices": ["channel"], "min_slice_rows": 1}))
    assert found.slices[0].value == "(missing)"


def test_a_slice_of_one_class_has_no_metric_and_says_how_many_rows(scorer: Scorer) -> None:
    table = orders()
    table.loc[(table.index >= 360) & table["member"], "bought"] = 1
    found = evaluate(table, scorer, params(evaluate={"slices": ["member"], "min_slice_rows": 1}))
    undefined = {each.value: each.metric for each in found.slices}
    assert undefined["true"] is None
    assert undefined["false"] is not None
    assert found.as_dict()["slices"][1]["metric"] is None
    assert found.as_dict()["slices"][1]["rows"] > 0


def test_on_a_holdout_of_one_class_metrics_that_need_two_are_absent_and_the_rest_is_there(scorer: Scorer) -> None:
    table = orders()
    table.loc[table.index >= 360, "bought"] = 0
    found = evaluate(table, scorer, params())
    assert found.metric("roc_auc") is None
    assert found.metric("log_loss") is not None
    assert "roc_auc" not in found.headline()
    assert found.confusion is not None
    assert sum(found.confusion.counts[1]) == 0
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_refused(candidate: Trained, wrong: float) -> None:
    broken: Any = Fixed(candidate.signature, [0.5, wrong])
    with pytest.raises(DataError, match="evaluate: 120 scores are not finite; the model is of no use"):
        evaluate(orders(), broken, params())


def test_a_class_that_the_model_does_not_know_is_refused(scorer: Scorer) -> None:
    table = orders().astype({"bought": object})
    table.loc[470, "bought"] = "maybe"
    with pytest.raises(DataError, match=r"data\.target: 'bought' holds 'maybe', known are 0, 1"):
        evaluate(table, scorer, params())


def test_the_record_is_json_without_curves_and_the_headline_a_number_a_metric(evaluation: Evaluation) -> None:
    record = json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
    assert set(record) == {
        *("primary", "rows", "first_time", "last_time", "metrics", "slices", "confusion", "importance"),
    }
    assert evaluation.headline() == {each["name"]: round(each["estimate"], 6) for each in record["metrics"]}
    assert next(each["feature"] for each in record["importance"]) in ("amount", "shop")


def test_curves_are_there_for_two_classes(evaluation: Evaluation) -> None:
    assert evaluation.roc[0].false_positive_rate == 0
    assert evaluation.roc[-1].true_positive_rate == 1
    assert evaluation.precision_recall[-1].recall == 1
    assert sum(each.rows for each in evaluation.calibration) == 120


def test_the_confidence_of_every_interval_is_the_one_asked_for(scorer: Scorer) -> None:
    wide = evaluate(orders(), scorer, params(evaluate={"confidence": 0.99}))
    narrow = evaluate(orders(), scorer, params(evaluate={"confidence": 0.8}))
    assert {each["confidence"] for each in wide.as_dict()["metrics"]} == {0.99}
    for one, other in zip(wide.metrics, narrow.metrics, strict=True):
        assert one.interval.low <= other.interval.low
        assert one.interval.high >= other.interval.high


@pytest.mark.parametrize("task", TARGETS)
def test_every_task_is_measured_by_its_own_metric(task: str) -> None:
    table = orders(300)
    made = train(table, params(task))
    found = evaluate(table, Scorer(made.model, made.signature), params(task, evaluate={"slices": ["member"]}))
    assert found.primary == {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}[task]
    assert found.metric(found.primary) is not None
    assert (found.confusion is None) == (task == "regression")
    assert bool(found.roc) == (task == "binary")
    assert (found.calibration == ()) == (task == "multiclass")
    assert found.slices[0].metric is not None
    assert found.slices[0].metric.name == found.primary
    scores = [name for name in found.predictions.columns if name.startswith("score")]
    assert (
        scores
        == {
            "binary": ["score 0", "score 1"],
            "multiclass": ["score low", "score mid", "score top"],
            "regression": ["score"],
        }[task]
    )


def test_the_prediction_of_a_regression_keeps_its_digits() -> None:
    table = orders(300).assign(price=lambda each: 1.7e9 + each["price"])
    made = train(table, params("regression"))
    found = evaluate(table, Scorer(made.model, made.signature), params("regression")).predictions
    assert found["score"].dtype == np.float64
    assert (found["score"] % 1 > 0).any()


def test_without_a_time_or_an_id_there_are_none_in_the_record(scorer: Scorer) -> None:
    found = evaluate(orders(), scorer, params(data={"time": None, "id": None, "holdout": {"share": 0.3}}))
    assert found.first_time is found.last_time is None
    assert list(found.predictions.columns) == ["target", "score 0", "score 1"]


def test_a_row_on_the_threshold_is_called_positive_and_many_classes_by_the_likeliest(candidate: Trained) -> None:
    two = np.array([[0.51, 0.49], [0.5, 0.5], [0.49, 0.51]])
    assert decide(candidate.signature, two).tolist() == [0, 1, 1]
    many = Signature(Task.MULTICLASS, "kind", (), ("a", "b", "c"), None)
    assert decide(many, np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])).tolist() == [1, 0]


def test_progress_is_told_in_steps(scorer: Scorer) -> None:
    told: list[str] = []
    evaluate(orders(), scorer, params(), told.append)
    assert told == ["scoring 120 rows", "measuring"]
