"""Releases and receipts as the base branch's history has them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from mergeline import git
from mergeline.errors import VerificationError
from mergeline.layout import RECEIPT, RETIREMENTS
from mergeline.release.history import Deployment
from mergeline.release.manifests import NO_RELEASE, Release, format_release, parse_release
from mergeline.release.receipt import Receipt, parse_receipt
from mergeline.release.retirement import Retirement, parse_retirements

_QUOTED = re.compile(r'^ +[\w./-]+: "([^"\\]*)"$', re.MULTILINE)


def deployments(root: Path, commit: str, path: Path) -> tuple[Deployment, ...]:
    """Return what the release file of an environment said on a branch, the oldest first.

    What says the same as before is no deployment, and a version that cannot be read never was one. The file that came
    with the template, without a release, is none either.
    """
    changed = git.commits(root, commit, path)
    contents = git.read_many(root, [f"{each.sha}:./{path.as_posix()}" for each in changed])
    releases = {content: _release(content) for content in set(contents.values())}
    found: list[Deployment] = []
    for each in changed:
        content = contents[f"{each.sha}:./{path.as_posix()}"]
        release = releases[content]
        if content is None or release is None or release == (found[-1].release if found else NO_RELEASE):
            if found and content is not None and release is not None:
                found[-1] = replace(found[-1], content=content)  # a note that a person put into the file
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


def _release(content: bytes | None) -> Release | None:
    """The release of a file; None where it cannot be read. One that was written by `format_release` needs no YAML."""
    text = (content or b"").decode("utf-8", "replace")
    quoted = [None if value == "none" else value for value in _QUOTED.findall(text)]
    try:
        if len(quoted) == len(Release.__slots__):
            release = Release(*quoted)
            if format_release(release) == text:
                return release
        return parse_release(text)
    except VerificationError:
        return None
