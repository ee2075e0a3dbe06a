"""The life of a server: it starts, serves under failures, ends in order, and what it logged is there exactly once."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from servers import (
    PATIENCE_S,
    Released,
    Server,
    ask,
    head,
    ids_in,
    is_ready,
    logged,
    release,
    reply_of,
    run,
    serving,
    started,
)

from mergeline.serve.server import JsonLines

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

SOAK = 5_000
CONNECTIONS = 4


@pytest.fixture(scope="module")
def released(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return release(tmp_path_factory.mktemp("life"), candidate)


@pytest.fixture
def row(released: Released) -> dict[str, Any]:
    return dict(released.signature.samples[0].row)


@pytest.fixture
def log(tmp_path: Path) -> tuple[str, ...]:
    """The option that gives a test's server a log of its own."""
    return "--log", str(tmp_path / "log")


def ids_of(connection: http.client.HTTPConnection, row: dict[str, Any], rows: int = 1) -> list[str]:
    """The request ids of an answer that must be good."""
    reply = ask(connection, "/predict", {"rows": [{"features": row}] * rows})
    return [each["request_id"] for each in reply.predictions]


def load(server: Server, row: dict[str, Any], requests: int) -> list[str]:
    """Ask so often over several connections; return the ids of all answers, none of which may fail."""

    def some(count: int) -> list[str]:
        with contextlib.closing(server.connect()) as connection:
            return [name for _ in range(count) for name in ids_of(connection, row)]

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        parts = list(pool.map(some, [requests // CONNECTIONS] * CONNECTIONS))
    return [name for part in parts for name in part]


# ---- The end ---------------------------------------------------------------------------------------------------------


def test_r10_sigterm_takes_it_out_of_service_while_it_answers_on(
    released: Released, row: dict[str, Any], log: tuple[str, ...], tmp_path: Path
) -> None:
    with serving(released.root, *released.options, *log, "--wait-seconds", "1.5") as server:
        with contextlib.closing(server.connect()) as open_before:
            ids = ids_of(open_before, row, 5)
            assert "connection" not in ask(open_before, "/healthz").headers
            server.signal(signal.SIGTERM)
            server.wait_until("not ready", lambda: not is_ready(server))
            reply = ask(open_before, "/predict", {"rows": [{"features": row}]})
            ids += [each["request_id"] for each in reply.predictions]
            assert reply.headers["connection"] == "close"  # so that its next request goes elsewhere
        ids += [server.predict([row])[0]["request_id"] for _ in range(3)]
        found = server.ask("/readyz")
        assert (found.status, found.json["status"]) == (503, "not ready")
        assert server.ask("/healthz").status == 200
        assert server.metric("mergeline_ready") == 0
        server.signal(signal.SIGTERM)  # once more changes nothing
        assert server.ended() == 0
        assert len(server.told("leaving")) == 1
        assert server.told("log flushed")[0]["written_rows"] == len(ids) == 9
    assert ids_in(logged(tmp_path / "log", "predictions")) == Counter(ids)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_r10_an_answer_under_way_is_finished_before_the_end(
    workers: str, released: Released, row: dict[str, Any], log: tuple[str, ...], tmp_path: Path
) -> None:
    body = json.dumps({"rows": [{"features": row}]}).encode()
    with serving(released.root, *released.options, *log, "--workers", workers) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
            connection.sendall(head("/predict", f"Content-Length: {len(body)}") + body[:10])
            server.wait_until("it reads", lambda: server.metric("mergeline_requests_running") == 1)
            server.signal(signal.SIGTERM)
            server.wait_until("closed to others", lambda: not _accepts(server))
            connection.sendall(body[10:])
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            [prediction] = reply_of(answer).predictions
        assert server.ended() == 0
    assert list(ids_in(logged(tmp_path / "log", "predictions"))) == [prediction["request_id"]]


def _accepts(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except OSError:
        return False
    return True


def test_r13_what_is_in_memory_is_lost_where_the_process_is_killed(
    released: Released, row: dict[str, Any], log: tuple[str, ...], tmp_path: Path
) -> None:
    """The twin of the flush at SIGTERM: the same count of the log's rows notices what is missing."""
    with serving(released.root, *released.options, *log) as server:
        ids = [each["request_id"] for each in server.predict([row] * 5)]
        server.signal(signal.SIGKILL)
        assert server.ended() == -signal.SIGKILL
    assert ids_in(logged(tmp_path / "log", "predictions")) != Counter(ids)


def test_an_interrupt_ends_it_at_once_and_flushes_the_log(
    released: Released, row: dict[str, Any], log: tuple[str, ...], tmp_path: Path
) -> None:
    with serving(released.root, *released.options, *log, "--wait-seconds", "600") as server:
        ids = [each["request_id"] for each in server.predict([row] * 5)]
        server.signal(signal.SIGINT)
        assert server.ended() == 130
    assert ids_in(logged(tmp_path / "log", "predictions")) == Counter(ids)


def test_an_interrupt_cuts_the_wait_after_sigterm_short(released: Released) -> None:
    options = ("--log", "none", "--wait-seconds", "600")
    with serving(released.root, *released.options, *options) as server:
        server.signal(signal.SIGTERM)
        server.wait_until("leaving", lambda: bool(server.told("leaving")))
        server.signal(signal.SIGINT)
        server.ended()


def test_sigterm_ends_a_server_that_is_still_loading(released: Released) -> None:
    """A pod that is deleted while it starts must not serve on until it is killed."""
    with started(released.root, *released.options, "--log", "none", plant=["slow-start"]) as server:
        server.wait_until("loading", lambda: bool(server.told("loading")))
        assert server.stop() in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        assert not server.told("ready")


def test_a_port_in_use_is_a_matter_of_configuration(released: Released) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(released.root, "serve", *released.options, "--log", "none", "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"mergeline: 127.0.0.1:{port}: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        (("--port", "65536"), {}),
        (("--port", "-1"), {}),
        (("--workers", "0"), {}),
        (("--host", "no.such.host.invalid"), {}),
        (("--log", "ftp://elsewhere"), {}),
        (("--share", "0.5"), {}),
        (("--shadow",), {}),
        ((), {"MERGELINE_WORKERS": "0"}),
        ((), {"MERGELINE_MAX_ROWS": "-1"}),
        ((), {"MERGELINE_CONCURRENCY": "0"}),
        ((), {"MERGELINE_MAX_BODY": "many"}),
        ((), {"MERGELINE_LOG_SHARE": "2"}),
    ],
)
def test_a_setting_that_cannot_be_ends_the_start_with_2(
    options: tuple[str, ...], variables: dict[str, str], released: Released
) -> None:
    port = () if "--port" in options else ("--port", "0")
    done = run(released.root, "serve", *released.options, *port, *options, **variables)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert '"ready"' not in done.stderr


def test_settings_come_from_the_environment_and_the_command_line_goes_before(
    released: Released, row: dict[str, Any]
) -> None:
    variables = {
        "MERGELINE_RELEASE": str(released.file),
        "MERGELINE_MAX_ROWS": "2",
        "MERGELINE_LOG": "none",
        "MERGELINE_CONCURRENCY": "9",
    }
    with serving(released.root, "--max-rows", "3", **variables) as server:
        assert server.ask("/readyz").json["model_sha256"] == released.sha256
        assert len(server.predict([row] * 3)) == 3
        assert server.ask("/predict", {"rows": [{"features": row}] * 4}).status == 413


# ---- What it writes --------------------------------------------------------------------------------------------------


def test_a_line_of_the_log_is_a_line_to_every_reader() -> None:
    breaks = "".join(chr(code) for code in (0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029))
    assert len(f"a{breaks}b".splitlines()) > 9
    record = logging.makeLogRecord({"name": "a", "msg": f"sent: {breaks}", "detail": breaks})
    [line] = JsonLines().format(record).splitlines()
    assert json.loads(line)["detail"] == breaks


def test_every_line_it_writes_is_json_and_a_failure_has_the_id_that_the_client_got(
    released: Released, row: dict[str, Any], log: tuple[str, ...]
) -> None:
    with serving(released.root, *released.options, *log, plant=["raising"]) as server:
        ids = {}
        for name, body, status in (
            ("bad", b"{", 400),
            ("inside", {"rows": [{"features": row, "entity_id": "e"}]}, 500),
            ("good", {"rows": [{"features": row}]}, 200),
        ):
            reply = server.ask("/predict", body)
            assert reply.status == status
            ids[name] = reply.headers["x-request-id"]
        with contextlib.closing(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)) as junk:
            junk.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
            assert b"400 Bad Request" in junk.recv(200)
        assert server.stop() == 0
        lines = server.lines
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert [line["message"] for line in lines if line.get("request_id") == ids["bad"]] == ["request"]
    assert [line["message"] for line in lines if line.get("request_id") == ids["inside"]] == [
        "a request failed",
        "request",
    ]
    assert not [line for line in lines if line.get("request_id") == ids["good"]]


def test_r13_rows_that_were_answered_and_not_kept_are_told(
    released: Released, row: dict[str, Any], log: tuple[str, ...]
) -> None:
    with serving(released.root, *released.options, *log, plant=["failing-keep"]) as server:
        [answered] = server.predict([row])
        server.wait_until("it says so", lambda: len(server.told("rows were answered and not kept")) == 1)
        assert server.told("rows were answered and not kept")[0]["request_id"] == answered["request_id"]


def test_a_row_without_a_score_fails_its_request(released: Released, row: dict[str, Any], log: tuple[str, ...]) -> None:
    with serving(released.root, *released.options, *log, plant=["short-of-a-row"]) as server:
        assert len(server.predict([row])) == 1
        for rows in (2, 100):
            assert server.ask("/predict", {"rows": [{"features": row}] * rows}).status == 500
        assert server.told("a request failed")[-1]["traceback"].endswith("found 99")


def test_every_request_has_a_line_where_that_is_wanted(released: Released, row: dict[str, Any]) -> None:
    with serving(released.root, *released.options, "--log", "none", "--access-log") as server:
        name = server.predict([row])[0]["request_id"]
        server.wait_until("its line", lambda: any(line["request_id"] == name for line in server.told("request")))
        [line] = [line for line in server.told("request") if line["request_id"] == name]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/predict", 200)
    assert line["milliseconds"] > 0
    assert "61.5" not in json.dumps(line)


# ---- Several workers -------------------------------------------------------------------------------------------------


def _pids(server: Server) -> set[int]:
    """The processes that answer; each of them holds the port."""
    import psutil

    children = psutil.Process(server.process.pid).children()
    return {child.pid for child in children if "spawn_main" in " ".join(child.cmdline())}


def test_two_workers_have_one_port_one_view_and_one_end(
    released: Released, row: dict[str, Any], log: tuple[str, ...], tmp_path: Path
) -> None:
    import psutil

    with serving(released.root, *released.options, *log, "--workers", "2") as server:
        workers = [psutil.Process(pid) for pid in _pids(server)]
        assert len(workers) == 2
        ids = []
        for other in workers:  # each of them answers while the other one cannot
            other.suspend()
            ids += load(server, row, 100)
            other.resume()
        server.wait_until("both are ready", lambda: server.metric("mergeline_ready") == 2)
        server.wait_until(
            "one view of both",
            lambda: {server.metric("mergeline_predictions_total") for _ in range(6)} == {200},
        )
        assert server.metric("mergeline_requests_total", route="predict", status="200") == 200
        assert server.ask("/status").json["workers"] == 2
        assert server.stop() == 0
        flushed = [line["written_rows"] for line in server.told("log flushed")]
        assert len(flushed) == 2
        assert flushed == [100, 100]
        assert not any(worker.is_running() for worker in workers)
        assert server.lines
    assert ids_in(logged(tmp_path / "log", "predictions")) == Counter(ids)


def test_a_worker_that_is_killed_is_replaced_while_the_other_one_answers(
    released: Released, row: dict[str, Any], log: tuple[str, ...]
) -> None:
    with serving(released.root, *released.options, *log, "--workers", "2") as server:
        before = len(load(server, row, 100))
        server.wait_until("counted", lambda: server.metric("mergeline_predictions_total") == before)
        time.sleep(1.1)  # a worker writes its counts once a second; what a killed one has written stays
        first = min(_pids(server))
        os.kill(first, signal.SIGKILL)
        ids = load(server, row, 200)
        assert len(set(ids)) == 200
        server.wait_until("a third one is ready", lambda: len(server.told("ready")) == 3)
        assert first not in _pids(server)
        server.wait_until("two are ready", lambda: server.metric("mergeline_ready") == 2)
        server.wait_until("all is counted", lambda: server.metric("mergeline_predictions_total") == before + 200)
        assert server.stop() == 0


@pytest.mark.parametrize("options", [("--api-key-file", "/nowhere"), ("--log", "ftp://elsewhere")])
def test_r10_what_would_fail_in_every_worker_ends_the_start_once(released: Released, options: tuple[str, ...]) -> None:
    done = run(released.root, "serve", *released.options, "--port", "0", "--workers", "2", *options)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "died" not in done.stderr


def test_workers_whose_supervisor_was_killed_end_by_themselves(released: Released, log: tuple[str, ...]) -> None:
    """A supervisor that ran out of memory ends nobody; its port would be held for ever."""
    import psutil

    with serving(released.root, *released.options, *log, "--workers", "2", "--wait-seconds", "0") as server:
        workers = [psutil.Process(pid) for pid in _pids(server)]
        assert len(workers) == 2
        server.process.kill()
        _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
        assert alive == []


def test_workers_that_wait_after_sigterm_answer_on(released: Released, row: dict[str, Any]) -> None:
    options = ("--log", "none", "--workers", "2", "--wait-seconds", "1.5")
    with serving(released.root, *released.options, *options) as server:
        server.signal(signal.SIGTERM)
        server.wait_until("both leave", lambda: len(server.told("leaving")) == 2)
        assert {server.ask("/readyz").status for _ in range(8)} == {503}
        assert len(server.predict([row])) == 1
        assert server.ended() == 0


# ---- Many rows -------------------------------------------------------------------------------------------------------


def test_a_request_of_many_rows_holds_no_other_up(released: Released, row: dict[str, Any], tmp_path: Path) -> None:
    go = tmp_path / "go"
    options = (*released.options, "--log", "none")
    with serving(released.root, *options, plant=["held-batches"], PLANTED_GO=str(go)) as server:
        with ThreadPoolExecutor(1) as pool:
            many = pool.submit(server.predict, [row] * 500)
            server.wait_until("it is scored", lambda: server.metric("mergeline_requests_running") == 1)
            alone = server.predict([row])
            assert not many.done()
            go.touch()
            assert {each["score"] for each in many.result(PATIENCE_S)} == {alone[0]["score"]}
        assert server.metric("mergeline_predictions_total") == 501


# ---- A log that fails ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plant", ["slow-log", "failing-log", "hanging-log"])
def test_r13_a_log_that_is_slow_failing_or_full_breaks_no_answer_and_drops_are_counted(
    plant: str, released: Released, row: dict[str, Any], log: tuple[str, ...], tmp_path: Path
) -> None:
    """The queue holds 20 rows, so that it is full at once."""
    with serving(
        released.root, *released.options, *log, "--log-rows", "5", plant=[plant, "small-queue", "short-ending"]
    ) as server:
        ids = load(server, row, 400)
        assert len(set(ids)) == 400
        dropped = server.metric("mergeline_log_dropped_rows_total")
        assert 0 < dropped <= 400
        assert server.metric("mergeline_log_queued_rows") <= 20
        if plant == "failing-log":
            assert server.metric("mergeline_log_failed_writes_total") > 0
        assert server.stop() == 0
        [flushed] = server.told("log flushed")
    counts = ids_in(logged(tmp_path / "log", "predictions"))
    assert set(counts.values()) <= {1}
    assert set(counts) <= set(ids)
    assert flushed["written_rows"] + flushed["dropped_rows"] == 400
    assert len(counts) == flushed["written_rows"]
    assert bool(counts) == (plant == "slow-log")


def test_r13_a_log_that_works_drops_nothing(
    released: Released, row: dict[str, Any], log: tuple[str, ...], tmp_path: Path
) -> None:
    """The twin: with the same load and a good store the counter that rose above stays at nought."""
    with serving(released.root, *released.options, *log, "--log-rows", "5") as server:
        ids = load(server, row, 400)
        assert server.metric("mergeline_log_dropped_rows_total") == 0
        assert server.stop() == 0
    assert ids_in(logged(tmp_path / "log", "predictions")) == Counter(ids)


def test_r13_labels_that_wait_for_a_store_take_no_place_from_predictions(
    released: Released, row: dict[str, Any], log: tuple[str, ...]
) -> None:
    options = ("--concurrency", "3")
    with (
        serving(released.root, *released.options, *log, *options, plant=["hanging-log"]) as server,
        contextlib.ExitStack() as stack,
    ):
        body = json.dumps({"labels": [{"request_id": "r", "label": "1"}]}).encode()
        for _ in range(3):
            held = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S))
            held.sendall(head("/labels", f"Content-Length: {len(body)}") + body)
        server.wait_until("they wait", lambda: server.metric("mergeline_requests_running") == 3)
        assert len(server.predict([row])) == 1
        server.process.kill()


def test_r13_a_store_that_hangs_does_not_keep_the_server_from_its_end(
    released: Released, row: dict[str, Any], log: tuple[str, ...]
) -> None:
    """Neither rows of the log nor labels that are being written hold up a pod beyond what it is given."""
    with serving(released.root, *released.options, *log, plant=["hanging-log", "short-ending"]) as server:
        server.predict([row])
        body = json.dumps({"labels": [{"request_id": "r", "label": "1"}]}).encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as held:
            held.sendall(head("/labels", f"Content-Length: {len(body)}") + body)
            server.wait_until("it waits", lambda: server.metric("mergeline_requests_running") == 1)
            server.signal(signal.SIGTERM)
            assert server.process.wait(20) == 0
        assert server.told("log flushed")[0]["dropped_rows"] == 1


@pytest.fixture(scope="module")
def account() -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture
def moto() -> Iterator[Any]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with contextlib.suppress(RuntimeError):  # the test has stopped it
        yield server
        server.stop()


def test_r13_s3_that_goes_away_breaks_no_answer_and_labels_are_told_so(
    released: Released, row: dict[str, Any], account: dict[str, str], moto: Any
) -> None:
    import boto3

    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "very-secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **keys)
    client.create_bucket(Bucket="logs")
    options = ("--log", "s3://logs/here", "--log-seconds", "0.2")
    labels = {"labels": [{"request_id": "r", "label": "1"}]}
    with serving(
        released.root, *released.options, *options, plant=["short-ending"], AWS_ENDPOINT_URL=url, **account
    ) as server:
        ids = load(server, row, 20)
        assert server.ask("/labels", labels).status == 200
        server.wait_until("on S3", lambda: server.metric("mergeline_log_written_rows_total") == 20)
        found = client.list_objects_v2(Bucket="logs", Prefix="here/")["Contents"]
        assert {each["Key"].split("/")[1] for each in found} == {"predictions", "labels"}
        moto.stop()
        ids += load(server, row, 20)
        reply = server.ask("/labels", labels)
        assert reply.status == 503
        assert "127.0.0.1" not in reply.body.decode()
        server.wait_until("failed", lambda: server.metric("mergeline_log_failed_writes_total") > 0)
        assert len(set(ids)) == 40
        assert server.stop() == 0
        assert server.told("log flushed")[0] | {"written_rows": 20, "dropped_rows": 20} == server.told("log flushed")[0]
        assert all("very-secret" not in json.dumps(line) for line in server.lines)


# ---- Soak ------------------------------------------------------------------------------------------------------------


def test_r13_soak_while_the_writer_is_slowed_failing_and_killed_in_turn(
    released: Released, row: dict[str, Any], log: tuple[str, ...], tmp_path: Path
) -> None:
    """`benchmarks/serving` does the same with 200,000 requests."""
    import psutil

    plants = ["log-in-turn", "dying-writer", "quick-retry"]
    with serving(released.root, *released.options, *log, "--log-rows", "100", plant=plants) as server:
        process = psutil.Process(server.process.pid)
        ids = load(server, row, SOAK // 5)
        before = process.memory_info().rss
        ids += load(server, row, SOAK * 4 // 5)
        assert process.memory_info().rss - before < 60_000_000
        server.wait_until("writers have died", lambda: server.metric("mergeline_log_writer_restarts_total") >= 3)
        assert server.metric("mergeline_log_failed_writes_total") >= 3
        assert server.metric("mergeline_requests_total", route="predict", status="200") == SOAK
        assert server.stop() == 0
        [flushed] = server.told("log flushed")
    assert len(set(ids)) == SOAK
    counts = ids_in(logged(tmp_path / "log", "predictions"))
    assert set(counts.values()) == {1}
    assert set(counts) <= set(ids)
    assert len(counts) == flushed["written_rows"]
    assert len(counts) + flushed["dropped_rows"] == SOAK
    assert flushed["dropped_rows"] < SOAK / 10


def test_r13_the_log_of_the_soak_is_compared_row_by_row(
    released: Released, row: dict[str, Any], log: tuple[str, ...], tmp_path: Path
) -> None:
    """The twin: one file that lies there twice is noticed by the same count."""
    with serving(released.root, *released.options, *log) as server:
        ids = [each["request_id"] for each in server.predict([row] * 5)]
        assert server.stop() == 0
    [path] = (tmp_path / "log/predictions").rglob("*.parquet")
    path.with_name("twice.parquet").write_bytes(path.read_bytes())
    assert ids_in(logged(tmp_path / "log", "predictions")) == Counter(ids * 2)


def test_clients_that_come_and_go_leave_no_threads_or_files_behind(released: Released, row: dict[str, Any]) -> None:
    import psutil

    with serving(released.root, *released.options, "--log", "none") as server:
        process = psutil.Process(server.process.pid)
        load(server, row, 40)
        before = process.num_fds()
        threads = process.num_threads()
        for _ in range(200):
            assert server.ask("/healthz").status == 200
        server.wait_until("all are closed", lambda: process.num_fds() <= before)
        assert process.num_threads() <= threads + 1
    assert threading.active_count() < 50
