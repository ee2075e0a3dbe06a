"""The engine: what several workers of Ray find is what one process finds, and what goes wrong there is said here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import replayed
from drift_logs import START, WEEK, Log, drawn, model_folder
from engine_work import (
    divided_by,
    from_where,
    keep_gradients_apart,
    killed_always,
    killed_once,
    planted,
    refused,
    refused_or_waiting,
    variables,
    weigh_each_part_as_the_whole,
)
from repositories import SAMPLE, SAMPLE_PARAMS, TEMPLATE
from tables import params, raw_params

from mergeline.cli import main
from mergeline.commands.performance import performance
from mergeline.engine import engine as engines
from mergeline.engine.engine import Engine, Local, divided, running
from mergeline.engine.ray import AHEAD, RETRIES, Ray
from mergeline.errors import ConfigurationError, DataError, ServiceError, VerificationError
from mergeline.intervals.ranking import delong
from mergeline.logstore import FolderLog, S3Log, open_log
from mergeline.models.encoder import encode, fit_features
from mergeline.models.family import Fitting, Gang, Problem, Rows, fitter
from mergeline.params import parse
from mergeline.params.engine import EngineParams
from mergeline.schema import Task
from mergeline.target import classes, encode_target

WORKERS = 2
RAY = EngineParams(name="ray", workers=WORKERS)


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ray]:
    """Workers of Ray on this machine, started once; what runs in this process joins them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in [each for each in os.environ if each.startswith("RAY_")]:
            patch.delenv(name)
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers find engine_work there
        with running(RAY, {}) as engine:
            assert isinstance(engine, Ray)
            engine.library()
            folder = engine._folder
            assert folder is not None
            assert Path(folder).is_dir()
            yield engine
        assert not Path(folder).exists()


# ---- Map -------------------------------------------------------------------------------------------------------------


def test_several_processes_answer_in_the_order_of_the_parts(ray: Ray) -> None:
    found = list(ray.map(from_where, range(20)))
    assert [part for part, _ in found] == list(range(20))
    assert len({process for _, process in found} - {os.getpid()}) == WORKERS


def test_few_parts_are_taken_before_their_turn(ray: Ray) -> None:
    """However many there are, so that memory is bounded."""
    taken: list[int] = []

    def parts() -> Iterator[int]:
        for part in range(40):
            taken.append(part)
            yield part

    ahead = [len(taken) - part for part, _ in ray.map(from_where, parts())]
    assert max(ahead) <= WORKERS * AHEAD + 1
    assert max(ahead) > 1  # the twin: one at a time would keep no second worker busy


def test_an_error_of_a_worker_is_the_error_of_one_process(ray: Ray) -> None:
    said = []
    for engine in (Local(), ray):
        with pytest.raises(DataError) as caught:
            list(engine.map(refused, range(9)))
        said.append((str(caught.value), caught.value.exit_code))
    assert said[0] == said[1] == ("part 3: expected rows, found none; restore it", 3)
    with pytest.raises(ZeroDivisionError):
        list(ray.map(divided_by, [1, 0]))


def test_a_part_whose_worker_was_killed_is_done_again_and_stdout_stays_data(
    ray: Ray, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = [str(tmp_path / "first"), str(tmp_path / "second")]
    assert list(ray.map(killed_once, flags)) == flags
    with pytest.raises(ServiceError, match=f"a worker of Ray was lost {RETRIES + 1} times") as caught:
        list(ray.map(killed_always, [1]))
    assert caught.value.exit_code == 7
    assert capfd.readouterr().out == ""


def test_nothing_is_reported_nothing_is_left_at_home_and_no_stranger_joins(ray: Ray) -> None:
    names = ["RAY_USAGE_STATS_ENABLED", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"]
    [(reports, mode, key)] = ray.map(variables, [names])
    assert (reports, mode) == ("0", "token")
    assert key is not None
    assert len(key) == 64
    assert list(Path.home().iterdir()) == []


@pytest.mark.parametrize(("items", "workers", "sizes"), [(10, 1, [10]), (10, 2, [1, 1, 1, 2] * 2), (3, 2, [1, 1, 1])])
def test_items_are_divided_without_a_rest(items: int, workers: int, sizes: list[int]) -> None:
    engine: Engine = Local() if workers == 1 else Ray(RAY, {})
    found = divided(range(items), engine)
    assert [len(each) for each in found] == sizes
    assert [item for each in found for item in each] == list(range(items))
    nothing: list[int] = []
    assert sum(map(len, divided(nothing, engine))) == 0


# ---- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"engine": {"name": "dask"}}, "engine.name: expected 'local' or 'ray', found 'dask'"),
        ({"engine": {"machines": 3}}, "engine.machines: unknown key"),
        ({"engine": {"address": "head:6379"}}, "engine: expected no address where name is local, found 'head:6379'"),
        ({"engine": {"name": "ray", "address": "ray://head:10001"}}, "engine.address: "),
        (
            {"engine": {"name": "ray", "workers": 2}, "train": {"torch_mlp": {"workers": 4}}},
            "train.torch_mlp.workers: expected at most engine.workers, 2, found 4",
        ),
    ],
)
def test_an_engine_that_cannot_be_is_refused_before_it_starts(sections: dict[str, Any], said: str) -> None:
    assert parse(raw_params()).engine == EngineParams()
    with pytest.raises(ConfigurationError) as caught:
        parse({**raw_params(), **sections})
    assert said in str(caught.value)


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def test_a_cluster_that_is_not_there_is_a_service_that_failed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    shutil.rmtree(place / "log/drift", ignore_errors=True)
    engine_of(place, f"{{name: ray, address: {address!r}}}")
    assert main(drift_arguments(place)) == 7
    assert f"engine: expected a cluster of Ray at {address}, found none" in capsys.readouterr().err


def test_without_ray_the_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        running(RAY, {}) as engine,
        pytest.raises(ConfigurationError, match=r"engine\.name: ray needs ray, which is not"),
    ):
        list(engine.map(from_where, [1]))


# ---- The drift check -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three weeks in many files, one of them copied, and the last week moved."""
    root = tmp_path_factory.mktemp("logged")
    log = Log(root / "log", model_folder(root / "model"))
    for number in range(3):
        values, scores = drawn(3000, number)
        if number == 2:
            values[:, 0] += 4
        [first, *_] = log.add(START + number * WEEK, (values, scores), files=5)
        copied = root / "log" / first
        shutil.copy(copied, copied.with_name(f"again-{copied.name}"))
    return root


@pytest.fixture
def place(logged: Path, tmp_path: Path) -> Path:
    shutil.copytree(logged, tmp_path / "place")
    return tmp_path / "place"


def engine_of(root: Path, engine: str) -> None:
    (root / "params.yaml").write_text(f"{replayed.PARAMS}engine: {engine}\n", encoding="utf-8")


def drift_arguments(root: Path) -> list[str]:
    until = f"{START + 3 * WEEK:%Y-%m-%d}"
    return ["--root", str(root), "drift", "--candidate", "model", "--keep", "--log", "log", "--until", until]


def records(store: FolderLog, folder: str) -> dict[str, bytes]:
    return {key: store.read(key) for key in store.keys(folder)}


def drifted(root: Path, engine: str) -> dict[str, bytes]:
    """The records that a check leaves."""
    shutil.rmtree(root / "log/drift", ignore_errors=True)
    engine_of(root, engine)
    assert main(drift_arguments(root)) in (0, 5)
    return records(FolderLog("log", root / "log"), "drift/")


def test_drift_of_several_workers_is_that_of_one_to_the_last_bin(
    ray: Ray, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, spread = drifted(place, "{name: local}"), drifted(place, "{name: ray}")
    assert len(local) == 3
    aside = [json.loads(each)["apart"] for each in local.values()]
    assert [each["duplicates"] + each["duplicate_files"] > 0 for each in aside] == [True] * 3  # copies were found
    assert spread == local
    # the twin: a part that gets lost
    monkeypatch.setattr(engines, "divided", lambda items, engine: divided(items, engine)[:-1])
    assert drifted(place, "{name: ray}") != local


def test_the_command_joins_a_cluster_that_is_there(ray: Ray, place: Path) -> None:
    local = drifted(place, "{name: local}")
    shutil.rmtree(place / "log/drift")
    engine_of(place, "{name: ray, address: 'nowhere:1'}")  # the variable comes first
    address = ray.library().get_runtime_context().gcs_address
    command = [sys.executable, "-m", "mergeline", *drift_arguments(place)]
    done = subprocess.run(
        command, env={**os.environ, "RAY_ADDRESS": address}, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 5), done.stderr
    assert records(FolderLog("log", place / "log"), "drift/") == local


# ---- The label join --------------------------------------------------------------------------------------------------


def test_labels_joined_by_several_workers_give_the_bytes_of_one(
    ray: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = replayed.repository(tmp_path / "repository")
    replayed.released(root, replayed.model("old"), replayed.evaluation())
    plain = FolderLog("log", root / "log")
    for number in range(2):
        given = replayed.asked(replayed.FIRST + 7 * number * replayed.DAY, 7, 1500, number)
        replayed.put_predictions(plain, given, replayed.model("old").sha256)
        replayed.put_labels(plain, given, range(1000), name=f"early-{number}")
        replayed.put_labels(plain, given, range(500, 1500), after_days=4, name=f"late-{number}")

    def joined(engine: str) -> dict[str, bytes]:
        shutil.rmtree(root / "log/performance", ignore_errors=True)
        (root / "params.yaml").write_text(f"{replayed.PARAMS}engine: {engine}\n", encoding="utf-8")
        performance(root, "log", now=replayed.FIRST + 21 * replayed.DAY, environment={}, output=tmp_path / "out")
        return records(plain, "performance/")

    local = joined("{name: local}")
    assert len(local) == 3
    assert joined("{name: ray}") == local

    def losing(self: Ray, function: Any, parts: Any) -> Iterator[Any]:
        found = list(whole(self, function, parts))
        return iter(found[:-1] if isinstance(function, partial) and "_labels_of" in str(function.func) else found)

    whole = Ray.map
    monkeypatch.setattr(Ray, "map", losing)  # the twin: a file of labels that gets lost
    assert joined("{name: ray}") != local


def test_a_log_on_s3_travels_without_its_connection() -> None:
    import pickle

    store = open_log("s3://bucket/prefix", Path("root"))
    again = pickle.loads(pickle.dumps(store))
    assert isinstance(again, S3Log)
    assert (again.url, again.bucket, again.prefix) == ("s3://bucket/prefix", "bucket", "prefix/")


# ---- Training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def season() -> tuple[Fitting, Rows]:
    """A part of the real sample to fit on, and its newest fifth as the holdout."""
    from mergeline.params import load

    settings = load(SAMPLE_PARAMS)
    months = sorted(SAMPLE.glob("*.parquet"))[:3]
    table = pd.concat([pd.read_parquet(path) for path in months]).dropna(subset=["late"]).iloc[::8]
    table = table.sort_values("scheduled_departure").reset_index(drop=True)
    features = fit_features(table, settings.data, settings.train.preprocessing)
    names = classes(table, settings.data)
    whole = Rows(encode(table, features), encode_target(table, settings.data, names))
    parts = [
        Rows(whole.matrix[some], whole.target[some]) for some in (slice(0, 7000), slice(7000, 8000), slice(8000, None))
    ]
    network = {"workers": WORKERS, "epochs": 6, "learning_rate": 0.003, "batch_rows": 250}
    train = params(train={"family": "torch_mlp", "seed": 7, "torch_mlp": network}).train
    problem = Problem(Task.BINARY, 2, features)
    return Fitting(problem, parts[0], parts[1], None, train, lambda step: None), parts[2]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As each worker has, so that sums come in the same order."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scores(fitting: Fitting, rows: Rows) -> Any:
    return fitter("torch_mlp")(fitting).predict(rows.matrix)[:, 1]


def alone(fitting: Fitting) -> Fitting:
    """The same fit of one worker."""
    network = fitting.params.torch_mlp.model_copy(update={"workers": 1})
    return replace(fitting, params=fitting.params.model_copy(update={"torch_mlp": network}))


def test_a_network_of_several_processes_is_as_good_as_one_process_makes_it(
    ray: Ray, season: tuple[Fitting, Rows]
) -> None:
    fitting, holdout = season
    apart = scores(replace(fitting, gang=ray.gang), holdout)
    np.testing.assert_allclose(apart, scores(fitting, holdout), atol=1e-6)  # the parts one after another
    usual = delong(holdout.target, scores(alone(fitting), holdout))
    assert usual.low < usual.estimate < usual.high
    assert usual.low <= delong(holdout.target, apart).estimate <= usual.high
    assert usual.low > 0.6  # the twin: an interval that holds everything would say nothing


def whole_steps(fitting: Fitting, workers: int) -> Fitting:
    """All rows in every step and no dropout, so that nothing is left to chance but how the network begins."""
    network = fitting.params.torch_mlp.model_copy(
        update={"workers": workers, "batch_rows": 10_000, "dropout": 0.0, "epochs": 3}
    )
    return replace(fitting, params=fitting.params.model_copy(update={"torch_mlp": network}))


def test_the_parts_of_a_step_bring_the_gradient_of_all_its_rows(
    season: tuple[Fitting, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mergeline.models import torch_training

    fitting, holdout = season
    found = {workers: scores(whole_steps(fitting, workers), holdout) for workers in (1, 2, 3)}
    for workers in (2, 3):
        np.testing.assert_allclose(found[workers], found[1], atol=1e-4)
    backward = torch_training._Learner.backward  # the twin: what one part brings gets lost

    def losing(self: Any, step: int) -> None:
        if self._number:
            backward(self, step)

    monkeypatch.setattr(torch_training._Learner, "backward", losing)
    assert np.abs(scores(whole_steps(fitting, 3), holdout) - found[1]).max() > 1e-4


class Planted:
    """A gang whose processes do something else first."""

    def __init__(self, gang: Gang, plant: Callable[[], None]) -> None:
        self._gang, self._plant = gang, plant
        self.host = gang.host

    def run(self, function: Callable[[Any], Any], parts: Callable[[], Sequence[Any]]) -> list[Any]:
        return self._gang.run(partial(planted, self._plant, function), parts)


def test_processes_that_do_not_add_up_their_gradients_are_found_out(ray: Ray, season: tuple[Fitting, Rows]) -> None:
    fitting, holdout = season
    apart = replace(fitting, rounds=1, tuning=None, gang=Planted(ray.gang, keep_gradients_apart))
    with pytest.raises(VerificationError, match="expected 2 processes to learn the same network, found different ones"):
        scores(apart, holdout)


def test_a_loss_that_is_scaled_otherwise_gives_another_network(ray: Ray, season: tuple[Fitting, Rows]) -> None:
    fitting, holdout = season
    short = replace(fitting, rounds=1, tuning=None)
    found = scores(replace(short, gang=Planted(ray.gang, weigh_each_part_as_the_whole)), holdout)
    assert np.abs(found - scores(short, holdout)).max() > 1e-6


def test_a_gang_that_loses_a_process_begins_anew(ray: Ray, tmp_path: Path) -> None:
    given = []

    def parts() -> list[str]:
        given.append(1)
        return [str(tmp_path / "flag"), str(TEMPLATE)]

    assert ray.gang.run(killed_once, parts) == parts()
    assert len(given) == 3
    with pytest.raises(ServiceError, match=f"a worker of Ray was lost in {RETRIES} attempts"):
        ray.gang.run(killed_always, lambda: [1, 2])


def test_an_error_of_one_process_ends_the_others(ray: Ray) -> None:
    for _ in range(2):  # the second has no room before the first is gone
        with pytest.raises(DataError, match="part 3"):
            ray.gang.run(refused_or_waiting, lambda: [3, 1])
    assert ray.gang.run(refused_or_waiting, lambda: [4, 5]) == [4, 5]


def test_more_workers_than_rows_are_refused(season: tuple[Fitting, Rows]) -> None:
    fitting, _ = season
    few = Rows(fitting.training.matrix[:1], fitting.training.target[:1])
    with pytest.raises(ConfigurationError, match=r"train\.torch_mlp\.workers: expected at most one a row, found 2"):
        fitter("torch_mlp")(replace(fitting, training=few))
