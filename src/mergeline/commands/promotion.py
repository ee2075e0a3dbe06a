"""The verbs that move a release, `propose` and `rollback`: each pushes a branch of one commit for a person to merge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mergeline import git
from mergeline.errors import ConfigurationError, VerificationError
from mergeline.layout import COMPARISON, PRODUCTION, STAGING
from mergeline.release.history import Deployment, standing
from mergeline.release.manifests import NO_RELEASE, Release, parse_release
from mergeline.release.proposals import Base, Proposal, fetch_base, propose
from mergeline.release.records import deployments, receipt_of, retirements
from mergeline.release.retirement import retired
from mergeline.report.escape import clean

PROMOTION = "promote/production"
ROLLBACK = "rollback/production"


def propose_production(root: Path, remote: str) -> str:
    """Push the branch that gives production what staging serves on the base branch now; twice changes nothing."""
    base = fetch_base(root, remote)
    staged = git.read(root, base.commit, STAGING)
    release = _release(staged)
    if staged is None or not release.is_release:
        return f"nothing to propose: staging serves no release on {base.name}"
    if release.model_sha256 in retired(retirements(root, base.commit)):
        raise VerificationError(f"propose: model {str(release.model_sha256)[:12]} is retired; promote another one")
    outcome = propose(root, remote, base, Proposal(PROMOTION, {PRODUCTION: staged}, _promotion(root, base, release)))
    return f"{outcome.sentence(PROMOTION, base)}: production to model {str(release.model_sha256)[:12]}"


def rollback(root: Path, remote: str, wanted: str | None) -> str:
    """Push the branch that takes production back to a release of before, the last good one where none is named.

    It changes the release file alone, byte for byte to what it was; nothing is trained. `wanted` is the beginning of a
    model's SHA-256, or of the commit that promoted it. Raises `ConfigurationError` where no release of before fits.
    """
    base = fetch_base(root, remote)
    lived = deployments(root, base.commit, PRODUCTION)
    if not lived:
        raise ConfigurationError(f"rollback: production had no release on {base.name} yet")
    target = _target(lived, wanted, retired(retirements(root, base.commit)))
    current = lived[-1]
    if target.release == current.release:
        return f"nothing to roll back: production serves model {_short(current)} already"
    outcome = propose(
        root, remote, base, Proposal(ROLLBACK, {PRODUCTION: target.content}, _revert(lived, target, current))
    )
    return f"{outcome.sentence(ROLLBACK, base)}: production from model {_short(current)} back to {_short(target)}"


def sync_registry(root: Path, environment: Mapping[str, str]) -> str:
    """Make MLflow's registry say what Git says at HEAD; return what it says now."""
    from mergeline.model_registry import sync

    commit = git.commit_of(root, "HEAD")
    if commit is None:
        raise ConfigurationError("sync-registry: no commit here; it makes the registry from the history of a branch")
    found = sync(root, commit, environment)
    aliases = ", ".join(f"{name} is version {version}" for name, version in found.aliases.items()) or "no alias"
    return f"{found.versions} models of Git, {found.new} of them new; {aliases}"


def _target(lived: tuple[Deployment, ...], wanted: str | None, gone: frozenset[str]) -> Deployment:
    if wanted is None:
        before = [each.release for each in standing(lived)[:-1] if each.release.is_release]
        good = [each for each in before if each.model_sha256 not in gone]
        if not good:
            raise ConfigurationError("rollback: production had no other release before; there is none to go back to")
        return _last(lived, good[-1])
    named = {
        each.release
        for each in lived
        if each.release.is_release
        and (str(each.release.model_sha256).startswith(wanted) or each.commit.startswith(wanted))
    }
    if len(named) != 1:
        known = ", ".join(dict.fromkeys(f"{_short(each)} ({each.commit[:12]})" for each in lived))
        which = "several releases" if named else "no release"
        raise ConfigurationError(f"rollback: --to {wanted}: {which} of production; it served {known}")
    release = named.pop()
    if release.model_sha256 in gone:
        raise VerificationError(f"rollback: model {str(release.model_sha256)[:12]} is retired; name another release")
    return _last(lived, release)


def _last(lived: tuple[Deployment, ...], release: Release) -> Deployment:
    """The newest deployment of a release."""
    return next(each for each in reversed(lived) if each.release == release)


def _promotion(root: Path, base: Base, release: Release) -> str:
    """A title, the sentence of the verdict, and trailers that tools read."""
    lines = [f"Promote model {str(release.model_sha256)[:12]} to production", ""]
    receipt, commit = receipt_of(root, base.commit, release)
    if commit:
        comparison = json.loads(git.read(root, commit, COMPARISON) or b"{}")
        lines += [clean(str(comparison.get("sentence", "")), 2000), ""]
    lines += [f"Model-SHA256: {release.model_sha256}", f"Receipt-SHA256: {release.receipt_sha256}"]
    if receipt and receipt.training_commit:
        lines.append(f"Trained-From: {receipt.training_commit}")
    return "\n".join(lines)


def _revert(lived: tuple[Deployment, ...], target: Deployment, current: Deployment) -> str:
    """The message that `git revert` gives, so that people and tools read it as one."""
    title = f'Revert "{current.subject}"'
    taken = list(lived[lived.index(target) + 1 :])
    lines = [title, "", *(f"This reverts commit {each.commit}." for each in reversed(taken)), ""]
    return "\n".join([*lines, f"Model-SHA256: {target.release.model_sha256 or 'none'}"])


def _release(content: bytes | None) -> Release:
    return NO_RELEASE if content is None else parse_release(content.decode("utf-8", "replace"))


def _short(each: Deployment) -> str:
    return str(each.release.model_sha256 or "none")[:12]
