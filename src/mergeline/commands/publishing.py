"""The verb `site`: a folder of pages about the repository, for GitHub Pages or a reader's own disk."""

from __future__ import annotations

import argparse
import ast
import datetime as dt
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline import files, git
from mergeline.commands.logplace import LOG_HELP, log_url
from mergeline.errors import ConfigurationError, DataError
from mergeline.files import LOCAL_STATE
from mergeline.layout import COMPARISON, CURVES, EVALUATION, RECEIPT, REPORTS, VALIDATION

if TYPE_CHECKING:
    from mergeline.commands.verb import Verb
    from mergeline.logstore import LogStore
    from mergeline.monitor.decide import Decision
    from mergeline.monitor.drift.record import DriftRecord
    from mergeline.monitor.performance.record import WindowPerformance
    from mergeline.release.ledger import Entry, Ledger
    from mergeline.site.facts import Merge, Page, Proofs, Site

FOLDER = LOCAL_STATE / "site"
INDEX = "index.html"
PLANTED = Path("tests/test_planted_failures.py")
WEEKLY = LOCAL_STATE / "weekly"
TABLE_DOCS = REPORTS / "validate"


def add_verbs(verb: Verb) -> None:
    """Declare the verbs."""
    added = verb("site", _site, "write what is served, and why, as pages for a browser: releases, checks, drift, gates")
    text = f"the folder that they are written into (default: {FOLDER})"
    added.add_argument("--out", type=Path, metavar="FOLDER", help=text)
    added.add_argument("--log", metavar="URL", help=LOG_HELP)
    text = "the branch to read, as this clone has it (default: origin's default branch, else HEAD)"
    added.add_argument("--ref", metavar="BRANCH", help=text)
    text = "also Great Expectations' pages of the table, which quote values of it: not for a page that is public"
    added.add_argument("--with-data-docs", action="store_true", help=text)


def _site(parsed: argparse.Namespace) -> str:
    out = parsed.out or parsed.root / FOLDER
    log, now = log_url(parsed.log, os.environ), dt.datetime.now(dt.UTC)
    return site(parsed.root, out, log, parsed.ref, now, data_docs=parsed.with_data_docs)


def site(root: Path, out: Path, log: str, ref: str | None, now: dt.datetime, *, data_docs: bool = False) -> str:
    """Write index.html and the pages that it links into `out`, and return where that is.

    With `data_docs` Great Expectations' pages are among them. Files of `out` that have other names are left alone.
    Raises `ConfigurationError` where `out` is no folder that can be written.
    """
    from dataclasses import replace

    from mergeline.site.page import html

    if out.exists() and not out.is_dir():
        raise ConfigurationError(f"--out: expected a folder, found the file {out}; name another")
    found = read(root, log, ref, now)
    pages = [*_pages(root, found), *(_data_docs(root) if data_docs else ())]
    index = html(replace(found, pages=tuple(page for page, _ in pages)))
    try:
        for page, content in pages:
            files.write_text(out / page.file, content)
        files.write_text(out / INDEX, index)
    except OSError as err:
        raise ConfigurationError(
            f"--out: expected a folder that can be written, found {out} ({err.strerror or err}); name another"
        ) from err
    return str(out / INDEX)


def read(root: Path, log: str, ref: str | None, now: dt.datetime) -> Site:
    """Return what Git, the log and the tests say, without pages.

    Raises `DataError` for a record of the log that is damaged, `ConfigurationError` where there is no history to read.
    """
    from mergeline.commands.verdicts import judged
    from mergeline.logstore import open_log
    from mergeline.release.branch import read_ledger
    from mergeline.site.facts import Site

    ledger = read_ledger(root, ref)
    store = open_log(log, root)
    return Site(
        now=now,
        ledger=ledger,
        merges=tuple(_merges(root, ledger)),
        judged=tuple(judged(root, ledger.commit)),
        drifts=tuple(_drifts(store)),
        performances=tuple(_performances(store)),
        decisions=tuple(_decisions(store)),
        proofs=_proofs(root),
    )


# ---- Git -------------------------------------------------------------------------------------------------------------


def _merges(root: Path, ledger: Ledger) -> Iterator[Merge]:
    from mergeline.site.facts import merge_of

    for each in git.commits(root, ledger.commit):
        found = merge_of(each.sha, each.committed_at, each.message)
        if found is not None:
            yield found


# ---- The log ---------------------------------------------------------------------------------------------------------


def _drifts(store: LogStore) -> Iterator[DriftRecord]:
    from mergeline.monitor.drift.record import FOLDER as DRIFT
    from mergeline.monitor.drift.record import DriftRecord

    for where, text in _records(store, DRIFT):
        yield DriftRecord.from_json(text, where)


def _performances(store: LogStore) -> Iterator[WindowPerformance]:
    from mergeline.monitor.performance.record import FOLDER as PERFORMANCE
    from mergeline.monitor.performance.record import WindowPerformance

    for where, text in _records(store, PERFORMANCE):
        yield WindowPerformance.from_json(text, where)


def _decisions(store: LogStore) -> Iterator[Decision]:
    from mergeline.monitor.decide import parse_record

    for where, text in _records(store, "decisions/"):
        try:
            raw = json.loads(text)
        except ValueError as err:
            raise DataError(f"{where}: not JSON ({err}); remove it") from err
        yield parse_record(raw, where)


def _records(store: LogStore, folder: str) -> Iterator[tuple[str, str]]:
    """The records of a folder of the log in the order of their names, which is that of time; each with its place.

    Other files there, as the watermark of a check, have other names.
    """
    for key in store.keys(folder):
        if key.endswith(".json") and (folder == "decisions/" or "--" in key):
            yield f"{store.url}: {key}", store.read(key).decode("utf-8", "replace")


# ---- The checkout ----------------------------------------------------------------------------------------------------


def _proofs(root: Path) -> Proofs:
    from mergeline.site.facts import Proofs
    from mergeline.site.promises import held, holding, names_in

    names = [name for path in sorted((root / "tests").glob("test_*.py")) for name in names_in(_text(path))]
    return Proofs(planted=_planted(root / PLANTED), promises=held(names), tests=holding(names))


def _planted(path: Path) -> dict[str, int]:
    """How many cases of the planted failures name each gate: `case(plant, "leakage")`."""
    from mergeline.gates import GATES

    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return {}
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "case":
            for name in (each.value for each in node.args if isinstance(each, ast.Constant)):
                if name in GATES:
                    found[str(name)] = found.get(str(name), 0) + 1
    return found


def _pages(root: Path, found: Site) -> Iterator[tuple[Page, str]]:
    """The pages beside the index with their content: a report a release, drift, performance, weeks."""
    from mergeline.release.ledger import entries_of
    from mergeline.site.facts import Page

    for entry in entries_of(found.ledger):
        made = _report(root, entry)
        if made is not None:
            evidence = entry.evidence.judgement if entry.evidence else None
            said = f"{entry.status}; {evidence.verdict}" if evidence else str(entry.status)
            yield Page(f"Report of model {entry.model[:12]}", f"report-{entry.model[:12]}.html", said), made
    if found.drifts:
        from mergeline.monitor.drift.page import html as drift_html

        said = f"every column, {_windows(len(found.drifts))}"
        yield Page("Drift, column by column", "drift.html", said), drift_html(found.drifts)
    if found.performances:
        from mergeline.monitor.performance.page import html as performance_html

        said = f"every metric and slice, {_windows(len(found.performances))}"
        yield Page("Performance, window by window", "performance.html", said), performance_html(found.performances)
    for path in sorted((root / WEEKLY).glob("*.html"), reverse=True):
        yield Page(f"Week {path.stem}", f"week-{path.name}", "how a week of service went"), _text(path)


def _data_docs(root: Path) -> Iterator[tuple[Page, str]]:
    """Great Expectations' pages of the table: they quote values that it did not expect."""
    from mergeline.site.facts import Page

    for path in sorted((root / TABLE_DOCS).glob("*.html")):
        said = "expectations of the training table, by Great Expectations"
        yield Page(f"Data: {path.stem}", f"data-{path.name}", said), _text(path)


def _windows(number: int) -> str:
    return f"{number} window{'s' * (number != 1)}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _report(root: Path, entry: Entry) -> str | None:
    """A release's report from the records in Git; with the plots where the checkout still has the points of them."""
    from mergeline.commands.verdicts import at
    from mergeline.release.evidence import parsed
    from mergeline.report.context import Context, Records
    from mergeline.site.report import html

    evidence = entry.evidence
    if evidence is None or evidence.judgement is None:
        return None
    paths = (COMPARISON, EVALUATION, VALIDATION, RECEIPT)
    contents: Mapping[str, bytes | None] = git.read_many(root, [at(evidence.commit, path) for path in paths])
    records = {path: parsed(contents[at(evidence.commit, path)]) for path in paths}
    same = (root / COMPARISON).is_file() and (root / COMPARISON).read_bytes() == contents[
        at(evidence.commit, COMPARISON)
    ]
    curves = parsed((root / CURVES).read_bytes()) if same and (root / CURVES).is_file() else {}
    commit = evidence.receipt.training_commit
    try:
        return html(
            Records(
                comparison=records[COMPARISON],
                curves=curves,
                evaluation=records[EVALUATION],
                validation=records[VALIDATION],
                training={},
                receipt=records[RECEIPT],
                context=Context(commit=commit, commands=(f"git checkout {commit}", "make repro") if commit else ()),
            )
        )
    except (KeyError, TypeError, IndexError):  # records of another version of this package
        return None
