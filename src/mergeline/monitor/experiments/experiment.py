"""Whether a challenger and the champion differ, by what the log says of them and the labels that came."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from mergeline.errors import ConfigurationError
from mergeline.gates.evidence import UNBOUNDED
from mergeline.intervals import LEAST_CLASS_ROWS
from mergeline.monitor.experiments.arm import Arm, Problem, gap_range
from mergeline.monitor.experiments.checks import Check, checks_of_ab, shadow_answers
from mergeline.monitor.experiments.differences import Difference, independent, on_same_requests
from mergeline.monitor.experiments.looks import Progress, progress
from mergeline.monitor.experiments.sides import Kind, Models, Sides, label_values, sides_of
from mergeline.monitor.experiments.tables import Outcomes, outcomes, pairs
from mergeline.params.evaluate import PRIMARY_METRICS
from mergeline.report.wording import count, share
from mergeline.schema import Task

if TYPE_CHECKING:
    from mergeline.monitor.labels import Joined

LEAST_UNITS = 30  # of an arm; with fewer no interval here is known to hold
RANKING = ("roc_auc", "average_precision", "roc_auc_ovr")  # their intervals need rows of each class
ANSWERS = ("wrong", "right")


class Verdict(StrEnum):
    """What may be said of the two models."""

    CHALLENGER = "challenger better"
    CHAMPION = "champion better"
    EQUIVALENT = "equivalent within the margin"
    NOT_YET = "no difference yet"
    NO_LABELS = "no labels yet"
    NOT_TRUSTED = "not to be trusted"


@dataclass(frozen=True, slots=True)
class Plan:
    """What was wanted. `share`: the challenger's of the entities, None where nobody says.

    `margin`: the least difference that matters, above 0, in the metric's own unit or, of a metric without an upper
    bound (log loss, errors), as a share of the champion's value.
    """

    metric: str
    margin: float = 0.01
    confidence: float = 0.95
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """One model's part in the experiment; `entities` counts those that requests name."""

    model_sha256: str
    requests: int
    entities: int
    labelled: int


@dataclass(frozen=True, slots=True)
class Experiment:
    """What an experiment shows.

    `margin` is in the metric's own unit, None where the metric is not defined. `outcomes`: right and wrong answers by
    variant, or the decisions where there are no labels; None of a regression and of models that decide nothing.
    `least_units`: the entities (requests, where these carry none) of the arm that has fewer with a label.
    """

    kind: Kind
    verdict: Verdict
    champion: Variant
    challenger: Variant
    first: dt.datetime
    last: dt.datetime
    metric: str
    margin: float | None
    confidence: float
    checks: tuple[Check, ...]
    outcomes: Outcomes | None
    difference: Difference | None
    progress: Progress | None
    least_units: int
    notes: tuple[str, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.held)

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON takes it; what is not finite is null."""
        record: dict[str, Any] = _plain(asdict(self))
        return record


def experiment(joined: Joined, problem: Problem, models: Models, plan: Plan) -> Experiment:
    """Compare two models on the requests that both had a chance to meet.

    joined: predictions with `request_id`, `ts`, `entity_id`, `model_sha256`, `variant`, `score`, `decision`, `status`,
    `sampling_rate` and, of several classes, `scores`; rows of other models are left alone. What is sampled for the log
    does not depend on the variant, so rows are not weighted; where the rates of the variants differ, a check fails.

    Raises DataError where the two never ran side by side, ConfigurationError for a plan that cannot be.
    """
    _check(problem, plan)
    sides = sides_of(joined.rows, models, problem)
    champion, challenger = (sides.arm(side, problem) for side in (0, 1))
    checks = tuple(_checks(sides, models.kind, problem, plan))
    compare = on_same_requests if models.kind is Kind.SHADOW else independent
    found = compare(plan.metric, problem, champion, challenger, plan.confidence)
    margin = _margin(plan, found)
    labels = champion.rows if models.kind is Kind.SHADOW else champion.rows + challenger.rows
    reached = progress(found.interval, labels, margin, gap_range(plan.metric)) if found and margin else None
    least = min(champion.units, challenger.units)
    enough = least >= LEAST_UNITS and _classes_seen(plan.metric, champion, challenger)
    return Experiment(
        kind=models.kind,
        verdict=_verdict(checks, min(champion.rows, challenger.rows), reached if enough else None, margin),
        champion=_facts(sides, 0, models.champion),
        challenger=_facts(sides, 1, models.challenger),
        first=sides.rows["ts"].min().to_pydatetime(),
        last=sides.rows["ts"].max().to_pydatetime(),
        metric=plan.metric,
        margin=margin,
        confidence=plan.confidence,
        checks=checks,
        outcomes=_outcomes(sides, problem, models.kind),
        difference=found,
        progress=reached,
        least_units=least,
        notes=tuple(_notes(joined, sides, models.kind, plan)),
    )


def _check(problem: Problem, plan: Plan) -> None:
    known = PRIMARY_METRICS[problem.task]
    if plan.metric not in known:
        raise ConfigurationError(f"metric: expected one of {', '.join(known)} ({problem.task}), found {plan.metric}")
    for name, value in (("confidence", plan.confidence), ("share", plan.share)):
        if value is not None and not 0 < value < 1:
            raise ConfigurationError(f"{name}: expected a share between 0 and 1, found {value:g}")
    if not 0 < plan.margin < math.inf:
        raise ConfigurationError(f"margin: expected the least difference that matters, above 0, found {plan.margin:g}")


def _checks(sides: Sides, kind: Kind, problem: Problem, plan: Plan) -> list[Check]:
    if kind is Kind.SHADOW:
        return [shadow_answers(sides.failed, sides.failed + len(sides.rows) // 2)]
    return checks_of_ab(sides, problem, plan.share)


def _margin(plan: Plan, found: Difference | None) -> float | None:
    if found is None:
        return None
    return plan.margin * (abs(found.champion.interval.estimate) if plan.metric in UNBOUNDED else 1.0)


def _classes_seen(metric: str, *arms: Arm) -> bool:
    """Whether each class has the rows without which the interval of a ranking does not hold."""
    if metric not in RANKING:
        return True
    return all(np.unique_counts(arm.label).counts.min() >= LEAST_CLASS_ROWS for arm in arms)


def _verdict(checks: tuple[Check, ...], labels: int, reached: Progress | None, margin: float | None) -> Verdict:
    """By the interval that holds at every look; `reached` is None where there are too few labels to say anything."""
    if not all(check.held for check in checks):
        return Verdict.NOT_TRUSTED
    if not labels:
        return Verdict.NO_LABELS
    if reached is None or margin is None:
        return Verdict.NOT_YET
    if reached.always.low > 0:
        return Verdict.CHALLENGER
    if reached.always.high < 0:
        return Verdict.CHAMPION
    within = -margin < reached.always.low and reached.always.high < margin
    return Verdict.EQUIVALENT if within else Verdict.NOT_YET


def _outcomes(sides: Sides, problem: Problem, kind: Kind) -> Outcomes | None:
    """Right and wrong answers by variant; the decisions where nothing is labelled."""
    decision = sides.rows["decision"]
    if problem.task is Task.REGRESSION or decision.isna().any():
        return None
    chosen, _ = label_values(decision, problem)
    columns, value, kept = problem.classes, chosen.astype(np.int64), ~np.isnan(chosen)
    if sides.labelled.any():
        columns, value, kept = ANSWERS, (chosen == sides.label).astype(np.int64), sides.labelled
    if kind is Kind.AB:
        return outcomes(sides.variant[kept], value[kept], columns, sides.unit[kept])
    if len(columns) != 2:
        return None
    old, new = (value[kept & (sides.variant == side)] for side in (0, 1))
    return pairs(old, new, (columns[0], columns[1]), sides.unit[kept & (sides.variant == 0)])


def _facts(sides: Sides, side: int, model: str) -> Variant:
    rows = sides.of(side)
    labelled = int(sides.labelled[sides.variant == side].sum())
    return Variant(model, len(rows), int(rows["entity_id"].nunique()), labelled)


def _notes(joined: Joined, sides: Sides, kind: Kind, plan: Plan) -> Iterator[str]:
    entities = int(sides.rows["entity_id"].nunique())
    named = int(sides.rows["entity_id"].notna().sum()) // (2 if kind is Kind.SHADOW else 1)
    if entities and named > entities:
        yield (
            f"{count(named)} requests came from {count(entities)} entities, {named / entities:.1f} each: what one"
            " entity asks is not independent, so entities are counted and every variance is that between them"
        )
    if kind is Kind.AB and plan.share is None:
        yield "whether the variants got their shares of the requests is not checked: say the challenger's by --share"
    if kind is Kind.AB and sides.failed:
        yield f"{count(sides.failed)} requests that got no score are left out"
    rates = sides.rows["sampling_rate"]
    if rates.min() < 1:
        shown = share(float(rates.min())) + (f" to {share(float(rates.max()))}" if rates.nunique() > 1 else "")
        yield f"the log holds a sample ({shown}) drawn without regard to the variant, so nothing is weighted"
    for number, said in (
        (joined.repeated, "rows of the log say once more what another one says"),
        (joined.corrected, "requests have a label that was corrected later; the latest counts"),
        (joined.unmatched, "labelled requests are not in this part of the log"),
        (sides.unreadable, "labels are none of the task's and are left out"),
    ):
        if number:
            yield f"{count(number)} {said}"


def _plain(value: Any) -> Any:
    """The value with times as text, enumerations as their words, and null for what JSON has no number for."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, StrEnum) else value
