"""The ledger of a branch as Git has it, read with few processes however long the history is."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

from mergeline import git
from mergeline.errors import ConfigurationError, VerificationError
from mergeline.layout import COMPARISON, METRICS, PRODUCTION, RECEIPT, STAGING
from mergeline.params import PARAMS_FILE
from mergeline.release.dora import training_commit
from mergeline.release.evidence import Evidence, parse_judgement, parse_metrics
from mergeline.release.ledger import Ledger, events_of
from mergeline.release.manifests import Release
from mergeline.release.receipt import Receipt, parse_receipt
from mergeline.release.records import deployments

ENVIRONMENTS = (STAGING, PRODUCTION)  # in one commit staging comes first
_AUTHOR = re.compile(rb"^author .*> (\d{1,12}) ([+-])(\d\d)(\d\d)$", re.MULTILINE)


def read_ledger(root: Path, named: str | None) -> Ledger:
    """Return the ledger of a branch: `named`, else the base branch, else HEAD; nothing is fetched and nothing written.

    Raises `ConfigurationError` where there is no such commit, or this clone lacks a part of the history.
    """
    ref, commit = _start(root, named)
    deployed = {path: deployments(root, commit, path) for path in ENVIRONMENTS}
    place = _order(root, commit)
    events = sorted(
        chain.from_iterable(events_of(found) for found in deployed.values()),
        key=lambda event: place[event.deployment.commit],
    )
    evidence = _evidence(root, commit, {event.deployment.release for event in events})
    unread = Ledger(ref, commit, tuple(events), evidence, _tags(root), {})
    trained = {training_commit(event, unread) for event in events}
    wanted = {name for name in trained if name and not name.endswith("-dirty")} | {
        each.commit for each in evidence.values()
    }
    return Ledger(ref, commit, unread.events, evidence, unread.tags, _authored(root, wanted))


def _start(root: Path, named: str | None) -> tuple[str, str]:
    git.do(root, "rev-parse", "--git-dir")  # says so where there is no repository
    try:
        ref = named or git.base_branch(root) or "HEAD"
    except ConfigurationError as err:
        raise ConfigurationError(
            "--ref: origin's default branch is not known here; name it, or `git remote set-head origin --auto`"
        ) from err
    commit = git.commit_of(root, ref)
    if commit is None and named is None:
        raise ConfigurationError(f"{ref}: there is no commit yet; releases are read from the history")
    if commit is None:
        raise ConfigurationError(f"--ref: {ref!a} is no branch or commit here; fetch it, or name another")
    git.refuse_shallow(root)
    return ref, commit


def _order(root: Path, commit: str) -> dict[str, int]:
    """The place of each commit on the branch, from its first one on."""
    listed = git.do(root, "rev-list", "--first-parent", "--reverse", commit, "--").split()
    return {name: number for number, name in enumerate(listed)}


# ---- Evidence --------------------------------------------------------------------------------------------------------


def _evidence(root: Path, commit: str, releases: Iterable[Release]) -> dict[str, Evidence]:
    """The evidence of each receipt that a release names, from the last commit that brought it."""
    wanted = {each.receipt_sha256 for each in releases}
    changed = [each.sha for each in git.commits(root, commit, RECEIPT)]
    contents = git.read_many(root, [f"{each}:./{RECEIPT.as_posix()}" for each in changed])
    brought: dict[str, tuple[str, Receipt]] = {}
    for each in changed:
        content = contents[f"{each}:./{RECEIPT.as_posix()}"]
        sha256 = hashlib.sha256(content or b"").hexdigest()
        if content is None or sha256 not in wanted:
            continue
        try:
            brought[sha256] = each, parse_receipt(content.decode("utf-8", "replace"))
        except VerificationError:
            continue
    params = Path(PARAMS_FILE)
    paths = (params, METRICS, COMPARISON)
    records = git.read_many(root, [f"{each}:./{path.as_posix()}" for each, _ in brought.values() for path in paths])
    return {
        sha256: _evidence_at(each, receipt, {path: records[f"{each}:./{path.as_posix()}"] for path in paths})
        for sha256, (each, receipt) in brought.items()
    }


def _evidence_at(commit: str, receipt: Receipt, records: Mapping[Path, bytes | None]) -> Evidence:
    params = records[Path(PARAMS_FILE)]
    return Evidence(
        commit=commit,
        receipt=receipt,
        params_sha256=None if params is None else hashlib.sha256(params).hexdigest(),
        metrics=parse_metrics(records[METRICS]),
        judgement=parse_judgement(records[COMPARISON], receipt.model.sha256),
    )


def _tags(root: Path) -> dict[str, tuple[str, ...]]:
    """The tags of each commit, in the order of their names."""
    form = "--format=%(objectname)%00%(*objectname)%00%(refname:lstrip=2)"
    found: dict[str, list[str]] = defaultdict(list)
    for line in git.do(root, "for-each-ref", form, "refs/tags").splitlines():
        name, peeled, tag = line.split("\0")
        found[peeled or name].append(tag)
    return {commit: tuple(names) for commit, names in found.items()}


def _authored(root: Path, commits: Iterable[str]) -> dict[str, dt.datetime]:
    """When commits were written, of those that this clone has."""
    found = {}
    for name, content in git.read_many(root, sorted(commits), kind="commit").items():
        written = _AUTHOR.search((content or b"").partition(b"\n\n")[0])
        if written is not None:
            offset = dt.timedelta(hours=int(written[3]), minutes=int(written[4])) * (-1 if written[2] == b"-" else 1)
            found[name] = dt.datetime.fromtimestamp(int(written[1]), dt.timezone(offset))
    return found
