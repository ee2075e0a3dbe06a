"""A branch that proposes one change: built on the base without touching the checkout, pushed by compare and swap.

Every run looks at what is there now, so that runs which were lost, repeated or reordered end in the same branch.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mergeline import git
from mergeline.errors import ConfigurationError, ServiceError, VerificationError

logger = logging.getLogger(__name__)

TRAILER = "Proposed-By: mergeline"  # and a hash of what is proposed: an amended commit is nobody's but its author's
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

    The title comes first; a trailer is added, by which a later run knows its own work.
    """

    branch: str
    files: Mapping[Path, bytes | None]
    message: str


@dataclass(frozen=True, slots=True)
class Proposed:
    """What a run came to, on which base, and what the branch proposes."""

    outcome: Outcome
    base: Base
    proposal: Proposal

    @property
    def said(self) -> str:
        """What there is to do."""
        return self.outcome.sentence(self.proposal.branch, self.base)


def fetch_base(root: Path, remote: str) -> Base:
    """Return the default branch of the origin as it is now; the checkout learns of it and is not changed.

    Raises `ConfigurationError` where there is no such remote, or this clone lacks a part of the history, which says
    what was live before; `ServiceError` where the remote does not answer.
    """
    git.refuse_shallow(root)
    listed = _asked(root, "ls-remote", "--symref", remote, "HEAD").splitlines()
    name = next((line.split()[1] for line in listed if line.startswith("ref: ")), "").removeprefix("refs/heads/")
    if not name:
        raise ConfigurationError(f"{remote}: has no default branch yet; push one")
    _asked(root, "fetch", "--quiet", "--no-tags", remote, f"+refs/heads/{name}:refs/remotes/{remote}/{name}")
    commit = git.commit_of(root, f"refs/remotes/{remote}/{name}")
    if commit is None:
        raise ServiceError(f"{remote}: its branch {name} did not come; try again")
    return Base(name, commit)


def propose(root: Path, remote: str, plan: Callable[[Base], Proposal]) -> Proposed:
    """See to it that a branch of the origin proposes what `plan` makes of the base, or is gone where the base has it.

    A branch that proposes something older is replaced, under the condition that it is still what was looked at; where
    the base has moved meanwhile, all is looked at again, so that a late run ends as the newest. Raises
    `VerificationError` where the branch holds work of somebody else, which nothing overwrites; `ServiceError` where the
    origin takes no push.
    """
    base = fetch_base(root, remote)
    for _ in range(TRIES):
        proposal = plan(base)
        found = _once(root, remote, base, proposal)
        newest = fetch_base(root, remote)
        if newest == base and isinstance(found, Outcome):
            return Proposed(found, base, proposal)
        if newest == base and found is not None:
            said = f"{remote}: {proposal.branch} holds {found[:12]}, which is somebody's own"
            raise VerificationError(f"{said}; merge it or delete the branch")
        base = newest
    raise ServiceError(f"{remote}: {proposal.branch} or its base changed at every try; run again")


def _once(root: Path, remote: str, base: Base, proposal: Proposal) -> Outcome | str | None:
    """Do what there is to do with the branch as it is; None where it has moved meanwhile, a commit of somebody else."""
    tip = _tip(root, remote, proposal.branch)
    own = None if tip is None else _own_commit(root, base, tip)
    if tip is not None and own is None and not _is_ancestor(root, tip, base.commit):
        return tip
    if all(git.read(root, base.commit, path) == content for path, content in proposal.files.items()):
        if tip is None:
            return Outcome.NOTHING
        return Outcome.WITHDRAWN if _pushed(root, remote, proposal.branch, tip, None) else None
    if own is not None and _stands(root, base, proposal, own):
        return Outcome.STANDS
    if not _pushed(root, remote, proposal.branch, tip, _commit(root, base, proposal)):
        return None
    return Outcome.MADE if tip is None else Outcome.REPLACED


def _tip(root: Path, remote: str, branch: str) -> str | None:
    """The commit that a branch of the origin is at, which is here afterwards; None where there is no branch."""
    whole = f"refs/heads/{branch}"
    listed = [line.split() for line in _asked(root, "ls-remote", remote, whole).splitlines()]
    found = next((commit for commit, name in listed if name == whole), None)
    if found is not None and git.commit_of(root, found) is None:
        _asked(root, "fetch", "--quiet", "--no-tags", remote, whole)
    return found


def _own_commit(root: Path, base: Base, tip: str) -> str | None:
    """The bot's commit that a branch is, or was before the base was merged into it; None for any other branch."""
    parents = git.do(root, "rev-list", "--parents", "--max-count=1", tip).split()[1:]
    if len(parents) == 2:  # as the button "Update branch" makes it
        first, second = parents
        own = _own_commit(root, base, first)
        if own is None or not _is_ancestor(root, second, base.commit):
            return None
        brought = _changed(root, second, tip)
        same = brought <= _changed(root, f"{own}^", own) and all(
            _blob(root, tip, each) == _blob(root, own, each) for each in brought
        )
        return own if same else None
    if len(parents) != 1 or not _is_ancestor(root, parents[0], base.commit):
        return None
    message = git.do(root, "log", "--max-count=1", "--format=%B", tip)
    marked = next((line for line in message.splitlines() if line.startswith(f"{TRAILER} ")), "")
    files = {each: _blob(root, tip, each) for each in _changed(root, parents[0], tip)}
    return tip if marked == f"{TRAILER} {_digest(files)}" else None


def _stands(root: Path, base: Base, proposal: Proposal, own: str) -> bool:
    """Whether a merge of the bot's commit would make the base what is proposed, and nothing else."""
    prefix = _prefix(root)
    wanted = {f"{prefix}{path.as_posix()}": content for path, content in proposal.files.items()}
    moved = any(_blob(root, f"{own}^", name) != _blob(root, base.commit, name) for name in wanted)
    changes = {name for name, content in wanted.items() if content != _blob(root, base.commit, name)}
    return (
        not moved
        and _changed(root, f"{own}^", own) == changes
        and all(_blob(root, own, each) == wanted[each] for each in changes)
    )


def _digest(files: Mapping[str, bytes | None]) -> str:
    """A hash of names and contents, the names as Git has them."""
    whole = hashlib.sha256()
    for name in sorted(files):
        content = files[name]
        said = "none" if content is None else hashlib.sha256(content).hexdigest()
        whole.update(f"{name}\0{said}\0".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _is_ancestor(root: Path, commit: str, of: str) -> bool:
    try:
        return git.do(root, "merge-base", commit, of).strip() == git.commit_of(root, commit)
    except ConfigurationError:  # nothing in common
        return False


def _changed(root: Path, start: str, end: str) -> set[str]:
    """The files that differ, by their whole names."""
    return set(filter(None, git.do(root, "diff", "--name-only", "--no-renames", "-z", start, end).split("\0")))


def _blob(root: Path, commit: str, name: str) -> bytes | None:
    """A file's bytes at a commit by its whole name."""
    whole = f"{commit}:{name}"
    return git.read_many(root, [whole])[whole]


def _prefix(root: Path) -> str:
    """What stands before this folder's names in the whole repository."""
    return git.do(root, "rev-parse", "--show-prefix").strip()


def _commit(root: Path, base: Base, proposal: Proposal) -> str:
    """The commit on top of the base, made in an index of its own."""
    files = {f"{_prefix(root)}{path.as_posix()}": content for path, content in proposal.files.items()}
    changed = {name: content for name, content in files.items() if content != _blob(root, base.commit, name)}
    with tempfile.TemporaryDirectory(prefix="mergeline-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.do(root, "read-tree", base.commit, environment=index)
        entries = [_entry(root, name, content) for name, content in changed.items()]
        git.do(root, "update-index", "--index-info", content="".join(entries).encode(), environment=index)
        tree = git.do(root, "write-tree", environment=index).strip()
    message = f"{proposal.message.rstrip()}\n{TRAILER} {_digest(changed)}\n"
    return git.do(root, "commit-tree", tree, "-p", base.commit, content=message.encode()).strip()


def _entry(root: Path, name: str, content: bytes | None) -> str:
    """A line of the index: a file with this content, or none."""
    if content is None:
        return f"0 {'0' * 40}\t{name}\n"
    blob = git.do(root, "hash-object", "-w", "--stdin", content=content).strip()
    return f"100644 {blob}\t{name}\n"


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
