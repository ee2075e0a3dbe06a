"""The verb `retire`: a model is announced to go, and each further phase is proposed when its day has come."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from mergeline import git
from mergeline.errors import ConfigurationError
from mergeline.layout import PRODUCTION, RETIREMENT_PATCH, RETIREMENTS, STAGING
from mergeline.release.ledger import SHORTEST_PREFIX
from mergeline.release.manifests import NO_RELEASE, Release, parse_release
from mergeline.release.proposals import Base, Proposal, fetch_base, propose
from mergeline.release.records import deployments, retirements
from mergeline.release.retirement import (
    BEGINS_DAYS,
    Phase,
    Retirement,
    format_retirements,
    plan,
)

DUE = "retire/due"


def announce(root: Path, remote: str, wanted: str, on: dt.date, today: dt.date) -> str:
    """Push the branch that announces the end of a model; raise `ConfigurationError` for one that was never served."""
    if on <= today:
        raise ConfigurationError(f"retire: --on {on}: expected a day after {today}; to take it back now: rollback")
    days = ", ".join(f"{phase} on {on - dt.timedelta(days)}" for phase, days in reversed(BEGINS_DAYS.items()))
    model = _model(root, fetch_base(root, remote), wanted)

    def announced(base: Base) -> Proposal:
        standing = retirements(root, base.commit)
        if any(each.model_sha256 == model for each in standing):
            raise ConfigurationError(f"retire: {RETIREMENTS} names model {model[:12]} already; change the day there")
        text = format_retirements([*standing, Retirement(model, on, Phase.ANNOUNCED)])
        title = f"Retire model {model[:12]} on {on}"
        message = f"{title}\n\n{days}.\nEach is a proposal of its own.\n\nModel-SHA256: {model}"
        return Proposal(f"retire/{model[:12]}", {RETIREMENTS: text.encode()}, message)

    return f"{propose(root, remote, announced).said}: model {model[:12]}: {days}"


def bring_forward(root: Path, remote: str, today: dt.date) -> str:
    """Push the branch with every phase that is due on a day and not in Git yet; twice changes nothing.

    Raises `VerificationError` where production's model needs a successor and staging has none.
    """

    def due(base: Base) -> Proposal:
        standing = retirements(root, base.commit)
        staged = git.read(root, base.commit, STAGING) or b""
        production, staging = _release(root, base, PRODUCTION), _release(root, base, STAGING)
        found = plan(standing, today, production, staging, staged)
        moved = [new for old, new in zip(standing, found.retirements, strict=True) if new.phase is not old.phase]
        changed: dict[Path, bytes | None] = {}
        if standing or git.read(root, base.commit, RETIREMENT_PATCH) is not None:
            changed[RETIREMENT_PATCH] = found.patch.encode()
        if moved:  # else the file stays as a person left it
            changed[RETIREMENTS] = format_retirements(found.retirements).encode()
        if found.production is not None:
            changed[PRODUCTION] = found.production
        title = ", ".join(f"{each.model_sha256[:12]} is {each.phase}" for each in moved) or "what pods are told"
        trailers = "\n".join(f"Model-SHA256: {each.model_sha256}" for each in moved)
        return Proposal(DUE, changed, f"Retirement: {title}\n\n{trailers}")

    found = propose(root, remote, due)
    return f"{found.said}: {found.proposal.message.splitlines()[0]}"


def _model(root: Path, base: Base, wanted: str) -> str:
    served = [each for path in (STAGING, PRODUCTION) for each in deployments(root, base.commit, path)]
    models = {str(each.release.model_sha256) for each in served if each.release.is_release}
    named = sorted(model for model in models if model.startswith(wanted) and len(wanted) >= SHORTEST_PREFIX)
    if len(named) != 1:
        known = ", ".join(sorted(model[:12] for model in models)) or "none"
        raise ConfigurationError(
            f"retire: {wanted!r}: {'several models' if named else 'no model'}; served were {known}"
        )
    return named[0]


def _release(root: Path, base: Base, path: Path) -> Release:
    content = git.read(root, base.commit, path)
    return NO_RELEASE if content is None else parse_release(content.decode("utf-8", "replace"))
