"""A repository with an origin, in which a model runs in production: where pull requests start from."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from repositories import MONTHS, Repository, commit, make_repository

from mergeline.release.manifests import NO_RELEASE, format_release

STAGING = Path("k8s/overlays/staging/release.yaml")
PRODUCTION = Path("k8s/overlays/production/release.yaml")
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens


@dataclass(frozen=True, slots=True)
class Promoted(Repository):
    """A checkout with a bare origin beside it; `main` is what production runs."""

    @property
    def origin(self) -> Path:
        """The bare repository that the checkout pushes to."""
        return self.root.parent / "origin.git"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `mergeline` here; MLflow, which costs half of a small run, has tests of its own."""
        more = ["--no-track"] if arguments[0] == "repro" else []
        if arguments[0] == "resync":  # which has no such option: it finds nobody there
            environment = {"MLFLOW_TRACKING_URI": NOBODY, **environment}
        return Repository.run(self, *arguments, *more, **environment)

    def git(self, *arguments: str) -> str:
        """Run Git here; it must succeed."""
        done = self.tool("git", *arguments)
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def branch(self, name: str, start: str = "origin/main") -> None:
        """Begin a branch at the base."""
        self.git("checkout", "-q", "-b", name, start)

    def commit(self, message: str) -> None:
        """Commit all that Git does not ignore."""
        commit(self, message)

    def merge(self, branch: str) -> None:
        """Merge a branch into main as its pull request would, squashed, and let the origin know."""
        self.git("checkout", "-q", "main")
        self.git("merge", "-q", "--squash", branch)
        self.git("commit", "-q", "-m", f"Merge {branch}")
        self.git("push", "-q", "origin", "main")

    def promote(self) -> None:
        """Merge what staging serves into production, as its pull request would."""
        shutil.copy(self.root / STAGING, self.root / PRODUCTION)
        self.commit("release(production)")
        self.git("push", "-q", "origin", "HEAD:main")

    def on_main(self, change: Callable[[Promoted], None], message: str) -> None:
        """Change something on main and let the origin know."""
        self.git("checkout", "-q", "main")
        change(self)
        self.commit(message)
        self.git("push", "-q", "origin", "main")

    def policy(self, changes: Mapping[str, Any]) -> None:
        """Merge other gates into main: they judge from then on."""
        gates = {f"gates.{key}": value for key, value in changes.items()}
        self.on_main(lambda here: here.change_params(gates), "Other gates")

    def comparison(self) -> dict[str, Any]:
        """The record of the verdict."""
        found: dict[str, Any] = json.loads((self.root / "reports/comparison.json").read_text())
        return found

    def failed(self) -> set[str]:
        """The names of the gates that failed."""
        return {gate["name"] for gate in self.comparison()["gates"] if gate["outcome"] == "failed"}

    def change_rows(self, change: Callable[[str, pd.DataFrame], pd.DataFrame]) -> None:
        """Put other rows in every partition and let DVC know."""
        for month in MONTHS:
            self.rewrite(month, change(month, pd.read_parquet(self.partition(month))))
        done = self.tool("dvc", "add", "data")
        assert done.returncode == 0, done.stderr

    def copy_to(self, place: Path) -> Promoted:
        """The checkout and its origin at another place."""
        place.mkdir(parents=True)
        shutil.copytree(self.origin, place / "origin.git")
        shutil.copytree(self.root, place / "repository", symlinks=True)
        copy = Promoted(place / "repository")
        copy.git("remote", "set-url", "origin", str(copy.origin))
        return copy


def make_promoted(place: Path) -> Promoted:
    """The first pull request of a fresh copy of the template, merged, and promoted to production."""
    make_repository(place / "repository")
    here = Promoted(place / "repository")
    # so small that a larger one is better, and timed by its overhead alone
    here.change_params({"train.hist_gradient_boosting": {"iterations": 2, "leaves": 3}, "gates.latency.max_ratio": 50})
    for path in (STAGING, PRODUCTION):
        (here.root / path).parent.mkdir(parents=True)
        (here.root / path).write_text(format_release(NO_RELEASE))
    here.commit("The template")
    here.git("init", "-q", "--bare", "-b", "main", str(here.origin))
    here.git("remote", "add", "origin", str(here.origin))
    here.git("push", "-q", "-u", "origin", "main")
    here.branch("first")
    done = here.run("repro")
    assert done.returncode == 0, done.stderr
    here.git("add", "models/.gitignore", "reports/.gitignore")
    here.git("commit", "-q", "-m", "What the stages write")
    done = here.run("record")
    assert done.returncode == 0, done.stderr
    done = here.run("gate")
    assert done.returncode == 0, done.stderr
    here.merge("first")
    here.promote()
    return here


def better(here: Promoted) -> None:
    """A model that learns more from the same rows."""
    here.change_params({"train.hist_gradient_boosting": {"iterations": 40, "leaves": 16}})
    here.commit("A larger model")


def make_better(start: Promoted, place: Path) -> Promoted:
    """A copy with the branch `better`: a larger model, run and recorded."""
    here = start.copy_to(place)
    here.branch("better")
    better(here)
    for verb in ("repro", "record"):
        done = here.run(verb)
        assert done.returncode == 0, done.stderr
    return here
