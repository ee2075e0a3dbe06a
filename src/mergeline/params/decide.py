"""The section `decide`: what a scheduled run concludes from drift, labels, errors and age.

Rules are read from the top. The first that holds and is not held back makes the decision; those that only alert, or
change a share or bounds, act whatever is decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, field_validator, model_validator

from mergeline.params.conditions import Test, contradiction, fact_test
from mergeline.params.section import Section, Share, refuse, suggestion

Days = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(min_length=1, max_length=80)]


class Trigger(StrEnum):
    """What makes a rule be looked at."""

    ERRORS = "errors"
    FAILURES = "failures"
    SILENCE = "silence"
    PERFORMANCE = "performance"
    DRIFT = "drift"
    NO_DATA = "no data"
    LABELS = "labels"
    REQUEST = "request"
    SCHEDULE = "schedule"
    AGE = "age"
    RETRAINING = "retraining"
    HEARTBEAT = "heartbeat"


class Action(StrEnum):
    """What follows where a rule holds."""

    ROLL_BACK = "roll back"
    RETRAIN = "retrain"
    ASK_FOR_LABELS = "ask for labels"
    WAIT = "wait"
    ALERT = "alert"
    CHALLENGER_SHARE = "challenger share"
    SCALE_BOUNDS = "scale bounds"

    @property
    def decides(self) -> bool:
        """Whether it is a decision, and not something that is done beside one."""
        return self in (Action.ROLL_BACK, Action.RETRAIN, Action.ASK_FOR_LABELS, Action.WAIT)


# What a trigger asks for by itself; one that asks for nothing needs a condition.
ASKS: Final[Mapping[Trigger, Mapping[str, Any]]] = {
    Trigger.ERRORS: {"errors.share": "> 0"},
    Trigger.FAILURES: {"traffic.failed": "> 0"},
    Trigger.SILENCE: {"traffic.rows": "< 1"},
    Trigger.PERFORMANCE: {"performance.outcome": "degraded"},
    Trigger.DRIFT: {"drift.outcome": "drift"},
    Trigger.NO_DATA: {"drift.outcome": "no data"},
    Trigger.LABELS: {},
    Trigger.REQUEST: {"request.made": True},
    Trigger.SCHEDULE: {"schedule.due": True},
    Trigger.AGE: {},
    Trigger.RETRAINING: {"retraining.open": True},
    Trigger.HEARTBEAT: {"heartbeat.missed": ">= 1"},
}


def _word(kind: type[StrEnum], raw: Any) -> Any:
    known = [str(each) for each in kind]
    if not isinstance(raw, str) or raw not in known:
        close = suggestion(raw, known) if isinstance(raw, str) else ""
        raise ValueError(f"expected one of {', '.join(known)}, found {raw!r}{close}")
    return kind(raw)


class Rule(Section):
    """`condition` maps facts to tests, which must all hold; see docs/decide.md for the facts.

    `share`: the challenger's new share, of `challenger share` alone. `replicas`: the least and the most pods of
    production, of `scale bounds` alone.
    """

    name: Name
    trigger: Trigger
    action: Action
    condition: dict[str, Any] = Field(default_factory=dict)
    share: Share | None = None
    replicas: Annotated[tuple[int, int], Field(strict=False)] | None = None

    @field_validator("trigger", mode="before")
    @classmethod
    def _known_trigger(cls, raw: Any) -> Any:
        return _word(Trigger, raw)

    @field_validator("action", mode="before")
    @classmethod
    def _known_action(cls, raw: Any) -> Any:
        return _word(Action, raw)

    @model_validator(mode="after")
    def _can_hold(self) -> Rule:
        tests: dict[str, Test] = {}
        problems = []
        for name, raw in {**self.condition}.items():
            try:
                tests[name] = fact_test(name, raw)
            except ValueError as err:
                problems.append(str(err))
        for name, raw in ASKS[self.trigger].items():
            own = fact_test(name, raw)
            tests[name] = tests[name].both(own) if name in tests else own
            if tests[name].empty:
                problems.append(f"never holds: trigger {self.trigger} means {name} {own.text}")
        if not problems and (why := contradiction(tests)):
            problems.append(f"never holds: {why}")
        if not tests and not problems:
            problems.append(f"trigger {self.trigger} needs a condition; without one it always holds")
        if (self.share is None) is (self.action is Action.CHALLENGER_SHARE):
            problems.append("expected share with the action challenger share, and with no other")
        if (self.replicas is None) is (self.action is Action.SCALE_BOUNDS):
            problems.append("expected replicas, two numbers, with the action scale bounds, and with no other")
        if self.replicas is not None and not 1 <= self.replicas[0] <= self.replicas[1]:
            problems.append(f"replicas: expected 1 or more, then as many or more, found {list(self.replicas)}")
        refuse(problems)
        return self

    @property
    def tests(self) -> dict[str, Test]:
        """What must hold, the trigger's own part first."""
        own = {name: fact_test(name, raw) for name, raw in ASKS[self.trigger].items()}
        asked = {name: fact_test(name, raw) for name, raw in self.condition.items()}
        return {**own, **{name: test.both(own[name]) if name in own else test for name, test in asked.items()}}


def _rule(name: str, trigger: Trigger, action: Action, **condition: Any) -> Rule:
    dotted = {fact.replace("__", "."): test for fact, test in condition.items()}
    return Rule(name=name, trigger=trigger, action=action, condition=dotted)


DEFAULT_RULES: Final = (
    _rule("a new release fails", Trigger.ERRORS, Action.ROLL_BACK,
          errors__share="> 0.02", errors__rows=">= 500", release__age_days="<= 7"),
    _rule("a new release does worse on rows like those it was trained on", Trigger.PERFORMANCE, Action.ROLL_BACK,
          performance__mature=True, drift__outcome="none", labels__shift=False, model__served_days="<= 7"),
    _rule("a person asks", Trigger.REQUEST, Action.RETRAIN),
    _rule("the model does worse", Trigger.PERFORMANCE, Action.RETRAIN, performance__mature=True),
    _rule("what the model looks at has moved", Trigger.DRIFT, Action.RETRAIN,
          drift__sustained=True, drift__weighted=">= 0.1"),
    _rule("what is predicted has moved", Trigger.LABELS, Action.RETRAIN, labels__shift=True, performance__mature=True),
    _rule("the schedule", Trigger.SCHEDULE, Action.RETRAIN),
    _rule("the model is old", Trigger.AGE, Action.RETRAIN, model__age_days="> 180"),
    _rule("the estimate is worse and too few labels say so", Trigger.LABELS, Action.ASK_FOR_LABELS,
          performance__estimate="degraded", performance__outcome=["immature", "too few labels", "no labels"]),
    _rule("no label came though it is time", Trigger.LABELS, Action.ASK_FOR_LABELS, performance__outcome="no labels"),
    _rule("labels have stopped", Trigger.LABELS, Action.ASK_FOR_LABELS, labels__days_since_last="> 14"),
    _rule("predictions fail", Trigger.FAILURES, Action.ALERT, traffic__failed="> 0.02", traffic__rows=">= 500"),
    _rule("no traffic", Trigger.SILENCE, Action.ALERT),
    _rule("other models answer", Trigger.NO_DATA, Action.ALERT, traffic__rows=">= 1"),
    _rule("drift lasts", Trigger.DRIFT, Action.ALERT, drift__sustained=True, drift__weighted="< 0.1"),
    _rule("a retraining waits", Trigger.RETRAINING, Action.ALERT, performance__outcome="degraded"),
    _rule("runs were missed", Trigger.HEARTBEAT, Action.ALERT),
)  # fmt: skip


class DecideParams(Section):
    """When the model is trained again, taken back, or left alone.

    For `cool_down_days` after a retraining was merged or closed no other one is opened, unless a person asks. With
    fewer labelled rows that the model has not seen than `min_new_rows`, labels are asked for in place of a retraining.
    `every_days` makes one due by the calendar. Errors and traffic are those of the last `look_back_hours`.
    `heartbeat_hours`: how old the last good run may be, which is the pace of the schedule and some patience.
    """

    cool_down_days: Annotated[float, Field(ge=0)] = 7.0
    min_new_rows: Annotated[int, Field(ge=0)] = 1000
    every_days: Days | None = None
    look_back_hours: Annotated[float, Field(gt=0)] = 24.0
    heartbeat_hours: Annotated[float, Field(gt=0)] = 30.0
    rules: Annotated[tuple[Rule, ...], Field(strict=False)] = DEFAULT_RULES

    @model_validator(mode="after")
    def _can_be_reached(self) -> DecideParams:
        names = [rule.name for rule in self.rules]
        problems = [f"rules: {name!r} is the name of two rules" for name in sorted(set(names)) if names.count(name) > 1]
        problems += [f"rules: {why}" for why in unreached(self.rules)]
        refuse(problems)
        return self


def unreached(rules: Sequence[Rule]) -> list[str]:
    """Return the rules that an earlier one always forestalls.

    A retraining or a rollback can be held back, and then a later rule decides; nothing holds back the other decisions.
    """
    found = []
    for place, later in enumerate(rules):
        for earlier in rules[:place]:
            certain = earlier.action in (Action.ASK_FOR_LABELS, Action.WAIT) or earlier.action is later.action
            if later.action.decides and earlier.action.decides and certain and _covers(earlier, later):
                found.append(f"{later.name!r} never decides: {earlier.name!r}, which stands before it, holds as well")
                break
    return found


def _covers(earlier: Rule, later: Rule) -> bool:
    tests = later.tests
    return all(name in tests and tests[name].within(test) for name, test in earlier.tests.items())
