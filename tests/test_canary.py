"""`mergeline canary` before two real servers, while clients ask: to the end, or back to where it was."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from planted_candidate import planted
from servers import JSON, PATIENCE_S, PROBLEM, Released, Reply, Server, ask, command, environment, release, requests_of
from servers import run as run_command
from tables import orders, params

from mergeline.canary.template import TEMPLATE

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

ROOT = Path(__file__).parents[1]
QUICK = ("--interval", "0.4", "--patience", "60")
CLIENTS = 3
MODELS = ("stable", "candidate")


@pytest.fixture(scope="module")
def old(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return release(tmp_path_factory.mktemp("canary"), candidate, "old")


@pytest.fixture(scope="module")
def new(old: Released) -> Released:
    """A model of other rows of the same kind, in the same store."""
    from mergeline.stages.train import train

    return release(old.root, train(orders(seed=8), params()), "new")


@pytest.fixture(scope="module")
def rows(old: Released) -> list[dict[str, Any]]:
    return requests_of(orders(400, seed=5), old.signature)


@pytest.fixture(scope="module")
def stable(old: Released) -> Iterator[Server]:
    with planted(old, plant=["quick"]) as server:
        yield server


@pytest.fixture(scope="module")
def fresh(new: Released) -> Iterator[Server]:
    """A candidate that no test asks for predictions."""
    with planted(new, plant=["quick"]) as server:
        yield server


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with a limit of latency that a busy machine does not reach."""
    text = (ROOT / TEMPLATE).read_text(encoding="utf-8")
    assert text.count("{# <= 2}") == text.count("{# > 2}") == 1
    path = tmp_path_factory.mktemp("template") / "patient.yaml"
    path.write_text(text.replace("{# <= 2}", "{# <= 200}").replace("{# > 2}", "{# > 200}"), encoding="utf-8")
    return path


# ---- A canary and its clients ----------------------------------------------------------------------------------------


@dataclass
class Canary:
    """A running `mergeline canary`, what it said, and where its record will be."""

    process: subprocess.Popen[bytes]
    stderr: Path
    path: Path

    @property
    def said(self) -> str:
        return self.stderr.read_text(encoding="utf-8")

    @property
    def port(self) -> int:
        self.wait_for(" splits between ")
        return int(self.said.split(" splits between ")[0].rpartition(":")[2])

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return found

    def wait_for(self, text: str) -> None:
        """Return once it has said something."""
        ended = threading.Event()
        for _ in range(int(PATIENCE_S / 0.02)):
            if text in self.said:
                return
            assert self.process.poll() is None, f"ended with {self.process.poll()}: {self.said}"
            ended.wait(0.02)
        pytest.fail(f"not said in {PATIENCE_S} s: {text}\n{self.said}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def ask(self, path: str, body: Any = None, headers: Mapping[str, str] = JSON) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            return ask(connection, path, body, headers=headers)
        finally:
            connection.close()


@contextmanager
def canary(place: Path, stable: str, candidate: str, *options: str) -> Iterator[Canary]:
    """A canary on a free port; what is left of it in the end is killed."""
    line = command(ROOT, "canary", "--stable", stable, "--candidate", candidate, "--port", "0", *options)
    record, stderr = place / "record.json", place / "canary.stderr"
    with stderr.open("wb") as file:
        process = subprocess.Popen([*line, "--record", str(record)], env=environment(), stderr=file)
    try:
        yield Canary(process, stderr, record)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@dataclass
class Clients:
    """What clients were answered: statuses, the model that answered, and what was no answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)


@contextmanager
def asking(port: int, rows: list[dict[str, Any]]) -> Iterator[Clients]:
    """Clients that ask without a pause, in the background, for entities that come again."""
    clients, over = Clients(), threading.Event()

    def client(number: int) -> None:
        chance = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        while not over.is_set():
            entity = f"customer-{chance.randrange(500)}"
            body = {"rows": [{"features": row, "entity_id": entity} for row in chance.sample(rows, 10)]}
            try:
                reply = ask(connection, "/predict", body)
            except (OSError, http.client.HTTPException) as err:
                clients.lost.append(repr(err))
                connection.close()
                continue
            clients.statuses[reply.status] += 1
            if reply.status == 200:
                clients.models[reply.json["predictions"][0]["model_sha256"]] += 1
        connection.close()

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE_S)


def failed_in(record: Mapping[str, Any]) -> set[str]:
    """The metrics of which a measurement failed."""
    measurements = [each for step in record["steps"] for each in step["measurements"]]
    return {each["metric"] for each in measurements if each["phase"] == "failed"}


# ---- To the end ------------------------------------------------------------------------------------------------------


def test_a_good_candidate_gets_all_of_the_traffic_in_steps_and_every_client_an_answer(
    stable: Server, new: Released, old: Released, rows: list[dict[str, Any]], patient: Path, tmp_path: Path
) -> None:
    with (
        planted(new, plant=["quick"]) as server,
        canary(tmp_path, stable.url, server.url, *QUICK, "--template", str(patient), "--stay") as moving,
        asking(moving.port, rows) as clients,
    ):
        moving.wait_for("serving on until a signal")
        before = clients.models[new.sha256]
        server.wait_until("asked on", lambda: clients.models[new.sha256] > before + 20)
        assert moving.ask("/readyz").json["model_sha256"] == new.sha256
        record = moving.record
    assert (record["outcome"], record["metric"]) == ("promoted", None)
    assert [(step["share"], step["decision"]) for step in record["steps"]] == [
        (5, "promote"),
        (25, "promote"),
        (50, "promote"),
    ]
    assert {each["metric"] for each in record["steps"][2]["measurements"]} == {
        *("success-rate", "refusals", "latency", "score-drift")
    }
    assert clients.lost == []
    assert set(clients.statuses) == {200}
    assert set(clients.models) == {old.sha256, new.sha256}
    assert record["stable"]["answered"] > record["candidate"]["answered"] > 0
    assert record["unanswered"] == 0


# ---- And back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plant", "metric", "statuses"),
    [
        ("erring", "success-rate", {200, 500}),
        ("refusing", "refusals", {200, 422}),
        ("slow", "latency", {200}),
        ("moved-scores", "score-drift", {200}),
    ],
)
def test_a_candidate_that_does_worse_gets_nothing_any_more_and_the_metric_is_named(
    plant: str,
    metric: str,
    statuses: set[int],
    stable: Server,
    new: Released,
    old: Released,
    rows: list[dict[str, Any]],
    patient: Path,
    tmp_path: Path,
) -> None:
    template = ROOT / TEMPLATE if plant == "slow" else patient
    options = (*QUICK, "--steps", "50,100", "--template", str(template), "--stay")
    with (
        planted(new, plant=["quick", plant]) as server,
        canary(tmp_path, stable.url, server.url, *options) as moving,
        asking(moving.port, rows) as clients,
    ):
        moving.wait_for("serving on until a signal")
        before = dict(clients.models)
        server.wait_until("asked on", lambda: clients.models[old.sha256] > before[old.sha256] + 50)
        during = clients.models[new.sha256] - before.get(new.sha256, 0)
        code = moving.stop()
    assert code == 5
    assert f"mergeline: canary: {metric} failed at 50 % (" in moving.said
    assert (moving.record["outcome"], moving.record["metric"]) == ("rolled back", metric)
    assert failed_in(moving.record) == {metric}
    assert clients.statuses.keys() == statuses
    assert during <= CLIENTS  # what was on its way when the share moved


def test_a_candidate_that_dies_is_an_error_of_its_own_and_no_client_notices(
    stable: Server, new: Released, rows: list[dict[str, Any]], patient: Path, tmp_path: Path
) -> None:
    options = (*QUICK, "--steps", "50,100", "--template", str(patient), "--stay")
    with (
        planted(new, plant=["quick"]) as server,
        canary(tmp_path, stable.url, server.url, *options) as moving,
        asking(moving.port, rows) as clients,
    ):
        server.wait_until("is asked", lambda: clients.models[new.sha256] > 10)
        server.process.kill()
        moving.wait_for("serving on until a signal")
        assert moving.stop() == 5
    assert moving.record["metric"] == "success-rate"
    assert moving.record["unanswered"] > 0
    assert set(clients.statuses) == {200}


def test_a_candidate_without_traffic_never_passes(stable: Server, new: Released, patient: Path, tmp_path: Path) -> None:
    options = ("--interval", "0.1", "--patience", "0.5", "--template", str(patient))
    with planted(new, plant=["quick"]) as server, canary(tmp_path, stable.url, server.url, *options) as moving:
        assert moving.process.wait(PATIENCE_S) == 3
    assert "is undecided at 5 % after 0.5 s (no data)" in moving.said
    assert moving.record["outcome"] == "undecided"
    phases = {each["phase"] for each in moving.record["steps"][0]["measurements"]}
    assert phases == {"inconclusive"}
    assert moving.record["steps"][0]["pauses"] > 0


def test_a_candidate_whose_clients_go_around_the_canary_never_passes(
    stable: Server, new: Released, rows: list[dict[str, Any]], patient: Path, tmp_path: Path
) -> None:
    options = ("--steps", "50,100", "--interval", "0.4", "--patience", "5", "--template", str(patient))
    with (
        planted(new, plant=["quick"]) as server,
        canary(tmp_path, stable.url, server.url, *options) as moving,
    ):
        moving.wait_for("50 % to model")  # before that, a candidate with rows is refused
        with asking(server.port, rows), asking(stable.port, rows):
            assert moving.process.wait(PATIENCE_S) == 3
    step = moving.record["steps"][0]
    assert {each["metric"] for each in step["measurements"] if each["phase"] == "successful"} >= {"success-rate"}
    assert (moving.record["outcome"], moving.record["metric"]) == ("undecided", "traffic")
    assert "(answers through the canary: 0 of the stable server and 0 of the candidate server; 20" in moving.said


def test_a_candidate_that_comes_back_with_another_model_gets_nothing_any_more(
    stable: Server, old: Released, new: Released, tmp_path: Path
) -> None:
    with planted(new, plant=["quick"]) as server, canary(tmp_path, stable.url, server.url, *QUICK) as moving:
        moving.wait_for("5 % to model")
        port = str(server.port)
        server.stop()
        with planted(new, "--port", port, plant=["quick"]):  # the twin: it comes back as it was
            moving.wait_for("inconclusive")
            assert moving.process.poll() is None
        with planted(old, "--port", port, plant=["quick"]):
            assert moving.process.wait(PATIENCE_S) == 5
    assert (moving.record["outcome"], moving.record["metric"]) == ("rolled back", "model")
    assert f"back to 0 %: the candidate serves model {old.sha256[:12]} now" in moving.said


# ---- Who is asked ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halves(stable: Server, new: Released, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canary]:
    """A canary that stays at one half."""
    options = ("--steps", "50,100", "--key-header", "X-Client")
    with (
        planted(new, plant=["quick"]) as server,
        canary(tmp_path_factory.mktemp("halves"), stable.url, server.url, *options) as moving,
    ):
        moving.wait_for("50 % to model")
        yield moving


def model_for(moving: Canary, row: dict[str, Any], entity: str | None = None, client: str | None = None) -> str:
    body = {"rows": [{"features": row} | ({"entity_id": entity} if entity else {})]}
    reply = moving.ask("/predict", body, {**JSON, **({"X-Client": client} if client else {})})
    found: str = reply.predictions[0]["model_sha256"]
    return found


@pytest.mark.parametrize("key", ["entity", "client"])
def test_who_is_known_by_an_entity_or_a_header_keeps_to_one_server(
    key: str, halves: Canary, rows: list[dict[str, Any]], old: Released, new: Released
) -> None:
    names = [f"customer-{number}" for number in range(30)]
    first, again = ([model_for(halves, rows[0], **{key: name}) for name in names] for _ in range(2))
    assert first == again
    assert set(first) == {old.sha256, new.sha256}
    unknown = {model_for(halves, rows[0]) for _ in range(40)}  # the twin: without a key there is nothing to keep
    assert unknown == {old.sha256, new.sha256}


def test_all_but_predictions_is_the_stable_servers(halves: Canary, old: Released) -> None:
    assert {halves.ask("/readyz").json["model_sha256"] for _ in range(10)} == {old.sha256}
    assert halves.ask("/nowhere").status == 404


def test_what_a_server_refuses_stays_refused_with_its_own_words(halves: Canary) -> None:
    for body, status in ((b"{", 400), (b'{"rows": [{"features": {}}]}', 422), (b"[" * 5_000_000, 413)):
        reply = halves.ask("/predict", body)
        assert (reply.status, reply.media_type) == (status, PROBLEM)
        assert reply.headers["x-request-id"]


def test_a_packed_body_and_a_client_s_own_headers_reach_the_server_as_they_were_sent(halves: Canary) -> None:
    packed = gzip.compress(b'{"rows": []}')
    assert halves.ask("/predict", packed, {**JSON, "Content-Encoding": "gzip"}).status == 400  # it unpacks nothing
    assert halves.ask("/predict", b"{}", {"Content-Type": "text/plain"}).status == 415


def test_when_nobody_is_left_a_client_is_told_so(old: Released, fresh: Server, tmp_path: Path) -> None:
    with planted(old, plant=["quick"]) as first, canary(tmp_path, first.url, fresh.url) as moving:
        assert moving.ask("/readyz").status == 200
        first.process.kill()
        first.process.wait()
        reply = moving.ask("/readyz")
    assert (reply.status, reply.media_type) == (502, PROBLEM)


# ---- From the command line -------------------------------------------------------------------------------------------


def test_a_signal_takes_the_traffic_back_and_leaves_a_record(stable: Server, new: Released, tmp_path: Path) -> None:
    with planted(new, plant=["quick"]) as server, canary(tmp_path, stable.url, server.url) as moving:
        moving.wait_for("5 % to model")
        assert moving.stop() == 130
    assert moving.record["outcome"] == "interrupted"
    assert "back to 0 %: interrupted" in moving.said


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--steps", "5,25"), 2, "expected rising shares, at least one below the last, 100; found 5,25"),
        (("--steps", "100"), 2, "expected rising shares"),
        (("--steps", "50,25,100"), 2, "expected rising shares"),
        (("--interval", "0"), 2, "expected seconds above 0"),
        (("--template", "nowhere.yaml"), 2, "nowhere.yaml: no AnalysisTemplate that can be read"),
        (("--candidate", "ftp://host"), 2, "--candidate: expected http:// or https://, found 'ftp://host'"),
        (("--stable", "http://127.0.0.1:99999"), 2, "--stable: 'http://127.0.0.1:99999': Port out of range"),
        (("--candidate", "http://127.0.0.1:9"), 7, "the server does not answer"),
        (("--port", "{port}"), 2, "choose another --port"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(
    options: tuple[str, ...], code: int, said: str, stable: Server, fresh: Server
) -> None:
    words = [word.replace("{port}", str(stable.port)) for word in options]
    done = run_command(ROOT, "canary", "--stable", stable.url, "--candidate", fresh.url, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_candidate_that_scored_rows_before_is_refused_because_its_drift_would_be_of_them(
    stable: Server, new: Released, rows: list[dict[str, Any]]
) -> None:
    options = ("--stable", stable.url, "--port", "0", "--interval", "0.05", "--patience", "0.1")
    with planted(new, plant=["quick"]) as server:
        assert run_command(ROOT, "canary", *options, "--candidate", server.url).returncode == 3  # the twin
        server.predict(rows[:3])
        server.wait_until("counts", lambda: server.metric("mergeline_drift_rows", feature="score") == 3)
        done = run_command(ROOT, "canary", *options, "--candidate", server.url)
    assert done.returncode == 2
    assert "expected a server that scored nothing yet, found 3 rows" in done.stderr
    assert "start a fresh candidate" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_file_the_record_is_on_stdout(stable: Server, fresh: Server) -> None:
    options = ("--port", "0", "--interval", "0.05", "--patience", "0.1")
    done = run_command(ROOT, "canary", "--stable", stable.url, "--candidate", fresh.url, *options)
    assert done.returncode == 3
    assert json.loads(done.stdout)["outcome"] == "undecided"
