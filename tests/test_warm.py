"""The process that the tests' commands are forked from: a command there is what it would be by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from repositories import Repository
from warm import start as warm

OWN = Path(sys.executable).with_name("dvc")


def ended(program: Path | str, *arguments: str, folder: Path, out: Path | None = None) -> tuple[int, str]:
    """How a program ends in a folder, and what it says."""
    place = warm._started()
    with (out or Path(os.devnull)).open("wb") as said:
        done = subprocess.run(
            [str(program), *arguments],
            cwd=folder,
            env=warm._environment(place, Repository(folder).environment()),
            stdin=subprocess.DEVNULL,
            stdout=said if out else subprocess.PIPE,
            stderr=subprocess.STDOUT if out is None else subprocess.DEVNULL,
            check=False,
            timeout=120,
        )
    return done.returncode, (done.stdout or b"").decode()


@pytest.mark.parametrize("arguments", [("--version",), ("nonsense",), ("status",), ("config", "core.remote")])
def test_dvc_says_and_ends_as_it_does_by_itself(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert ended(warm._started() / "dvc", *arguments, folder=tmp_path) == ended(OWN, *arguments, folder=tmp_path)


@pytest.mark.parametrize("program", ["mergeline", "dvc"])
def test_a_command_that_cannot_write_what_it_has_to_say_ends_as_it_does_by_itself(program: str, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    by_itself = ended(OWN.with_name(program), "--help", folder=tmp_path, out=full)
    assert ended(warm._started() / program, "--help", folder=tmp_path, out=full) == by_itself


def test_files_are_made_with_the_mask_of_who_asks(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        done = warm.run(["init", "--no-scm", "--quiet"], tmp_path, Repository(tmp_path).environment(), "dvc")
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".dvc" / "config").stat().st_mode & 0o777 == 0o600
