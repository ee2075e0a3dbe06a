"""The site's index.html: the parts in their order, each with a heading of its own. The demo's page has the same."""

from __future__ import annotations

from collections.abc import Sequence

from mergeline.monitor.drift.wording import title as drift_title
from mergeline.release.dora import four_keys
from mergeline.release.ledger import Entry, entries_of
from mergeline.release.lineage import lineage_of
from mergeline.report.escape import clean, page
from mergeline.report.wording import NOTHING, figure, metric_label, short
from mergeline.site.drift import drift
from mergeline.site.facts import Page, Site
from mergeline.site.frame import SKIP, framed, part, sentences
from mergeline.site.gates import gates
from mergeline.site.keys import card_list, keys
from mergeline.site.lineage import lineage
from mergeline.site.performance import performance
from mergeline.site.timeline import timeline

NOTHING_YET = "Nothing has happened yet: no pull request, no release, no check."
NO_PAGE = "No report is on record yet: `mergeline record` commits what one is made of, with each pull request."
NO_DRIFT = "No window was checked yet, or the log is elsewhere; `mergeline drift` checks one."
NO_PERFORMANCE = "No window was measured yet, or the log is elsewhere; `mergeline performance` measures one."
NO_RELEASE = "Nothing is served yet: neither staging nor production names a release."
NO_DEPLOYMENT = "Production had no deployment yet, so that there is nothing to measure."


def html(site: Site) -> str:
    """Return the page; the same facts give the same bytes, and it loads nothing."""
    name = clean(site.ledger.ref.removeprefix("origin/"), 100)
    footer = (
        f"<footer><p>Made by <code>mergeline site</code> from {page(name)} at"
        f" <code>{page(site.ledger.commit[:12])}</code>, {site.now:%Y-%m-%d}.</p></footer>"
    )
    return framed("Mergeline: what is served, and why", _header(site), parts(site), footer)


def parts(site: Site, before: str = "") -> str:
    """Return the sections; where there is nothing to show, a sentence says so. `before` is put in front of them."""
    serving = served(entries_of(site.ledger))
    events = [each for each in site.ledger.events if each.deployment.environment == "production"]
    drifted = drift(site.drifts) if site.drifts else sentences(NO_DRIFT)
    performed = performance(site.performances) if site.performances else sentences(NO_PERFORMANCE)
    chain = lineage(lineage_of(serving, site.ledger)) if serving else sentences(NO_RELEASE)
    four = keys(four_keys(site.ledger, site.now)) if events else sentences(NO_DEPLOYMENT)
    made = (
        ("timeline", timeline(site) or sentences(NOTHING_YET)),
        ("reports", links(site.pages) or sentences(NO_PAGE)),
        ("drift", drifted),
        ("performance", performed),
        ("gates", gates(site.judged, site.proofs)),
        ("lineage", chain),
        ("keys", four),
    )
    return before + "".join(part(name, TITLES[name], body) for name, body in made)


TITLES = {
    "timeline": "Timeline",
    "reports": "Reports",
    "drift": "Drift over time",
    "performance": "Performance over time",
    "gates": "Gates proven, counted",
    "lineage": "Lineage of what is served",
    "keys": "The four keys of delivery",
}


def links(pages: Sequence[Page]) -> str:
    """Return links to the pages in the same folder; nothing where there are none."""
    listed = "".join(
        f'<li><a href="{page(each.file)}">{page(each.title)}</a>{_small(each.said)}</li>' for each in pages
    )
    return f'<ul class="links">{listed}</ul>' if listed else ""


def _small(said: str) -> str:
    return f"<small>{page(said)}</small>" if said else ""


def contents(extra: Sequence[tuple[str, str]] = ()) -> str:
    """Return the list of the sections, `extra` ones (name and title) before them."""
    listed = "".join(f'<li><a href="#{page(name)}">{page(title)}</a></li>' for name, title in (*extra, *TITLES.items()))
    return f'<nav aria-label="Contents"><ol>{listed}</ol></nav>'


def served(entries: Sequence[Entry]) -> Entry | None:
    """Return the release that production serves, else the one of staging; None where neither serves one."""
    for environment in ("production", "staging"):
        for each in entries:
            if each.environments.get(environment) == environment:
                return each
    return None


def _header(site: Site) -> str:
    serving = served(entries_of(site.ledger))
    state = "promote" if serving and serving.environments.get("production") == "production" else "hold"
    said = "in production" if state == "promote" else "in staging" if serving else "no release yet"
    return (
        f'{SKIP}<header><span class="badge {state}">{said}</span><h1>What is served, and why</h1>'
        f"{card_list(_cards(site, serving))}{contents()}</header>"
    )


def _cards(site: Site, serving: Entry | None) -> list[tuple[str, str, str]]:
    """What a reader in a hurry takes along."""
    cards = [_serving(serving)]
    headline = serving.evidence.headline if serving and serving.evidence else None
    if headline:
        cards.append((f"{metric_label(headline[0])} at release", figure(headline[1]), "on its holdout"))
    if site.drifts:
        latest = site.drifts[-1]
        cards.append(("latest drift check", drift_title(latest), f"week from {latest.window.start:%Y-%m-%d}"))
    if site.performances:
        newest = site.performances[-1]
        judged = next((each for each in reversed(site.performances) if each.state.judges), newest)
        cards.append(("latest labels", str(judged.state), f"week from {judged.window.start:%Y-%m-%d}"))
    if site.decisions:
        made = site.decisions[-1]
        cards.append(("latest decision", str(made.action), f"{made.evidence.at:%Y-%m-%d}"))
    return cards


def _serving(serving: Entry | None) -> tuple[str, str, str]:
    if serving is None:
        return "model", NOTHING, "no environment names a release"
    environment = "production" if serving.environments.get("production") == "production" else "staging"
    newest = serving.newest(environment)
    since = f" since {newest.deployment.deployed_at:%Y-%m-%d}" if newest else ""
    return "model", short(serving.model), f"{environment}{since}"
