"""compare: candidate, champion or baseline on the same rows, what was measured there and what follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import TARGETS, orders, params

from mergeline.errors import DataError
from mergeline.gates.evidence import Contender
from mergeline.gates.gate import Outcome
from mergeline.holdout import split
from mergeline.intervals import Interval
from mergeline.models.scorer import Scorer
from mergeline.params import GateParams, Params
from mergeline.release.champion import BaseModel, Champion, Served, Without
from mergeline.schema import Task
from mergeline.stages.compare import compare
from mergeline.stages.comparison import Comparison
from mergeline.stages.train import Trained, train

WEAK: dict[str, Any] = {
    "hist_gradient_boosting": {"iterations": 2, "learning_rate": 0.2, "leaves": 3, "min_leaf_rows": 5}
}
SMALL: dict[str, Any] = {"slices": {"min_rows": 20, "min_class_rows": 5}, "leakage": {"max_gain": None}}
SLICES = ("channel", "member")
WITHOUT_TIME: dict[str, Any] = {"time": None, "holdout": {"share": 0.3}}
BY_SHARE: dict[str, Any] = {"holdout": {"share": 0.25}}
WHOLE = "0123456789abcdef" * 4


def contender(trained: Trained) -> Contender:
    """As `mergeline compare` reads it from its folder: the record has been JSON."""
    record = json.loads(json.dumps(trained.record.as_dict()))
    scorer = Scorer(trained.model, trained.signature, threads=1)
    return Contender(hashlib.sha256(trained.model).hexdigest(), scorer, record, trained.reference, len(trained.model))


def fitted(task: str = "binary", table: pd.DataFrame | None = None, **sections: Mapping[str, Any]) -> Contender:
    return contender(train(orders() if table is None else table, params(task, **sections)))


def standing(served: bool = True, base: BaseModel | None = None, slices: tuple[str, ...] = SLICES) -> Champion:
    """A policy for tables as small as these."""
    gates = GateParams.model_validate(SMALL)
    if served:
        return Champion(Served(WHOLE, "s3://models"), None, base, "base", gates, slices)
    return Champion(None, Without.NO_RELEASE, base, "branch", gates, slices)


@pytest.fixture(scope="module")
def strong() -> dict[str, Contender]:
    return {task: fitted(task) for task in TARGETS}


@pytest.fixture(scope="module")
def weak() -> dict[str, Contender]:
    return {task: fitted(task, train=WEAK) for task in TARGETS}


@pytest.fixture(scope="module")
def against_baseline(strong: dict[str, Contender]) -> dict[str, Comparison]:
    return {task: compare(orders(), made, None, standing(served=False), params(task)) for task, made in strong.items()}


@pytest.fixture(scope="module")
def against_champion(strong: dict[str, Contender], weak: dict[str, Contender]) -> dict[str, Comparison]:
    return {task: compare(orders(), made, weak[task], standing(), params(task)) for task, made in strong.items()}


def turned(table: pd.DataFrame, *rows: int) -> pd.DataFrame:
    """The table with the other answer in these rows."""
    return table.assign(bought=np.where(table.index.isin(rows), 1 - table["bought"], table["bought"]))


def estimates(found: Comparison, side: str) -> dict[str, float]:
    metrics = found.candidate.metrics if side == "candidate" else found.champion.metrics
    return {each.name: each.interval.estimate for each in metrics}


def outcomes(found: Comparison) -> dict[str, Outcome]:
    return {each.name: each.outcome for each in found.gates}


def failed(found: Comparison) -> list[str]:
    return [name for name, outcome in outcomes(found).items() if outcome is Outcome.FAILED]


def refused(found: Comparison) -> str:
    """The sentence of a refused comparison, which shows no number of the champion."""
    assert found.judgement.verdict == "reject"
    assert failed(found) == ["comparable"]
    assert found.difference is None
    assert not any((found.differences, found.slices, found.champion.metrics))
    assert found.champion_curves is None
    assert found.curves()["champion"] == {}
    assert found.latency_ratio is None
    assert found.candidate.metrics
    json.dumps([found.as_dict(), found.curves()], allow_nan=False)
    return found.judgement.sentence


# ---- No model in production ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TARGETS)
def test_the_baseline_is_scikit_learns_dummy(task: str, against_baseline: dict[str, Comparison]) -> None:
    from sklearn import dummy, metrics

    table, settings = orders(), params(task)
    parts = split(table, settings.data)
    values = table[TARGETS[task]]
    training, target = values.iloc[parts.training], values.iloc[parts.holdout]
    found, empty = estimates(against_baseline[task], "champion"), np.zeros((len(table), 1))
    if task == "regression":
        model = dummy.DummyRegressor(strategy="mean").fit(empty[parts.training], training)
        answer = model.predict(empty[parts.holdout])
        assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(target, answer))
        assert found["mae"] == pytest.approx(metrics.mean_absolute_error(target, answer))
        assert found["r2"] == pytest.approx(metrics.r2_score(target, answer))
        return
    model = dummy.DummyClassifier(strategy="prior").fit(empty[parts.training], training)
    answer = model.predict_proba(empty[parts.holdout])
    assert found["log_loss"] == pytest.approx(metrics.log_loss(target, answer, labels=model.classes_))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(target, model.predict(empty[parts.holdout])))
    if task == "binary":
        assert found["roc_auc"] == 0.5
        assert found["brier_score"] == pytest.approx(metrics.brier_score_loss(target, answer[:, 1]))
        assert found["average_precision"] == pytest.approx(metrics.average_precision_score(target, answer[:, 1]))


@pytest.mark.parametrize("task", TARGETS)
def test_a_first_model_is_promoted_for_being_better_than_the_baseline(
    task: str, against_baseline: dict[str, Comparison]
) -> None:
    found = against_baseline[task]
    assert found.judgement.verdict == "promote", found.judgement.sentence
    assert " than a baseline (95 % " in found.judgement.sentence
    assert (found.champion.kind, found.champion.sha256, found.champion.family) == ("baseline", None, None)
    assert found.champion.training_rows == 360
    assert found.champion.last_time is None
    assert found.policy == "branch"
    answers = {
        "binary": "the training share of the positive class",
        "multiclass": "the training shares of the classes",
        "regression": "the training mean",
    }[task]
    (note,) = found.notes
    assert note == (
        f"no model is in production yet: a baseline that always answers {answers} stands in for the champion,"
        " and the gates are this branch's own"
    )


def test_a_model_that_is_no_better_than_a_baseline_is_rejected() -> None:
    table = orders()
    table["bought"] = np.random.default_rng(1).integers(0, 2, len(table))
    found = compare(table, fitted(table=table), None, standing(served=False), params())
    assert found.judgement.verdict == "reject"
    assert "improvement" in failed(found)


def test_the_reason_for_a_baseline_is_noted_first_with_whose_policy_judges(strong: dict[str, Contender]) -> None:
    for without, reason in (
        (Without.NO_BASE, "there is no base branch to compare with: "),
        (Without.OTHER_PROBLEM, "this is another problem than the base branch's (task, target or primary "),
    ):
        found = compare(
            orders(), strong["binary"], None, replace(standing(served=False), without=without, policy="base"), params()
        )
        assert found.notes[0].startswith(reason)
        assert found.notes[0].endswith("and the gates are the base branch's")


# ---- A champion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TARGETS)
def test_a_better_model_is_promoted_and_the_worse_one_rejected(
    task: str, strong: dict[str, Contender], weak: dict[str, Contender], against_champion: dict[str, Comparison]
) -> None:
    there = against_champion[task]
    back = compare(orders(), weak[task], strong[task], standing(), params(task))
    primary = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}[task]
    assert there.primary == primary
    assert there.greater_is_better is (task == "binary")
    assert failed(there) == []
    assert there.judgement.verdict == "promote", there.judgement.sentence
    assert back.judgement.verdict == "reject"
    assert "improvement" in failed(back)
    assert back.judgement.sentence.startswith("worse by ")
    assert there.difference is not None
    assert back.difference is not None
    assert there.difference.low > 0
    assert (back.difference.estimate, back.difference.low) == pytest.approx(
        (-there.difference.estimate, -there.difference.high)
    )
    assert there.notes == ()
    assert there.policy == "base"


@pytest.mark.parametrize("task", TARGETS)
def test_a_difference_is_that_of_the_metrics_shown_and_positive_where_the_candidate_is_better(
    task: str, against_champion: dict[str, Comparison]
) -> None:
    found = against_champion[task]
    mine, theirs = estimates(found, "candidate"), estimates(found, "champion")
    signs = {each.name: each.greater_is_better for each in found.candidate.metrics}
    assert [name for name, _ in found.differences] == [name for name, sign in signs.items() if sign is not None]
    for name, difference in found.differences:
        gap = mine[name] - theirs[name]
        assert difference.estimate == pytest.approx(gap if signs[name] else -gap)


def test_each_side_says_what_it_is(strong: dict[str, Contender], against_champion: dict[str, Comparison]) -> None:
    found = against_champion["binary"].as_dict()
    assert found["candidate"]["kind"] == found["champion"]["kind"] == "model"
    assert found["candidate"]["sha256"] == strong["binary"].sha256 != found["champion"]["sha256"]
    assert found["candidate"]["family"] == "hist_gradient_boosting"
    assert found["candidate"]["training_rows"] == 360
    assert found["candidate"]["last_time"] == "2024-01-15T23:00:00"
    tuned = compare(orders(), fitted(train={"threshold": "f1"}), None, standing(served=False), params())
    assert tuned.candidate.training_rows == 360  # those that only tuned were seen too


def test_the_training_rows_may_be_anything(strong: dict[str, Contender], weak: dict[str, Contender]) -> None:
    table = orders()
    inside = split(table, params().data).training
    table.loc[inside, "amount"] = 1e9
    table.loc[inside, "bought"] = 1 - table.loc[inside, "bought"]
    found = compare(table, strong["binary"], weak["binary"], standing(), params())
    assert found.as_dict() == compare(orders(), strong["binary"], weak["binary"], standing(), params()).as_dict()


def test_the_policy_is_that_of_the_champions_record_not_of_the_branch(
    strong: dict[str, Contender], weak: dict[str, Contender]
) -> None:
    """A branch cannot loosen the gate that it needs to pass."""
    base = standing()
    strict = replace(base, gates=GateParams.model_validate({**SMALL, "floors": {"roc_auc": 0.999}}))
    own = params()
    assert own.gates.floors == {}
    found = compare(orders(), strong["binary"], weak["binary"], strict, own)
    assert failed(found) == ["floors"]
    assert [each.column for each in found.slices] == ["channel"] * 3 + ["member"] * 2
    assert own.evaluate.slices == ()


def test_the_verdict_has_the_confidence_of_the_policy_and_what_is_shown_beside_it_that_of_evaluate(
    strong: dict[str, Contender], weak: dict[str, Contender]
) -> None:
    sure = replace(standing(), gates=GateParams.model_validate({**SMALL, "improvement": {"confidence": 0.99}}))
    found = compare(orders(), strong["binary"], weak["binary"], sure, params(evaluate={"confidence": 0.9}))
    assert found.difference is not None
    assert found.difference.confidence == 0.99
    assert {each.confidence for _, each in found.differences} == {0.9}
    assert {each.interval.confidence for each in found.champion.metrics} == {0.9}


def test_a_champion_of_another_family_and_other_features_is_compared(strong: dict[str, Contender]) -> None:
    fewer = fitted(data={"numeric": ["amount"], "categorical": ["shop"]}, train={"family": "logistic_regression"})
    found = compare(orders(), strong["binary"], fewer, standing(), params())
    assert found.difference is not None
    assert outcomes(found)["comparable"] is Outcome.PASSED
    assert {each.feature for each in found.distributions} == {"score", "amount", "shop"}


def test_a_champion_that_reads_a_column_as_another_kind_is_compared(strong: dict[str, Contender]) -> None:
    other = fitted(
        table=orders().assign(visits=lambda each: each["visits"].map("v{}".format, na_action="ignore")),
        data={"numeric": ["amount"], "categorical": ["visits", "shop"]},
    )
    found = compare(orders(), strong["binary"], other, standing(), params())
    assert found.difference is not None
    assert "visits" not in {each.feature for each in found.distributions}


# ---- The same model --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TARGETS)
def test_the_champion_itself_is_held_and_no_gate_applies(task: str, strong: dict[str, Contender]) -> None:
    found = compare(orders(), strong[task], strong[task], standing(), params(task))
    assert found.judgement.verdict == "hold"
    assert found.judgement.sentence == "the candidate is the model that production serves: the release stays as it is"
    assert set(outcomes(found).values()) == {Outcome.NOT_APPLICABLE}
    assert found.difference is not None
    assert (found.difference.low, found.difference.estimate, found.difference.high) == (0, 0, 0)


def test_the_champion_under_other_records_is_still_the_same_model(strong: dict[str, Contender]) -> None:
    made = strong["binary"]
    renamed = replace(made, sha256="0" * 64, training={**made.training, "rounds": 99})
    found = compare(orders(), made, renamed, standing(), params())
    assert found.judgement.sentence.startswith("the candidate is the model that production serves")


@pytest.mark.parametrize("served", [True, False])
def test_the_bases_own_model_is_held_and_no_gate_applies(
    served: bool, strong: dict[str, Contender], weak: dict[str, Contender]
) -> None:
    made = strong["binary"]
    base = BaseModel(WHOLE, hashlib.sha256(made.signature.to_json().encode()).hexdigest())
    found = compare(orders(), made, weak["binary"] if served else None, standing(served, base), params())
    assert found.judgement.verdict == "hold"
    assert found.judgement.sentence == (
        "the candidate is the model that the base branch has: the release stays as it is"
    )
    assert set(outcomes(found).values()) == {Outcome.NOT_APPLICABLE}
    other = replace(base, signature_sha256="0" * 64)
    assert compare(orders(), made, None, standing(False, other), params()).judgement.verdict == "promote"


# ---- What cannot be compared -----------------------------------------------------------------------------------------


def test_a_champion_that_has_seen_the_holdout_is_refused(strong: dict[str, Contender]) -> None:
    newer = fitted(data={"holdout": {"days": 2}})
    assert refused(compare(orders(), strong["binary"], newer, standing(), params())) == (
        "the champion was trained on rows up to 2024-01-18T23:00:00, and the holdout begins at 2024-01-16T00:00:00:"
        " rejected"
    )
    older = fitted(data={"holdout": {"days": 8}})
    assert compare(orders(), strong["binary"], older, standing(), params()).difference is not None


def test_a_champion_whose_last_row_is_of_the_first_instant_of_the_holdout_is_refused(
    strong: dict[str, Contender],
) -> None:
    made = strong["binary"]
    for last, seen in (("2024-01-16T00:00:00", True), ("2024-01-15T23:59:59.999999", False)):
        champion = replace(made, sha256="0" * 64, training={**made.training, "last_time": last})
        other = fitted(train=WEAK)
        found = compare(orders(), other, champion, standing(), params())
        assert (found.difference is None) is seen


def test_a_time_with_a_zone_and_one_without_are_compared_in_utc(strong: dict[str, Contender]) -> None:
    champion = fitted(train=WEAK)
    for last, seen in (("2024-01-16T01:30:00+02:00", False), ("2024-01-15T23:30:00-02:00", True)):
        moved = replace(champion, training={**champion.training, "last_time": last})
        found = compare(orders(), strong["binary"], moved, standing(), params())
        assert (found.difference is None) is seen


def test_a_candidate_that_has_seen_the_holdout_is_refused_even_against_a_baseline() -> None:
    newer = fitted(data={"holdout": {"days": 2}})
    found = compare(orders(), newer, None, standing(served=False), params())
    assert refused(found).startswith("the candidate was trained on rows up to 2024-01-18T23:00:00, and the holdout")


def test_without_a_time_the_shares_of_the_hash_decide() -> None:
    """The rows under the larger share hold those under the smaller."""
    made = fitted(data=WITHOUT_TIME)
    settings = params(data=WITHOUT_TIME)
    smaller = fitted(data={**WITHOUT_TIME, "holdout": {"share": 0.2}})
    assert refused(compare(orders(), made, smaller, standing(), settings)) == (
        "the champion kept 0.2 of the rows apart, the holdout is 0.3 of them: rejected"
    )
    for share in (0.3, 0.4):
        kept = fitted(data={**WITHOUT_TIME, "holdout": {"share": share}}, train=WEAK)
        found = compare(orders(), made, kept, standing(), settings)
        assert found.difference is not None
        assert found.holdout["first_time"] is found.holdout["last_time"] is None
        assert found.candidate.last_time is None


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        ({}, "the champion kept its holdout apart by the time in placed, now it is a hash of order"),
        (
            {**WITHOUT_TIME, "id": None, "numeric": ["amount"], "categorical": ["shop"]},
            "the champion kept its holdout apart by a hash of amount, shop, now it is a hash of order",
        ),
    ],
)
def test_a_champion_whose_holdout_was_chosen_otherwise_is_refused(theirs: dict[str, Any], reason: str) -> None:
    made = fitted(data=WITHOUT_TIME)
    found = compare(orders(), made, fitted(data=theirs), standing(), params(data=WITHOUT_TIME))
    assert refused(found) == f"{reason}: rejected"


def test_a_champion_that_needs_a_column_that_is_gone_is_refused(weak: dict[str, Contender]) -> None:
    gone = {"numeric": ["amount", "visits", "member", "since"]}
    table = orders().drop(columns="noise")
    found = compare(table, fitted(table=table, data=gone), weak["binary"], standing(), params(data=gone))
    assert refused(found) == (
        "the champion cannot score these rows (noise: expected a column of this name, found none): rejected"
    )


def test_a_champion_without_a_finite_score_is_refused(
    strong: dict[str, Contender], weak: dict[str, Contender], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = weak["regression"]
    monkeypatch.setattr(broken.scorer, "score", lambda rows: np.full((len(rows), 1), np.inf))
    found = compare(orders(), strong["regression"], broken, standing(), params("regression"))
    assert refused(found) == "the champion cannot score these rows (some scores are not finite): rejected"


def test_a_candidate_that_cannot_score_the_holdout_is_an_error(strong: dict[str, Contender]) -> None:
    with pytest.raises(DataError, match="noise: expected a column of this name, found none"):
        compare(orders().drop(columns="noise"), strong["binary"], None, standing(served=False), params())


# ---- Classes ---------------------------------------------------------------------------------------------------------


def merged(table: pd.DataFrame, **names: str) -> pd.DataFrame:
    return table.assign(kind=table["kind"].replace(names))


def test_a_class_that_the_champion_never_saw_has_probability_0(strong: dict[str, Contender]) -> None:
    older = fitted("multiclass", merged(orders(), top="mid"))
    assert older.signature.classes == ("low", "mid")
    found = compare(orders(), strong["multiclass"], older, standing(), params("multiclass"))
    assert found.judgement.verdict == "promote", found.judgement.sentence
    theirs = estimates(found, "champion")
    assert theirs["recall_top"] == 0
    assert theirs["recall_low"] > 0.5
    assert theirs["log_loss"] > 5  # what never may happen did


def test_a_champion_that_answers_a_class_that_the_candidate_does_not_know_is_refused(
    strong: dict[str, Contender],
) -> None:
    table = merged(orders(), top="mid")
    found = compare(table, fitted("multiclass", table), strong["multiclass"], standing(), params("multiclass"))
    assert refused(found) == "the champion answers top, which the candidate does not know: rejected"


def test_a_baseline_stands_in_for_a_champion_of_another_task_or_target(strong: dict[str, Contender]) -> None:
    found = compare(orders(), strong["binary"], strong["regression"], standing(), params())
    assert found.champion.kind == "baseline"
    assert found.notes[0].startswith("production serves a model of another task or target: a baseline that always")
    assert found.notes[0].endswith("the gates are the base branch's")
    assert found.judgement.verdict == "promote"


def test_classes_in_another_order_are_put_in_the_candidates(
    strong: dict[str, Contender], weak: dict[str, Contender], against_champion: dict[str, Comparison]
) -> None:
    champion = weak["multiclass"]

    class Turned:
        """The same model with its classes from last to first."""

        signature = replace(champion.signature, classes=champion.signature.classes[::-1])

        def score(self, rows: pd.DataFrame) -> Any:
            return champion.scorer.score(rows)[:, ::-1]

    turned: Any = Turned()
    found = compare(orders(), strong["multiclass"], replace(champion, scorer=turned), standing(), params("multiclass"))
    assert found.as_dict() == against_champion["multiclass"].as_dict()


def test_a_champion_of_the_other_positive_class_decides_by_its_own_threshold() -> None:
    """Its threshold of 0.7 for what is no sale is one of 0.3 for a sale."""
    own, other = {"positive": 1}, {"positive": 0}
    champion = fitted(data=other, train={"threshold": 0.7})
    assert champion.signature.classes == ("1", "0")
    found = compare(orders(), fitted(data=own), champion, standing(), params(data=own))
    table = orders()
    held = table.iloc[split(table, params().data).holdout]
    no_sale = champion.scorer.score(held)[:, 1]
    hits = (no_sale >= 0.7) == (held["bought"] == 0).to_numpy()
    assert estimates(found, "champion")["accuracy"] == pytest.approx(hits.mean())
    assert estimates(found, "champion")["roc_auc"] > 0.7


# ---- Slices ----------------------------------------------------------------------------------------------------------


def test_slices_are_judged_at_a_confidence_that_holds_for_all_of_them(
    against_champion: dict[str, Comparison],
) -> None:
    for found in against_champion.values():
        assert [each.name for each in found.slices] == [
            *("channel=app", "channel=desk", "channel=web", "member=false", "member=true"),
        ]
        compared = [each.difference for each in found.slices if each.difference is not None]
        assert len(compared) == 5
        assert {round(each.confidence, 9) for each in compared} == {0.99}


def test_a_slice_says_the_metric_of_both_and_their_difference(
    strong: dict[str, Contender], weak: dict[str, Contender], against_champion: dict[str, Comparison]
) -> None:
    table = orders()
    held = table.iloc[split(table, params().data).holdout].index
    alone = table.drop(index=held[~table.loc[held, "member"]]).reset_index(drop=True)
    found = compare(alone, strong["binary"], weak["binary"], standing(slices=()), params())
    part = against_champion["binary"].slices[-1]
    assert (part.name, part.rows) == ("member=true", found.holdout["rows"])
    assert part.candidate == estimates(found, "candidate")["roc_auc"]
    assert part.champion == estimates(found, "champion")["roc_auc"]
    assert found.difference is not None
    assert part.difference is not None
    assert part.difference.estimate == found.difference.estimate
    assert part.difference.low < found.difference.low  # its confidence is the higher one


def sliced(found: Comparison) -> dict[str, tuple[str, bool]]:
    """Per slice its outcome, and whether it has a difference."""
    return {
        f"{each['column']}={each['value']}": (each["outcome"], each["difference"] is not None)
        for each in found.as_dict()["slices"]
    }


def test_a_slice_with_too_few_rows_is_left_out_and_one_with_too_few_of_a_class_is_not_applicable(
    strong: dict[str, Contender], weak: dict[str, Contender]
) -> None:
    table = orders()
    held = table.index >= 360
    inside = held & table["member"]
    count = int(inside.sum())
    table.loc[inside, "bought"] = [1] * (count - 4) + [0] * 4  # five of a class are asked
    found = compare(table, strong["binary"], weak["binary"], standing(slices=("member",)), params())
    assert sliced(found)["member=true"] == ("not applicable", False)
    assert found.slices[1].candidate is not None
    judged = found.slices[0].difference
    assert judged is not None
    assert judged.confidence == 0.95  # the only one that is judged
    table.loc[inside, "bought"] = [1] * (count - 5) + [0] * 5
    found = compare(table, strong["binary"], weak["binary"], standing(slices=("member",)), params())
    assert sliced(found)["member=true"][1]
    table.loc[inside, "bought"] = 1
    found = compare(table, strong["binary"], weak["binary"], standing(slices=("member",)), params())
    assert found.slices[1].candidate is None
    assert found.slices[1].champion is None
    assert sliced(found)["member=true"] == ("not applicable", False)
    judged = found.slices[0].difference
    assert judged is not None
    assert judged.confidence == 0.95
    json.dumps(found.as_dict(), allow_nan=False)
    many = replace(standing(slices=("member",)), gates=GateParams.model_validate({"slices": {"min_rows": count + 1}}))
    assert "member=true" not in sliced(compare(orders(), strong["binary"], weak["binary"], many, params()))


def test_rows_without_a_value_are_a_slice_and_a_column_that_is_gone_is_none(
    strong: dict[str, Contender], weak: dict[str, Contender]
) -> None:
    loose = GateParams.model_validate({"slices": {"min_rows": 2, "min_class_rows": 2}})
    policy = replace(standing(slices=("channel", "colour")), gates=loose)
    found = compare(orders(), strong["binary"], weak["binary"], policy, params())
    assert found.slices[0].name == "channel=(missing)"
    assert {each.column for each in found.slices} == {"channel"}


def test_a_slice_that_gets_a_worse_model_is_rejected_though_the_whole_is_better() -> None:
    """The champion knows the members, the candidate the others; there are more of these."""
    table, settings = orders(4000), params(data=BY_SHARE)
    chance = np.random.default_rng(11).integers(0, 2, len(table))

    def knowing(members: bool) -> Contender:
        answers = np.where(table["member"] == members, table["bought"], chance)
        return fitted(table=table.assign(bought=answers), data=BY_SHARE)

    gates = GateParams.model_validate({**SMALL, "calibration": {"max_error": None}})
    policy = replace(standing(slices=("member",)), gates=gates)
    found = compare(table, knowing(members=False), knowing(members=True), policy, settings)
    assert found.difference is not None
    assert found.difference.low > 0
    assert found.judgement.verdict == "reject"
    assert failed(found) == ["slices"]
    assert sliced(found) == {"member=false": ("passed", True), "member=true": ("failed", True)}
    assert found.judgement.sentence.startswith("better by 0.")
    assert "; slice member=true worse by 0." in found.judgement.sentence
    assert found.judgement.sentence.endswith(", limit 0.010: rejected")


def test_the_record_and_the_gate_judge_a_slice_by_the_same_margin(
    strong: dict[str, Contender], weak: dict[str, Contender]
) -> None:
    """A margin of 1 is the champion's own error, of about 5.5."""
    for margin, outcome in ((1.0, "passed"), (0.1, "failed")):
        gates = GateParams.model_validate({"slices": {**SMALL["slices"], "margin": margin}})
        policy = replace(standing(slices=("member",)), gates=gates)
        found = compare(orders(), weak["regression"], strong["regression"], policy, params("regression"))
        assert all(each.difference is not None and each.difference.high < -1 for each in found.slices)
        assert {each["outcome"] for each in found.as_dict()["slices"]} == {outcome}
        assert outcomes(found)["slices"].value == outcome


# ---- The record ------------------------------------------------------------------------------------------------------

RECORD = [
    *("verdict", "sentence", "notes", "primary", "greater_is_better", "policy", "holdout", "candidate", "champion"),
    *("difference", "differences", "slices", "gates"),
]


@pytest.mark.parametrize("task", TARGETS)
def test_the_record_survives_json_and_holds_what_the_report_reads(
    task: str, against_baseline: dict[str, Comparison], against_champion: dict[str, Comparison]
) -> None:
    for found in (against_baseline[task], against_champion[task]):
        record = found.as_dict()
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        assert list(record) == RECORD
        assert set(record["holdout"]) == {"rows", "first_time", "last_time", "sha256"}
        assert set(record["candidate"]) == set(record["champion"])
        bounds = {"estimate", "low", "high", "method", "confidence"}
        assert set(record["difference"]) == bounds
        assert set(record["differences"][0]) == {"metric", *bounds}
        assert set(record["candidate"]["metrics"][0]) == {"name", "greater_is_better", "rows", *bounds}
        assert set(record["slices"][0]) == {
            *("column", "value", "rows", "candidate", "champion", "difference", "outcome"),
        }
        assert [set(each) for each in record["gates"]] == [{"name", "outcome", "value", "threshold", "evidence"}] * 11


@pytest.mark.parametrize("task", TARGETS)
def test_the_curves_are_those_that_the_report_draws(
    task: str, against_baseline: dict[str, Comparison], against_champion: dict[str, Comparison]
) -> None:
    for found in (against_baseline[task], against_champion[task]):
        curves = json.loads(json.dumps(found.curves(), allow_nan=False))
        assert list(curves) == ["candidate", "champion", "distributions"]
        for side in (curves["candidate"], curves["champion"]):
            assert list(side) == ["roc", "precision_recall", "calibration"]
            assert bool(side["roc"]) == bool(side["precision_recall"]) == (task == "binary")
            assert bool(side["calibration"]) == (task != "multiclass")
        for name, keys in (
            ("roc", {"threshold", "false_positive_rate", "true_positive_rate"}),
            ("precision_recall", {"threshold", "recall", "precision"}),
            ("calibration", {"mean_prediction", "observed", "rows"}),
        ):
            assert all(set(point) == keys for point in curves["candidate"][name])
        assert curves["distributions"][0]["feature"] == "score"
        for each in curves["distributions"]:
            assert set(each) == {
                *("feature", "kind", "labels", "edges", "then", "now", "missing_then", "missing_now"),
            }
            assert len(each["then"]) == len(each["now"]) == (len(each["labels"]) or len(each["edges"]) - 1)


def test_what_the_champion_was_trained_on_is_what_the_columns_are_shown_against(
    strong: dict[str, Contender], weak: dict[str, Contender]
) -> None:
    champion = weak["binary"]
    assert champion.reference is not None
    elsewhere = replace(champion, reference=champion.reference.assign(amount=1e6))
    found = compare(orders(), strong["binary"], elsewhere, standing(), params())
    amount = next(each for each in found.distributions if each.feature == "amount")
    assert amount.then[-1] == 1.0
    without = compare(orders(), strong["binary"], replace(champion, reference=None), standing(), params())
    assert without.distributions == ()


def test_the_holdout_is_known_by_its_rows(strong: dict[str, Contender]) -> None:
    def identity(table: pd.DataFrame) -> dict[str, Any]:
        return compare(table, strong["binary"], None, standing(served=False), params()).holdout

    found = identity(orders())
    assert (found["rows"], found["first_time"], found["last_time"]) == (
        120,
        "2024-01-16T00:00:00",
        "2024-01-20T23:00:00",
    )
    assert identity(orders().sample(frac=1, random_state=3)) == found
    assert identity(turned(orders(), 0)) == found
    assert identity(turned(orders(), 400))["sha256"] != found["sha256"]


@pytest.mark.parametrize("task", TARGETS)
def test_the_same_inputs_give_the_same_record(
    task: str, strong: dict[str, Contender], weak: dict[str, Contender], against_champion: dict[str, Comparison]
) -> None:
    again = compare(orders(), strong[task], weak[task], standing(), params(task))
    assert json.dumps(again.as_dict()) == json.dumps(against_champion[task].as_dict())
    assert json.dumps(again.curves()) == json.dumps(against_champion[task].curves())


def test_a_metric_that_is_resampled_gives_the_same_record_twice(
    strong: dict[str, Contender], weak: dict[str, Contender]
) -> None:
    asked = params("regression", evaluate={"primary": "median_absolute_error"})
    records = [compare(orders(), strong["regression"], weak["regression"], standing(), asked) for _ in range(2)]
    assert records[0].as_dict() == records[1].as_dict()
    assert records[0].difference is not None
    assert records[0].difference.low > 0


# ---- The clock and the progress --------------------------------------------------------------------------------------


def test_the_time_is_taken_on_the_rows_as_each_reads_them_and_stands_in_no_record(
    strong: dict[str, Contender],
) -> None:
    fewer = fitted(data={"numeric": ["amount"], "categorical": ["shop"]})
    seen: list[tuple[Any, ...]] = []

    def timer(candidate: Scorer, matrix: Any, champion: Scorer, other: Any) -> Interval:
        seen.append((candidate, matrix.shape, champion, other.shape))
        return Interval(4.0, 3.5, 4.5, "by hand", 0.95)

    made = strong["binary"]
    found = compare(orders(), made, fewer, standing(), params(), timer)
    assert seen == [(made.scorer, (120, 7), fewer.scorer, (120, 2))]
    assert found.latency_ratio is not None
    assert "latency" in failed(found)
    assert "scoring takes more than 3.000 times the champion's time" in found.judgement.sentence
    assert "4.0" not in json.dumps([each for each in found.as_dict()["gates"] if each["name"] == "latency"])
    compare(orders(), made, None, standing(served=False), params(), timer)
    compare(orders(), made, fitted(data={"holdout": {"days": 2}}), standing(), params(), timer)
    assert len(seen) == 1  # a baseline takes no time, and what is refused is not timed


def test_progress_is_told_in_steps(strong: dict[str, Contender], weak: dict[str, Contender]) -> None:
    told: list[str] = []
    compare(orders(), strong["binary"], weak["binary"], standing(), params(), progress=told.append)
    assert told == ["scoring 120 rows twice", "measuring"]


def test_a_holdout_that_does_not_define_the_primary_metric_is_rejected_with_the_reason(
    strong: dict[str, Contender], weak: dict[str, Contender]
) -> None:
    table = orders()
    table.loc[table.index >= 360, "bought"] = 1
    found = compare(table, strong["binary"], weak["binary"], standing(), params())
    assert found.difference is None
    assert found.greater_is_better is None
    assert found.judgement.sentence.startswith("ROC AUC is not defined on this holdout; judge by another")
    assert "improvement" in failed(found)
    json.dumps([found.as_dict(), found.curves()], allow_nan=False)


def test_every_primary_metric_can_be_judged(strong: dict[str, Contender], weak: dict[str, Contender]) -> None:
    from mergeline.params import PRIMARY_METRICS

    for task in Task:
        for primary in PRIMARY_METRICS[task]:
            asked: Params = params(task.value, evaluate={"primary": primary})
            found = compare(orders(), strong[task.value], weak[task.value], standing(), asked)
            assert found.primary == primary
            assert found.difference is not None, primary
            json.dumps(found.as_dict(), allow_nan=False)
