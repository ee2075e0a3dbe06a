"""The four keys of software delivery, from what Git says of production alone.

The definitions are those of the DORA guide (https://dora.dev/guides/dora-metrics/) and of the Four Keys project
(https://github.com/dora-team/fourkeys, METRICS.md), where a deployment is a commit that changed what production serves:

- deployment frequency: deployments over a period, and the time between them;
- lead time for changes: from the commit that the model was trained at to its deployment;
- change failure rate: the share of the deployments that a later one took back;
- time to restore (failed deployment recovery time): from a deployment to the one that took it back.

To take a release back is a recovery and no deployment. A failure that was mended by a newer model is not seen.
"""

from __future__ import annotations

import datetime as dt
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from mergeline.release.ledger import Event, Kind, Ledger

PRODUCTION = "production"
WEEK = dt.timedelta(weeks=1)  # a rate a week from less than a week would be a guess
CHANGES = (Kind.PROMOTED, Kind.RENEWED)
_TRAINED_FROM = re.compile(r"^Trained-From: ([0-9a-f]{40}(?:[0-9a-f]{24})?(?:-dirty)?)\s*$", re.MULTILINE)


class Without(StrEnum):
    """Why a deployment has no lead time."""

    SAME_MODEL = "the model stayed the same"
    NO_COMMIT = "no training commit is named"
    DIRTY = "trained on files that were not committed"
    NOT_HERE = "the training commit is not in this clone"
    LATER = "the training commit is dated after the deployment"


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of some durations and their number; None where there are none."""

    median: dt.timedelta | None
    n: int

    @classmethod
    def of(cls, durations: Iterable[dt.timedelta]) -> Figure:
        """Return the figure of durations; those below zero, which clocks that disagree make, are left out."""
        seconds = [each.total_seconds() for each in durations if each >= dt.timedelta(0)]
        return cls(dt.timedelta(seconds=statistics.median(seconds)) if seconds else None, len(seconds))


@dataclass(frozen=True, slots=True)
class FourKeys:
    """The four keys of a period, which ends now.

    `since` is the first deployment where no period was asked for. `failed` of `deployments` were taken back, by
    `recoveries` commits; `without` counts the deployments without a lead time by reason.
    """

    since: dt.datetime | None
    until: dt.datetime
    deployments: int
    recoveries: int
    per_week: float | None
    between: Figure
    lead_time: Figure
    without: Mapping[Without, int]
    failed: int
    restore: Figure

    @property
    def failure_rate(self) -> float | None:
        """The share of the deployments that were taken back; None where there were none."""
        return self.failed / self.deployments if self.deployments else None


def four_keys(ledger: Ledger, now: dt.datetime, days: int | None = None) -> FourKeys:
    """Return the four keys of production, of its whole history or of the last `days`.

    A deployment of the period counts as taken back whenever that happened.
    """
    events = [each for each in ledger.events if each.deployment.environment == PRODUCTION]
    start = now - dt.timedelta(days=days) if days is not None else None
    inside = [each for each in events if start is None or each.deployment.deployed_at >= start]
    changes = [each for each in inside if each.kind in CHANGES]
    since = start or (changes[0].deployment.deployed_at if changes else None)
    times = {each.deployment.commit: lead_time(each, ledger) for each in changes}
    restored = [taken for each in changes if (taken := _restored(each, events)) is not None]
    return FourKeys(
        since=since,
        until=now,
        deployments=len(changes),
        recoveries=sum(bool(each.failed) for each in inside),
        per_week=len(changes) / ((now - since) / WEEK) if since and changes and now - since >= WEEK else None,
        between=Figure.of(
            later.deployment.deployed_at - earlier.deployment.deployed_at for earlier, later in pairwise(changes)
        ),
        lead_time=Figure.of(each for each in times.values() if isinstance(each, dt.timedelta)),
        without=dict(Counter(each for each in times.values() if isinstance(each, Without))),
        failed=len(restored),
        restore=Figure.of(restored),
    )


def lead_time(event: Event, ledger: Ledger) -> dt.timedelta | Without:
    """Return the time from the author's date of the training commit to the deployment, or why there is none."""
    if event.kind is Kind.RENEWED:
        return Without.SAME_MODEL
    commit = training_commit(event, ledger)
    if commit is None:
        return Without.NO_COMMIT
    if commit.endswith("-dirty"):
        return Without.DIRTY
    written = ledger.authored.get(commit)
    if written is None:
        return Without.NOT_HERE
    taken = event.deployment.deployed_at - written
    return taken if taken >= dt.timedelta(0) else Without.LATER


def training_commit(event: Event, ledger: Ledger) -> str | None:
    """Return the commit that a deployment's model was trained at: by its receipt, else by its own message."""
    evidence = ledger.evidence_of(event.deployment.release)
    if evidence is not None:
        return evidence.receipt.training_commit
    found = _TRAINED_FROM.findall(event.deployment.message)
    return found[-1] if found else None


def _restored(event: Event, events: Iterable[Event]) -> dt.timedelta | None:
    """The time until a deployment was taken back; None where it was not."""
    later = next((each for each in events if event.deployment in each.took_back), None)
    return later.deployment.deployed_at - event.deployment.deployed_at if later else None
