"""Small copies of the template, on real flights, for tests that run the real commands."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from warm import start as warm

from mergeline.cli import NO_TELEMETRY
from mergeline.params_file import edited

TEMPLATE = Path(__file__).parents[1]
MONTHS = ("2013-01", "2013-02", "2013-03")
# variables that are read when a command runs, and not by a library that is imported
READ_LATE = ("PYTHONPATH", "MLFLOW_TRACKING_URI", "AWS_", "GITHUB_")
EVERY = 15  # of a month's rows one in so many, so that a whole run takes seconds


@dataclass(frozen=True, slots=True)
class Repository:
    """A scratch copy of the template with a folder of its own as home."""

    root: Path

    @property
    def home(self) -> Path:
        """The home folder of the commands."""
        return self.root / ".mergeline" / "home"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `mergeline` here; forked from a process that has its imports behind it, where no library reads more."""
        if any(not name.startswith(READ_LATE) for name in environment):
            return self.run_anew(*arguments, **environment)
        return warm.run(arguments, self.root, self.environment(**environment))

    def run_anew(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `mergeline` here as a person does, in a process of its own."""
        command = [sys.executable, "-m", "mergeline", *arguments]
        return subprocess.run(
            command, cwd=self.root, env=self.environment(**environment), capture_output=True, text=True, check=False
        )

    def start(self, *arguments: str) -> warm.Running:
        """Start `mergeline` here, forked as `run` does, in a process group of its own."""
        return warm.start(arguments, self.root, self.environment())

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a command; MLflow and DVC find nothing of the machine's own."""
        return {**bare_environment(self.home), **more}

    def tool(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run git, dvc or another tool here."""
        return subprocess.run(
            command, cwd=self.root, env=self.environment(**environment), capture_output=True, text=True, check=False
        )

    def partition(self, month: str) -> Path:
        return self.root / "data" / f"{month}.parquet"

    def rewrite(self, month: str, rows: pd.DataFrame) -> None:
        """Put other rows in a partition."""
        rows.to_parquet(self.partition(month), index=False)

    def change_params(self, changes: Mapping[str, Any]) -> None:
        """Set dotted keys of params.yaml."""
        path = self.root / "params.yaml"
        keyed = {tuple(dotted.split(".")): value for dotted, value in changes.items()}
        path.write_text(edited(path.read_text(encoding="utf-8"), keyed), encoding="utf-8")

    def copy_to(self, place: Path) -> Repository:
        """The same repository at another place."""
        shutil.copytree(self.root, place, symlinks=True)
        return Repository(place)


def bare_environment(home: Path) -> dict[str, str]:
    """This machine's environment with this folder as home, without settings for DVC, MLflow, Git, AWS and GitHub."""
    foreign = ("DVC", "MLFLOW", "GIT_", "AWS_", "GITHUB_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    tools = str(Path(sys.executable).parent)
    # threads that wait must not spin: the workers of the test run share the cores
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    own = {"HOME": str(home), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    return {**kept, **own, **NO_TELEMETRY, "PATH": f"{tools}{os.pathsep}{kept['PATH']}", **threads}


def flights(month: str, every: int = EVERY) -> pd.DataFrame:
    """One row in `every` of a month of the sample, in the order of time."""
    return pd.read_parquet(TEMPLATE / "sample" / f"{month}.parquet").iloc[::every].reset_index(drop=True)


def make_repository(root: Path) -> Repository:
    """A repository with three small months of flights, committed to Git, its data tracked by DVC; nothing has run."""
    root.mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(TEMPLATE / name, root / name)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(TEMPLATE / ".dvc" / name, root / ".dvc" / name)
    (root / "src").symlink_to(TEMPLATE / "src")
    (root / "data").mkdir()
    repository = Repository(root)
    for month in MONTHS:
        repository.rewrite(month, flights(month))
    repository.change_params(
        {
            "data.as_of": dt.date(2013, 4, 1),
            "validate.min_rows": 1000,
            "train.hist_gradient_boosting": {"iterations": 20, "leaves": 8},
            "evaluate.slices": ["origin"],
            "gates.floors": {},  # these models are small
            "gates.slices": {"margin": 0.01},
            "gates.behaviour": {},
        }
    )
    repository.tool("git", "init", "-q", "-b", "main")
    repository.tool("git", "config", "user.name", "tests")
    repository.tool("git", "config", "user.email", "tests@example.org")
    added = repository.tool("dvc", "add", "data")
    assert added.returncode == 0, added.stderr
    commit(repository, "start")
    return repository


def commit(repository: Repository, message: str) -> None:
    """Commit all that Git does not ignore."""
    repository.tool("git", "add", "--all")
    done = repository.tool("git", "commit", "-q", "-m", message)
    assert done.returncode == 0, done.stderr


def fingerprint(path: Path) -> str | None:
    """A hash of a file or of a folder's names and contents; None where there is none."""
    if not path.exists():
        return None
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()
