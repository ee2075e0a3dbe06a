"""MLflow's registry is made from Git: versions, tags and aliases, on a real server, and again after it was lost."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from promoted import PRODUCTION, Promoted

from mergeline.release.manifests import NO_RELEASE, format_release

PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server with an empty database."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *store,
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--workers",
        "1",
    ]
    kept = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=kept)
    try:
        until = time.monotonic() + PATIENCE_S
        while not _answers(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _answers(port: str) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
    except OSError:
        return False
    return True


def synced(here: Promoted, uri: str = "") -> str:
    more = {"MLFLOW_TRACKING_URI": uri} if uri else {}
    done = here.run("sync-registry", **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def state(here: Promoted, uri: str = "") -> dict[str, Any]:
    """The tags of each version and the aliases, as MLflow's own client gives them."""
    from mlflow import MlflowClient

    address = uri or f"sqlite:///{here.root}/.mergeline/mlflow.db"
    client = MlflowClient(address, address)
    versions = {each.version: dict(each.tags) for each in client.search_model_versions("name = 'mergeline'")}
    aliases = {name: int(version) for name, version in client.get_registered_model("mergeline").aliases.items()}
    return {"versions": {int(number): tags for number, tags in versions.items()}, "aliases": aliases}


def test_the_registry_follows_git_and_is_made_again_after_it_was_lost(reviewed: Promoted) -> None:
    first = json.loads(reviewed.git("show", "origin/main:models/manifest.json"))["model"]["sha256"]
    second = json.loads((reviewed.root / "models/manifest.json").read_text())["model"]["sha256"]
    reviewed.merge("better")
    assert synced(reviewed) == "2 models of Git, 2 of them new; staging is version 2, production is version 1"
    before = state(reviewed)
    assert [before["versions"][number]["model_sha256"] for number in (1, 2)] == [first, second]
    assert before["versions"][2]["champion_sha256"] == first
    assert before["versions"][2]["verdict"] == "promote"
    assert before["versions"][2]["recorded_commit"] == reviewed.git("rev-parse", "main").strip()
    assert before["versions"][2]["data_md5"] in (reviewed.root / "data.dvc").read_text()
    assert synced(reviewed).startswith("2 models of Git, 0 of them new")
    assert state(reviewed) == before

    (reviewed.root / ".mergeline/mlflow.db").unlink()
    synced(reviewed)
    assert state(reviewed) == before


def test_an_alias_moves_with_a_promotion_and_goes_with_the_release(reviewed: Promoted, server: str) -> None:
    reviewed.merge("better")
    synced(reviewed, server)
    assert state(reviewed, server)["aliases"] == {"staging": 2, "production": 1}
    reviewed.promote()
    synced(reviewed, server)
    assert state(reviewed, server)["aliases"] == {"staging": 2, "production": 2}
    (reviewed.root / PRODUCTION).write_text(format_release(NO_RELEASE))
    reviewed.commit("Withdrawn")
    reviewed.git("push", "-q", "origin", "main")
    assert synced(reviewed, server) == "2 models of Git, 0 of them new; staging is version 2"
    assert state(reviewed, server)["aliases"] == {"staging": 2}


def test_a_version_that_training_has_logged_is_the_one_that_is_tagged(reviewed: Promoted) -> None:
    assert reviewed.run("track").returncode == 0
    logged = state(reviewed)["versions"]
    assert logged
    reviewed.merge("better")
    synced(reviewed)
    now = state(reviewed)["versions"]
    assert set(logged) <= set(now)
    assert len({tags["model_sha256"] for tags in now.values()}) == len(now)
    assert all("recorded_commit" in tags for tags in now.values())


def test_a_registry_that_does_not_answer_is_said(promoted: Promoted, tmp_path: Path) -> None:
    shutil.rmtree(promoted.root / ".mergeline/store", ignore_errors=True)  # it needs no bytes
    done = promoted.run("sync-registry", MLFLOW_TRACKING_URI="http://me:secret@127.0.0.1:9")
    assert done.returncode == 7
    assert "does not take the registry" in done.stderr
    assert "secret" not in done.stderr
