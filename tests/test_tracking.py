"""MLflow as a projection: real tracking stores, and one that is down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from promoted import NOBODY
from repositories import Repository, make_repository

from mergeline import tracking
from mergeline.release.store import model_of


@pytest.fixture(scope="module")
def trained_offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, str]:
    """A repository whose first run found no tracking server, and what that run said."""
    repository = make_repository(tmp_path_factory.mktemp("offline") / "repository")
    done = repository.run("repro", MLFLOW_TRACKING_URI=NOBODY)
    assert done.returncode == 0, done.stderr
    return repository, done.stderr


def waiting(repository: Repository) -> list[Path]:
    return sorted((repository.root / tracking.OUTBOX).glob("*/run.json"))


def runs(database: Path) -> list[object]:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("mergeline")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_r18_a_tracking_server_that_is_down_costs_a_warning_and_no_training(
    trained_offline: tuple[Repository, str],
) -> None:
    repository, said = trained_offline
    assert "warning: mlflow: http://127.0.0.1:9 does not take the run" in said
    assert "Traceback" not in said
    assert len(waiting(repository)) == 1
    assert (repository.root / "models/candidate/model.onnx").exists()


def test_r18_a_later_sync_uploads_what_was_trained_once(
    trained_offline: tuple[Repository, str], tmp_path: Path
) -> None:
    import mlflow

    repository = trained_offline[0].copy_to(tmp_path / "repository")
    assert repository.run("track", MLFLOW_TRACKING_URI=NOBODY).returncode == 7
    assert repository.run("track").stdout == "1 candidates logged\n"
    assert repository.run("track").stdout == "0 candidates logged\n"
    assert waiting(repository) == []

    database = repository.root / ".mergeline/mlflow.db"
    (run,) = runs(database)
    metrics = json.loads((repository.root / "reports/metrics.json").read_text())
    assert run.data.metrics == pytest.approx(metrics)  # type: ignore[attr-defined]
    tags = run.data.tags  # type: ignore[attr-defined]
    assert tags["mergeline.model_sha256"] == model_of(repository.root / "models/candidate").sha256
    assert tags["mergeline.git_commit"] == repository.tool("git", "rev-parse", "HEAD").stdout.strip()
    assert tags["mergeline.data_md5"] in (repository.root / "data.dvc").read_text()
    version = mlflow.MlflowClient(f"sqlite:///{database}").get_model_version("mergeline", "1")
    assert version.tags["model_sha256"] == tags["mergeline.model_sha256"]


def test_the_same_model_is_logged_once(trained_offline: tuple[Repository, str], tmp_path: Path) -> None:
    repository = trained_offline[0].copy_to(tmp_path / "repository")
    repository.run("track")
    assert repository.run("train").returncode == 0
    assert len(waiting(repository)) == 1
    assert repository.run("track").returncode == 0
    assert len(runs(repository.root / ".mergeline/mlflow.db")) == 1


def test_the_native_model_comes_back_from_mlflow_and_scores_alike(
    trained_offline: tuple[Repository, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.sklearn

    from mergeline.models.encoder import encode
    from mergeline.models.scorer import Scorer
    from mergeline.table import read_partition

    repository = trained_offline[0].copy_to(tmp_path / "repository")
    repository.run("track")
    monkeypatch.setattr(mlflow, "get_tracking_uri", mlflow.get_tracking_uri)
    mlflow.set_tracking_uri(f"sqlite:///{repository.root / '.mergeline/mlflow.db'}")
    native = mlflow.sklearn.load_model("models:/mergeline/1")
    scorer = Scorer.load(repository.root / "models/candidate")
    rows = read_partition(repository.root / "data/2013-03.parquet")
    matrix = encode(rows, scorer.signature.features)
    assert abs(native.predict_proba(matrix) - scorer.score_matrix(matrix)).max() <= 1e-5


def test_a_password_in_the_servers_address_is_not_shown(
    trained_offline: tuple[Repository, str], tmp_path: Path
) -> None:
    repository = trained_offline[0].copy_to(tmp_path / "repository")
    done = repository.run("track", MLFLOW_TRACKING_URI="http://me:secret@127.0.0.1:9")
    assert done.returncode == 7
    assert "127.0.0.1:9" in done.stderr.splitlines()[-1]
    assert "secret" not in done.stderr.splitlines()[-1]
