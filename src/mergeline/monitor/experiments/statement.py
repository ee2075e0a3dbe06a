"""What an experiment shows, in the words of a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from mergeline.gates.evidence import number
from mergeline.intervals import Interval
from mergeline.monitor.experiments.checks import p_text, with_p
from mergeline.monitor.experiments.experiment import ANSWERS, LEAST_UNITS, Experiment, Variant, Verdict
from mergeline.monitor.experiments.sides import Kind
from mergeline.monitor.experiments.tables import Outcomes
from mergeline.report.wording import count, figure, interval, metric_label, share, short, signed

WIDTH = 14


def statement(found: Experiment) -> str:
    """Return the verdict and its reason in the first line, then what it rests on.

    Raises nothing: whatever is not known is left out.
    """
    lines = [f"{found.verdict}: {sentence(found)}", ""]
    rows = [*_parties(found), *_figures(found), *_tests(found)]
    lines += [f"{name:<{WIDTH}}{said}" for name, said in rows]
    notes = [f"- {note}" for note in found.notes]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def sentence(found: Experiment) -> str:
    """Return the reason of the verdict, one sentence without its full stop."""
    label = metric_label(found.metric)
    if found.verdict is Verdict.NOT_TRUSTED:
        return "; ".join(check.said for check in found.failed)
    if found.verdict is Verdict.NO_LABELS:
        return (
            f"{count(found.champion.labelled)} of the champion's {count(found.champion.requests)} requests and"
            f" {count(found.challenger.labelled)} of the challenger's {count(found.challenger.requests)} have a label;"
            " `mergeline labels add FILE` and POST /labels bring them"
        )
    if found.difference is None:
        return f"the {label} is not defined on these labels; wait for more, or name another by --metric"
    if found.verdict is Verdict.NOT_YET or found.progress is None or found.margin is None:
        return _not_yet(found)
    bounds = _bounds(found.progress.always)
    if found.verdict is Verdict.EQUIVALENT:
        return f"the difference in {label} lies within {number(found.margin)} ({bounds} at every look)"
    gap = found.progress.always
    small = -found.margin < gap.low and gap.high < found.margin
    less = f", less than the margin of {number(found.margin)}" if small else ""
    return f"the {label} is better by {number(abs(gap.estimate))} ({bounds} at every look){less}"


def _not_yet(found: Experiment) -> str:
    unit = "entities" if found.champion.entities else "requests"
    if found.least_units < LEAST_UNITS:
        return f"{count(found.least_units)} {unit} of one variant have labels, at least {LEAST_UNITS} are needed"
    if found.progress is None:
        return "the champion's value is 0, so a share of it is no margin; name another metric by --metric"
    always = found.progress.always
    if always.low > 0 or always.high < 0:
        return "one of the classes has fewer than 30 labels in one variant, too few to judge a ranking"
    return f"the difference in {metric_label(found.metric)} at every look, {_bounds(always)}, may be 0"


def _parties(found: Experiment) -> Iterator[tuple[str, str]]:
    yield "experiment", f"{found.kind}, {found.first:%Y-%m-%d %H:%M} to {found.last:%Y-%m-%d %H:%M} UTC"
    for name, variant in (("champion", found.champion), ("challenger", found.challenger)):
        yield name, _party(variant)


def _party(variant: Variant) -> str:
    entities = f" of {count(variant.entities)} entities" if variant.entities else ""
    covered = share(variant.labelled / variant.requests) if variant.requests else "0 %"
    labels = f"{count(variant.labelled)} labels ({covered})"
    return f"{short(variant.model_sha256)}, {count(variant.requests)} requests{entities}, {labels}"


def _figures(found: Experiment) -> Iterator[tuple[str, str]]:
    difference = found.difference
    if difference is None:
        return
    label = metric_label(found.metric)
    for name, side in (("champion", difference.champion), ("challenger", difference.challenger)):
        yield label, f"{interval(side.interval.as_dict())} {name}"
    one = difference.interval
    yield (
        "difference",
        f"{interval(one.as_dict(), sign=True)} at a single look, {p_text(difference.p_value)}, {one.method}",
    )
    reached = found.progress
    if reached is None:
        return
    yield "", f"{_bounds(reached.always)} at every look; above 0 the challenger is better"
    labels = found.champion.labelled + (found.challenger.labelled if found.kind is Kind.AB else 0)
    if reached.needed is not None and found.margin is not None:
        more = _more(max(reached.needed - labels, 0))
        plan = f"about {count(reached.needed)}; looked at only once, {count(reached.needed_once)}"
        yield "plan", f"{count(labels)} labels, {more} to find a difference of {number(found.margin)} ({plan})"


def _more(labels: int) -> str:
    return f"about {figure(labels, 2) if labels < 1000 else count(round(labels, -2))} more" if labels else "enough"


def _tests(found: Experiment) -> Iterator[tuple[str, str]]:
    table = found.outcomes
    if table is not None:
        name = "answers" if table.columns == ANSWERS else "decisions"
        yield name, _table(table, found.kind)
    for check in found.checks:
        yield check.name, f"{'' if check.held else 'FAILED, '}{check.said}"


def _table(table: Outcomes, kind: Kind) -> str:
    sides = (
        ", ".join(f"{count(each)} {column}" for column, each in zip(table.columns, row, strict=True))
        for row in table.counts
    )
    effect = "" if table.effect is None else f", {'V' if kind is Kind.AB else 'gap'} {figure(table.effect, 2)}"
    return f"{' against '.join(sides)} ({with_p(table.method, table.p_value)}{effect})"


def _bounds(found: Interval) -> str:
    return f"{signed(found.low)} to {signed(found.high)}"
