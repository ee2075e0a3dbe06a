"""Options and fixtures of the whole test run."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock
from repositories import Repository, commit, make_repository


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=5, help="how often each stage is killed (promise R17)")


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Repository:
    """A repository in which the whole pipeline ran once and was committed, made once for all workers; copy it."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    with FileLock(shared / "ran.lock"):
        place = shared / "ran"
        if not place.exists():
            making = make_repository(shared / "ran-in-the-making")
            done = making.run("repro")
            assert done.returncode == 0, done.stderr
            commit(making, "first run")
            making.root.rename(place)
    return Repository(place)


@pytest.fixture
def repository(ran: Repository, tmp_path: Path) -> Repository:
    """A copy of `ran` for one test."""
    return ran.copy_to(tmp_path / "repository")
