"""From a window's counts to its record: which columns moved, whether that matters, and whether it lasts."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergeline.monitor.drift import statistics
from mergeline.monitor.drift.classifier import tell_apart
from mergeline.monitor.drift.record import (
    Apart,
    Classifier,
    DriftRecord,
    FeatureDrift,
    OtherRelease,
    Outcome,
    Sampling,
    Severity,
)
from mergeline.monitor.drift.resolution import Side, marked
from mergeline.monitor.drift.shape import category_shape, number_shape, rounded
from mergeline.monitor.drift.tails import benjamini_hochberg
from mergeline.monitor.drift.tally import Counted, Sample, Tally
from mergeline.monitor.drift.wording import unjudged
from mergeline.monitor.profile import Profile
from mergeline.monitor.sketch import CategoryCounts, NumberSketch
from mergeline.monitor.windows import EPOCH, Window
from mergeline.schema import SCORE, Feature, Kind

DIGITS = 12  # of p-values and statistics; beyond them machines differ
FINE = 1_000_000  # the whole numbers that weighted counts are rounded to


@dataclass(frozen=True, slots=True)
class Rules:
    """From where on a column has drifted; the fields of the section `drift` of params.yaml that decide."""

    minor: float = 0.05
    major: float = 0.15
    alpha: float = 0.01
    k: int = 3
    n: int = 4
    min_rows: int = 500
    importance: float = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What a release was trained on.

    importance: each feature's share of the positive permutation importances; None where none is recorded. rows: of
    the training table, as in `tally.Sample`; None where they are not at hand, and then `no_rows` says why.
    """

    model_sha256: str
    features: tuple[Feature, ...]
    profile: Profile
    importance: Mapping[str, float] | None = None
    rows: NDArray[np.float64] | None = None
    no_rows: str = "not available: the release has no reference rows"


def judge(
    window: Window, position: int, counted: Counted, reference: Reference, rules: Rules, history: Sequence[DriftRecord]
) -> DriftRecord:
    """Return the record of the window at a position of the count; `history` are the records before it, oldest first.

    Only the history of the same release counts for what is sustained: windows that were judged, and those without a
    row, in which nothing drifted. Those of too few rows are passed over.
    """
    tallies = {rate: each for (at, rate), each in counted.tallies.items() if at == position}
    rows = sum(each.profile.rows for each in tallies.values())
    base = DriftRecord(
        window=window,
        model_sha256=reference.model_sha256,
        outcome=Outcome.NO_DATA if not rows else Outcome.TOO_FEW_ROWS,
        severity=Severity.NONE,
        sustained=False,
        sentence="",
        rows=rows,
        reference_rows=reference.profile.rows,
        unscored=sum(each.profile.score.missing for each in tallies.values()),
        importance_known=reference.importance is not None,
        weighted=0.0,
        moved=0.0,
        features=(),
        schema_changes=tuple(sorted(change for at, change in counted.changes if at == position)),
        other_releases=_others(counted, position),
        sampling=tuple(Sampling(rate, tallies[rate].profile.rows) for rate in sorted(tallies)),
        apart=Apart(
            duplicates=counted.duplicates.get(position, 0),
            late=counted.late if position == 0 else 0,
            ahead=counted.ahead,
            challengers=counted.challengers.get(position, 0),
            behind=counted.behind,
        ),
        classifier=Classifier(reason="too few rows"),
        log_until=None if counted.until_us is None else _moment(counted.until_us),
        settings={name: getattr(rules, name) for name in Rules.__slots__},
    )
    if rows >= rules.min_rows:
        base = _judged(base, tallies, reference, rules, history)
    return replace(base, sentence=sentence(base))


def _judged(
    base: DriftRecord,
    tallies: Mapping[float, Tally],
    reference: Reference,
    rules: Rules,
    history: Sequence[DriftRecord],
) -> DriftRecord:
    now, weight = weighted(tallies)
    sample = _sample(tallies)
    features = _corrected(list(_columns(now, weight, reference, rules)), rules)
    sides = Side(now, sample.rows), Side(reference.profile, reference.rows)
    features = marked(features, sides, [each.name for each in reference.features], rules.minor)
    mine = [each for each in history if each.model_sha256 == base.model_sha256]
    before = [each for each in mine if each.features or each.outcome is Outcome.NO_DATA][-(rules.n - 1) :]
    before = before if rules.n > 1 else []
    features = [_lasting(each, before, rules) for each in features]
    drifted = [each for each in features if each.drifted and each.matters]
    return replace(
        base,
        outcome=Outcome.DRIFT if drifted else Outcome.NONE,
        severity=max((each.severity for each in drifted), key=lambda each: each.rank, default=Severity.NONE),
        sustained=any(each.sustained for each in drifted),
        features=tuple(features),
        weighted=_weighted(features),
        moved=_moved(features),
        classifier=_classifier(sample, reference),
    )


# ---- Columns ---------------------------------------------------------------------------------------------------------


def weighted(tallies: Mapping[float, Tally]) -> tuple[Profile, float]:
    """Return one profile of rows that were logged at several rates, and the weight of each of its rows in p-values.

    A row that was logged at a rate of 0.1 stands for ten; what all of them count for is Kish's (1965) effective number.
    """
    if len(tallies) == 1:
        (only,) = tallies.values()
        return only.profile, 1.0
    rows = {rate: each.profile.rows for rate, each in tallies.items()}
    whole = sum(count / rate for rate, count in rows.items())
    effective = whole**2 / sum(count / rate**2 for rate, count in rows.items())
    scaled = [_scaled(each.profile, FINE / (rate * whole)) for rate, each in sorted(tallies.items())]
    merged = scaled[0]
    for each in scaled[1:]:
        merged = merged.merge(each)
    return merged, effective / max(1, merged.rows)


def _scaled(profile: Profile, factor: float) -> Profile:
    """A profile whose counts are multiplied."""

    def times(count: int) -> int:
        return round(count * factor)

    def number(each: NumberSketch) -> NumberSketch:
        counts = np.rint(each.counts * factor).astype(np.int64)
        return NumberSketch(each.keys[counts > 0], counts[counts > 0], times(each.missing))

    def category(each: CategoryCounts) -> CategoryCounts:
        counts = {value: times(count) for value, count in each.counts.items()}
        return CategoryCounts(times(each.missing), times(each.other), counts)

    return Profile(
        times(profile.rows),
        {name: number(each) for name, each in profile.numbers.items()},
        {name: category(each) for name, each in profile.categories.items()},
        number(profile.score),
    )


def _columns(now: Profile, weight: float, reference: Reference, rules: Rules) -> Any:
    """Yield the score and the features, each compared by itself; what no file has a column for is left out."""
    then = reference.profile
    yield _number(Feature(SCORE, Kind.NUMBER), now.score, then.score, weight, None, rules)
    for feature in reference.features:
        importance = None if reference.importance is None else reference.importance.get(feature.name, 0.0)
        if feature.kind is Kind.CATEGORY:
            mine = now.categories[feature.name]
            if mine.rows and feature.name in then.categories:
                yield _category(feature, mine, then.categories[feature.name], weight, importance, rules)
        elif now.numbers[feature.name].rows and feature.name in then.numbers:
            yield _number(feature, now.numbers[feature.name], then.numbers[feature.name], weight, importance, rules)


def _number(
    feature: Feature, now: NumberSketch, then: NumberSketch, weight: float, importance: float | None, rules: Rules
) -> FeatureDrift:
    apart = statistics.numbers_apart(now, then, weight)
    return _drift(feature, now.rows, apart, importance, rules, number_shape(then, now))


def _category(
    feature: Feature, now: CategoryCounts, then: CategoryCounts, weight: float, importance: float | None, rules: Rules
) -> FeatureDrift:
    apart = statistics.categories_apart(now, then, feature.categories, weight)
    return _drift(feature, now.rows, apart, importance, rules, category_shape(then, now))


def _drift(
    feature: Feature, rows: int, apart: statistics.Apart, importance: float | None, rules: Rules, shape: Any
) -> FeatureDrift:
    return FeatureDrift(
        name=feature.name,
        kind=str(feature.kind),
        importance=None if importance is None else rounded(importance),
        matters=importance is None or importance >= rules.importance,
        rows=rows,
        missing_then=rounded(apart.missing_then),
        missing_now=rounded(apart.missing_now),
        psi=rounded(apart.grouped.psi),
        js=rounded(apart.grouped.js),
        kl=rounded(apart.grouped.kl),
        ks=_figure(apart.ks),
        ks_error=_figure(apart.ks_error),
        wasserstein=_figure(apart.wasserstein),
        wasserstein_error=_figure(apart.wasserstein_error),
        chi_squared=_figure(apart.chi_squared),
        degrees=apart.degrees,
        effect=rounded(apart.effect),
        p=float(f"{apart.p:.3g}"),
        p_corrected=apart.p,
        drifted=False,
        severity=Severity.NONE,
        windows_drifted=0,
        sustained=False,
        shape=shape,
    )


def _figure(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else rounded(value)


def _corrected(features: list[FeatureDrift], rules: Rules) -> list[FeatureDrift]:
    """Effect and corrected p-value have to say so, both."""
    found = []
    for each, p in zip(features, benjamini_hochberg([each.p_corrected for each in features]), strict=True):
        drifted = each.effect >= rules.minor and p < rules.alpha
        severity = Severity.NONE
        if drifted:
            severity = Severity.MAJOR if each.effect >= rules.major else Severity.MINOR
        found.append(replace(each, p_corrected=float(f"{p:.3g}"), drifted=drifted, severity=severity))
    return found


def _lasting(feature: FeatureDrift, before: Sequence[DriftRecord], rules: Rules) -> FeatureDrift:
    drifted = sum(each.drifted and each.name == feature.name for record in before for each in record.features)
    drifted += feature.drifted
    return replace(feature, windows_drifted=drifted, sustained=feature.drifted and drifted >= rules.k)


# ---- The whole -------------------------------------------------------------------------------------------------------


def _weighted(features: Sequence[FeatureDrift]) -> float:
    held = _held(features)
    return rounded(sum(part for each, part in held if each.drifted))


def _moved(features: Sequence[FeatureDrift]) -> float:
    return rounded(sum(part * each.effect for each, part in _held(features)))


def _held(features: Sequence[FeatureDrift]) -> list[tuple[FeatureDrift, float]]:
    """Each feature with its share of the importance, or one over their number where none is recorded."""
    kept = [each for each in features if each.name != SCORE]
    equal = 1 / max(1, len(kept))
    return [(each, equal if each.importance is None else each.importance) for each in kept]


def _others(counted: Counted, position: int) -> tuple[OtherRelease, ...]:
    return tuple(
        OtherRelease(model, span.rows, _moment(span.first_us), _moment(span.last_us))
        for (at, model), span in sorted(counted.others.items())
        if at == position
    )


def _moment(microseconds: int) -> str:
    return (EPOCH + dt.timedelta(microseconds=microseconds)).isoformat()


def _sample(tallies: Mapping[float, Tally]) -> Sample:
    """Rows of the rate that most rows were logged at: rows of several rates would have to be drawn by weight."""
    largest = max(tallies, key=lambda rate: (tallies[rate].profile.rows, rate))
    return tallies[largest].sample


def _classifier(sample: Sample, reference: Reference) -> Classifier:
    if not sample.size:
        return Classifier(reason="left out: drift.classifier_rows is 0")
    if reference.rows is None:
        return Classifier(reason=reference.no_rows)
    there = ~np.isnan(sample.rows).all(axis=0) | np.isnan(reference.rows).all(axis=0)
    return tell_apart(reference.rows[:, there], sample.rows[:, there], seed=0)


def sentence(record: DriftRecord) -> str:
    """Return in one sentence what the record says."""
    if record.outcome is Outcome.NO_DATA:
        found = sum(each.rows for each in record.other_releases)
        other = f"; other releases answered {found:,}" if found else ""
        return f"No traffic: no row of release {record.model_sha256[:12]} from {record.window.name}{other}."
    if record.outcome is Outcome.TOO_FEW_ROWS:
        least = (record.settings or {}).get("min_rows", 0)
        return f"Too few rows to judge: {record.rows:,} in {record.window.name}, at least {least:,} are needed."
    drifted = record.drifted
    matter = [each for each in drifted if each.matters]
    columns = len(record.features)
    if not matter:
        aside = f"; {_named(drifted)} moved, which the model hardly uses" if drifted else ""
        aside += unjudged(record)
        return f"No drift that matters in {record.window.name}: {columns} columns, {record.rows:,} rows{aside}."
    lasting = "sustained" if record.sustained else "not yet sustained"
    ranked = sorted(matter, key=lambda each: -each.effect)
    used = sum(each.matters for each in record.features)
    return (
        f"{str(record.severity).capitalize()} drift in {record.window.name}, {lasting}: {_named(ranked)} moved, of"
        f" {used} column{'s' * (used != 1)} that matter{'s' * (used == 1)}, with {record.weighted:.0%} of the model's"
        f" importance{unjudged(record)}."
    )


def _named(columns: Sequence[FeatureDrift]) -> str:
    names = [f"{each.name} ({each.effect:.0%})" for each in columns[:3]]
    more = len(columns) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
