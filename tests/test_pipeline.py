"""The pipeline as a user runs it: real commands, real DVC, real Git, on real flights."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from repositories import MONTHS, Repository, fingerprint, flights

OUTPUTS = (
    "models/candidate",
    "reports/validate",
    "reports/validation.json",
    "reports/evaluate",
    "reports/evaluation.json",
    "reports/metrics.json",
)


def outputs(repository: Repository) -> dict[str, str | None]:
    return {name: fingerprint(repository.root / name) for name in OUTPUTS}


def test_a_first_run_leaves_a_clean_pipeline_and_a_candidate(ran: Repository) -> None:
    assert {path.name for path in (ran.root / "models/candidate").iterdir()} == {
        "model.onnx",
        "signature.json",
        "training.json",
        "profile.json",
        "reference.parquet",
    }
    assert ran.tool("dvc", "status", "--json").stdout.strip() == "{}"
    metrics = json.loads((ran.root / "reports/metrics.json").read_text())
    assert 0.6 < metrics["roc_auc"] < 0.8


def test_s12_no_library_leaves_an_identifier_to_report_under(ran: Repository) -> None:
    left = [path.relative_to(ran.home).as_posix() for path in ran.home.rglob("*") if path.is_file()]
    named = ("microsoft", "deviceid", "telemetry", "analytics", "great_expectations", "mlflow", "iterative")
    assert [path for path in left if any(name in path.lower() for name in named)] == []


def test_a_second_run_runs_no_stage_and_changes_no_file(repository: Repository) -> None:
    files = [path for path in repository.root.rglob("*") if path.is_file() and not {".git", "tmp"} & set(path.parts)]
    before = {path: path.stat().st_mtime_ns for path in files}
    done = repository.run("repro")
    assert done.returncode == 0, done.stderr
    assert "ran      nothing" in done.stdout
    assert repository.tool("git", "status", "--porcelain").stdout == ""
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before


def test_a_changed_setting_runs_only_the_stages_that_read_it(repository: Repository) -> None:
    repository.change_params({"evaluate.min_slice_rows": 50})
    done = repository.run("repro")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ran      evaluate, compare\n")


def test_a_forced_run_makes_the_same_bytes(repository: Repository) -> None:
    before = outputs(repository)
    done = repository.run("repro", "--force")
    assert done.returncode == 0, done.stderr
    assert outputs(repository) == before
    assert repository.tool("git", "status", "--porcelain").stdout == ""


def test_status_names_the_stale_stages_and_the_changed_settings(repository: Repository) -> None:
    assert json.loads(repository.run("status").stdout)["stale"] == {}
    repository.change_params({"train.seed": 7})
    found = json.loads(repository.run("status").stdout)
    assert list(found["stale"]) == ["train", "evaluate"]
    assert found["params"]["diff"]["params.yaml"]["train.seed"] == {"old": 2013, "new": 7, "diff": -2006}


# ---- Planted failures: each in the data, through the real command ------------------------------------------


def planted(column: str, change: Callable[[pd.DataFrame], pd.Series]) -> Callable[[Repository], None]:
    """A change of one column of the newest month."""

    def plant(repository: Repository) -> None:
        rows = flights(MONTHS[-1])
        rows[column] = change(rows)
        repository.rewrite(MONTHS[-1], rows)

    return plant


def first_rows_set(column: str, value: object, count: int = 3) -> Callable[[Repository], None]:
    def change(rows: pd.DataFrame) -> pd.Series:
        changed = rows[column].copy()
        changed.iloc[:count] = value
        return changed

    return planted(column, change)


def without_column(repository: Repository) -> None:
    repository.rewrite(MONTHS[-1], flights(MONTHS[-1]).drop(columns="seats"))


def empty_partition(repository: Repository) -> None:
    repository.rewrite(MONTHS[-1], flights(MONTHS[-1]).iloc[:0])


def ids_of_january(repository: Repository) -> None:
    rows = flights(MONTHS[-1])
    rows.loc[:4, "flight_id"] = flights(MONTHS[0]).loc[:4, "flight_id"]
    repository.rewrite(MONTHS[-1], rows)


def reversed_rows(repository: Repository) -> None:
    repository.rewrite(MONTHS[-1], flights(MONTHS[-1]).iloc[::-1])


def january_again(repository: Repository) -> None:
    rows = flights(MONTHS[0]).assign(flight_id=lambda each: each.flight_id + "-again")
    repository.rewrite("2013-04", rows)


def target_in_other_words(repository: Repository) -> None:
    repository.rewrite(
        MONTHS[-1], flights(MONTHS[-1]).assign(late=lambda rows: rows.late.map({True: "yes", False: "no"}))
    )


def no_newer_month(repository: Repository) -> None:
    repository.change_params({"data.as_of": "2013-09-01"})


def rows_of_tomorrow(repository: Repository) -> None:
    repository.change_params({"data.as_of": "2013-03-15"})


PLANTED = [
    pytest.param(without_column, ["'seats'", "a column of number", "'absent'", "2013-03"], id="missing column"),
    pytest.param(
        planted("seats", lambda rows: rows.seats.astype("string") + " seats"),
        ["'seats'", "a column of number", "'text'", "2013-03"],
        id="wrong type",
    ),
    pytest.param(
        first_rows_set("humidity_percent", 250.0),
        ["'humidity_percent'", "at least 0 and at most 100", "3 of 1923", "250.0", "20130301-"],
        id="out of range",
    ),
    pytest.param(
        first_rows_set("departure_minute", -5, 1),
        ["'departure_minute'", "at least 0", "1 of 1923", "-5"],
        id="below range",
    ),
    pytest.param(
        first_rows_set("origin", "LAX"),
        ["'origin'", "one of EWR, JFK, LGA", "3 of 1923", "'LAX'"],
        id="unseen category",
    ),
    pytest.param(
        first_rows_set("temperature_f", None, 400),
        ["'temperature_f'", "at most 10.0% missing values", "of 1923", "2013-03"],
        id="missing values",
    ),
    pytest.param(
        first_rows_set("flight_id", "same", 3), ["'flight_id'", "no value twice", "3 of 1923"], id="duplicate ids"
    ),
    pytest.param(
        ids_of_january,
        ["'flight_id'", "no id of an earlier partition", "5 of 1923", "20130101-"],
        id="ids of an earlier partition",
    ),
    pytest.param(empty_partition, ["at least 1000 rows a partition", "2013-03"], id="empty partition"),
    pytest.param(
        target_in_other_words, ["'late'", "a column of boolean", "'text'", "2013-03"], id="target in other words"
    ),
    pytest.param(
        first_rows_set("scheduled_departure", pd.NaT, 1),
        ["'scheduled_departure'", "no missing value", "1 of 1923", "20130301-"],
        id="missing time",
    ),
    pytest.param(reversed_rows, ["'scheduled_departure'", "rows in the order of time", "2013-03"], id="time order"),
    pytest.param(
        january_again, ["'scheduled_departure'", "no row from before", "2013-04"], id="overlap with earlier rows"
    ),
    pytest.param(
        no_newer_month, ["'scheduled_departure'", "at most 31 days older than data.as_of, 2013-09-01"], id="stale data"
    ),
    pytest.param(
        rows_of_tomorrow, ["'scheduled_departure'", "no row after data.as_of, 2013-03-15"], id="rows of the future"
    ),
    pytest.param(
        first_rows_set("wind_gust_mph", float("inf"), 1), ["'wind_gust_mph'", "1 of 1923", "'inf'"], id="infinity"
    ),
]


@pytest.mark.parametrize(("plant", "named"), PLANTED)
def test_a_blocking_expectation_stops_the_pipeline_and_names_column_rows_and_rule(
    repository: Repository, plant: Callable[[Repository], None], named: list[str]
) -> None:
    before = outputs(repository)
    plant(repository)
    done = repository.run("repro")
    assert done.returncode == 3, done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("mergeline: validate: "))
    for part in named:
        assert part in line
    record = json.loads((repository.root / "reports/validation.json").read_text())
    assert record["success"] is False
    failed = [each for each in record["expectations"] if not each["passed"]]
    assert all(len(finding["examples"]) <= 5 for each in failed for finding in each["findings"])
    after = outputs(repository)
    good = ("models/candidate", "reports/evaluate", "reports/evaluation.json", "reports/metrics.json")
    assert {name: after[name] for name in good} == {name: before[name] for name in good}


def test_a_warning_is_reported_and_stops_nothing(repository: Repository) -> None:
    first_rows_set("plane_age_years", 99)(repository)
    done = repository.run("repro")
    assert done.returncode == 0, done.stderr
    record = json.loads((repository.root / "reports/validation.json").read_text())
    failed = [(each["column"], each["severity"]) for each in record["expectations"] if not each["passed"]]
    assert failed == [("plane_age_years", "warn")]
    card = (repository.root / "reports/evaluate/model_card.md").read_text()
    assert "1 expectations failed as warnings" in card


def test_dvc_alone_answers_255_where_the_stage_said_3(repository: Repository) -> None:
    """The twin of the exit code: this is why `mergeline repro` is there."""
    empty_partition(repository)
    assert repository.tool("dvc", "repro").returncode == 255


# ---- Bad input: one line, its exit code --------------------------------------------------------------------


def truncated(repository: Repository) -> None:
    path = repository.partition(MONTHS[-1])
    path.write_bytes(path.read_bytes()[:-500])


def no_partition(repository: Repository) -> None:
    shutil.rmtree(repository.root / "data")
    (repository.root / "data").mkdir()


def bad_yaml(repository: Repository) -> None:
    (repository.root / "params.yaml").write_text("data: [\n")


def unknown_key(repository: Repository) -> None:
    repository.change_params({"train.famly": "random_forest"})


def no_params(repository: Repository) -> None:
    (repository.root / "params.yaml").unlink()


def other_holdout(repository: Repository) -> None:
    repository.change_params({"data.holdout.days": 10})


def no_model(repository: Repository) -> None:
    shutil.rmtree(repository.root / "models/candidate")


def no_label(repository: Repository) -> None:
    for month in MONTHS:
        repository.rewrite(month, flights(month).assign(late=pd.Series(dtype="boolean")))


def text_among_numbers(repository: Repository) -> None:
    repository.rewrite(MONTHS[0], flights(MONTHS[0]).assign(seats="many"))
    repository.rewrite(MONTHS[1], flights(MONTHS[1]).assign(seats="few"))
    repository.rewrite(MONTHS[2], flights(MONTHS[2]).assign(seats="few"))


def third_class(repository: Repository) -> None:
    rows = flights(MONTHS[-1])
    rows["late"] = rows.late.astype("string")
    rows.loc[:3, "late"] = "perhaps"
    repository.rewrite(MONTHS[-1], rows)
    for month in MONTHS[:-1]:
        repository.rewrite(month, flights(month).assign(late=lambda each: each.late.astype("string")))


BAD_INPUT = [
    pytest.param("validate", truncated, 3, "not a whole Parquet file", id="truncated Parquet"),
    pytest.param("train", truncated, 3, "not a whole Parquet file", id="truncated Parquet, train"),
    pytest.param("validate", no_partition, 3, "expected Parquet partitions, found none", id="empty folder"),
    pytest.param("train", without_column, 3, "no column 'seats'", id="missing column, train"),
    pytest.param("train", text_among_numbers, 3, "seats: expected numbers", id="wrong type, train"),
    pytest.param("train", no_label, 3, "no row has a value in 'late'", id="no label at all"),
    pytest.param("train", third_class, 3, "expected two values in 'late', found 3", id="three classes for two"),
    pytest.param(
        "train",
        first_rows_set("humidity_percent", float("inf"), 1),
        3,
        "humidity_percent: expected numbers within",
        id="infinity",
    ),
    pytest.param("repro", bad_yaml, 2, "params.yaml:2:1: not valid YAML", id="invalid YAML"),
    pytest.param("repro", unknown_key, 2, "train.famly: unknown key; did you mean 'family'?", id="unknown key"),
    pytest.param("repro", no_params, 2, "no such file; `mergeline init", id="no params.yaml"),
    pytest.param("evaluate", other_holdout, 2, "the candidate was trained with another one", id="another holdout"),
    pytest.param("repro", no_partition, 3, "`mergeline pull` puts the data in place", id="no data"),
    pytest.param("status", no_params, 2, "no such file; `mergeline init", id="no params.yaml, status"),
    pytest.param("evaluate", no_model, 6, "no such file; `mergeline repro` trains a model", id="no model"),
    pytest.param("frobnicate", lambda repository: None, 2, "invalid choice: 'frobnicate'", id="unknown command"),
]


@pytest.mark.parametrize(("verb", "plant", "code", "said"), BAD_INPUT)
def test_bad_input_is_one_line_and_its_exit_code(
    repository: Repository, verb: str, plant: Callable[[Repository], None], code: int, said: str
) -> None:
    before = fingerprint(repository.root / "models/candidate")
    plant(repository)
    done = repository.run(verb)
    assert done.returncode == code, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("mergeline: ")
    assert said in last
    assert "Traceback" not in done.stderr
    assert fingerprint(repository.root / "models/candidate") == (None if plant is no_model else before)


def test_debug_shows_the_traceback(repository: Repository) -> None:
    no_params(repository)
    assert "Traceback" in repository.run("--debug", "train").stderr


def test_an_unseen_category_and_a_missing_value_in_the_holdout_are_scored(repository: Repository) -> None:
    rows = flights(MONTHS[-1])
    rows.loc[rows.index[-5:], "destination"] = "XYZ"
    rows.loc[rows.index[-3:], "destination"] = None
    repository.change_params({"validate.columns.destination": {"missing": 0.5}})
    repository.rewrite(MONTHS[-1], rows)
    done = repository.run("repro")
    assert done.returncode == 0, done.stderr


def test_s8_no_code_runs_when_something_else_lies_in_place_of_the_model(repository: Repository) -> None:
    canary = repository.root / "canary"
    # protocol 0 pickle: calls os.system with the command when it is loaded
    payload = f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    model = repository.root / "models/candidate/model.onnx"
    signature = repository.root / "models/candidate/signature.json"
    honest = model.read_bytes()
    flipped = bytes([*honest[:5000], honest[5000] ^ 1, *honest[5001:]])
    for content in (payload, b"", honest[:5000], flipped):
        model.write_bytes(content)
        done = repository.run("evaluate")
        assert done.returncode == 6, done.stderr
        assert "which signature.json names" in done.stderr
    # even a signature that vouches for the bytes does not make them run
    model.write_bytes(payload)
    record = json.loads(signature.read_text())
    signature.write_text(json.dumps(record | {"onnx_sha256": hashlib.sha256(payload).hexdigest()}))
    done = repository.run("evaluate")
    assert done.returncode == 6, done.stderr
    assert "expected a model that ONNX Runtime runs" in done.stderr
    assert not canary.exists()


def test_s8_twin_the_planted_pickle_does_run_when_it_is_unpickled(tmp_path: Path) -> None:
    import pickle

    canary = tmp_path / "canary"
    pickle.loads(f"cos\nsystem\n(S'touch {canary}'\ntR.".encode())
    assert canary.exists()
