"""The arithmetic of the benchmarks; what they measure is not tested."""

from __future__ import annotations

import ast
import http.client
import importlib
import json
import pkgutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.findings import Goal, Section
from benchmarks.machine import Machine
from benchmarks.measurement import FailedCommandError, Summary, Usage, alternate, difference, ratio, run
from benchmarks.pipeline.scratch import Scratch
from benchmarks.rehearsal.retrain import PullRequest, by_job, seconds
from benchmarks.serving import load, servers
from benchmarks.serving.load import Bodies, Loaded, parsed
from benchmarks.serving.noise import interval_of_median
from benchmarks.serving.running import PORT, Contender, started
from benchmarks.serving.soak import Sample, fifths
from repositories import TEMPLATE


def test_the_median_ratio_is_of_paired_runs_and_not_of_medians() -> None:
    ours, peers = [1.0, 20.0, 3.0], [1.0, 10.0, 1.0]  # the second pair met a busy machine
    assert ratio(ours, peers) == Summary(median=2.0, low=1.0, high=3.0)
    assert Summary.of(ours).median / Summary.of(peers).median == 3.0


def test_runs_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="zip"):
        difference([1.0], [1.0, 2.0])


def test_an_even_number_of_runs_has_the_mean_of_the_middle_two() -> None:
    assert Summary.of([4.0, 1.0, 2.0, 100.0]) == Summary(median=3.0, low=1.0, high=100.0)


def test_contenders_take_turns() -> None:
    order: list[str] = []
    found = alternate(2, {"a": lambda: order.append("a"), "b": lambda: order.append("b")})
    assert order == ["a", "b", "a", "b"]
    assert {name: len(each) for name, each in found.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("median", "limit", "met", "share"),
    [
        pytest.param(0.8, 0.8, True, 1.0, id="at the limit"),
        pytest.param(1.2, 0.8, False, 1.5, id="over it"),
        pytest.param(0.0, 0.0, True, None, id="nothing, where nothing is allowed"),
        pytest.param(1.0, 0.0, False, None, id="something, where nothing is allowed"),
        pytest.param(-0.01, 0.002, True, -5.0, id="better than the peer"),
    ],
)
def test_a_goal_is_met_by_the_median(median: float, limit: float, met: bool, share: float | None) -> None:
    goal = Goal("goal", limit, "s", Summary(median, median - 1, median + 1))
    assert goal.met is met
    assert goal.share == (None if share is None else pytest.approx(share))
    assert ("missed" in goal.cells()[0]) is not met


@pytest.mark.parametrize(
    ("median", "met"),
    [
        pytest.param(150.0, True, id="at the limit"),
        pytest.param(149.9, False, id="below it"),
        pytest.param(200.0, True, id="above it"),
    ],
)
def test_a_goal_may_be_the_least_that_is_wanted(median: float, met: bool) -> None:
    goal = Goal("goal", 150.0, "x", Summary.of([median]), is_least=True)
    assert goal.met is met
    assert goal.cells()[3] == "at least 150.0 x"
    assert Goal("goal", 150.0, "x", Summary.of([median])).cells()[3] == "at most 150.0 x"


def test_results_from_before_goals_had_a_direction_can_be_read() -> None:
    summary = Summary(1.0, 0.5, 2.0)
    machine = Machine("2013-01-01", "a processor", 2, 8.0, "Linux", "3.11.0", {})
    goal = Goal("goal", 1.0, "s", summary)
    section = Section("name", "Title", machine, (0.5, 1.0), (summary, summary), (), (), (goal,), {})
    raw = section.as_dict()
    del raw["figures"], raw["goals"][0]["is_least"]
    assert Section.from_dict(raw) == section


def test_what_is_written_reads_back() -> None:
    summary = Summary(1.0, 0.5, 2.0)
    machine = Machine("2013-01-01", "a processor", 2, 8.0, "Linux", "3.11.0", {"dvc": "3.67.0"})
    goals = (Goal("goal", 1.0, "s", summary), Goal("other", 1.0, "s", summary, is_least=True))
    usages, figures = {"one": [Usage(1.0, 2.0, 3.0)]}, {"two": [{"per_s": 4.0}]}
    section = Section("name", "Title", machine, (0.5, 1.0), (summary, summary), ("note",), (), goals, usages, figures)
    assert Section.from_dict(json.loads(json.dumps(section.as_dict()))) == section


def test_a_command_is_charged_for_its_own_processor_time_and_memory(tmp_path: Path) -> None:
    used, text = run([sys.executable, "-c", "print(len(bytearray(10**8)))"], tmp_path, {})
    assert text == "100000000\n"
    assert used.peak_mb > 95
    assert used.cpu_s > 0
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(FailedCommandError, match="exit code 3\nno more"):
        run([sys.executable, "-c", "import sys; sys.exit(print('no more') or 3)"], tmp_path, {})


# ---- The server ------------------------------------------------------------------------------------------------------


def test_the_median_lies_between_two_runs_95_times_in_100() -> None:
    values = [float(value) for value in range(1, 16)]
    assert interval_of_median(values) == (4.0, 12.0)  # of 15, P(fewer than 4 heads or tails) = 0.0352, than 5 = 0.1185
    assert interval_of_median(values[::-1]) == (4.0, 12.0)


def test_five_runs_do_not_say_where_the_median_lies() -> None:
    assert interval_of_median([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert interval_of_median([]) is None


def test_a_load_is_what_the_last_line_says() -> None:
    text = 'Running 2s test\n{"requests": 10, "seconds": 2.0, "failed": 3, "p50_ms": 1.0, "p99_ms": 2.0}\n'
    assert parsed(text, cpu_s=0.001) == Loaded(per_s=5.0, p50_ms=1.0, p99_ms=2.0, cpu_us=100.0, requests=10, failed=3)


def test_a_server_that_ends_before_it_is_ready_is_no_measurement(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit(print('no model') or 6)")
    contender = Contender("ours", command, {}, "/readyz", "/predict", "rows", None)
    with pytest.raises(FailedCommandError, match="never ready\nno model"), started(contender, tmp_path, tmp_path):
        pass


SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b"{}")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def test_a_server_is_ready_when_it_says_so_and_ended_in_the_end(tmp_path: Path) -> None:
    command = (sys.executable, "-c", SERVER, PORT)
    contender = Contender("ours", command, {}, "/readyz", "/predict", "rows", None)
    with started(contender, tmp_path, tmp_path) as running:
        assert running.ready_s > 0
        assert running.get("/readyz") == {}
        with pytest.raises(http.client.HTTPException, match="404"):
            running.get("/predict")
    assert running.process.returncode == -signal.SIGTERM


WORKING = """
import http.server, sys, threading, time
state = {"left": float(sys.argv[2])}
def work():
    while time.process_time() < state["left"]:
        pass
    state["done"] = True
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/work":
            threading.Thread(target=work, daemon=True).start()
        self.send_response(200 if self.path != "/done" or "done" in state else 404)
        self.end_headers()
        self.wfile.write(b"{}")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def test_a_turn_ends_when_the_server_has_done_what_its_clients_left_it_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "BUSY", 0.05)  # beside other tests it may get a small part of a core
    contender = Contender("slow", (sys.executable, "-c", WORKING, PORT, "1.5"), {}, "/readyz", "/predict", "rows", None)
    with started(contender, tmp_path, tmp_path) as running:
        running.get("/work")
        with pytest.raises(http.client.HTTPException, match="404"):  # the clients are gone, the work is not
            running.get("/done")
        load.rest(running)
        assert running.get("/done") == {}


def test_a_server_that_never_rests_is_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "BUSY", 0.05)
    monkeypatch.setattr(load, "LONGEST_REST_S", 2.0)  # a server at rest is let go after 0.3 s
    contender = Contender("slow", (sys.executable, "-c", WORKING, PORT, "60"), {}, "/readyz", "/predict", "rows", None)
    with started(contender, tmp_path, tmp_path) as running:
        running.get("/work")
        with pytest.raises(FailedCommandError, match="slow: still at work"):
            load.rest(running)


HOLDING = """
import http.server, json, mmap, sys
own = b"x" * 50_000_000
with open("file", "wb") as file:
    file.write(b"x" * 20_000_000)
with open("file", "rb") as file:
    shared = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
read = sum(shared[::4096])
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"log": {"dropped_rows": int(sys.argv[2])}}).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def holding(dropped_rows: int = 0) -> Contender:
    command = (sys.executable, "-c", HOLDING, PORT, str(dropped_rows))
    return Contender("holding", command, {}, "/readyz", "/predict", "rows", None)


def test_what_a_server_has_of_a_file_is_resident_and_not_its_own(tmp_path: Path) -> None:
    with started(holding(), tmp_path, tmp_path) as running:
        resident, own = running.memory_mb(), running.own_mb()
    assert own > 50
    assert resident - own > 20


@pytest.mark.parametrize("dropped_rows", [0, 3])
def test_a_turn_whose_log_dropped_rows_is_no_measurement(
    dropped_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Loaded(per_s=1.0, p50_ms=1.0, p99_ms=1.0, cpu_us=1.0, requests=1, failed=0)
    monkeypatch.setattr(servers, "load", lambda *arguments, **named: loaded)
    turn = servers.alone(holding(dropped_rows), Scratch(tmp_path), tmp_path, {1: Bodies(tmp_path, 1)})
    if dropped_rows:
        with pytest.raises(FailedCommandError, match="holding: 3 rows of the log were dropped"):
            turn()
    else:
        assert turn() is loaded


def sample(answered: int, memory_mb: float) -> Sample:
    return Sample(at_s=answered / 10, answered=answered, written=0, dropped=0, queued=0, memory_mb=memory_mb)


def test_a_soak_compares_memory_by_the_fifth_of_the_requests() -> None:
    parts = fifths([sample(answered, float(answered)) for answered in range(10, 110, 10)])
    assert [[each.answered for each in part] for part in parts] == [[10, 20], [30, 40], [50, 60], [70, 80], [90, 100]]


def test_a_soak_that_was_hardly_looked_at_is_no_measurement() -> None:
    with pytest.raises(FailedCommandError, match="2 looks"):
        fifths([sample(10, 1.0), sample(100, 1.0)])


# ---- The pull request ------------------------------------------------------------------------------------------------


def rehearsed(**ended: str) -> dict[str, Any]:
    """What the runner of the workflows reports."""
    jobs = {name: {"result": result, "seconds": 2.0, "said": f"{name} said it"} for name, result in ended.items()}
    return {"errors": [], "jobs": jobs}


def test_a_pull_request_is_the_sum_of_jobs_that_all_ended_well() -> None:
    assert seconds(rehearsed(train="success", gate="success")) == {"train": 2.0, "gate": 2.0}
    table = by_job([{"train": 3.0}, {"train": 1.0}, {"train": 2.0}])
    assert table.rows == (("train", "2.00", "1.00 to 3.00"),)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (rehearsed(train="success", gate="failure"), "gate: failure\ngate said it"),
        (rehearsed(train="success", report="skipped", gate="success"), "report: skipped"),
        ({"errors": ["not a workflow"], "jobs": {}}, "not a workflow"),
        ({"errors": [], "jobs": {}}, "no job ran"),
    ],
    ids=["a red gate", "a job that was left out", "what GitHub does not accept", "nothing"],
)
def test_a_pull_request_that_does_not_get_to_a_green_gate_is_no_measurement(report: dict[str, Any], said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        seconds(report)


def test_a_rehearsal_runs_the_clones_own_commands_with_nothing_set_up(tmp_path: Path) -> None:
    plan = PullRequest(Scratch(tmp_path), tmp_path / "origin.git", "a" * 40).plan(tmp_path, "http://127.0.0.1:9")
    assert plan["mergeline"].endswith(" -m mergeline")
    assert plan["payload"]["pull_request"]["head"]["sha"] == "a" * 40
    assert not {"vars", "secrets", "given"} & plan.keys()
    assert plan["environment"]["HOME"].startswith(str(tmp_path))


# ---- What they take from the package ---------------------------------------------------------------------------------


def gone(program: str) -> list[str]:
    """The names that a program imports from the package, and the package does not have."""
    missing = []
    for each in ast.walk(ast.parse(program)):
        if isinstance(each, ast.ImportFrom) and (each.module or "").partition(".")[0] == "mergeline":
            module = importlib.import_module(str(each.module))
            names = [found.name for found in each.names if not hasattr(module, found.name)]
            submodules = {found.name for found in pkgutil.iter_modules(getattr(module, "__path__", ()))}
            missing += [name for name in names if name not in submodules]
    return missing


@pytest.mark.parametrize(
    "file", sorted((TEMPLATE / "benchmarks").rglob("*.py")), ids=lambda file: "/".join(file.parts[-2:])
)
def test_every_name_that_a_benchmark_takes_from_the_package_is_there(file: Path) -> None:
    assert gone(file.read_text(encoding="utf-8")) == []


def test_twin_a_name_that_is_not_there_is_found() -> None:
    program = "from mergeline import heap, errors\nfrom mergeline.commands.serve import settings_of, options_of\n"
    assert gone(program) == ["options_of"]
