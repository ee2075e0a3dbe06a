"""What Git says of this checkout and of the branch that it is to be merged into."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mergeline.errors import ConfigurationError

# Whole names: a tag or a branch that is called origin/main must not take the place of origin's main.
USUAL_BASES = ("refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/remotes/origin/master")

LAST_SECOND = 32_503_680_000  # of the year 2999


@dataclass(frozen=True, slots=True)
class LineChange:
    """Lines that a file gained and lost; both 0 for one that Git takes for binary."""

    path: str
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of a branch: its SHA-1, parents, author, whole message, and times in UTC."""

    sha: str
    parents: tuple[str, ...]
    author: str
    email: str
    authored_at: dt.datetime
    committed_at: dt.datetime
    message: str

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]


def head_commit(root: Path, ignoring: Iterable[Path] = ()) -> str | None:
    """Return the SHA-1 of HEAD, with `-dirty` behind it where tracked files differ, other than those to ignore.

    None outside a repository and before the first commit.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None:
        return None
    return f"{commit}-dirty" if changed_files(root, ignoring) else commit


def changed_files(root: Path, ignoring: Iterable[Path] = ()) -> tuple[str, ...]:
    """Return the tracked files that differ from HEAD, in the worktree or in the index, other than those to ignore."""
    left_out = {path.as_posix() for path in ignoring}
    found = _names(root, "diff", "--name-only", "--no-renames", "--relative", "-z", "HEAD")
    return tuple(name for name in found if name not in left_out)


def refuse_shallow(root: Path) -> None:
    """Raise `ConfigurationError` where this clone lacks a part of the history, which says what was live before."""
    if _git(root, "rev-parse", "--is-shallow-repository") == "true":
        raise ConfigurationError("this clone is shallow, the history is not whole; `git fetch --unshallow`")


def base_branch(root: Path, named: str | None = None) -> str | None:
    """Return the branch to compare with: `named`, else origin's default branch, else None.

    Raises `ConfigurationError` where the named one is no commit here, and where origin has branches but no known
    default: to judge by no base then would be to judge by the branch's own gates.
    """
    if named is not None:
        if commit_of(root, named) is None:
            raise ConfigurationError(f"--base: {named!r} is no branch or commit here; fetch it, or name another")
        return named
    found = (_git(root, "rev-parse", "--abbrev-ref", "--verify", "--quiet", name) for name in USUAL_BASES)
    default = next((name for name in found if name and commit_of(root, name) is not None), None)
    if default is None and _git(root, "for-each-ref", "--count=1", "refs/remotes/origin"):
        raise ConfigurationError(
            "--base: origin's default branch is not known here; name it, or `git remote set-head origin --auto`"
        )
    return default


def commit_of(root: Path, name: str) -> str | None:
    """Return the SHA-1 of a branch, tag or commit; None where there is none of this name."""
    found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return None if found is None or found.startswith("^") else found  # ^main: all that main does not lead to


def fork_point(root: Path, base: str) -> str | None:
    """Return the commit at which this branch left the base; None where they have nothing in common."""
    return _git(root, "merge-base", "--end-of-options", base, "HEAD")


def read(root: Path, commit: str, path: Path) -> bytes | None:
    """Return a file's bytes at a commit; None where it was not there, or this is no repository.

    Raises `ConfigurationError` where Git could not look: what is not known must not pass for absent.
    """
    name = f"{commit}:./{path.as_posix()}"
    try:
        return read_many(root, [name])[name]
    except ConfigurationError as err:
        if "not a git repository" in str(err) or _run(root, "--version") is None:
            return None
        raise


def read_many(root: Path, names: Sequence[str], kind: str = "blob") -> dict[str, bytes | None]:
    """Return the content of objects of Git, `commit:./path` or a SHA-1, in one process; None where there is none.

    An object of another kind is none. Raises `ConfigurationError` where Git fails.
    """
    if not names:
        return {}
    ran = _run(root, "cat-file", "--batch", content="\n".join(names).encode() + b"\n")
    if ran is None:
        raise ConfigurationError("git: not installed; this command works on a Git repository")
    if ran.returncode:
        said = " ".join(ran.stderr.decode("utf-8", "replace").split())
        raise ConfigurationError(f"git cat-file: {said[:300]}")
    return dict(zip(names, _objects(ran.stdout, len(names), kind), strict=True))


def versions(root: Path, commit: str, path: Path, *, merged: bool = True) -> tuple[bytes, ...]:
    """Return every content that a file had in the history of a commit, the newest first.

    With `merged`, on the branches that were merged into it as well; without, only on the branch itself.
    """
    how = "--full-history" if merged else "--first-parent"
    log = ("log", how, "--format=%H", "--end-of-options", commit, "--", path.as_posix())
    commits = (_git(root, *log) or "").split()
    found = (read(root, each, path) for each in commits)
    return tuple(content for content in found if content is not None)


def commits(root: Path, commit: str, path: Path | None = None) -> tuple[Commit, ...]:
    """Return the commits of a branch itself, the oldest first; with `path`, those that changed this file on it."""
    only = ("--", path.as_posix()) if path else ()
    form = "--format=" + "%x00".join(("%H", "%P", "%an", "%ae", "%at", "%ct", "%B"))
    said = _said(root, "log", "-z", "--first-parent", "--reverse", form, "--end-of-options", commit, *only) or ""
    fields = iter(said.split("\0"))
    return tuple(
        Commit(
            sha,
            tuple(parents.split()),
            author,
            email,
            _moment(authored),
            _moment(committed),
            message.strip(),
        )
        for sha, parents, author, email, authored, committed, message in zip(*[fields] * 7, strict=False)
    )


def line_changes(root: Path, base: str, paths: Sequence[str]) -> tuple[LineChange, ...]:
    """Return what changed in these paths since the branch left the base, what is not committed yet included."""
    start = fork_point(root, base)
    if start is None:
        return ()
    listed = _names(root, "diff", "--numstat", "--no-renames", "--relative", "-z", start, "--", *paths)
    rows = (line.split("\t", 2) for line in listed)
    return tuple(LineChange(path, _count(added), _count(removed)) for added, removed, path in rows)


def conflicts(root: Path) -> tuple[str, ...]:
    """Return the files that a merge left in conflict."""
    return tuple(_names(root, "diff", "--name-only", "--diff-filter=U", "--relative", "-z"))


def tracked(root: Path, path: Path) -> bool:
    """Whether Git knows a file here, in conflict or not."""
    return bool(_git(root, "ls-files", "--", path.as_posix()))


def untracked(root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the files under these paths that Git neither knows nor ignores."""
    return tuple(_names(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *paths))


def merging(root: Path) -> bool:
    """Whether a merge is under way."""
    return commit_of(root, "MERGE_HEAD") is not None


def do(root: Path, *arguments: str, content: bytes | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a Git command and return its output; raise `ConfigurationError` where it fails.

    `content` is what it reads on stdin, `environment` is laid over this process's own.
    """
    ran = _run(root, *arguments, content=content, environment=environment)
    if ran is None:
        raise ConfigurationError("git: not installed; this command works on a Git repository")
    if ran.returncode:
        said = " ".join((ran.stderr or ran.stdout).decode("utf-8", "replace").split())
        raise ConfigurationError(f"git {arguments[0]}: {said[:300]}")
    return ran.stdout.decode("utf-8", "replace")


def _objects(said: bytes, number: int, kind: str) -> Iterable[bytes | None]:
    """The objects of a batch, each behind a line of its name, kind and size, or of what is wrong with its name."""
    at = 0
    for _ in range(number):
        end = said.index(b"\n", at)
        head = said[at:end].split()
        at = end + 1
        if len(head) == 3 and head[2].isdigit():
            size = int(head[2])
            yield said[at : at + size] if head[1] == kind.encode() else None
            at += size + 1
        else:
            yield None


def _moment(seconds: str) -> dt.datetime:
    """A time since 1970; Git lets anybody write a year that no calendar has."""
    known = min(max(int(seconds), -LAST_SECOND), LAST_SECOND)
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(seconds=known)


def _count(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _git(root: Path, *arguments: str) -> str | None:
    said = _said(root, *arguments)
    return None if said is None else said.strip()


def _names(root: Path, *arguments: str) -> list[str]:
    """What a command with `-z` lists: a name may begin or end in blanks, and hold any sign but NUL."""
    return [name for name in (_said(root, *arguments) or "").split("\0") if name]


def _said(root: Path, *arguments: str) -> str | None:
    ran = _run(root, *arguments)
    return ran.stdout.decode("utf-8", "replace") if ran is not None and ran.returncode == 0 else None


def _run(
    root: Path, *arguments: str, content: bytes | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes] | None:
    whole = {**os.environ, **environment} if environment else None
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, input=content, capture_output=True, check=False, env=whole)
    except FileNotFoundError:  # no git on this machine
        return None
