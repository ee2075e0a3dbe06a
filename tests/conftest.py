"""Options and fixtures of the whole test run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from filelock import FileLock
from promoted import Promoted, make_better, make_promoted
from repositories import Repository, commit, make_repository
from tables import orders, params

if TYPE_CHECKING:
    from collections.abc import Callable

    from mergeline.stages.train import Trained

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several threads on a small model wait for one another
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")


# how long an example takes says more of the machine than of the code
hypothesis.settings.register_profile("mergeline", deadline=None)
hypothesis.settings.load_profile("mergeline")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases", type=int, default=400, help="how many cases are made from the description (promise S13)"
    )
    parser.addoption("--kills", type=int, default=5, help="how often each stage is killed (promise R17)")


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Repository:
    """A repository in which the whole pipeline ran once and was committed, made once for all workers; copy it."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    with FileLock(shared / "ran.lock"):
        place = shared / "ran"
        if not place.exists():
            making = make_repository(shared / "ran-in-the-making")
            done = making.run_anew("repro")  # as a person does, once
            assert done.returncode == 0, done.stderr
            commit(making, "first run")
            making.root.rename(place)
    return Repository(place)


@pytest.fixture
def repository(ran: Repository, tmp_path: Path) -> Repository:
    """A copy of `ran` for one test."""
    return ran.copy_to(tmp_path / "repository")


@pytest.fixture(scope="session")
def in_production(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Promoted:
    """A repository whose first model runs in production, made once for all workers; copy it."""
    return _made_once("promoted", make_promoted, tmp_path_factory, worker_id)


@pytest.fixture(scope="session")
def in_review(in_production: Promoted, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Promoted:
    """The same with a branch `better` that holds the results of a better model, made once; copy it."""
    return _made_once("reviewed", lambda place: make_better(in_production, place), tmp_path_factory, worker_id)


@pytest.fixture
def promoted(in_production: Promoted, tmp_path: Path) -> Promoted:
    """A copy of `in_production` for one test."""
    return in_production.copy_to(tmp_path / "promoted")


@pytest.fixture
def reviewed(in_review: Promoted, tmp_path: Path) -> Promoted:
    """A copy of `in_review` for one test, on its branch."""
    return in_review.copy_to(tmp_path / "reviewed")


def _made_once(
    name: str, make: Callable[[Path], Promoted], factory: pytest.TempPathFactory, worker_id: str
) -> Promoted:
    """A checkout and its origin in a folder that all workers share."""
    shared = factory.getbasetemp() if worker_id == "master" else factory.getbasetemp().parent
    with FileLock(shared / f"{name}.lock"):
        place = shared / name
        if not place.exists():
            make(shared / f"{name}-in-the-making")
            (shared / f"{name}-in-the-making").rename(place)
            here = Promoted(place / "repository")
            here.git("remote", "set-url", "origin", str(here.origin))
    return Promoted(place / "repository")


@pytest.fixture(scope="session")
def candidate() -> Trained:
    """A boosted model of `bought`, made once; it is frozen, so that no test can change it for another."""
    from mergeline.stages.train import train

    return train(orders(), params())
