"""The verbs that move a release, `propose` and `rollback`: each pushes a branch of one commit for a person to merge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mergeline import git
from mergeline.errors import ConfigurationError, VerificationError
from mergeline.layout import COMPARISON, PRODUCTION, RETIREMENT_PATCH, STAGING
from mergeline.release.evidence import parse_judgement
from mergeline.release.history import Deployment, standing
from mergeline.release.ledger import SHORTEST_PREFIX
from mergeline.release.manifests import NO_RELEASE, Release, parse_release
from mergeline.release.proposals import Base, Outcome, Proposal, propose
from mergeline.release.records import deployments, receipt_of, retirements
from mergeline.release.retirement import patch_of, retired
from mergeline.report.escape import clean

PROMOTION = "promote/production"
ROLLBACK = "rollback/production"


def propose_production(root: Path, remote: str) -> str:
    """Push the branch that gives production what staging serves on the base branch now; twice changes nothing.

    Without a release on staging, and with one that production has taken back, production is to stay as it is.
    """
    said: list[str] = []

    def plan(base: Base) -> Proposal:
        staged, served = (git.read(root, base.commit, path) for path in (STAGING, PRODUCTION))
        release = _release(staged)
        said[:] = [f"production to model {str(release.model_sha256)[:12]}"]
        why = _why_not(root, base, release)
        if why is not None:
            said[:] = [why]
            return Proposal(PROMOTION, {PRODUCTION: served}, why)
        files = {PRODUCTION: staged, **_patched(root, base, release)}
        return Proposal(PROMOTION, files, _promotion(root, base, release))

    found = propose(root, remote, plan)
    return f"{found.said}: {said[0]}"


def rollback(root: Path, remote: str, wanted: str | None, *, trailer: str | None = None) -> str:
    """Push the branch that takes production back to a release of before, the last good one where none is named.

    It changes the release file alone, byte for byte to what it was, and what a retirement tells its pods; nothing is
    trained. `wanted` is the beginning of a model's SHA-256, or of the commit that promoted it; `trailer` is added to
    the message of the commit. Raises `ConfigurationError` where no release of before fits.
    """
    said: list[str] = []

    def plan(base: Base) -> Proposal:
        lived = deployments(root, base.commit, PRODUCTION)
        if not lived:
            raise ConfigurationError(f"rollback: production had no release on {base.name} yet")
        now = _readable(git.read(root, base.commit, PRODUCTION))
        target = _target(lived, now, wanted, retired(retirements(root, base.commit)))
        said[:] = [f"production from model {_short(now)} back to {_short(target.release)}"]
        if target.release == now:
            said[:] = [f"production serves model {_short(now)} already"]
            return Proposal(ROLLBACK, {PRODUCTION: git.read(root, base.commit, PRODUCTION)}, said[0])
        files = {PRODUCTION: target.content, **_patched(root, base, target.release)}
        message = _revert(lived, target)
        return Proposal(ROLLBACK, files, f"{message}\n{trailer}" if trailer else message)

    found = propose(root, remote, plan)
    if found.outcome in (Outcome.NOTHING, Outcome.WITHDRAWN):
        return f"nothing to roll back: {said[0]}"
    return f"{found.said}: {said[0]}"


def _why_not(root: Path, base: Base, release: Release) -> str | None:
    """Why production is to stay as it is; None where it is not."""
    if not release.is_release:
        return "staging serves no release"
    if release.model_sha256 in retired(retirements(root, base.commit)):
        raise VerificationError(f"propose: model {str(release.model_sha256)[:12]} is retired; promote another one")
    lived = deployments(root, base.commit, PRODUCTION)
    if any(each.release == release for each in lived) and all(each.release != release for each in standing(lived)):
        return f"production has taken model {str(release.model_sha256)[:12]} back; revert that by hand to try it again"
    return None


def _patched(root: Path, base: Base, release: Release) -> dict[Path, bytes | None]:
    """What a retirement tells production's pods, where it changes with the release: a model that goes, or no longer."""
    if git.read(root, base.commit, RETIREMENT_PATCH) is None:
        return {}
    staging = _release(git.read(root, base.commit, STAGING))
    return {RETIREMENT_PATCH: patch_of(retirements(root, base.commit), release, staging).encode()}


def sync_registry(root: Path, named: str | None, environment: Mapping[str, str]) -> str:
    """Make MLflow's registry say what Git says of a branch, the base branch where none is named."""
    from mergeline.model_registry import sync

    git.refuse_shallow(root)
    branch = named or git.base_branch(root) or "HEAD"
    commit = git.commit_of(root, branch)
    if commit is None:
        raise ConfigurationError(f"sync-registry: {branch}: no such branch; it is made from the history of one")
    found = sync(root, commit, environment)
    aliases = ", ".join(f"{name} is version {version}" for name, version in found.aliases.items()) or "no alias"
    return f"{found.versions} models of Git, {found.new} of them new; {aliases}"


def _target(lived: tuple[Deployment, ...], now: Release | None, wanted: str | None, gone: frozenset[str]) -> Deployment:
    """The deployment to go back to; `now` is what production serves, None where its file cannot be read."""
    if wanted is None:
        stood = [each.release for each in standing(lived)]
        before = [each for each in (stood[:-1] if stood[-1] == now else stood) if each.is_release]
        good = [each for each in before if each.model_sha256 not in gone]
        if not good:
            raise ConfigurationError("rollback: production had no other release before; there is none to go back to")
        return _last(lived, good[-1])
    if len(wanted) < SHORTEST_PREFIX:
        raise ConfigurationError(f"rollback: --to {wanted!r}: expected at least {SHORTEST_PREFIX} signs of a hash")
    named = {
        each.release
        for each in lived
        if each.release.is_release
        and (str(each.release.model_sha256).startswith(wanted) or each.commit.startswith(wanted))
    }
    if len(named) != 1:
        known = ", ".join(dict.fromkeys(f"{_short(each.release)} ({each.commit[:12]})" for each in lived))
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
    judgement = parse_judgement(git.read(root, commit, COMPARISON), str(release.model_sha256)) if commit else None
    if judgement is not None:
        lines += [clean(judgement.sentence, 2000), ""]
    lines += [f"Model-SHA256: {release.model_sha256}", f"Receipt-SHA256: {release.receipt_sha256}"]
    if receipt and receipt.training_commit:
        lines.append(f"Trained-From: {receipt.training_commit}")
    return "\n".join(lines)


def _revert(lived: tuple[Deployment, ...], target: Deployment) -> str:
    """The message that `git revert` gives, so that people and tools read it as one."""
    taken = list(lived[lived.index(target) + 1 :])
    title = f'Revert "{lived[-1].subject}"' if taken else "Restore production's release"
    lines = [title, "", *(f"This reverts commit {each.commit}." for each in reversed(taken)), ""]
    return "\n".join([*lines, f"Model-SHA256: {target.release.model_sha256 or 'none'}"])


def _release(content: bytes | None) -> Release:
    return NO_RELEASE if content is None else parse_release(content.decode("utf-8", "replace"))


def _readable(content: bytes | None) -> Release | None:
    try:
        return None if content is None else _release(content)
    except VerificationError:
        return None


def _short(release: Release | None) -> str:
    return "of an unreadable file" if release is None else str(release.model_sha256 or "none")[:12]
