"""Where the data come from: the folder itself, the DVC remote, the sample; and new partitions from declared sources."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from repositories import (
    DVC_CONFIG,
    MONTHS,
    SAMPLE,
    SAMPLE_DATA,
    TEMPLATE,
    Repository,
    commit,
    fingerprint,
    flights,
    make_repository,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moto.server import ThreadedMotoServer

BUCKET = "storage"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The template as it is cloned: its own data.dvc, its sample, no data and no cache."""
    repository = make_repository(tmp_path_factory.mktemp("template") / "repository")
    shutil.rmtree(repository.root / "data")
    shutil.rmtree(repository.root / ".dvc/cache")
    shutil.copy(SAMPLE_DATA, repository.root / "data.dvc")
    shutil.copytree(SAMPLE, repository.root / "sample")
    return repository


@pytest.fixture
def clone(template: Repository, tmp_path: Path) -> Repository:
    return template.copy_to(tmp_path / "clone")


def test_a_fresh_clone_takes_its_data_from_the_sample_and_the_hash_agrees(clone: Repository) -> None:
    done = clone.run("pull")
    assert (done.returncode, done.stdout) == (0, "data/ from sample\n"), done.stderr
    assert [path.name for path in sorted((clone.root / "data").iterdir())] == [
        f"2013-0{month}.parquet" for month in range(1, 7)
    ]
    assert clone.tool("dvc", "status", "data.dvc", "--json").stdout.strip() == "{}"
    assert clone.run("pull").stdout == "data/ from place\n"


def test_r15_a_remote_that_has_the_data_is_asked_before_the_sample(clone: Repository) -> None:
    clone.run("pull")
    assert clone.tool("dvc", "push", "data.dvc").returncode == 0
    for folder in ("data", ".dvc/cache", "sample"):
        shutil.rmtree(clone.root / folder)
    done = clone.run("pull")
    assert done.stdout == "data/ from remote\n", done.stderr
    assert (clone.root / "data/2013-06.parquet").read_bytes() == (SAMPLE / "2013-06.parquet").read_bytes()


def test_the_remote_of_the_tests_is_the_templates_as_long_as_that_is_a_folder_of_the_laptop() -> None:
    own = (TEMPLATE / ".dvc/config").read_text(encoding="utf-8")
    if "/.mergeline/" not in own:
        pytest.skip("this repository has a remote of its own")
    assert own == DVC_CONFIG


def test_a_sample_with_other_bytes_is_refused_and_leaves_no_data(clone: Repository) -> None:
    path = clone.root / "sample/2013-02.parquet"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(bytes(content))
    done = clone.run("pull")
    assert done.returncode == 6
    assert "its bytes are not those that data.dvc names" in done.stderr
    assert not (clone.root / "data").exists()


def test_without_remote_and_sample_the_error_says_who_must_push(clone: Repository) -> None:
    shutil.rmtree(clone.root / "sample")
    done = clone.run("pull")
    assert done.returncode == 7
    assert "the remote lacks these bytes" in done.stderr.splitlines()[-1]


def test_data_that_a_person_changed_are_not_overwritten(clone: Repository) -> None:
    clone.run("pull")
    clone.rewrite("2013-06", flights("2013-06"))
    before = fingerprint(clone.root / "data")
    done = clone.run("pull")
    assert done.returncode == 3
    assert "is not what data.dvc names" in done.stderr
    assert fingerprint(clone.root / "data") == before


# ---- S3 ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cloud() -> Iterator[dict[str, str]]:
    """The environment of a moto server that has one bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    server: ThreadedMotoServer = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    client = boto3.client(
        "s3",
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="eu-west-1",
    )
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield settings
    server.stop()


def on_s3(clone: Repository, cloud: dict[str, str], prefix: str) -> None:
    """Put the data on S3 by the one documented command and `dvc push`, and forget them here."""
    assert clone.run("pull").returncode == 0
    assert clone.run("remote", f"s3://{BUCKET}/{prefix}").returncode == 0
    pushed = clone.tool("dvc", "push", "data.dvc", **cloud)
    assert pushed.returncode == 0, pushed.stderr
    for folder in ("data", ".dvc/cache", "sample"):
        shutil.rmtree(clone.root / folder)


def tamper(cloud: dict[str, str], prefix: str) -> None:
    """Overwrite the largest object with other bytes of the same length."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=cloud["AWS_ENDPOINT_URL"],
        region_name="eu-west-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    objects = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    largest = max(objects, key=lambda each: each["Size"])
    client.put_object(Bucket=BUCKET, Key=largest["Key"], Body=os.urandom(largest["Size"]))


def test_s3_is_one_command_away(clone: Repository, cloud: dict[str, str]) -> None:
    on_s3(clone, cloud, "good")
    done = clone.run("pull", **cloud)
    assert done.stdout == "data/ from remote\n", done.stderr
    assert (clone.root / "data/2013-06.parquet").read_bytes() == (SAMPLE / "2013-06.parquet").read_bytes()


def test_s7_an_object_that_was_overwritten_on_s3_is_refused(clone: Repository, cloud: dict[str, str]) -> None:
    on_s3(clone, cloud, "tampered")
    tamper(cloud, "tampered")
    done = clone.run("pull", **cloud)
    assert done.returncode == 7, done.stdout
    assert "holds others in their place" in done.stderr.splitlines()[-1]
    assert not any(clone.root.glob("data/*"))


def test_s7_twin_without_verification_the_overwritten_object_is_pulled(
    clone: Repository, cloud: dict[str, str]
) -> None:
    on_s3(clone, cloud, "unverified")
    tamper(cloud, "unverified")
    clone.tool("dvc", "remote", "modify", "storage", "verify", "false")
    assert clone.run("pull", **cloud).stdout == "data/ from remote\n"


# ---- New partitions ----------------------------------------------------------------------------------------


@pytest.fixture
def with_sources(template: Repository, tmp_path: Path) -> Repository:
    """Three months in place, and a fourth waiting as a CSV beside a table to join."""
    repository = make_repository(tmp_path / "sources")
    april = flights("2013-04")
    raw = repository.root / "raw"
    raw.mkdir()
    april.drop(columns="seats").to_csv(raw / "april.csv", index=False)
    april[["flight_id", "seats"]].to_csv(raw / "planes.csv", index=False)
    repository.change_params(
        {
            "sources": {
                "flights": {"files": "raw/april.csv", "parse_dates": ["scheduled_departure"]},
                "planes": {"files": "raw/planes.csv", "join": {"on": ["flight_id"]}},
            }
        }
    )
    commit(repository, "sources")
    return repository


def cached(repository: Repository) -> set[str]:
    return {path.name for path in (repository.root / ".dvc/cache").rglob("*") if path.is_file()}


def test_a_new_month_is_a_new_partition_and_only_that_file_is_new_to_dvc(with_sources: Repository) -> None:
    before, months = cached(with_sources), {month: fingerprint(with_sources.partition(month)) for month in MONTHS}
    done = with_sources.run("ingest", "--as-of", "2013-05-01")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"written": ["2013-04"], "unchanged": [], "replaced": []}
    new = cached(with_sources) - before
    assert len(new) == 2, "the partition and the list of the folder"
    assert {month: fingerprint(with_sources.partition(month)) for month in MONTHS} == months
    assert with_sources.tool("git", "status", "--porcelain").stdout.split() == ["M", "data.dvc", "M", "params.yaml"]
    rows = pd.read_parquet(with_sources.partition("2013-04"))
    assert rows.seats.notna().sum() == flights("2013-04").seats.notna().sum()


def test_ingesting_twice_changes_nothing_and_other_rows_are_refused(with_sources: Repository) -> None:
    with_sources.run("ingest", "--as-of", "2013-05-01")
    before = fingerprint(with_sources.root / "data")
    done = with_sources.run("ingest", "--as-of", "2013-05-01")
    assert json.loads(done.stdout)["unchanged"] == ["2013-04"]
    flights("2013-04", every=20).drop(columns="seats").to_csv(with_sources.root / "raw/april.csv", index=False)
    assert with_sources.run("ingest", "--as-of", "2013-05-01").returncode == 3
    assert fingerprint(with_sources.root / "data") == before
    done = with_sources.run("ingest", "--replace", "--as-of", "2013-05-01")
    assert json.loads(done.stdout)["replaced"] == ["2013-04"]


def test_ingest_notes_the_day_that_freshness_is_judged_against(with_sources: Repository) -> None:
    text = (with_sources.root / "params.yaml").read_text()
    with_sources.run("ingest", "--as-of", "2013-05-01")
    assert (with_sources.root / "params.yaml").read_text() == text.replace("2013-04-01", "2013-05-01")


def test_ingest_without_sources_says_what_to_declare(clone: Repository) -> None:
    done = clone.run("ingest")
    assert done.returncode == 2
    assert "sources: missing; declare where the rows come from" in done.stderr
