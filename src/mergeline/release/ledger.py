"""The ledger of a branch: what each environment served, what became of it, and on which evidence it was let through."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mergeline.errors import ConfigurationError
from mergeline.release.evidence import Evidence
from mergeline.release.history import Deployment
from mergeline.release.manifests import NO_RELEASE, Release

SHORTEST_PREFIX = 4  # as Git has it
_PREFIX = re.compile(rf"[0-9a-f]{{{SHORTEST_PREFIX},64}}")
_REVERTED_COMMIT = re.compile(r"\bThis reverts commit ([0-9a-f]{7,64})")
_REVERTED_TITLE = re.compile(r'Revert "(.*)"(?: \(#\d+\))?')


class Kind(StrEnum):
    """What a deployment did to its environment."""

    PROMOTED = "promoted"  # another model than before
    RENEWED = "renewed"  # the same model with another image, store or receipt
    TOOK_BACK = "took back"  # the release of before, in place of what came after it
    WITHDREW = "withdrew"  # no release any more


class Status(StrEnum):
    """What became of a release. The first two are the names of the environments that serve it now."""

    PRODUCTION = "production"
    STAGING = "staging"
    SUPERSEDED = "superseded"  # a newer one took its place
    ROLLED_BACK = "rolled back"  # a later deployment of an older one took it back, or a revert did
    WITHDRAWN = "withdrawn"  # its environment was left without a release


@dataclass(frozen=True, slots=True)
class Event:
    """A deployment, the release that it took the place of, and the deployments that it took back."""

    deployment: Deployment
    kind: Kind
    before: Release
    took_back: tuple[Deployment, ...]

    @property
    def failed(self) -> tuple[Deployment, ...]:
        """The deployments of a release among those that it took back."""
        return tuple(each for each in self.took_back if each.release.is_release)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a branch says of its releases.

    `events` of all environments in the order of the branch; `evidence` by the SHA-256 of the receipt; `tags` by commit;
    `authored` is when the commits that models were trained at, and those that brought receipts, were written, as far as
    this clone has them.
    """

    ref: str
    commit: str
    events: tuple[Event, ...]
    evidence: Mapping[str, Evidence]
    tags: Mapping[str, tuple[str, ...]]
    authored: Mapping[str, dt.datetime]

    def evidence_of(self, release: Release) -> Evidence | None:
        """What the branch holds on a release; None where it never had the receipt."""
        return self.evidence.get(release.receipt_sha256 or "")


@dataclass(frozen=True, slots=True)
class Entry:
    """One release: its status in all and in each environment that served it, and what it went through, oldest first."""

    release: Release
    status: Status
    environments: Mapping[str, Status]
    events: tuple[Event, ...]
    evidence: Evidence | None
    tags: tuple[str, ...]

    @property
    def model(self) -> str:
        """The SHA-256 of its model."""
        return str(self.release.model_sha256)

    @property
    def commits(self) -> frozenset[str]:
        """The commits that brought it into an environment, or brought its receipt."""
        recorded = {self.evidence.commit} if self.evidence else set()
        return frozenset({each.deployment.commit for each in self.events} | recorded)

    def newest(self, environment: str) -> Event | None:
        """The last time that it came into an environment."""
        return next((each for each in reversed(self.events) if each.deployment.environment == environment), None)


# ---- What happened ---------------------------------------------------------------------------------------------------


def events_of(deployments: Sequence[Deployment]) -> tuple[Event, ...]:
    """Return what the deployments of one environment did, the oldest first.

    As in `history.standing`, one that brings back the release of an earlier one takes back everything between the two.
    A deployment of no release takes back what its message reverts, and otherwise ends a service without blame.
    """
    stands: list[Deployment] = []
    before = NO_RELEASE
    found = []
    for each in deployments:
        took_back = tuple(_took_back(each, stands))
        returns = any(other.release == each.release for other in stands) and each.release.is_release
        stands = [other for other in stands if other not in took_back] + ([] if returns else [each])
        found.append(Event(each, _kind(each, before, took_back), before, took_back))
        before = each.release
    return tuple(found)


def _took_back(deployment: Deployment, stands: Sequence[Deployment]) -> Iterator[Deployment]:
    if not deployment.release.is_release:
        yield from (other for other in stands if reverts(deployment.message, other))
        return
    earlier = next((at for at, other in enumerate(stands) if other.release == deployment.release), len(stands))
    yield from stands[earlier + 1 :]


def reverts(message: str, deployment: Deployment) -> bool:
    """Whether a commit's message says that it reverts this deployment, in the words of Git or of GitHub."""
    title = _REVERTED_TITLE.fullmatch(message.partition("\n")[0].strip())
    named = _REVERTED_COMMIT.findall(message)
    return any(deployment.commit.startswith(name) for name in named) or (
        not named and title is not None and title[1] == deployment.subject
    )


def _kind(deployment: Deployment, before: Release, took_back: Sequence[Deployment]) -> Kind:
    if not deployment.release.is_release:
        return Kind.WITHDREW
    if any(other.release.is_release for other in took_back):
        return Kind.TOOK_BACK
    return Kind.RENEWED if deployment.release.model_sha256 == before.model_sha256 else Kind.PROMOTED


def fates(events: Iterable[Event]) -> dict[Release, Status]:
    """Return what became of each release of one environment."""
    found: dict[Release, Status] = {}
    for event in events:
        release = event.deployment.release
        if event.before.is_release:
            found[event.before] = Status.SUPERSEDED if release.is_release else Status.WITHDRAWN
        found |= {other.release: Status.ROLLED_BACK for other in event.failed}
        if release.is_release:
            found[release] = Status(event.deployment.environment)
    return found


# ---- Releases --------------------------------------------------------------------------------------------------------


def entries_of(ledger: Ledger) -> tuple[Entry, ...]:
    """Return every release that an environment ever served; the one that was deployed last comes first."""
    environments = dict.fromkeys(each.deployment.environment for each in ledger.events)
    became = {
        name: fates(each for each in ledger.events if each.deployment.environment == name) for name in environments
    }
    deployed = [each.deployment.release for each in reversed(ledger.events) if each.deployment.release.is_release]
    return tuple(_entry(ledger, release, became) for release in dict.fromkeys(deployed))


def _entry(ledger: Ledger, release: Release, became: Mapping[str, Mapping[Release, Status]]) -> Entry:
    statuses = {name: found[release] for name, found in became.items() if release in found}
    events = tuple(each for each in ledger.events if each.deployment.release == release)
    evidence = ledger.evidence_of(release)
    commits = [*([evidence.commit] if evidence else []), *(each.deployment.commit for each in events)]
    tags = dict.fromkeys(tag for commit in dict.fromkeys(commits) for tag in ledger.tags.get(commit, ()))
    return Entry(release, _status(statuses), statuses, events, evidence, tuple(tags))


def _status(statuses: Mapping[str, Status]) -> Status:
    """One status out of two: to serve now, or to have been taken back from production, weighs most."""
    production, staging = statuses.get(Status.PRODUCTION), statuses.get(Status.STAGING)
    if production is None or staging is None:
        return next(iter(statuses.values()))
    decided = production in (Status.PRODUCTION, Status.ROLLED_BACK) or staging != Status.STAGING
    return production if decided else staging


def find(entries: Sequence[Entry], wanted: str | None) -> Entry:
    """Return the release that `wanted` is the beginning of, by its model or one of its commits.

    None is what production serves now, else what staging does. Of several with the same model, the newest is meant;
    `ConfigurationError` where there are several models, or none.
    """
    if wanted is None:
        return _serving(entries)
    wanted = wanted.lower()
    if _PREFIX.fullmatch(wanted) is None:
        raise ConfigurationError(
            f"RELEASE: expected {SHORTEST_PREFIX} or more digits of a model's SHA-256 or of a commit, found {wanted!a}"
        )
    found = [
        each
        for each in entries
        if each.model.startswith(wanted) or any(commit.startswith(wanted) for commit in each.commits)
    ]
    if len({each.model for each in found}) != 1:
        which = "several releases begin so" if found else "no release of staging or production begins so"
        known = ", ".join(dict.fromkeys(each.model[:12] for each in found or entries)) or "none"
        raise ConfigurationError(f"RELEASE: {wanted}: {which}; known: {known}")
    return found[0]


def _serving(entries: Sequence[Entry]) -> Entry:
    for status in (Status.PRODUCTION, Status.STAGING):
        serving = next((each for each in entries if each.environments.get(status) == status), None)
        if serving is not None:
            return serving
    raise ConfigurationError("RELEASE: neither production nor staging serves one now; `mergeline releases` lists them")
