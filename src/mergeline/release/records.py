"""Releases and receipts as the base branch's history has them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mergeline import git
from mergeline.errors import VerificationError
from mergeline.layout import RECEIPT, RETIREMENTS
from mergeline.release.history import Deployment
from mergeline.release.manifests import NO_RELEASE, Release, parse_release
from mergeline.release.receipt import Receipt, parse_receipt
from mergeline.release.retirement import Retirement, parse_retirements


def deployments(root: Path, commit: str, path: Path) -> tuple[Deployment, ...]:
    """Return what the release file of an environment said on a branch, the oldest first.

    What says the same as before is no deployment, and a version that cannot be read never was one. The file that came
    with the template, without a release, is none either.
    """
    found: list[Deployment] = []
    for each in git.commits(root, commit, path):
        content = git.read(root, each.sha, path)
        try:
            release = NO_RELEASE if content is None else parse_release(content.decode("utf-8", "replace"))
        except VerificationError:
            continue
        if content is None or release == (found[-1].release if found else NO_RELEASE):
            continue
        found.append(
            Deployment(
                environment=path.parent.name,
                commit=each.sha,
                author=each.author,
                email=each.email,
                deployed_at=each.committed_at,
                message=each.message,
                release=release,
                content=content,
            )
        )
    return tuple(found)


def receipt_of(root: Path, commit: str, release: Release) -> tuple[Receipt | None, str | None]:
    """Return a release's receipt, and the commit of the branch that brought it; None where the branch never had it."""
    for each in reversed(git.commits(root, commit, RECEIPT)):
        content = git.read(root, each.sha, RECEIPT)
        if content is not None and hashlib.sha256(content).hexdigest() == release.receipt_sha256:
            return parse_receipt(content.decode("utf-8", "replace")), each.sha
    return None, None


def retirements(root: Path, commit: str) -> tuple[Retirement, ...]:
    """Return the models that are to go, as a commit has them."""
    content = git.read(root, commit, RETIREMENTS)
    return () if content is None else parse_retirements(content.decode("utf-8", "replace"))
