"""`mergeline smoke` against real servers: the right one passes, and each wrong one is named by its check."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from planted_candidate import planted
from servers import Released, Server, release, run, serving
from tables import TARGETS, orders, params

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

CHECKS = ("ready", "model", "samples", "answers", "bad-input", "latency")
KEY = "a-key-of-a-test-0123456789"


@pytest.fixture(scope="module")
def released(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return release(tmp_path_factory.mktemp("smoke"), candidate)


@pytest.fixture(scope="module")
def other(released: Released) -> Released:
    from mergeline.stages.train import train

    return release(released.root, train(orders(seed=8), params()), "other")


@pytest.fixture(scope="module")
def key(released: Released) -> Path:
    path = released.root / "api.key"
    path.write_text(f"{KEY}\n")
    return path


@pytest.fixture(scope="module")
def server(released: Released, key: Path) -> Iterator[Server]:
    with serving(released.root, *released.options, "--log", "none", "--api-key-file", str(key)) as running:
        yield running


def names(lines: str) -> list[tuple[str, str]]:
    """Outcome and name of each check of the output."""
    return [(line.split()[0], line.split()[1].rstrip(":")) for line in lines.splitlines() if ": " in line]


@contextmanager
def front(*behind: Server, each: str = "connection") -> Iterator[str]:
    """One address before several servers, which take turns from request to request or from connection to connection."""
    turns = itertools.cycle(behind)

    class Front(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.server_behind = next(turns)

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            is_sent = length < 1 << 30
            asked = self.rfile.read(length) if is_sent else b""
            with contextlib.closing(self.server_behind.connect()) as connection:
                connection.putrequest(self.command, self.path, skip_host=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(asked)
                reply = connection.getresponse()
                content = reply.read()
            self.close_connection = not is_sent
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            if each == "request":
                self.server_behind = next(turns)

        do_GET = do_POST = answer  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None: ...

    with listening(Front) as url:
        yield url


@contextmanager
def answering(content: str, ready: str) -> Iterator[str]:
    """A server that says the same to every prediction."""

    class Odd(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.say(ready)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.say(content)

        def say(self, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    with listening(Odd) as url:
        yield url


@contextmanager
def listening(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


# ---- The right server ------------------------------------------------------------------------------------------------


def test_the_right_server_passes_every_check(server: Server, released: Released, key: Path) -> None:
    done = run(released.root, "smoke", server.url, *released.options, "--api-key-file", str(key), "--requests", "20")
    assert done.returncode == 0, done.stderr
    assert names(done.stdout) == [("passed", name) for name in CHECKS]
    assert "no key" in done.stdout


def test_a_model_is_named_by_its_hash_and_the_checks_come_as_json(
    server: Server, released: Released, key: Path
) -> None:
    options = ("--model", released.sha256, "--store", "store", "--api-key-file", str(key), "--json")
    done = run(released.root, "smoke", server.url, *options)
    assert done.returncode == 0, done.stderr
    assert [(check["name"], check["passed"]) for check in json.loads(done.stdout)] == [(name, True) for name in CHECKS]


def test_a_challenger_beside_it_answers_others(released: Released, other: Released) -> None:
    options = ("--challenger", str(other.file), "--share", "0.5", "--log", "none")
    with serving(released.root, *released.options, *options) as both:
        assert run(released.root, "smoke", both.url, *released.options).returncode == 0
        done = run(released.root, "smoke", both.url, "--release", str(other.file))  # the twin: it is no champion
    assert done.returncode == 6
    assert "smoke: model: expected model" in done.stderr


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_samples_of_every_task_are_compared(task: str, tmp_path: Path) -> None:
    from mergeline.stages.train import train

    made = release(tmp_path, train(orders(), params(task, data={"target": TARGETS[task]})))
    with serving(tmp_path, *made.options, "--log", "none") as running:
        assert run(tmp_path, "smoke", running.url, *made.options).returncode == 0
    with planted(made, plant=["moved-scores"]) as wrong:
        done = run(tmp_path, "smoke", wrong.url, *made.options)
    assert "mergeline: smoke: samples: known sample 0 scores " in done.stderr
    assert done.returncode == 6


# ---- The wrong ones --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plant", "check", "said"),
    [
        ("never-ready", "ready", "/readyz: expected 200, found 503"),
        ("erring", "samples", "/predict: expected 200 and one prediction, found 500"),
        ("moved-scores", "samples", "known sample 0 scores 0."),
        ("nameless", "answers", "expected the variant in the answer, found none"),
        ("accepting", "bad-input", "NaN: expected a 4xx with a problem document, found 500 with one"),
        ("slow", "latency", "expected 50 ms at most"),
    ],
)
def test_the_twin_a_server_that_does_not_is_named_by_the_first_check_that_fails(
    plant: str, check: str, said: str, released: Released
) -> None:
    starting: AbstractContextManager[Server] = planted(released, plant=[plant], ready=plant != "never-ready")
    with starting as wrong:
        done = run(released.root, "smoke", wrong.url, *released.options, "--latency-ms", "50", "--requests", "10")
    assert done.returncode == 6
    assert f"mergeline: smoke: {check}: " in done.stderr
    assert said in done.stderr
    seen = names(done.stderr.rpartition("mergeline: smoke")[0])
    assert seen == [*(("passed", name) for name in CHECKS[: CHECKS.index(check)]), ("FAILED", check)]


def test_the_twin_another_model_is_named(server: Server, other: Released, key: Path) -> None:
    done = run(other.root, "smoke", server.url, "--release", str(other.file), "--api-key-file", str(key), "--json")
    assert done.returncode == 6
    assert f"smoke: model: expected model {other.sha256[:12]}, found " in done.stderr
    assert [check["passed"] for check in json.loads(done.stdout)] == [True, False]


@pytest.mark.parametrize("each", ["connection", "request"])
def test_the_twin_a_service_of_which_a_part_still_has_another_model_is_none(
    each: str, released: Released, other: Released
) -> None:
    options = ("--requests", "10")
    with (
        serving(released.root, *released.options, "--log", "none") as right,
        serving(other.root, "--release", str(other.file), "--log", "none") as wrong,
    ):
        with front(right, right, each=each) as url:
            assert run(released.root, "smoke", url, *released.options, *options).returncode == 0
        with front(right, wrong, each=each) as url:
            done = run(released.root, "smoke", url, *released.options, *options)
    assert done.returncode == 6
    assert f"expected model {released.sha256[:12]}, found {other.sha256[:12]}" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"predictions": [1]}', "expected a prediction, found int"),
        ('{"predictions": [{"model_sha256": "HASH", "score": NUMBER}]}', "known sample 0 scores nan off"),
        ("[" * 100_000, "expected 200 and one prediction, found 200"),
        ('{"predictions": [{"model_sha256": "other", "variant": "champion"}]}', "found other as champion"),
    ],
)
def test_the_twin_an_answer_that_is_no_prediction_is_a_check_that_fails(
    content: str, said: str, released: Released
) -> None:
    text = content.replace("HASH", released.sha256).replace("NUMBER", "9" * 400)
    with answering(text, json.dumps({"model_sha256": released.sha256})) as url:
        done = run(released.root, "smoke", url, *released.options)
    assert done.returncode == 6
    assert "mergeline: smoke: samples: " in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variables", "option"),
    [
        ({"MERGELINE_API_KEY": KEY}, False),
        ({"MERGELINE_API_KEY": f"{KEY}\n"}, False),
        ({"MERGELINE_API_KEY_FILE": "api.key"}, False),
        ({"MERGELINE_API_KEY_FILE": "api.key", "MERGELINE_API_KEY": "of-another-server"}, False),
        ({"MERGELINE_API_KEY_FILE": "nowhere", "MERGELINE_API_KEY": "of-another-server"}, True),
    ],
    ids=["the key", "with a newline", "its file", "the file before the key", "the option before both"],
)
def test_the_key_comes_from_the_option_the_servers_variable_or_its_own(
    variables: dict[str, str], option: bool, server: Server, released: Released, key: Path
) -> None:
    options = ("--api-key-file", str(key)) if option else ()
    words = ("smoke", server.url, *released.options, *options, "--requests", "1")
    done = run(released.root, *words, **{name: value.replace("api.key", str(key)) for name, value in variables.items()})
    assert done.returncode == 0, done.stderr
    assert "no key" in done.stdout


@pytest.mark.parametrize(
    "variables",
    [{}, {"MERGELINE_API_KEY": "", "MERGELINE_API_KEY_FILE": ""}, {"MERGELINE_API_KEY": "of-another-server"}],
    ids=["none", "empty, as a secret that is not set", "another"],
)
def test_the_twin_without_its_key_a_server_answers_nothing(
    variables: dict[str, str], server: Server, released: Released
) -> None:
    done = run(released.root, "smoke", server.url, *released.options, **variables)
    assert done.returncode == 6
    assert "smoke: samples: /predict: expected 200 and one prediction, found 401" in done.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MERGELINE_API_KEY": f"{KEY}\r\nX-Other: 1"}, "MERGELINE_API_KEY: expected an API key on one line"),
        ({"MERGELINE_API_KEY_FILE": "nowhere"}, "nowhere: No such file"),
    ],
)
def test_a_key_that_no_client_could_send_is_refused_before_anything_is_asked(
    variables: dict[str, str], said: str, released: Released
) -> None:
    done = run(released.root, "smoke", "http://127.0.0.1:9", *released.options, **variables)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("http://127.0.0.1:9",), 7, "http://127.0.0.1:9: the server does not answer"),
        (("127.0.0.1:9",), 2, "expected http://HOST or https://HOST, found '127.0.0.1:9'"),
        (("http://127.0.0.1:99999",), 2, "'http://127.0.0.1:99999': Port out of range 0-65535"),
        (("http://a..b",), 7, "http://a..b: the server does not answer"),
        (("http://127.0.0.1:9", "--api-key-file", "nowhere"), 2, "nowhere: No such file"),
        (("http://127.0.0.1:9", "--latency-ms", "0"), 2, "expected a number above 0"),
    ],
)
def test_nobody_there_and_a_wrong_command_have_their_own_exit_codes(
    words: tuple[str, ...], code: int, said: str, released: Released
) -> None:
    done = run(released.root, "smoke", *words, *released.options)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_release_there_is_nothing_to_compare_with(released: Released) -> None:
    done = run(released.root, "smoke", "http://127.0.0.1:9", "--environment", "staging")
    assert done.returncode == 2
    assert "release.yaml: no release file that can be read" in done.stderr
