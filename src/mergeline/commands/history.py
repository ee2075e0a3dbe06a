"""The verbs that read the history as the command line has them: what they take, and what they call."""

from __future__ import annotations

import argparse
import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mergeline.commands.verb import Verb

RELEASE = "the beginning of its model's SHA-256 or of one of its commits"
FORMATS = ("json", "mermaid", "openlineage")


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    added = verb("releases", _releases, "list what staging and production ever served, or show one with its lineage")
    added.add_argument("release", nargs="?", metavar="RELEASE", help=RELEASE)
    added.add_argument("--status", help="production, staging, superseded, 'rolled back' or withdrawn")
    added.add_argument("--tag", help="a Git tag of its commits; * and ? stand for any letters and any one")
    text = "a bound on a metric, as in 'roc_auc>=0.75'; several have to hold together"
    added.add_argument("--metric", action="append", default=[], help=text)
    _common(added, as_json=True)
    added = verb("lineage", _lineage, "say where a release comes from and where it went")
    text = f"{RELEASE} (default: what production serves, else staging)"
    added.add_argument("release", nargs="?", metavar="RELEASE", help=text)
    added.add_argument("--format", choices=FORMATS, default="json", help="default: json")
    text = "of OpenLineage's jobs, one for each repository that reports to the same catalogue (default: mergeline)"
    added.add_argument("--namespace", default="mergeline", metavar="NAME", help=text)
    _common(added, as_json=False)
    added = verb("audit", _audit, "say who promoted or took back what, when, and on which evidence")
    added.add_argument("--since", type=dt.date.fromisoformat, metavar="DAY", help="the first day, UTC")
    _common(added, as_json=True)
    added = verb("dora", _dora, "measure how production is delivered to: the four keys, from Git alone")
    added.add_argument("--days", type=int, metavar="N", help="the last N days (default: all of the history)")
    _common(added, as_json=True)


def _common(added: argparse.ArgumentParser, *, as_json: bool) -> None:
    text = "the branch to read, as this clone has it (default: origin's default branch, else HEAD)"
    added.add_argument("--ref", metavar="BRANCH", help=text)
    if as_json:
        added.add_argument("--json", action="store_true", help="the whole record as JSON")


def _releases(parsed: argparse.Namespace) -> str:
    from mergeline.commands import history_verbs
    from mergeline.errors import ConfigurationError
    from mergeline.release.selection import parse_selection

    selection = parse_selection(parsed.status, parsed.tag, parsed.metric)
    if parsed.release is None:
        return history_verbs.releases(parsed.root, parsed.ref, selection, as_json=parsed.json)
    if parsed.status or parsed.tag or parsed.metric:
        raise ConfigurationError("releases: expected a RELEASE or filters, found both; leave one of them out")
    return history_verbs.release(parsed.root, parsed.ref, parsed.release, as_json=parsed.json)


def _lineage(parsed: argparse.Namespace) -> str:
    from mergeline.commands import history_verbs

    return history_verbs.lineage(parsed.root, parsed.ref, parsed.release, parsed.format, parsed.namespace)


def _audit(parsed: argparse.Namespace) -> str:
    from mergeline.commands import history_verbs

    return history_verbs.audit(parsed.root, parsed.ref, parsed.since, as_json=parsed.json)


def _dora(parsed: argparse.Namespace) -> str:
    from mergeline.commands import history_verbs

    return history_verbs.dora(parsed.root, parsed.ref, parsed.days, dt.datetime.now(dt.UTC), as_json=parsed.json)
