"""Airflow: the DAGs of sample/airflow/ in a real Airflow, which has an environment of its own, on a small clone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from promoted import NOBODY, STAGING, Promoted
from repositories import MONTHS, TEMPLATE, flights
from servers import requests_of, serving
from tools import unavailable
from warm import start as warm

from mergeline.cli import parser
from mergeline.layout import CANDIDATE
from mergeline.release.manifests import parse_release
from mergeline.schema import SIGNATURE_FILE, Signature

AIRFLOW = TEMPLATE / ".mergeline" / "airflow" / "bin" / "python"
DAGS = TEMPLATE / "sample" / "airflow" / "mergeline_dag.py"
TWIN = "twin_dag.py"
SWITCHED_OFF = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}
# As tests/warm's own, but in a process group of its own: Airflow starts a command in another session.
LAUNCHER = """\
#!{python} -IS
import os, sys
sys.path.append("{tests}")
from warm.client import VARIABLE, asked, exit_code
connection, _ = asked(os.environ[VARIABLE], sys.argv[1:], os.getcwd(), os.environ, (0, 1, 2), own_group=True)
sys.exit(exit_code(connection))
"""
# What runs inside of Airflow: read the folder of DAGs, then run one after the other, each with rows of its own.
PROGRAM = """\
import json, os, shutil, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb

answer, runs = sys.argv[1], json.loads(sys.argv[2])
bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
dags = {
    name: {task.task_id: [task.bash_command, sorted(task.upstream_task_ids)] for task in dag.tasks}
    for name, dag in bag.dags.items()
}
found = {"errors": dict(bag.import_errors), "dags": dags, "runs": []}
initdb()
for name, placed in runs:
    for origin, place in placed.items():
        (shutil.copytree if os.path.isdir(origin) else shutil.copy)(origin, place)
    run = bag.dags[name].test()
    states = {each.task_id: str(each.state) for each in run.get_task_instances()}
    found["runs"].append({"state": str(run.state), "tasks": states})
with open(answer, "w") as file:
    json.dump(found, file)
"""


@dataclass(frozen=True, slots=True)
class Airflow:
    """What a real Airflow found in its folder of DAGs, and how their runs ended."""

    errors: dict[str, str]
    dags: dict[str, dict[str, Any]]
    runs: list[dict[str, Any]]
    said: str

    @classmethod
    def runs_in(cls, place: Path, here: Promoted, runs: Sequence[tuple[str, Mapping[Path, Path]]]) -> Airflow:
        """Put the DAGs into a folder, beside a twin that cannot be imported; let Airflow read it, and run some."""
        if not AIRFLOW.exists():
            unavailable("needs Airflow, which `make airflow` installs")
        folder, answer = place / "dags", place / "answer.json"
        folder.mkdir(parents=True)
        text = DAGS.read_text(encoding="utf-8")
        (folder / DAGS.name).write_text(text, encoding="utf-8")
        (folder / TWIN).write_text(text.replace("import DAG, chain", "import DAG, chains"), encoding="utf-8")
        own = {"AIRFLOW_HOME": str(place), "AIRFLOW__CORE__DAGS_FOLDER": str(folder), **SWITCHED_OFF}
        environment = here.environment(MERGELINE_REPOSITORY=str(here.root), MLFLOW_TRACKING_URI=NOBODY, **own)
        asked = json.dumps([[name, {str(old): str(new) for old, new in placed.items()}] for name, placed in runs])
        done = subprocess.run(
            [str(AIRFLOW), "-c", PROGRAM, str(answer), asked],
            cwd=place,
            env=warm._environment(warm._started(), environment),
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-4000:]
        return cls(**json.loads(answer.read_text()), said=said)


@pytest.fixture(scope="module")
def clone(in_production: Promoted, tmp_path_factory: pytest.TempPathFactory) -> Promoted:
    """A clone with a model in production, whose rows come from a file beside it, and with what `make setup` makes."""
    here = in_production.copy_to(tmp_path_factory.mktemp("airflow") / "clone")
    launcher = here.root / ".venv" / "bin" / "mergeline"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(LAUNCHER.format(python=sys.executable, tests=Path(__file__).parent))
    launcher.chmod(0o755)

    def declare(there: Promoted) -> None:
        there.change_params({"validate.max_age_days": 100_000})  # the rows are of 2013
        with (there.root / "params.yaml").open("a", encoding="utf-8") as file:
            file.write("\nsources:\n  flights:\n    files: ../raw.parquet\n")

    here.on_main(declare, "Where the rows come from")
    return here


@pytest.fixture(scope="module")
def airflow(clone: Promoted, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """Airflow after five runs: a month that cannot be right, a good one, no other; a silent log, and a full one."""
    place = tmp_path_factory.mktemp("home")
    good = pd.concat([flights(month) for month in (*MONTHS, "2013-04")])
    bad = good.assign(carrier=good["carrier"].where(good["scheduled_departure"] < "2013-04-01"))
    for name, rows in (("good", good), ("bad", bad)):
        rows.to_parquet(place / f"{name}.parquet", index=False)
    signature = Signature.from_json((clone.root / CANDIDATE / SIGNATURE_FILE).read_text(encoding="utf-8"))
    with serving(clone.root, "--environment", "production", "--log", str(place / "log")) as server:
        server.predict(requests_of(good.head(900), signature))
        server.stop()
    train, watch, raw = "mergeline_train", "mergeline_watch", clone.root.parent / "raw.parquet"
    months = [(train, {place / "bad.parquet": raw}), (train, {place / "good.parquet": raw}), (train, {})]
    logs = [(watch, {}), (watch, {place / "log": clone.root / ".mergeline/log"})]
    return Airflow.runs_in(place / "airflow", clone, [*months, *logs])


def verbs() -> set[str]:
    """The verbs of the command line."""
    (choices,) = [action.choices for action in parser()._actions if action.choices]
    return set(choices)


# ---- What it reads ---------------------------------------------------------------------------------------------------


def test_airflow_reads_the_dags_without_an_error(airflow: Airflow) -> None:
    assert [name for name in airflow.errors if not name.endswith(TWIN)] == []
    assert {name: list(tasks) for name, tasks in airflow.dags.items()} == {
        "mergeline_train": ["look", "branch", "pull", "ingest", "commit", "repro", "record", "push"],
        "mergeline_watch": ["drift", "performance", "decide"],
    }
    assert airflow.dags["mergeline_train"]["record"][1] == ["repro"]
    assert airflow.dags["mergeline_watch"]["decide"][1] == ["drift", "performance"]


def test_the_twin_a_file_that_cannot_be_imported_is_an_error(airflow: Airflow) -> None:
    (error,) = [text for name, text in airflow.errors.items() if name.endswith(TWIN)]
    assert "cannot import name 'chains'" in error


def test_every_task_calls_a_verb_or_git_and_none_a_stage(airflow: Airflow) -> None:
    stages = set(yaml.safe_load((TEMPLATE / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    for tasks in airflow.dags.values():
        assert not stages & tasks.keys()
        for name, (command, _) in tasks.items():
            called = set(re.findall(r"mergeline (\S+)", command.replace("'", "")))
            assert not called & stages, command
            assert called <= verbs(), command
            assert called == ({name} if name in verbs() else set()), command
            assert not re.search(r"\bdvc (?!\|\|)", command.replace("data.dvc", "")), command


# ---- What it runs ----------------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_right_fail_the_run_and_nothing_is_pushed(airflow: Airflow) -> None:
    first = airflow.runs[0]
    assert first["state"] == "failed"
    assert {name: first["tasks"][name] for name in ("commit", "repro", "record", "push")} == {
        "commit": "success",
        "repro": "failed",
        "record": "upstream_failed",
        "push": "upstream_failed",
    }
    assert "carrier" in airflow.said


def test_a_good_month_is_trained_recorded_and_pushed_as_a_branch(airflow: Airflow, clone: Promoted) -> None:
    second = airflow.runs[1]
    assert second["state"] == "success", airflow.said[-4000:]
    assert set(second["tasks"].values()) == {"success"}
    show = [clone.git("show", f"origin/{name}:models/manifest.json") for name in ("main", "retrain/airflow")]
    old, new = (json.loads(text)["model"]["sha256"] for text in show)
    assert old != new
    assert clone.git("log", "--format=%s", "-1", "origin/retrain/airflow~1").strip() == "Take in new rows"


def test_neither_staging_nor_production_moves_without_a_pull_request(airflow: Airflow, clone: Promoted) -> None:
    clone.git("fetch", "-q", "origin")
    changed = clone.git("diff", "--name-only", "origin/main...origin/retrain/airflow").split()
    assert "k8s/overlays/production/release.yaml" not in changed
    assert parse_release(clone.git("show", f"origin/main:{STAGING}")).model_sha256
    assert clone.git("rev-list", "--count", "origin/main..origin/retrain/airflow").strip() == "2"
    assert airflow.runs[1]["state"] == "success"


def test_while_its_branch_waits_a_run_is_skipped_and_overwrites_nobody(airflow: Airflow) -> None:
    third = airflow.runs[2]
    assert third["state"] == "success"
    assert set(third["tasks"].values()) == {"skipped"}


def test_the_watch_ends_in_a_decision(airflow: Airflow, clone: Promoted) -> None:
    assert set(airflow.runs[4]["tasks"].values()) == {"success"}, airflow.said[-4000:]
    assert (clone.root / ".mergeline/decide/decision.md").exists()


def test_a_silent_log_fails_the_watch(airflow: Airflow) -> None:
    silent = airflow.runs[3]
    assert (silent["state"], silent["tasks"]["decide"]) == ("failed", "upstream_failed")


# ---- What stands in the docs -----------------------------------------------------------------------------------------


def test_the_page_names_every_task() -> None:
    page = (TEMPLATE / "docs" / "airflow.md").read_text(encoding="utf-8")
    named = re.findall(r'(?:verb|shell)\("(\w+)"', DAGS.read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if f"`{name}`" not in page] == []
