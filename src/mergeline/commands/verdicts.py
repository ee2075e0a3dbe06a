"""The verdicts that a clone's branches hold, each counted once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergeline import git
from mergeline.layout import COMPARISON, RECEIPT
from mergeline.release.evidence import parsed
from mergeline.site.facts import Judged

RECORDS = (COMPARISON, RECEIPT)
HEADS, REMOTES = "refs/heads/", "refs/remotes/"

# What is judged, and what it was judged from: two branches may be judged in the same words, while a merge brings the
# receipt of its branch.
Verdict = tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit with a verdict, its own or one that it was handed."""

    sha: str
    parents: str
    seconds: str
    subject: str


def judged(root: Path, base: str) -> list[Judged]:
    """Return the verdicts of all branches of the clone at `root`, the oldest first; `base` is the branch they go to.

    A branch that goes on from another one, without a training of its own, is judged by the other's record: that is a
    verdict more, as long as neither is merged. A record that cannot be read is none, nor is what the repository began
    with: that was judged elsewhere.
    """
    brought, tips = _brought(root, "--all"), _tips(root)
    every = dict.fromkeys(each.sha for each in (*brought, *tips))
    contents = git.read_many(root, [at(sha, path) for sha in every for path in RECORDS])
    verdicts: dict[str, Verdict] = {sha: tuple(contents[at(sha, path)] for path in RECORDS) for sha in every}
    known = {verdicts[each.sha] for each in brought if not each.parents}
    merged = {verdicts[each.sha] for each in _brought(root, base) if each.sha in verdicts}
    found = [each for each in brought if _is_new(verdicts[each.sha], known)]
    open_ones = {verdicts[each.sha] for each in found} - merged
    seen: set[Verdict] = set()  # the first tip with a verdict is that of the branch that brought it
    found += [each for each in tips if verdicts[each.sha] in open_ones and not _is_new(verdicts[each.sha], seen)]
    read = (_judged(each, parsed(verdicts[each.sha][0])) for each in found)
    return sorted((each for each in read if each is not None), key=lambda each: each.at)


def at(commit: str, path: Path) -> str:
    """Return how Git names a file of a commit, from the folder that it is asked in."""
    return f"{commit}:./{path.as_posix()}"


def _judged(commit: Commit, record: Mapping[str, Any]) -> Judged | None:
    if not isinstance(record.get("gates"), list):
        return None
    gates = {str(each.get("name")): str(each.get("outcome")) for each in record["gates"] if isinstance(each, dict)}
    when = dt.datetime.fromtimestamp(int(commit.seconds), dt.UTC)
    return Judged(when, commit.sha, commit.subject, str(record.get("verdict", "")), gates)


def _is_new(verdict: Verdict, known: set[Verdict]) -> bool:
    """Whether it is not known; it is from then on."""
    if verdict in known:
        return False
    known.add(verdict)
    return True


def _brought(root: Path, ref: str) -> list[Commit]:
    """The commits that changed the record of the verdict, the oldest first."""
    form = "--format=%H%x00%P%x00%ct%x00%s"
    lines = git.do(root, "log", ref, "--reverse", form, "--", COMPARISON.as_posix()).splitlines()
    return [Commit(*line.split("\0", 3)) for line in lines]


def _tips(root: Path) -> list[Commit]:
    """The last commit of each branch, the oldest first; of one here and at a remote the newer, else the one here."""
    form = "--format=%(refname)%00%(objectname)%00%(parent)%00%(committerdate:unix)%00%(subject)"
    lines = git.do(root, "for-each-ref", "--sort=-refname", "--sort=committerdate", form, HEADS, REMOTES).splitlines()
    named = dict(_branch(line) for line in lines)
    return sorted({each.sha: each for each in named.values()}.values(), key=lambda each: int(each.seconds))


def _branch(line: str) -> tuple[str, Commit]:
    name, *commit = line.split("\0", 4)
    local = name.removeprefix(REMOTES).partition("/")[2] if name.startswith(REMOTES) else name.removeprefix(HEADS)
    return local, Commit(*commit)
