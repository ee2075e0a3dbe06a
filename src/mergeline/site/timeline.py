"""What happened when: pull requests, verdicts, releases and checks, as a picture in lanes and as a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mergeline.monitor.decide.statement import sentence
from mergeline.monitor.drift.record import Outcome
from mergeline.monitor.drift.wording import title
from mergeline.monitor.performance.record import State
from mergeline.params.decide import Action
from mergeline.release.ledger import Event, Kind
from mergeline.report import elements, svg
from mergeline.report.elements import Cell
from mergeline.report.wording import short
from mergeline.site.facts import Judged, Site

LEFT, RIGHT, TOP, LANE = 4, 332, 6, 36
NAMED_BAR = 84  # as wide as twelve digits
SHOWN = 10
MOST = 300
CAPTION = "Red: refused, drifted for weeks, worse than at the release, or something is to be done. Green: it held."
GOOD, BAD, OPEN = "good", "bad", "open"
STYLES = {GOOD: "passed", BAD: "failed", OPEN: "unclear"}
LANES = ("pull requests", "verdicts", "staging", "production", "drift", "performance", "decisions")


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened: its lane, its outcome in a word or two, whether that is good or bad, and why."""

    at: dt.datetime
    lane: str
    outcome: str
    side: str
    said: str
    commit: str = ""


def timeline(site: Site) -> str:
    """Return the picture and the table, the newest first; nothing where nothing has happened."""
    found = moments(site)
    if not found:
        return ""
    deployed = {each.deployment.commit for each in site.ledger.events}
    told = [each for each in found if each.lane != "pull requests" or each.commit not in deployed]
    newest = told[::-1][:MOST]
    rows = [_row(each) for each in newest]
    head = ("UTC", "what", "outcome", "in words")
    more = f"Earlier ({len(rows) - SHOWN})"
    return elements.side_by_side(
        elements.figure(picture(site, found), CAPTION),
        elements.table("What happened, the newest first", head, rows[:SHOWN])
        + elements.folded(more, elements.table("What happened earlier", head, rows[SHOWN:])),
    )


def _row(each: Moment) -> tuple[Cell, ...]:
    return Cell(f"{each.at:%Y-%m-%d %H:%M}"), Cell(each.lane), Cell(each.outcome, STYLES[each.side]), _words(each.said)


def _words(text: str) -> Cell:
    return Cell(text, "words")


def moments(site: Site) -> list[Moment]:
    """Return what happened, the oldest first; of one moment in the order of the lanes."""
    merged = {each.commit: f"; #{each.number} {each.title}" for each in site.merges}
    deployed = [_deployed(each, merged.get(each.deployment.commit, "")) for each in site.ledger.events]
    found = [*_merged(site), *map(_judged, site.judged), *deployed, *_checked(site)]
    return sorted(found, key=lambda each: (each.at, LANES.index(each.lane)))


def _merged(site: Site) -> Iterator[Moment]:
    for each in site.merges:
        yield Moment(each.at, "pull requests", f"#{each.number} merged", OPEN, each.title, each.commit)


def _judged(each: Judged) -> Moment:
    side = {"promote": GOOD, "reject": BAD}.get(each.verdict, OPEN)
    said = f"{', '.join(each.failed)} said no" if each.failed else "no gate said no"
    return Moment(each.at, "verdicts", each.verdict, side, f"{each.subject}: {said}")


def _deployed(event: Event, by: str) -> Moment:
    deployment = event.deployment
    model, before = (short(each.model_sha256) for each in (deployment.release, event.before))
    said = {
        Kind.PROMOTED: f"model {model}, before it {before}",
        Kind.RENEWED: f"model {model} with another image, store or receipt",
        Kind.TOOK_BACK: f"model {before} was taken back, {model} serves again",
        Kind.WITHDREW: f"model {before} was taken out of service",
    }[event.kind]
    side = GOOD if event.kind in (Kind.PROMOTED, Kind.RENEWED) else BAD
    return Moment(deployment.deployed_at, deployment.environment, str(event.kind), side, said + by)


def _checked(site: Site) -> Iterator[Moment]:
    for drift in site.drifts:
        quiet = GOOD if drift.outcome is Outcome.NONE else OPEN
        yield Moment(drift.window.end, "drift", title(drift), BAD if drift.sustained else quiet, drift.sentence)
    for found in site.performances:
        side = {State.HOLDS: GOOD, State.DEGRADED: BAD}.get(found.state, OPEN)
        yield Moment(found.window.end, "performance", str(found.state), side, found.reason)
    for made in site.decisions:
        side = GOOD if made.action is Action.WAIT else BAD
        yield Moment(made.evidence.at, "decisions", str(made.action), side, sentence(made))


# ---- The picture -----------------------------------------------------------------------------------------------------


def picture(site: Site, found: Sequence[Moment]) -> str:
    """Return the lanes that something happened in, one below the other over the same time."""
    lanes = [lane for lane in LANES if any(each.lane == lane for each in found)]
    first, last = found[0].at, max(found[-1].at, found[0].at + dt.timedelta(minutes=1))
    across = svg.Scale(first.timestamp(), last.timestamp(), LEFT + 6, RIGHT - 6)
    bottom = TOP + LANE * len(lanes)
    parts = [svg.line(LEFT, bottom + 4, RIGHT, bottom + 4, "zero"), *_dates(first, last, bottom + 20)]
    for number, lane in enumerate(lanes):
        top = TOP + LANE * number
        parts.append(svg.text(LEFT, top + 11, lane, "name"))
        if lane in ("staging", "production"):
            parts += _bars(site, lane, across, top + 16, last)
        else:
            parts.append(svg.line(LEFT, top + 23, RIGHT, top + 23, "grid"))
            parts += [_mark(each, across, top + 23) for each in found if each.lane == lane]
    counted = ", ".join(f"{sum(each.lane == lane for each in found)} in {lane}" for lane in lanes)
    label = f"What happened from {first:%Y-%m-%d} to {last:%Y-%m-%d}: {counted}. The table says each in words."
    return svg.drawing(bottom + 28, label, parts)


def _dates(first: dt.datetime, last: dt.datetime, y: float) -> Iterator[str]:
    form = "%Y-%m-%d" if last - first >= dt.timedelta(days=2) else "%Y-%m-%d %H:%M"
    yield svg.text(LEFT, y, first.strftime(form), "tick")
    yield svg.text(RIGHT, y, last.strftime(form), "tick", "end")


def _mark(each: Moment, across: svg.Scale, y: float) -> str:
    x = across(each.at.timestamp())
    if each.lane == "pull requests":
        return svg.line(x, y - 6, x, y + 6, "tick-mark")
    return svg.circle(x, y, 3.4, {GOOD: "dot good", BAD: "solid bad", OPEN: "dot open"}[each.side])


def _bars(site: Site, environment: str, across: svg.Scale, top: float, last: dt.datetime) -> Iterator[str]:
    """What the environment served, from one deployment to the next."""
    events = [each for each in site.ledger.events if each.deployment.environment == environment]
    for event, until in zip(events, [*(each.deployment.deployed_at for each in events[1:]), last], strict=True):
        model = event.deployment.release.model_sha256
        start, end = across(event.deployment.deployed_at.timestamp()), across(until.timestamp())
        if model is None:
            continue
        yield svg.rectangle(start, top, max(2.0, end - start), 15, "served")
        if end - start >= NAMED_BAR:
            yield svg.text(start + 5, top + 11.5, short(model), "tick")
