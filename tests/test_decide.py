"""What is decided from which evidence: a table over every alarm, what holds a decision back, and the kept record."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from mergeline.errors import ConfigurationError, DataError
from mergeline.monitor.decide import (
    Canary,
    Drift,
    Errors,
    Evidence,
    Heartbeat,
    Labels,
    Model,
    Outcome,
    Performance,
    Request,
    Retraining,
    Traffic,
    as_record,
    decide,
    markdown,
    parse_record,
    sentence,
)
from mergeline.monitor.decide.record import key_of
from mergeline.monitor.decide.spread import spread
from mergeline.monitor.decide.statement import needs_a_person
from mergeline.params import parse
from mergeline.params.conditions import FACTS
from mergeline.params.decide import Action, DecideParams

AT = dt.datetime(2013, 9, 30, tzinfo=dt.UTC)
POLICY = DecideParams()


def ago(days: float) -> dt.datetime:
    return AT - dt.timedelta(days=days)


HEALTHY = Evidence(
    at=AT,
    since=ago(1),
    traffic=Traffic(10_000, 3),
    errors=Errors(10_000, 3),
    drift=Drift("none", "none", False, 0.0, False),
    performance=Performance("holds", "holds", True, 0.97),
    labels=Labels(5_000, False, ago(1)),
    model=Model("a" * 64, ago(40), ago(70), True, served_at=ago(40), has_other=True),
    retraining=Retraining(False, None, ago(40)),
    canary=Canary(False),
    heartbeat=Heartbeat(ago(1)),
)
MOVED = Drift("drift", "major", True, 0.4, True, ("temperature", "origin"))
WORSE = Performance("degraded", "degraded", True, 0.97)
NEW = replace(HEALTHY.model, released_at=ago(2), served_at=ago(2))
NEW_IMAGE = replace(HEALTHY.model, released_at=ago(2), has_other=False)
FEW = replace(HEALTHY.labels, new_rows=300)


def failing(rows: int, failed: int) -> dict[str, Any]:
    """All traffic is the release's, and so much of it fails."""
    return {"traffic": Traffic(rows, failed), "errors": Errors(rows, failed)}


# Each alarm of the list "Gates and alarms": the evidence that it makes, the decision, and the rule that made it.
ALARMS: dict[str, tuple[dict[str, Any], Action, str | None]] = {
    "nothing": ({}, Action.WAIT, None),
    "shifted numeric column": (
        {"drift": replace(MOVED, features=("temperature",))}, Action.RETRAIN, "what the model looks at has moved",
    ),
    "shifted category mix": (
        {"drift": replace(MOVED, severity="minor", features=("origin",))}, Action.RETRAIN,
        "what the model looks at has moved",
    ),
    "one window is not enough": ({"drift": replace(MOVED, sustained=False)}, Action.WAIT, None),
    "slow drift over weeks": (
        {"drift": replace(MOVED, severity="minor", weighted=0.12)}, Action.RETRAIN, "what the model looks at has moved",
    ),
    "drift on a column that does not matter": (
        {"drift": Drift("none", "none", False, 0.004, False, ("wind",))}, Action.WAIT, None,
    ),
    "drift on a column that hardly matters": ({"drift": replace(MOVED, weighted=0.01)}, Action.WAIT, None),
    "drift without labels": (
        {"drift": MOVED, "labels": FEW}, Action.ASK_FOR_LABELS, "what the model looks at has moved",
    ),
    "label shift without feature shift": (
        {"labels": replace(HEALTHY.labels, shift=True)}, Action.RETRAIN, "what is predicted has moved",
    ),
    "label shift among the labels that came first": (
        {"labels": replace(HEALTHY.labels, shift=True), "performance": replace(HEALTHY.performance, mature=False)},
        Action.WAIT, None,
    ),
    "a model that does worse": ({"performance": WORSE}, Action.RETRAIN, "the model does worse"),
    "one that does worse by the labels that came first": (
        {"performance": replace(WORSE, mature=False)}, Action.WAIT, None,
    ),
    "a new release that does worse on the same rows": (
        {"performance": WORSE, "model": NEW}, Action.ROLL_BACK,
        "a new release does worse on rows like those it was trained on",
    ),
    "a model that does worse in a new image": (
        {"performance": WORSE, "model": NEW_IMAGE}, Action.RETRAIN, "the model does worse",
    ),
    "a new image that fails": (
        {"model": NEW_IMAGE, **failing(10_000, 500)}, Action.ROLL_BACK, "a new release fails",
    ),
    "a new release that does worse on other rows": (
        {"performance": WORSE, "model": NEW, "drift": MOVED}, Action.RETRAIN, "the model does worse",
    ),
    "the estimate alone": (
        {"performance": Performance("immature", "degraded", False, 0.1)}, Action.ASK_FOR_LABELS,
        "the estimate is worse and too few labels say so",
    ),
    "no labels": (
        {"performance": Performance("no labels", "holds", False, 0.0)}, Action.ASK_FOR_LABELS,
        "no label came though it is time",
    ),
    "labels that stopped": (
        {"labels": replace(HEALTHY.labels, last_at=ago(20))}, Action.ASK_FOR_LABELS, "labels have stopped",
    ),
    "a new release that fails": (
        {**failing(10_000, 900), "model": NEW}, Action.ROLL_BACK, "a new release fails",
    ),
    "an old release that fails": (failing(10_000, 900), Action.WAIT, None),
    "a challenger that fails beside a new release": (
        {"traffic": Traffic(10_000, 900), "model": NEW}, Action.WAIT, None,
    ),
    "failures of a handful": ({**failing(100, 50), "model": NEW}, Action.WAIT, None),
    "a person who asks": ({"request": Request("new planes")}, Action.RETRAIN, "a person asks"),
    "an old model": ({"model": replace(HEALTHY.model, data_until=ago(200))}, Action.RETRAIN, "the model is old"),
    "no traffic": ({**failing(0, 0), "drift": Drift("no data", "none", False, 0.0)}, Action.WAIT, None),
    "rows of other models alone": ({"drift": Drift("no data", "none", False, 0.0)}, Action.WAIT, None),
    "drift of the score alone": ({"drift": Drift("drift", "major", True, 0.0, True)}, Action.WAIT, None),
    "too few rows": ({"drift": Drift("too few rows", "none", False, 0.0)}, Action.WAIT, None),
    "a silent scheduler": ({"heartbeat": Heartbeat(ago(4))}, Action.WAIT, None),
    "nothing known": (
        {each: getattr(Evidence(AT), each) for each in
         ("traffic", "errors", "drift", "performance", "labels", "model")},
        Action.WAIT, None,
    ),
}  # fmt: skip
BESIDE = {
    "no traffic": ["no traffic"],
    "an old release that fails": ["predictions fail"],
    "a new release that fails": ["predictions fail"],
    "a new image that fails": ["predictions fail"],
    "a challenger that fails beside a new release": ["predictions fail"],
    "rows of other models alone": ["other models answer"],
    "drift of the score alone": ["drift lasts"],
    "drift on a column that hardly matters": ["drift lasts"],
    "a silent scheduler": ["runs were missed"],
}


@pytest.mark.parametrize("alarm", ALARMS)
def test_every_alarm_has_its_decision_and_the_rule_that_made_it(alarm: str) -> None:
    change, action, rule = ALARMS[alarm]
    found = decide(replace(HEALTHY, **change), POLICY)
    assert (found.action, found.rule) == (action, rule)
    assert [each.rule for each in found.beside] == BESIDE.get(alarm, [])


def test_every_rule_that_comes_with_the_template_fires_in_some_case() -> None:
    later = replace(HEALTHY, model=replace(HEALTHY.model, data_until=ago(100)))
    waits = replace(HEALTHY, performance=WORSE, retraining=Retraining(True, "#7", None))
    cases = [decide(replace(HEALTHY, **change), POLICY) for change, _, _ in ALARMS.values()]
    cases += [decide(later, POLICY.model_copy(update={"every_days": 90.0})), decide(waits, POLICY)]
    fired = {each.rule for case in cases for each in case.considered if each.outcome is Outcome.FIRED}
    assert fired == {rule.name for rule in POLICY.rules}


# ---- What holds a decision back --------------------------------------------------------------------------------------

HOLDS: dict[str, dict[str, Any]] = {
    "an open retraining": {"retraining": Retraining(True, "#7", ago(40))},
    "a canary": {"canary": Canary(True)},
    "the cool-down": {"retraining": Retraining(False, None, ago(3))},
}


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("held", [each for n in range(4) for each in itertools.combinations(HOLDS, n)], ids=" + ".join)
def test_a_retraining_waits_for_another_one_a_canary_and_the_cool_down(held: tuple[str, ...], asked: bool) -> None:
    change: dict[str, Any] = {"performance": WORSE, "request": Request("now" if asked else None)}
    for each in reversed(held):  # the first wins: an open one is told with its own end
        change |= HOLDS[each]
    found = decide(replace(HEALTHY, **change), POLICY)
    free = not held or (asked and held == ("the cool-down",))
    assert found.action is (Action.RETRAIN if free else Action.WAIT)
    if not free:
        assert {each.outcome for each in found.considered if each.action is Action.RETRAIN} <= {
            Outcome.HELD_BACK, Outcome.NOT,
        }  # fmt: skip
        assert needs_a_person(found)
        named = {"an open retraining": "#7", "a canary": "two models", "the cool-down": "3 days ago"}[held[0]]
        assert named in sentence(found)


def test_without_an_earlier_release_there_is_no_way_back_and_the_next_rule_decides() -> None:
    only = replace(HEALTHY, performance=WORSE, model=replace(NEW, has_earlier=False, has_other=False))
    assert decide(only, POLICY).action is Action.RETRAIN
    failing = replace(only, performance=HEALTHY.performance, errors=Errors(10_000, 900))
    found = decide(failing, POLICY)
    assert (found.action, found.considered[0].outcome) == (Action.WAIT, Outcome.HELD_BACK)
    assert "no earlier release" in sentence(found)


def test_a_model_that_does_worse_is_not_taken_back_to_itself_in_another_image() -> None:
    same = replace(HEALTHY, performance=WORSE, model=replace(NEW, has_other=False))
    found = decide(same, POLICY)
    assert (found.action, found.considered[1].outcome) == (Action.RETRAIN, Outcome.HELD_BACK)
    assert "the same model" in found.considered[1].why
    assert decide(replace(same, model=NEW), POLICY).action is Action.ROLL_BACK
    assert decide(replace(HEALTHY, model=same.model, **failing(10_000, 500)), POLICY).action is Action.ROLL_BACK


def test_with_too_few_new_rows_labels_are_asked_for_and_a_person_who_asks_gets_a_retraining() -> None:
    few = replace(HEALTHY, performance=WORSE, labels=FEW)
    assert decide(few, POLICY).action is Action.ASK_FOR_LABELS
    assert "there are 300" in sentence(decide(few, POLICY))
    assert decide(replace(few, labels=Labels()), POLICY).action is Action.ASK_FOR_LABELS
    assert decide(replace(few, request=Request("try")), POLICY).action is Action.RETRAIN
    assert decide(few, POLICY.model_copy(update={"min_new_rows": 0})).action is Action.RETRAIN


def test_a_clock_that_is_ahead_makes_nothing_younger_than_now() -> None:
    skewed = replace(HEALTHY, heartbeat=Heartbeat(ago(-2)), labels=replace(HEALTHY.labels, last_at=ago(-2)))
    found = decide(skewed, POLICY)
    assert (found.action, found.beside) == (Action.WAIT, ())
    assert (found.facts["labels.days_since_last"], found.facts["heartbeat.missed"]) == (0, 0)


def test_what_is_done_beside_a_decision_carries_its_numbers() -> None:
    share = {"name": "back off", "trigger": "performance", "action": "challenger share", "share": 0.05}
    more = {"name": "room", "trigger": "errors", "action": "scale bounds", "replicas": [4, 30],
            "condition": {"errors.share": "> 0.01"}}  # fmt: skip
    policy = decided_by({"rules": [share, more]})
    found = decide(replace(HEALTHY, performance=WORSE, errors=Errors(1000, 50)), policy)
    assert (found.action, found.rule) == (Action.WAIT, None)
    assert [(each.action, each.share, each.replicas) for each in found.beside] == [
        (Action.CHALLENGER_SHARE, 0.05, None), (Action.SCALE_BOUNDS, None, (4, 30)),
    ]  # fmt: skip


def test_labels_are_spread_otherwise_only_where_it_is_more_than_chance_and_enough_to_matter() -> None:
    def moved(then: list[int], now: list[int]) -> bool | None:
        found = spread(then, now)
        return None if found is None else found.moved

    assert moved([6800, 3200], [8600, 1400]) is True
    assert moved([68_000_000, 32_000_000], [67_000_000, 33_000_000]) is False  # certain, and too little
    assert moved([150, 100], [130, 120]) is False  # enough, and it may be chance
    assert moved([6800, 3200], [90, 10]) is None
    assert moved([300, 0], [300, 0]) is False


# ---- The record, and what is read of it ------------------------------------------------------------------------------


@pytest.mark.parametrize("alarm", ALARMS)
def test_a_record_is_the_same_for_the_same_evidence_and_comes_back_equal(alarm: str) -> None:
    evidence = replace(HEALTHY, **ALARMS[alarm][0])
    found = decide(evidence, POLICY)
    text = json.dumps(as_record(found), allow_nan=False)
    assert text == json.dumps(as_record(decide(evidence, POLICY)))
    assert parse_record(json.loads(text), "x") == found
    assert set(found.facts) == set(FACTS)
    assert len(found.considered) == len(POLICY.rules)
    assert all(each.why for each in found.considered)


@pytest.mark.parametrize(
    "planted", [{}, [], {"schema_version": 2}, {"schema_version": 1, "decision": "panic"}, "x", None]
)
def test_what_is_no_record_is_refused_by_its_place(planted: Any) -> None:
    with pytest.raises(DataError, match=r"^decisions/x\.json: "):
        parse_record(planted, "decisions/x.json")


def test_a_record_from_before_a_source_was_looked_at_is_read_and_does_not_know_it() -> None:
    record = as_record(decide(HEALTHY, POLICY))
    del record["evidence"]["traffic"]
    assert parse_record(record, "x").evidence == replace(HEALTHY, traffic=Traffic())
    del record["evidence"]["model"]["served_at"]
    assert parse_record(record, "x").evidence.model == replace(HEALTHY.model, served_at=None)


def test_records_sort_as_their_moments_do() -> None:
    assert key_of(ago(1)) < key_of(AT) == "decisions/date=2013-09-30/20130930T000000Z.json"


def test_the_issue_says_what_to_do_why_and_what_became_of_every_rule() -> None:
    found = decide(replace(HEALTHY, drift=replace(MOVED, features=("@all", "`x`"))), POLICY)
    text = markdown(found)
    assert text.startswith("**Train again on the newest labelled rows.** The branch `retrain/auto` carries")
    assert "@all" not in text
    assert text.count("| does not hold |") == sum(each.outcome is Outcome.NOT for each in found.considered)
    assert all(f"<code>{name.replace('_', '&#95;')}</code>" in text for name in FACTS)
    assert needs_a_person(found)
    assert not needs_a_person(decide(HEALTHY, POLICY))


# ---- Rules as people write them --------------------------------------------------------------------------------------


TABLE = {"task": "binary", "target": "y", "id": "i", "numeric": ["x"], "holdout": {"share": 0.2}}


def decided_by(section: Any) -> DecideParams:
    return parse({"data": TABLE, "decide": section}).decide


def rule(**more: Any) -> dict[str, Any]:
    return {"name": "r", "trigger": "drift", "action": "retrain", **more}


def test_a_section_that_is_not_there_is_the_defaults() -> None:
    assert parse({"data": TABLE}).decide == POLICY


@pytest.mark.parametrize(
    ("section", "said"),
    [
        pytest.param({"cooldown_days": 3}, "cooldown_days: unknown key; did you mean 'cool_down_days'?", id="key"),
        pytest.param({"rules": [rule(trigger="drifts")]}, "did you mean 'drift'?", id="trigger"),
        pytest.param({"rules": [rule(action="retrian")]}, "did you mean 'retrain'?", id="action"),
        pytest.param({"rules": [rule(condition={"drift.wieghted": ""})]}, "did you mean 'drift.weighted'?", id="fact"),
        pytest.param({"rules": [rule(condition={"drift.severity": "majr"})]}, "did you mean 'major'?", id="word"),
        pytest.param({"rules": [rule(condition={"drift.severity": []})]}, "an empty list never holds", id="no word"),
        pytest.param({"rules": [rule(condition={"drift.sustained": "yes"})]}, "expected true or false", id="flag"),
        pytest.param({"rules": [rule(condition={"drift.weighted": 0.1})]}, 'such as ">= 3", found 0.1', id="number"),
        pytest.param({"rules": [rule(condition={"drift.weighted": "0.1"})]}, 'such as ">= 3"', id="no sign"),
        pytest.param({"rules": [rule(condition={"drift.weighted": "> 1"})]}, "'> 1' never holds", id="no such share"),
        pytest.param({"rules": [rule(condition={"errors.rows": "> 5, < 5"})]}, "never holds", id="nothing between"),
        pytest.param({"rules": [rule(condition={"errors.rows": "< 0"})]}, "never holds", id="no such count"),
        pytest.param({"rules": [rule(condition={"drift.outcome": "none"})]},
                     "trigger drift means drift.outcome drift", id="against its trigger"),
        pytest.param({"rules": [rule(trigger="age", condition={"drift.outcome": "no data", "drift.sustained": True})]},
                     "drift.outcome no data means drift.sustained false", id="against each other"),
        pytest.param({"rules": [rule(trigger="age")]}, "trigger age needs a condition", id="always"),
        pytest.param({"rules": [rule(share=0.1)]}, "expected share with the action challenger share", id="share"),
        pytest.param({"rules": [rule(action="scale bounds")]}, "expected replicas", id="bounds"),
        pytest.param({"rules": [rule(action="scale bounds", replicas=[5, 2])]}, "as many or more", id="bounds turned"),
        pytest.param({"rules": [rule(), rule(action="wait")]}, "the name of two rules", id="twice"),
        pytest.param({"rules": [rule(action="wait"), rule(name="s", condition={"drift.weighted": "> 0.5"})]},
                     "'s' never decides: 'r', which stands before it, holds as well", id="forestalled"),
        pytest.param({"rules": [rule(condition={"drift.weighted": "> 0.1"}), rule(name="s", condition={
                     "drift.weighted": "> 0.2"})]}, "'s' never decides", id="the same again, and narrower"),
        pytest.param({"heartbeat_hours": 0}, "decide.heartbeat_hours: expected a number greater than 0", id="hours"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_meant_is_refused_with_what_to_write(section: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        decided_by(section)
    assert said in str(caught.value)
    assert str(caught.value).startswith("params.yaml: decide")


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([rule(), rule(name="s", action="wait")], id="after one that may be held back"),
        pytest.param([rule(condition={"drift.weighted": "> 0.2"}), rule(name="s")], id="wider than the one before"),
        pytest.param([rule(action="alert"), rule(name="s")], id="after one that only alerts"),
        pytest.param([rule(condition={"drift.severity": ["minor", "major"], "errors.rows": ">= 1, < 5"})], id="lists"),
    ],
)
def test_a_rule_that_can_hold_is_taken(rules: Any) -> None:
    assert len(decided_by({"rules": rules}).rules) == len(rules)
