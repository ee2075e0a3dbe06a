"""The sample problem at full size: what a fresh clone shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from repositories import TEMPLATE, Repository, make_repository

FLOOR = 0.745  # ROC AUC of a model of January to May on June
MARGIN = 0.02


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The template's own parameters on its own six months."""
    repository = make_repository(tmp_path_factory.mktemp("full") / "repository")
    shutil.copy(TEMPLATE / "params.yaml", repository.root / "params.yaml")
    shutil.copy(TEMPLATE / "data.dvc", repository.root / "data.dvc")
    shutil.rmtree(repository.root / "data")
    shutil.copytree(TEMPLATE / "sample", repository.root / "sample")
    assert repository.run("pull").returncode == 0
    return repository


def roc_auc(repository: Repository) -> float:
    return float(json.loads((repository.root / "reports/metrics.json").read_text())["roc_auc"])


def test_the_default_and_the_network_predict_june_and_both_are_in_mlflow(full: Repository) -> None:
    import mlflow

    assert full.run("repro").returncode == 0
    default = roc_auc(full)
    assert default >= FLOOR
    evaluation = json.loads((full.root / "reports/evaluation.json").read_text())
    assert (evaluation["rows"], evaluation["first_time"][:10], evaluation["last_time"][:10]) == (
        27075,
        "2013-06-01",
        "2013-06-30",
    )
    full.change_params({"train.family": "torch_mlp"})
    done = full.run("repro")
    assert done.returncode == 0, done.stderr
    assert roc_auc(full) >= default - MARGIN
    client = mlflow.MlflowClient(f"sqlite:///{full.root / '.mergeline/mlflow.db'}")
    experiment = client.get_experiment_by_name("mergeline")
    assert experiment is not None
    families = {run.data.params["family"] for run in client.search_runs([experiment.experiment_id])}
    assert families == {"hist_gradient_boosting", "torch_mlp"}


def test_the_committed_records_are_those_that_the_committed_inputs_give(full: Repository) -> None:
    """What a reader sees in Git came from what is in Git."""
    full.change_params({"train.family": "hist_gradient_boosting"})
    assert full.run("repro").returncode == 0
    made, committed = (json.loads((root / "reports/metrics.json").read_text()) for root in (full.root, Path(TEMPLATE)))
    assert made == pytest.approx(committed, abs=0.01)


def test_the_sample_holds_all_flights_and_no_label_for_those_that_did_not_arrive() -> None:
    import pandas as pd

    table = pd.concat([pd.read_parquet(path) for path in sorted((TEMPLATE / "sample").glob("*.parquet"))])
    assert len(table) == 336_776
    assert table.flight_id.is_unique
    assert table.late.isna().sum() == 9_430
    shares = table.groupby(table.scheduled_departure.dt.month).late.mean()
    assert (round(shares[7], 2), round(shares[9], 2)) == (0.32, 0.14)


def test_the_script_of_the_sample_makes_its_bytes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import runpy

    script = tmp_path / "make_sample.py"
    shutil.copy(TEMPLATE / "sample/make_sample.py", script)
    runpy.run_path(str(script), run_name="__main__")
    for path in sorted((TEMPLATE / "sample").glob("*.parquet")):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
