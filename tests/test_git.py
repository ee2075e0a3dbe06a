"""What Git says: the commit, and whether the files still are those of the commit."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from mergeline.git import head_commit


def git(root: Path, *arguments: str) -> None:
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *author, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_the_commit_is_its_full_name_and_files_that_git_does_not_track_leave_it_clean(checkout: Path) -> None:
    (checkout / "scratch.txt").write_text("untracked")
    assert re.fullmatch(r"[0-9a-f]{40}", head_commit(checkout) or "")


def test_a_changed_file_makes_the_commit_dirty(checkout: Path) -> None:
    clean = head_commit(checkout)
    (checkout / "params.yaml").write_text("seed: 2\n")
    assert head_commit(checkout) == f"{clean}-dirty"


def test_there_is_no_commit_outside_a_repository_before_the_first_one_and_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert head_commit(tmp_path) is None
    git(tmp_path, "init")
    assert head_commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert head_commit(tmp_path) is None
