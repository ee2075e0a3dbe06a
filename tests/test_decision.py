"""What holds a decision back, which of two rules changes a setting, and what is to be done by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_decide import HEALTHY, POLICY, WORSE, decided_by

from mergeline.monitor.decide import (
    Errors,
    Labels,
    Outcome,
    Partition,
    Performance,
    Request,
    decide,
    markdown,
    sentence,
)
from mergeline.params.decide import Action

WAITS = Partition(False, "2013-10", "the next partition, 2013-10, is over on 2013-11-01")
DUE = Partition(True, "2013-09")


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("few", [True, False])
def test_without_a_partition_that_is_due_there_is_nothing_to_train_on(asked: bool, few: bool) -> None:
    change: dict[str, Any] = {"performance": WORSE, "request": Request("now" if asked else None)}
    change |= {"labels": replace(HEALTHY.labels, new_rows=10)} if few else {}
    found = decide(replace(HEALTHY, partition=WAITS, **change), POLICY)
    assert found.action is Action.WAIT
    assert sentence(found).endswith("; the next partition, 2013-10, is over on 2013-11-01")
    assert Outcome.HELD_BACK in {each.outcome for each in found.considered}


@pytest.mark.parametrize("partition", [DUE, Partition()])
def test_the_twin_one_that_is_due_or_of_which_nothing_is_known_holds_nothing_back(partition: Partition) -> None:
    assert decide(replace(HEALTHY, performance=WORSE, partition=partition), POLICY).action is Action.RETRAIN


def test_labels_are_asked_for_by_their_own_rule_while_the_next_partition_is_waited_for() -> None:
    none = replace(HEALTHY, partition=WAITS, performance=Performance("no labels", "holds", False, 0.0))
    found = decide(replace(none, labels=Labels(0), request=Request("try")), POLICY)
    assert (found.action, found.rule) == (Action.ASK_FOR_LABELS, "no label came though it is time")


def test_the_issue_says_which_rows_a_retraining_has_as_far_as_that_is_known() -> None:
    worse = replace(HEALTHY, performance=WORSE)
    known, unknown = (markdown(decide(replace(worse, partition=each), POLICY)) for each in (DUE, Partition()))
    assert "The rows are those from 2013-09 on." in known
    assert "Whether any partition is due is not known; without one there is no branch." in unknown
    assert "partition" not in markdown(decide(HEALTHY, POLICY)).splitlines()[0]


def share(name: str, value: float, **condition: Any) -> dict[str, Any]:
    return {"name": name, "trigger": "errors", "action": "challenger share", "share": value, "condition": condition}


def test_of_two_rules_that_change_one_setting_the_first_that_holds_acts() -> None:
    bounds = {"name": "room", "trigger": "errors", "action": "scale bounds", "replicas": [4, 30]}
    alerts = [{"name": each, "trigger": "errors", "action": "alert"} for each in ("one", "two")]
    rules = [
        share("never", 0.5, **{"errors.share": "> 0.5"}),
        share("less", 0.05),
        share("least", 0.01),
        bounds,
        *alerts,
    ]
    found = decide(replace(HEALTHY, errors=Errors(1000, 50)), decided_by({"rules": rules}))
    assert [each.rule for each in found.beside] == ["less", "room", "one", "two"]
    assert [(each.outcome, each.why) for each in found.considered][:3] == [
        (Outcome.NOT, "errors.share is 0.05, not > 0.5, > 0"),
        (Outcome.FIRED, "errors.share is 0.05"),
        (Outcome.FORESTALLED, "errors.share is 0.05; 'less' has set it"),
    ]


def test_a_rule_does_not_hold_by_a_figure_and_is_not_known_by_its_absence_alone() -> None:
    rule = share("less", 0.05, **{"release.age_days": "<= 7"})
    policy = decided_by({"rules": [rule]})
    unknown = replace(HEALTHY, errors=Errors())
    old = decide(unknown, policy).considered[0]
    assert (old.outcome, old.why) == (Outcome.NOT, "release.age_days is 40, not <= 7")
    new = decide(replace(unknown, model=replace(HEALTHY.model, released_at=HEALTHY.at)), policy).considered[0]
    assert (new.outcome, new.why) == (Outcome.UNKNOWN, "errors.share is not known")
