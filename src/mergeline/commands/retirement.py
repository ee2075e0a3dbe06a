"""The verb `retire`: a model is announced to go, and each further phase is proposed when its day has come."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from mergeline import git
from mergeline.errors import ConfigurationError
from mergeline.layout import PRODUCTION, RETIREMENT_PATCH, RETIREMENTS, STAGING
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
    base = fetch_base(root, remote)
    if on <= today:
        raise ConfigurationError(f"retire: --on {on}: expected a day after {today}; to take it back now: rollback")
    model = _model(root, base, wanted)
    standing = retirements(root, base.commit)
    others = [each for each in standing if each.model_sha256 != model]
    if len(others) < len(standing):
        raise ConfigurationError(f"retire: {RETIREMENTS} names model {model[:12]} already; change the day there")
    text = format_retirements([*others, Retirement(model, on, Phase.ANNOUNCED)])
    days = ", ".join(f"{phase} on {on - dt.timedelta(days)}" for phase, days in reversed(BEGINS_DAYS.items()))
    message = f"Retire model {model[:12]} on {on}\n\n{days}.\nEach is a proposal of its own.\n\nModel-SHA256: {model}"
    branch = f"retire/{model[:12]}"
    outcome = propose(root, remote, base, Proposal(branch, {RETIREMENTS: text.encode()}, message))
    return f"{outcome.sentence(branch, base)}: model {model[:12]}: {days}"


def bring_forward(root: Path, remote: str, today: dt.date) -> str:
    """Push the branch with every phase that is due on a day and not in Git yet; twice changes nothing.

    Raises `VerificationError` where production's model needs a successor and staging has none.
    """
    base = fetch_base(root, remote)
    standing = retirements(root, base.commit)
    if not standing:
        return "nothing is to be retired"
    staged = git.read(root, base.commit, STAGING) or b""
    found = plan(standing, today, _release(root, base, PRODUCTION), _release(root, base, STAGING), staged)
    changed: dict[Path, bytes | None] = {
        RETIREMENTS: format_retirements(found.retirements).encode(),
        RETIREMENT_PATCH: found.patch.encode(),
    }
    if found.production is not None:
        changed[PRODUCTION] = found.production
    moved = [new for old, new in zip(standing, found.retirements, strict=True) if new.phase is not old.phase]
    title = ", ".join(f"{each.model_sha256[:12]} is {each.phase}" for each in moved) or "as the day has it"
    trailers = "\n".join(f"Model-SHA256: {each.model_sha256}" for each in moved)
    outcome = propose(root, remote, base, Proposal(DUE, changed, f"Retirement: {title}\n\n{trailers}"))
    return f"{outcome.sentence(DUE, base)}: {title}"


def _model(root: Path, base: Base, wanted: str) -> str:
    served = [each for path in (STAGING, PRODUCTION) for each in deployments(root, base.commit, path)]
    models = {str(each.release.model_sha256) for each in served if each.release.is_release}
    named = sorted(model for model in models if model.startswith(wanted))
    if len(named) != 1:
        known = ", ".join(sorted(model[:12] for model in models)) or "none"
        raise ConfigurationError(f"retire: {wanted}: {'several models' if named else 'no model'}; served were {known}")
    return named[0]


def _release(root: Path, base: Base, path: Path) -> Release:
    content = git.read(root, base.commit, path)
    return NO_RELEASE if content is None else parse_release(content.decode("utf-8", "replace"))
