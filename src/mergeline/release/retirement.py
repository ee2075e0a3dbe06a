"""The end of a model, announced and carried out by commits: deprecated, less traffic, replaced, gone."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from mergeline.errors import VerificationError
from mergeline.release.manifests import CONTAINER, DEPLOYMENT, Release

WHERE = "k8s/retirements.yaml"
SHARE = 0.5  # of the entities that the successor answers in the last month
DEPRECATED_DAYS = 90
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Phase(StrEnum):
    """How far a retirement has come, in the order in which it goes.

    Announced: nothing changes. Deprecated, from 90 days before the day on: answers tell clients the day. Reduced, from
    30 days: the successor answers half of the entities. Migrated, from 7 days: production serves the successor.
    Retired, on the day: nothing may serve the model again.
    """

    ANNOUNCED = "announced"
    DEPRECATED = "deprecated"
    REDUCED = "reduced"
    MIGRATED = "migrated"
    RETIRED = "retired"


BEGINS_DAYS = {Phase.RETIRED: 0, Phase.MIGRATED: 7, Phase.REDUCED: 30, Phase.DEPRECATED: DEPRECATED_DAYS}
ORDER = tuple(Phase)


@dataclass(frozen=True, slots=True)
class Retirement:
    """A model that goes, the day, and the phase that Git has brought it to."""

    model_sha256: str
    on: dt.date
    phase: Phase

    def due(self, today: dt.date) -> Phase:
        """Return the phase of a day; never one before the phase that it is in.

        >>> Retirement("0" * 64, dt.date(2027, 3, 1), Phase.ANNOUNCED).due(dt.date(2027, 2, 1)).value
        'reduced'
        """
        left = (self.on - today).days
        found = next((phase for phase, days in BEGINS_DAYS.items() if left <= days), Phase.ANNOUNCED)
        return max(found, self.phase, key=ORDER.index)


@dataclass(frozen=True, slots=True)
class Plan:
    """What Git has to say: the retirements, production's release file (None: as it is), its patch for the pods."""

    retirements: tuple[Retirement, ...]
    production: bytes | None
    patch: str


def plan(
    retirements: Sequence[Retirement], today: dt.date, production: Release, staging: Release, staged: bytes
) -> Plan:
    """Return what the retirements ask for on a day; `staged` is staging's release file, whose model is the successor.

    Raises `VerificationError` where the model that production serves needs a successor, and staging has none.
    """
    brought = tuple(replace(each, phase=each.due(today)) for each in retirements)
    own = _of(brought, production)
    moves = own is not None and ORDER.index(own.phase) >= ORDER.index(Phase.MIGRATED)
    if own is not None and (moves or own.phase is Phase.REDUCED) and not _succeeds(staging, brought):
        raise VerificationError(
            f"retire: production serves model {own.model_sha256[:12]}, which goes on {own.on}, and staging has no other"
            " one to take its place; retrain, and promote to staging"
        )
    if own is not None and own.phase is Phase.REDUCED and staging.store != production.store:
        raise VerificationError(
            f"retire: staging's model lies in {staging.store}, production's in {production.store}; one server takes"
            " both from one store"
        )
    patch = patch_of(brought, staging if moves else production, staging)
    return Plan(brought, staged if moves else None, patch)


def patch_of(retirements: Sequence[Retirement], production: Release, staging: Release) -> str:
    """Return what production's pods are to be told where production serves this release."""
    own = _of(retirements, production)
    if own is None or own.phase not in (Phase.DEPRECATED, Phase.REDUCED):
        return format_patch(None, None)
    able = _succeeds(staging, retirements) and staging.store == production.store
    return format_patch(own.on, staging.model_sha256 if own.phase is Phase.REDUCED and able else None)


def _of(retirements: Sequence[Retirement], release: Release) -> Retirement | None:
    return next((each for each in retirements if each.model_sha256 == release.model_sha256), None)


def _succeeds(staging: Release, retirements: Sequence[Retirement]) -> bool:
    return staging.is_release and _of(retirements, staging) is None


def retired(retirements: Sequence[Retirement]) -> frozenset[str]:
    """Return the models that nothing may serve any more."""
    return frozenset(each.model_sha256 for each in retirements if each.phase is Phase.RETIRED)


# ---- Files -----------------------------------------------------------------------------------------------------------


def format_retirements(retirements: Sequence[Retirement]) -> str:
    """Return the text of the file; `parse_retirements` reads it back."""
    head = "# Models that go, and the day. `mergeline retire` writes this; each further phase is a commit of its own.\n"
    if not retirements:
        return f"{head}[]\n"
    entries = (
        f'- model_sha256: "{each.model_sha256}"\n  on: "{each.on.isoformat()}"\n  phase: {each.phase}\n'
        for each in sorted(retirements, key=lambda each: (each.on, each.model_sha256))
    )
    return head + "".join(entries)


def parse_retirements(text: str) -> tuple[Retirement, ...]:
    """Return the retirements of a file; raise `VerificationError` for anything that `format_retirements` does not say.

    >>> parse_retirements("[]")
    ()
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe", pure=True).load(text)
        entries = tuple(_retirement(each) for each in found or [])
    except (YAMLError, ValueError, KeyError, TypeError, RecursionError) as err:
        said = " ".join(str(err).split())[:200]
        raise VerificationError(f"{WHERE}: cannot be read ({said}); write model_sha256, on and phase") from err
    models = [each.model_sha256 for each in entries]
    if len(set(models)) != len(models):
        raise VerificationError(f"{WHERE}: names a model twice; leave one of the entries")
    return entries


def _retirement(raw: Any) -> Retirement:
    if set(raw) != {"model_sha256", "on", "phase"}:
        raise ValueError(f"expected model_sha256, on and phase, found {', '.join(map(str, raw))}")
    if _SHA256.fullmatch(raw["model_sha256"]) is None:
        raise ValueError(f"model_sha256: expected 64 hexadecimal digits, found {raw['model_sha256']!r}")
    return Retirement(raw["model_sha256"], dt.date.fromisoformat(str(raw["on"])), Phase(raw["phase"]))


def format_patch(sunset: dt.date | None, successor: str | None) -> str:
    """Return the overlay's `retirement.yaml`: what the pods of a model that goes are told, or nothing."""
    head = (
        "# What the pods of a model that goes are told; `mergeline retire` writes this. Here it is "
        + ("nothing.\n" if sunset is None else f"the last day, {sunset.isoformat()}.\n")
        + f"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {DEPLOYMENT}\n"
    )
    if sunset is None:
        return head
    values = {"MERGELINE_SUNSET": sunset.isoformat()}
    if successor is not None:
        values |= {"MERGELINE_CHALLENGER": successor, "MERGELINE_SHARE": str(SHARE)}
    # what a component says of the same variable goes
    env = "".join(
        f"            - name: {name}\n              value: {json.dumps(value)}\n              valueFrom: null\n"
        for name, value in values.items()
    )
    return f"{head}spec:\n  template:\n    spec:\n      containers:\n        - name: {CONTAINER}\n          env:\n{env}"
