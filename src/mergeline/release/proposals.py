"""A branch that proposes one change: built on the base without touching the checkout, pushed by compare and swap.

Every run looks at what is there now, so that runs which were lost, repeated or reordered end in the same branch.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mergeline import git
from mergeline.errors import ConfigurationError, ServiceError, VerificationError

logger = logging.getLogger(__name__)

TRAILER = "Proposed-By: mergeline"
TRIES = 3  # of a push that another one came before


class Outcome(StrEnum):
    """What a proposal came to."""

    MADE = "made"
    REPLACED = "replaced"
    STANDS = "stands"  # the branch proposed this already
    WITHDRAWN = "withdrawn"  # the base has it already, the branch is gone
    NOTHING = "nothing"  # the base has it already, there was no branch

    def sentence(self, branch: str, base: Base) -> str:
        """Return what there is to do.

        >>> Outcome.STANDS.sentence("promote/production", Base("main", "0" * 40))
        'promote/production proposes it already; merge it into main'
        """
        return {
            Outcome.MADE: f"proposed on {branch}; merge it into {base.name}",
            Outcome.REPLACED: f"proposed on {branch} in place of an older proposal; merge it into {base.name}",
            Outcome.STANDS: f"{branch} proposes it already; merge it into {base.name}",
            Outcome.WITHDRAWN: f"{base.name} has it already, {branch} is removed",
            Outcome.NOTHING: f"{base.name} has it already",
        }[self]


@dataclass(frozen=True, slots=True)
class Base:
    """The branch of the origin that a proposal is to be merged into, as it is now."""

    name: str
    commit: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a branch proposes: the whole content of some files, None for a file that goes; and its one commit's message.

    The title comes first; `TRAILER` is added, by which a later run knows its own work.
    """

    branch: str
    files: dict[Path, bytes | None]
    message: str


def fetch_base(root: Path, remote: str) -> Base:
    """Return the default branch of the origin as it is now; the checkout learns of it and is not changed.

    Raises `ConfigurationError` where there is no such remote, or this clone lacks a part of the history, which says
    what was live before; `ServiceError` where the remote does not answer.
    """
    if git.do(root, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise ConfigurationError("this clone is shallow, the history is not whole; `git fetch --unshallow`")
    listed = _asked(root, "ls-remote", "--symref", remote, "HEAD").splitlines()
    name = next((line.split()[1] for line in listed if line.startswith("ref: ")), "").removeprefix("refs/heads/")
    if not name:
        raise ConfigurationError(f"{remote}: has no default branch yet; push one")
    _asked(root, "fetch", "--quiet", "--no-tags", remote, f"+refs/heads/{name}:refs/remotes/{remote}/{name}")
    commit = git.commit_of(root, f"refs/remotes/{remote}/{name}")
    if commit is None:
        raise ServiceError(f"{remote}: its branch {name} did not come; try again")
    return Base(name, commit)


def propose(root: Path, remote: str, base: Base, proposal: Proposal) -> Outcome:
    """See to it that a branch of the origin proposes exactly this, or that there is none where the base has it.

    A branch that proposes something older is replaced, under the condition that it is still what was looked at. Raises
    `VerificationError` where it holds commits of somebody else, which nothing overwrites; `ServiceError` where the
    origin takes no push.
    """
    for _ in range(TRIES):
        tip = _tip(root, remote, proposal.branch)
        if tip is not None:
            _refuse_others(root, remote, base, proposal.branch, tip)
        if all(git.read(root, base.commit, path) == content for path, content in proposal.files.items()):
            if tip is None:
                return Outcome.NOTHING
            if _pushed(root, remote, proposal.branch, tip, None):
                return Outcome.WITHDRAWN
        elif tip is not None and _stands(root, base, proposal, tip):
            return Outcome.STANDS
        elif _pushed(root, remote, proposal.branch, tip, _commit(root, base, proposal)):
            return Outcome.MADE if tip is None else Outcome.REPLACED
    raise ServiceError(f"{remote}: {proposal.branch} changed at every try; run again")


def _tip(root: Path, remote: str, branch: str) -> str | None:
    """The commit that a branch of the origin is at, which is here afterwards; None where there is no branch."""
    listed = _asked(root, "ls-remote", remote, f"refs/heads/{branch}").split()
    if not listed:
        return None
    if git.commit_of(root, listed[0]) is None:
        _asked(root, "fetch", "--quiet", "--no-tags", remote, f"refs/heads/{branch}")
    return listed[0] if git.commit_of(root, listed[0]) else None


def _refuse_others(root: Path, remote: str, base: Base, branch: str, tip: str) -> None:
    messages = git.do(root, "log", "--no-merges", "--format=%H%x00%B%x01", f"{base.commit}..{tip}")
    for entry in filter(None, (each.strip() for each in messages.split("\x01"))):
        commit, _, message = entry.partition("\0")
        if TRAILER not in message.splitlines():
            raise VerificationError(
                f"{remote}: {branch} holds commit {commit[:12]}, which is somebody's own; merge it or delete the branch"
            )


def _stands(root: Path, base: Base, proposal: Proposal, tip: str) -> bool:
    """Whether a merge of the branch as it is would make the base what is proposed, and nothing else."""
    start = git.do(root, "merge-base", base.commit, tip).strip()
    changed = set(filter(None, git.do(root, "diff", "--name-only", "--relative", "-z", start, tip).split("\0")))
    moved = any(git.read(root, start, path) != git.read(root, base.commit, path) for path in proposal.files)
    same = all(git.read(root, tip, path) == content for path, content in proposal.files.items())
    return same and not moved and changed <= {path.as_posix() for path in proposal.files}


def _commit(root: Path, base: Base, proposal: Proposal) -> str:
    """The commit on top of the base, made in an index of its own."""
    prefix = git.do(root, "rev-parse", "--show-prefix").strip()
    with tempfile.TemporaryDirectory(prefix="mergeline-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.do(root, "read-tree", base.commit, environment=index)
        for path, content in proposal.files.items():
            name = f"{prefix}{path.as_posix()}"
            if content is None:
                git.do(root, "update-index", "--force-remove", "--", name, environment=index)
                continue
            blob = git.do(root, "hash-object", "-w", "--stdin", content=content).strip()
            git.do(root, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", environment=index)
        tree = git.do(root, "write-tree", environment=index).strip()
    message = f"{proposal.message.rstrip()}\n{TRAILER}\n"
    return git.do(root, "commit-tree", tree, "-p", base.commit, content=message.encode()).strip()


def _pushed(root: Path, remote: str, branch: str, expected: str | None, commit: str | None) -> bool:
    """Push a commit, or remove the branch, if it is still at `expected`; False where it is not."""
    lease = f"--force-with-lease=refs/heads/{branch}:{expected or ''}"
    try:
        git.do(root, "push", "--quiet", "--porcelain", lease, remote, f"{commit or ''}:refs/heads/{branch}")
    except ConfigurationError as err:
        if _tip(root, remote, branch) != expected:
            logger.info("%s: %s has moved meanwhile; looked at again", remote, branch)
            return False
        raise ServiceError(f"{remote}: does not take {branch} ({err}); see who may push there") from err
    return True


def _asked(root: Path, *arguments: str) -> str:
    """What a command says that talks to the origin."""
    try:
        return git.do(root, *arguments)
    except ConfigurationError as err:
        remote = next(each for each in arguments[1:] if not each.startswith("-"))
        if remote not in git.do(root, "remote").split():
            raise ConfigurationError(f"{remote}: no such remote; `git remote add {remote} URL`") from err
        raise ServiceError(f"{remote}: does not answer ({err}); try again") from err
