"""What a canary does next, from what was measured: pure, and as Argo Rollouts decides it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mergeline.canary.conditions import ConditionError
from mergeline.canary.evaluation import evaluate
from mergeline.canary.promql import QueryError
from mergeline.canary.series import History
from mergeline.canary.template import Metric, Template
from mergeline.errors import ConfigurationError


class Phase(StrEnum):
    """What a measurement, or all measurements of a metric, came to."""

    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class Decision(StrEnum):
    """What happens to the share of the traffic."""

    CONTINUE = "continue"
    PROMOTE = "promote"
    ROLL_BACK = "roll back"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Measurement:
    """The values of a metric at one moment, and what its conditions say of them."""

    metric: str
    values: tuple[float, ...]
    phase: Phase


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and the metric that it rests on, None where it rests on all of them."""

    decision: Decision
    metric: str | None = None


def judge(metric: Metric, values: Sequence[float]) -> Phase:
    """Return what a metric's conditions say of the values of its query; neither of the two is inconclusive."""
    try:
        failed, succeeded = metric.failure.holds(values), metric.success.holds(values)
    except ConditionError as err:
        raise ConfigurationError(f"{metric.name}: {err}; its conditions must hold for no values, too") from err
    if failed:
        return Phase.FAILED
    return Phase.SUCCESSFUL if succeeded else Phase.INCONCLUSIVE


def measure(metric: Metric, history: History, now_s: float, scale: float = 1.0) -> Measurement:
    """Return what a metric's query and conditions say of the history; windows are `scale` times as long as written."""
    try:
        values = evaluate(metric.query, history, now_s, scale)
    except QueryError as err:
        raise ConfigurationError(f"{metric.name}: {err}; it says: {' '.join(metric.text.split())}") from err
    return Measurement(metric.name, values, judge(metric, values))


def assess(metric: Metric, phases: Sequence[Phase]) -> Phase:
    """Return what the measurements of one step come to so far, as the controller counts them."""
    if phases.count(Phase.FAILED) > metric.failure_limit:
        return Phase.FAILED
    if phases.count(Phase.INCONCLUSIVE) > metric.inconclusive_limit:
        return Phase.INCONCLUSIVE
    return Phase.SUCCESSFUL if len(phases) >= metric.count else Phase.RUNNING


def decide(template: Template, measured: Iterable[Measurement]) -> Verdict:
    """Return the decision on a step: back when one metric failed, on when all of them passed, else wait or pause.

    A failure or a pause counts at once, whatever other metrics still wait for.
    """
    phases: Mapping[str, list[Phase]] = {metric.name: [] for metric in template.metrics}
    for each in measured:
        phases[each.metric].append(each.phase)
    found = {metric.name: assess(metric, phases[metric.name]) for metric in template.metrics}
    for phase, decision in ((Phase.FAILED, Decision.ROLL_BACK), (Phase.INCONCLUSIVE, Decision.PAUSE)):
        named = next((name for name, each in found.items() if each is phase), None)
        if named is not None:
            return Verdict(decision, named)
    return Verdict(Decision.CONTINUE if Phase.RUNNING in found.values() else Decision.PROMOTE)
