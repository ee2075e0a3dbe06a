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
from mergeline.release.manifests import NO_RELEASE, format_release

TEMPLATE = Path(__file__).parents[1]
# The flights, their settings, and what data.dvc says of them: a team puts its own table in the root, not here.
SAMPLE = TEMPLATE / "sample"
SAMPLE_PARAMS, SAMPLE_DATA = SAMPLE / "params.yaml", SAMPLE / "data.yaml"
MONTHS = ("2013-01", "2013-02", "2013-03")
# variables that are read when a command runs, and not by a library that is imported
READ_LATE = ("PYTHONPATH", "MLFLOW_TRACKING_URI", "AWS_", "GITHUB_")
DVC_CONFIG = """\
[core]
    remote = local
    analytics = false
    check_update = false
['remote "local"']
    url = ../.mergeline/remote
    verify = true
"""
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
        """Run git, dvc or another tool here; dvc is forked as `mergeline` is."""
        if command[0] == "dvc" and all(name.startswith(READ_LATE) for name in environment):
            return warm.run(command[1:], self.root, self.environment(**environment), "dvc")
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
    return pd.read_parquet(SAMPLE / f"{month}.parquet").iloc[::every].reset_index(drop=True)


def is_the_sample(root: Path = TEMPLATE) -> bool:
    """Whether the table of a checkout is the sample as it is shipped, and no team's own."""
    own = root / "data.dvc"
    return own.exists() and own.read_bytes() == SAMPLE_DATA.read_bytes()


def as_shipped(place: Path, checkout: Path = TEMPLATE) -> Path:
    """The last commit of a checkout, in a clone, as the template ships it: about the sample, and nothing released."""
    environment = bare_environment(place.parent)
    subprocess.run(["git", "clone", "-q", "--depth", "1", checkout.as_uri(), str(place)], env=environment, check=True)
    shutil.copy(SAMPLE_PARAMS, place / "params.yaml")
    shutil.copy(SAMPLE_DATA, place / "data.dvc")
    (place / ".dvc/config").write_text(DVC_CONFIG, encoding="utf-8")
    for release in place.glob("k8s/overlays/*/release.yaml"):
        release.write_text(format_release(NO_RELEASE), encoding="utf-8")
    here = Repository(place)
    here.tool("git", "config", "user.name", "tests")
    here.tool("git", "config", "user.email", "tests@example.org")
    here.tool("git", "commit", "-q", "--all", "--allow-empty", "-m", "As the template ships it")
    return place


def lay_out(root: Path) -> None:
    """Put in a new folder what the template holds beside settings and data."""
    root.mkdir(parents=True)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(TEMPLATE / name, root / name)
    lay_out_dvc(root)
    (root / "src").symlink_to(TEMPLATE / "src")


def lay_out_dvc(root: Path) -> None:
    """Put DVC's own folder there; the remote is the folder of a laptop, as in the template."""
    (root / ".dvc").mkdir()
    shutil.copy(TEMPLATE / ".dvc/.gitignore", root / ".dvc/.gitignore")
    (root / ".dvc/config").write_text(DVC_CONFIG, encoding="utf-8")


def make_repository(root: Path) -> Repository:
    """A repository with three small months of flights, committed to Git, its data tracked by DVC; nothing has run."""
    lay_out(root)
    shutil.copy(SAMPLE_PARAMS, root / "params.yaml")
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
