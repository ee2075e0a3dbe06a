"""The four keys of software delivery as cards, each with the number that it is made of."""

from __future__ import annotations

from mergeline.release.dora import Figure, FourKeys
from mergeline.release.printed import duration
from mergeline.report import elements
from mergeline.report.escape import page
from mergeline.report.wording import NOTHING, share


def keys(found: FourKeys) -> str:
    """Return the cards, and why deployments have no lead time, where some have none."""
    since = f"{found.since:%Y-%m-%d}" if found.since else "the beginning"
    rate = f"{found.per_week:.2g} a week" if found.per_week is not None else str(found.deployments)
    between = f", {_figure(found.between)} between two (median)" if found.between.n else ""
    failed = "no deployment" if found.failure_rate is None else f"{found.failed} of {found.deployments} taken back"
    cards = [
        ("deployments to production", rate, f"{found.deployments} since {since}{between}"),
        ("lead time, median", _figure(found.lead_time), _made_of(found.lead_time, "with a commit to measure from")),
        ("changes that failed", NOTHING if found.failure_rate is None else share(found.failure_rate), failed),
        ("time to restore, median", _figure(found.restore), _made_of(found.restore, "taken back")),
    ]
    without = [f"{number} without a lead time: {why}" for why, number in found.without.items()]
    return card_list(cards) + (elements.bullets(without) if without else "")


def card_list(cards: list[tuple[str, str, str]]) -> str:
    """Return cards of a name, a figure and what stands below it."""
    shown = "".join(
        f"<div><dt>{page(name)}</dt><dd>{page(value)} <small>{page(small)}</small></dd></div>"
        for name, value, small in cards
    )
    return f'<dl class="cards">{shown}</dl>'


def _figure(figure: Figure) -> str:
    return NOTHING if figure.median is None else duration(figure.median)


def _made_of(figure: Figure, what: str) -> str:
    return f"{figure.n} deployment{'' if figure.n == 1 else 's'} {what}"
