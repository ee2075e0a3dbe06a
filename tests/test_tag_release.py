"""The name of what production serves: `.ci/tag-release`, on a bare origin of real Git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from promoted import PRODUCTION
from repositories import TEMPLATE, bare_environment
from test_git import commit, git

from mergeline.release.manifests import NO_RELEASE, Release, format_release


def released(digit: str) -> str:
    return format_release(Release(digit * 64, "store", digit * 64, None))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A checkout of main with an origin: the template, then the first release in production, then documentation."""
    root = tmp_path / "checkout"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    git(root, "init", "-q", "--bare", str(tmp_path / "origin.git"))
    git(root, "remote", "add", "origin", str(tmp_path / "origin.git"))
    for content in (format_release(NO_RELEASE), released("1")):
        commit(root, {PRODUCTION.as_posix(): content})
    commit(root, {"README.md": "x\n"})
    git(root, "push", "-q", "origin", "main")
    return root


def tag(root: Path) -> tuple[int, str]:
    """Run it; return its exit code and all that it said."""
    who = {f"GIT_{role}_{what}": "x@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        [TEMPLATE / ".ci" / "tag-release"],
        cwd=root,
        env=bare_environment(root) | who,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def named(root: Path) -> dict[str, str]:
    """The tags of the origin, each with its commit."""
    lines = [line.split("\t") for line in git(root, "ls-remote", "--tags", "origin").splitlines()]
    return {name.removesuffix("^{}").removeprefix("refs/tags/"): sha for sha, name in lines}  # the peeled one is last


def test_a_release_is_named_once_on_the_commit_that_brought_it(here: Path) -> None:
    release = git(here, "rev-parse", "HEAD~1").strip()
    assert tag(here) == (0, f"tag-release: v1 names {release[:12]}\n")
    assert tag(here) == (0, "tag-release: v1 is there\n")
    assert named(here) == {"v1": release}
    commit(here, {PRODUCTION.as_posix(): released("2")})
    assert tag(here)[0] == 0
    assert named(here) == {"v1": release, "v2": git(here, "rev-parse", "HEAD").strip()}


@pytest.mark.parametrize("kind", ["lightweight", "annotated"])
def test_twin_a_tag_of_that_name_on_another_commit_is_no_name_of_the_release(here: Path, kind: str) -> None:
    theirs, release = (git(here, "rev-parse", each).strip() for each in ("HEAD", "HEAD~1"))
    git(here, "tag", *(["-a", "-m", "Ours"] if kind == "annotated" else []), "v1", theirs)
    git(here, "push", "-q", "origin", "v1")
    code, said = tag(here)
    assert code == 6
    assert f"v1: expected on {release[:12]}, the release in production, found on {theirs[:12]}" in said
    assert named(here) == {"v1": theirs}
    mend = said.partition("(git ")[2].partition(")")[0].replace("NAME", "ours").split()
    git(here, *mend)  # what it says mends it
    assert tag(here)[0] == 0
    assert named(here) == {"ours": theirs, "v1": release}


def test_nothing_is_named_where_production_serves_nothing(here: Path) -> None:
    commit(here, {PRODUCTION.as_posix(): format_release(NO_RELEASE)})
    assert tag(here) == (0, "tag-release: production serves no release, nothing is named\n")
    assert named(here) == {}
