"""One decision from the evidence, by the rules of `params.yaml`; nothing is read or written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mergeline.monitor.decide.evidence import Evidence
from mergeline.params.conditions import Value
from mergeline.params.decide import Action, DecideParams, Rule, Trigger

Facts = Mapping[str, Value | None]


class Outcome(StrEnum):
    """What became of a rule."""

    FIRED = "fired"
    HELD_BACK = "held back"
    FORESTALLED = "forestalled"  # it holds, and an earlier one has decided, or changes the same setting
    NOT = "does not hold"
    UNKNOWN = "not known"  # a fact is missing, and no other one says that it does not hold


@dataclass(frozen=True, slots=True)
class Considered:
    """A rule, what became of it, and why in a sentence; `action` is what it asks for."""

    rule: str
    trigger: Trigger
    action: Action
    outcome: Outcome
    why: str


@dataclass(frozen=True, slots=True)
class Beside:
    """What is done beside the decision: an alert, a challenger's share, bounds of a scale."""

    rule: str
    action: Action
    why: str
    share: float | None = None
    replicas: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done: `rule` is the one that says so, None where none does and there is nothing but to wait."""

    action: Action
    rule: str | None
    why: tuple[str, ...]
    beside: tuple[Beside, ...]
    considered: tuple[Considered, ...]
    facts: Facts
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class _Hold:
    """Why a rule that holds does not decide; `instead` is what is then done in its place."""

    why: str
    instead: Action | None = None


def decide(evidence: Evidence, policy: DecideParams) -> Decision:
    """Return the decision of the first rule that holds and is not held back; to wait where there is none.

    A fact that is not known passes no test. Whatever is decided, the rules that alert or change a setting act, too; of
    those that change the same setting only the first.
    """
    facts = evidence.facts(policy.every_days, policy.heartbeat_hours)
    action, decided_by = Action.WAIT, None
    why: list[str] = []
    beside: list[Beside] = []
    considered: list[Considered] = []
    for rule in policy.rules:
        outcome, said = _tested(rule, facts)
        holds = outcome is Outcome.FIRED
        first = next((each.rule for each in beside if each.action is rule.action is not Action.ALERT), None)
        if holds and first is not None:
            outcome, said = Outcome.FORESTALLED, f"{said}; {first!r} has set it"
        elif holds and not rule.action.decides:
            beside.append(Beside(rule.name, rule.action, said, rule.share, rule.replicas))
        elif holds and decided_by is not None:
            outcome, said = Outcome.FORESTALLED, f"{said}; {decided_by!r} has decided"
        elif holds:
            hold = _hold(rule, evidence, facts, policy)
            if hold is None or hold.instead is not None:
                action, decided_by = (hold and hold.instead) or rule.action, rule.name
                why = [f"{rule.name}: {said}", *([hold.why] if hold else [])]
            if hold is not None:
                outcome = Outcome.FIRED if hold.instead else Outcome.HELD_BACK
                said = f"{said}; {hold.why}"
        considered.append(Considered(rule.name, rule.trigger, rule.action, outcome, said))
    why = why or _nothing(considered, facts)
    return Decision(action, decided_by, tuple(why), tuple(beside), tuple(considered), facts, evidence)


def _tested(rule: Rule, facts: Facts) -> tuple[Outcome, str]:
    """Whether all tests hold, with the values that they held for, or the first that does not, or is not known."""
    said, unknown = [], []
    for name, test in rule.tests.items():
        value = facts[name]
        if value is None:
            unknown.append(f"{name} is not known")
        elif not test.holds(value):
            return Outcome.NOT, f"{name} is {shown(value)}, not {test.text}"
        else:
            said.append(f"{name} is {shown(value)}")
    return (Outcome.UNKNOWN, unknown[0]) if unknown else (Outcome.FIRED, ", ".join(said))


def _hold(rule: Rule, evidence: Evidence, facts: Facts, policy: DecideParams) -> _Hold | None:
    """What stands in the way of a decision."""
    if rule.action is Action.ROLL_BACK and evidence.model.has_earlier is not True:
        return _Hold("there is no earlier release to go back to")
    if rule.action is Action.ROLL_BACK and rule.trigger is Trigger.PERFORMANCE and evidence.model.has_other is not True:
        return _Hold("the release before serves the same model; `mergeline rollback --to` names another one")
    if rule.action is not Action.RETRAIN:
        return None
    asked = rule.trigger is Trigger.REQUEST
    since, new = facts["retraining.days_since_last"], facts["labels.new_rows"]
    if facts["retraining.open"]:
        return _Hold(f"a retraining is open already ({evidence.retraining.name or 'retrain/auto'}); merge or close it")
    if facts["canary.under_way"]:
        return _Hold("production serves two models; the canary ends first")
    if not asked and isinstance(since, float | int) and since < policy.cool_down_days:
        days = policy.cool_down_days
        return _Hold(f"the last retraining ended {since:g} days ago, the cool-down is {days:g} days")
    if facts["data.partition_due"] is False:
        return _Hold(evidence.partition.why or "no partition is due")
    if not asked and policy.min_new_rows and (new is None or int(new) < policy.min_new_rows):
        have = "how many is not known" if new is None else f"there are {int(new):,}"
        return _Hold(
            f"a retraining takes {policy.min_new_rows:,} labelled rows that the model has not seen, {have}",
            Action.ASK_FOR_LABELS,
        )
    return None


def _nothing(considered: Sequence[Considered], facts: Facts) -> list[str]:
    """Why to wait, where no rule decides."""
    held = [f"{each.rule}: {each.why}" for each in considered if each.outcome is Outcome.HELD_BACK]
    if held:
        return held
    why = ["no rule asks for anything"]
    weighted = facts["drift.weighted"]
    if facts["drift.features"] and isinstance(weighted, float | int):
        why.append(f"{facts['drift.features']} features moved, which hold {weighted:.1%} of the model's importance")
    if facts["traffic.rows"] == 0:
        why.append("there was no prediction to judge by, which is a failure and no good sign")
    if facts["drift.outcome"] is None:
        why.append("there is no drift record of this window")
    return why


def shown(value: Value) -> str:
    """Return a value as a person reads it.

    >>> shown(0.123456), shown(True), shown(12000)
    ('0.1235', 'true', '12,000')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value
