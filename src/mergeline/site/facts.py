"""What the site is made of, read from Git, from the log and from the checkout before anything is drawn."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mergeline.monitor.decide.decision import Decision
from mergeline.monitor.drift.record import DriftRecord
from mergeline.monitor.performance.record import WindowPerformance
from mergeline.release.ledger import Ledger

_SQUASHED = re.compile(r"^(.*\S)\s+\(#(\d{1,9})\)$")
_MERGED = re.compile(r"^Merge pull request #(\d{1,9}) from \S+$")


@dataclass(frozen=True, slots=True)
class Merge:
    """A pull request that came onto the branch: when, its number, its title."""

    at: dt.datetime
    commit: str
    number: int
    title: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict on record: the commit that brought it first, on any branch, and the outcome of each gate by name."""

    at: dt.datetime
    commit: str
    subject: str
    verdict: str
    gates: Mapping[str, str]

    @property
    def failed(self) -> tuple[str, ...]:
        """The gates that said no."""
        return tuple(name for name, outcome in self.gates.items() if outcome == "failed")


@dataclass(frozen=True, slots=True)
class Page:
    """A page beside the site's own: what a link to it says, its name in the folder, what it shows in a sentence."""

    title: str
    file: str
    said: str = ""


@dataclass(frozen=True, slots=True)
class Proofs:
    """What the repository's own tests prove, counted by their names.

    `planted`: failures planted for each gate. `promises`: tests of each numbered promise, as `R6`. `tests`: how many
    hold a promise; one that holds two is one.
    """

    planted: Mapping[str, int] = field(default_factory=dict)
    promises: Mapping[str, int] = field(default_factory=dict)
    tests: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """Everything, each kind the oldest first. `now` ends the period of the four keys."""

    now: dt.datetime
    ledger: Ledger
    merges: tuple[Merge, ...] = ()
    judged: tuple[Judged, ...] = ()
    drifts: tuple[DriftRecord, ...] = ()
    performances: tuple[WindowPerformance, ...] = ()
    decisions: tuple[Decision, ...] = ()
    proofs: Proofs = Proofs()
    pages: tuple[Page, ...] = ()


def merge_of(commit: str, at: dt.datetime, message: str) -> Merge | None:
    """Return the pull request that a commit of the branch brought, in the words of GitHub; None where it names none.

    >>> import datetime as dt
    >>> merge_of("c0ffee", dt.datetime(2026, 1, 5), "Train on March (#12)").number
    12
    """
    first, _, rest = message.partition("\n")
    squashed, merged = _SQUASHED.match(first), _MERGED.match(first)
    if squashed:
        return Merge(at, commit, int(squashed[2]), squashed[1])
    if merged:
        return Merge(at, commit, int(merged[1]), rest.strip().partition("\n")[0] or first)
    return None
