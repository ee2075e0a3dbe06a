"""The sample problem at full size: what a fresh clone shows."""

from __future__ import annotations

import json
import shutil
from itertools import accumulate
from pathlib import Path

import pytest
from repositories import (
    SAMPLE,
    SAMPLE_DATA,
    SAMPLE_PARAMS,
    TEMPLATE,
    Repository,
    as_shipped,
    commit,
    is_the_sample,
    make_repository,
)

from mergeline.params.reading import parse_yaml
from mergeline.params_file import edited
from mergeline.release.manifests import NO_RELEASE, Release, format_release, parse_release

FLOOR = 0.745  # ROC AUC of a model of January to May on June
MARGIN = 0.02
HELD = ("data", "validate", "evaluate", "gates")  # a pull request may try other settings of `train`


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The sample's six months, with the template's own parameters as long as they are of the sample."""
    repository = make_repository(tmp_path_factory.mktemp("full") / "repository")
    shutil.copy(TEMPLATE / "params.yaml" if is_the_sample() else SAMPLE_PARAMS, repository.root / "params.yaml")
    shutil.copy(SAMPLE_DATA, repository.root / "data.dvc")
    shutil.rmtree(repository.root / "data")
    shutil.copytree(SAMPLE, repository.root / "sample")
    assert repository.run("pull").returncode == 0
    return repository


def parted(root: Path) -> list[str]:
    """Where a checkout whose table is the sample says other than the sample's own files; of another table, nowhere."""
    named, months = (root / "data.dvc").read_text(encoding="utf-8"), sorted(SAMPLE.glob("*.parquet"))
    sizes = accumulate(file.stat().st_size for file in months)
    if not any(f"size: {size}\n  nfiles: {count}\n" in named for count, size in enumerate(sizes, 1)):
        return []
    own, kept = (parse_yaml(path.read_text(encoding="utf-8")) for path in (root / "params.yaml", SAMPLE_PARAMS))
    other = [f"params.yaml: {section}" for section in HELD if own.get(section) != kept[section]]
    return other + ["data.dvc"] * (named != SAMPLE_DATA.read_text(encoding="utf-8"))


def test_the_samples_files_say_what_the_template_says_as_long_as_its_table_is_the_sample() -> None:
    said = "sample/params.yaml and sample/data.yaml are what the tests run with: copy the checkout's own there"
    assert parted(TEMPLATE) == [], said


def test_settings_that_part_from_the_samples_are_found_and_those_of_another_table_are_not(tmp_path: Path) -> None:
    own, data = tmp_path / "params.yaml", tmp_path / "data.dvc"
    shutil.copy(SAMPLE_PARAMS, own)
    shutil.copy(SAMPLE_DATA, data)
    assert parted(tmp_path) == []
    own.write_text(edited(own.read_text(), {("train", "seed"): 4, ("release", "store"): "s3://b/models"}))
    assert parted(tmp_path) == []
    own.write_text(edited(own.read_text(), {("gates", "floors", "roc_auc"): 0.6, ("data", "holdout", "days"): 31}))
    assert parted(tmp_path) == ["params.yaml: data", "params.yaml: gates"]
    sizes = [file.stat().st_size for file in sorted(SAMPLE.glob("*.parquet"))]
    data.write_text(f"outs:\n- md5: 00.dir\n  size: {sum(sizes[:5])}\n  nfiles: 5\n  hash: md5\n  path: data\n")
    assert parted(tmp_path) == ["params.yaml: data", "params.yaml: gates", "data.dvc"]
    data.write_text(data.read_text().replace("nfiles: 5", "nfiles: 9"))
    assert parted(tmp_path) == []
    assert not is_the_sample(tmp_path)


def test_a_checkout_with_another_table_and_a_release_is_laid_out_as_the_template_ships_it(tmp_path: Path) -> None:
    team = make_repository(tmp_path / "team")
    shutil.copy(SAMPLE_DATA, team.root / "data.dvc")
    team.change_params({"data.target": "seats"})
    released = team.root / "k8s/overlays/production/release.yaml"
    released.parent.mkdir(parents=True)
    released.write_text(format_release(Release("1" * 64, "s3://models", "2" * 64, None)))
    commit(team, "Our own table")
    shipped = as_shipped(tmp_path / "shipped", team.root)
    assert is_the_sample(shipped)
    assert parted(shipped) == []
    assert parse_release((shipped / released.relative_to(team.root)).read_text()) == NO_RELEASE
    assert Repository(shipped).tool("git", "status", "--porcelain").stdout == ""


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


@pytest.mark.skipif(not is_the_sample(), reason="the committed records are of another table than the sample")
def test_the_committed_records_are_those_that_the_committed_inputs_give(full: Repository) -> None:
    """What a reader sees in Git came from what is in Git."""
    full.change_params({"train.family": "hist_gradient_boosting"})
    assert full.run("repro").returncode == 0
    made, committed = (json.loads((root / "reports/metrics.json").read_text()) for root in (full.root, TEMPLATE))
    assert made == pytest.approx(committed, abs=0.01)


def test_the_sample_holds_all_flights_and_no_label_for_those_that_did_not_arrive() -> None:
    import pandas as pd

    table = pd.concat([pd.read_parquet(path) for path in sorted(SAMPLE.glob("*.parquet"))])
    assert len(table) == 336_776
    assert table.flight_id.is_unique
    assert table.late.isna().sum() == 9_430
    shares = table.groupby(table.scheduled_departure.dt.month).late.mean()
    assert (round(shares[7], 2), round(shares[9], 2)) == (0.32, 0.14)


def test_the_script_of_the_sample_makes_its_bytes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import runpy

    script = tmp_path / "make_sample.py"
    shutil.copy(SAMPLE / "make_sample.py", script)
    runpy.run_path(str(script), run_name="__main__")
    for path in sorted(SAMPLE.glob("*.parquet")):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
