"""What has to hold before an experiment's difference means anything, each with its own test.

All but the first two ask the same question: do both variants have the same kind of requests? The tests are meant to
stay silent: each fails where its p-value falls below 0.001.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mergeline.intervals import Floats
from mergeline.metrics import Codes
from mergeline.monitor.experiments.arm import Problem
from mergeline.monitor.experiments.influence import mean_influence, variance
from mergeline.monitor.experiments.sides import Sides
from mergeline.monitor.experiments.tables import outcomes, share_of
from mergeline.report.wording import count, figure, share
from mergeline.schema import Task

LEVEL = 0.001
MOST_CROSSED = 0.01
MOST_FAILED = 0.01


@dataclass(frozen=True, slots=True)
class Check:
    """Whether one of the conditions of an experiment holds; `said` is a sentence without its full stop."""

    name: str
    held: bool
    p_value: float | None
    said: str


def checks_of_ab(sides: Sides, problem: Problem, asked: float | None) -> list[Check]:
    """The checks of an A/B experiment; asked: the challenger's configured share, None where it is not known."""
    found = [_sampling(sides)]
    if len(np.unique(sides.unit)) < len(sides.unit):
        found.insert(0, _sticky(sides))
    if asked is not None:
        found.insert(0, _sample_ratio(sides, asked))
    if sides.labelled.any():
        found.append(_coverage(sides))
    if all((sides.labelled & (sides.variant == side)).any() for side in (0, 1)):
        found.append(_alike(sides, problem))
    return found


def shadow_answers(failed: int, asked: int) -> Check:
    """Whether a shadow answers what it is asked: what it fails on is not compared, and may be what is hard."""
    missing = failed / asked if asked else 0.0
    said = f"the shadow failed on {count(failed)} of {count(asked)} requests"
    if missing > MOST_FAILED:
        said += f", more than {share(MOST_FAILED)}; a comparison without them flatters it"
    return Check("answers", missing <= MOST_FAILED, None, said)


def _sample_ratio(sides: Sides, asked: float) -> Check:
    order = np.argsort(sides.rows["ts"].dt.tz_convert(None).to_numpy(), kind="stable")
    _, first = np.unique(sides.unit[order], return_index=True)
    arms = sides.variant[order][first]  # where each unit went first
    challengers, units = int(arms.sum()), len(arms)
    method, p_value = share_of(challengers, units, asked)
    named = int(sides.rows["entity_id"].notna().sum())
    what = "entities" if named == len(sides.rows) else "entities and requests without one" if named else "requests"
    said = (
        f"{count(challengers)} of {count(units)} {what} went to the challenger, {100 * challengers / units:.3g} % where"
        f" {100 * asked:.3g} % was set ({with_p(method, p_value)})"
    )
    if p_value < LEVEL:
        said += "; requests are lost or the share was changed: find out which, or choose days by --since and --until"
    return Check("sample ratio", p_value >= LEVEL, p_value, said)


def _sticky(sides: Sides) -> Check:
    both = np.intersect1d(sides.unit[sides.variant == 0], sides.unit[sides.variant == 1]).size
    units = len(np.unique(sides.unit))
    held = both <= MOST_CROSSED * units
    said = f"{count(both)} of {count(units)} entities met both variants"
    if not held:
        said += "; the share was changed in between: choose days by --since and --until on which it was not"
    return Check("sticky", held, None, said)


def _sampling(sides: Sides) -> Check:
    rates, position = np.unique(sides.rows["sampling_rate"].to_numpy(dtype=np.float64), return_inverse=True)
    if len(rates) == 1:
        return Check("sampling", True, None, f"{share(float(rates[0]))} of the requests of both variants are logged")
    names = tuple(f"{rate:g}" for rate in rates)
    p_value = outcomes(sides.variant, position, names, sides.unit).p_value
    held = p_value is None or p_value >= LEVEL
    said = f"sampling rates from {names[0]} to {names[-1]}, in the same mix for both variants ({p_text(p_value)})"
    if not held:
        said = (
            f"sampling rates from {names[0]} to {names[-1]}, in another mix for each variant ({p_text(p_value)});"
            " choose days by --since and --until on which both were logged alike"
        )
    return Check("sampling", held, p_value, said)


def _coverage(sides: Sides) -> Check:
    found = outcomes(sides.variant, sides.labelled.astype(np.int64), ("open", "labelled"), sides.unit)
    shares = [float(sides.labelled[sides.variant == side].mean()) for side in (0, 1)]
    held = found.p_value is None or found.p_value >= LEVEL
    said = (
        f"{share(shares[0])} of the champion's requests and {share(shares[1])} of the challenger's have a label"
        f" ({with_p(found.method, found.p_value)})"
    )
    if not held:
        said += "; wait until the period's labels are in, or see why one variant's are missing"
    return Check("coverage", held, found.p_value, said)


def _alike(sides: Sides, problem: Problem) -> Check:
    """Whether the labels themselves are distributed alike: a model that only predicts cannot change them."""
    here = sides.labelled
    variant, unit, label = sides.variant[here], sides.unit[here], sides.label[here]
    if problem.task is Task.REGRESSION:
        method, p_value = "means", _means_alike(variant, unit, label)
        shown = [f"{figure(float(label[variant == side].mean()))} on average" for side in (0, 1)]
    else:
        found = outcomes(variant, label.astype(np.int64), problem.classes, unit)
        method, p_value = found.method, found.p_value
        shown = [_shares(row, found.columns) for row in found.counts]
    held = p_value is None or p_value >= LEVEL
    if held:
        return Check("labels", True, p_value, f"labels are alike in both variants ({with_p(method, p_value)})")
    said = (
        f"labels differ: {shown[0]} on the champion's side, {shown[1]} on the challenger's"
        f" ({with_p(method, p_value)}); they met different requests, or acting on a prediction changes what it predicts"
    )
    return Check("labels", False, p_value, said)


def _shares(counts: tuple[int, ...], names: tuple[str, ...]) -> str:
    """The share of the positive class, or of the first few classes."""
    shown = range(1, 2) if len(names) == 2 else range(min(len(names), 4))
    return ", ".join(f"{share(counts[code] / sum(counts))} {names[code]}" for code in shown)


def _means_alike(variant: Codes, unit: Codes, label: Floats) -> float | None:
    from scipy import stats

    sides = [mean_influence(label[variant == side]) for side in (0, 1)]
    total = sum(variance(one, unit[variant == side])[0] for side, one in enumerate(sides) if one is not None)
    if sides[0] is None or sides[1] is None or total == 0 or not math.isfinite(total):
        return None
    return float(2 * stats.norm.sf(abs(sides[1].estimate - sides[0].estimate) / math.sqrt(total)))


def with_p(method: str, p_value: float | None) -> str:
    """Return a test and its p-value.

    >>> with_p("Fisher, exact", 0.02), with_p("not compared", None)
    ('Fisher, exact, p = 0.02', 'not compared')
    """
    return "not compared" if p_value is None else f"{method}, {p_text(p_value)}"


def p_text(p_value: float | None) -> str:
    """Return a p-value as people write it.

    >>> p_text(0.0412), p_text(1e-9), p_text(None)
    ('p = 0.041', 'p < 0.001', 'not compared')
    """
    if p_value is None:
        return "not compared"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"
