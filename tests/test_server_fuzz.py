"""Promise S13 over the wire: made-up and mangled requests get no 5xx and no traceback, and leave no memory behind."""

from __future__ import annotations

import http.client
import json
import random
import socket
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from servers import JSON, PROBLEM, Released, Server, ask, leaks, release, serving

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

MUTATIONS = 10_000
GROWTH_BYTES = 40_000_000


@pytest.fixture(scope="module")
def released(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return release(tmp_path_factory.mktemp("fuzz"), candidate)


@pytest.fixture(scope="module")
def server(released: Released) -> Iterator[Server]:
    with serving(released.root, *released.options, "--log-rows", "500") as running:
        yield running


def judge(status: int, media_type: str, body: bytes) -> None:
    """What every answer to a fuzzed request has to keep."""
    assert status < 500, (status, body[:500])
    assert not leaks(body), body[:500]
    assert media_type == ("application/json" if status == 200 else PROBLEM)
    assert isinstance(json.loads(body), dict)


# ---- From the description --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/predict", "/labels"])
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_s13_no_request_made_from_the_description_gets_a_5xx(
    path: str, mode: str, server: Server, pytestconfig: pytest.Config
) -> None:
    """`pytest --cases 10000` makes so many, of the four kinds together."""
    import requests
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings

    share = 0.35 if path == "/predict" else 0.15
    cases = max(1, int(pytestconfig.getoption("--cases") * share))
    described = server.ask("/openapi.json").json
    operation = schemathesis.openapi.from_dict(described)[path]["POST"]
    strategy = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))
    answers: Counter[int] = Counter()
    with requests.Session() as session:

        @settings(
            max_examples=cases,
            database=None,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def one(case: Any) -> None:
            answer = case.call(base_url=server.url, session=session)
            answers[answer.status_code] += 1
            judge(answer.status_code, answer.headers["content-type"][0], answer.content)

        one()
    assert answers.total() >= cases
    assert set(answers) <= {200, 400, 413, 415, 422}
    if mode == "positive":
        assert answers[200] > cases / 50  # else all of them stopped at the first check
    else:
        assert answers[200] == 0
    assert server.ask("/readyz").status == 200
    assert server.told("a request failed") == []


# ---- Mangled bytes ---------------------------------------------------------------------------------------------------


def flip(body: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)


def cut(body: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(body))
    del body[at : at + chance.randint(1, 40)]


def insert(body: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(body))
    body[at:at] = chance.choice([chance.randbytes(chance.randint(1, 20)), *DICTIONARY])


def repeat(body: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(body))
    body[at:at] = body[at : at + chance.randint(1, 60)] * chance.randint(1, 5)


def swap(body: bytearray, chance: random.Random) -> None:
    first, second = sorted(chance.sample(range(len(body)), 2))
    body[first], body[second] = body[second], body[first]


def replace_value(body: bytearray, chance: random.Random) -> None:
    """A value between a colon and the next comma becomes something else."""
    colons = [at for at, byte in enumerate(body) if byte == ord(":")]
    start = chance.choice(colons or [0]) + 1
    end = body.find(b",", start)
    body[start : end if end > 0 else len(body)] = chance.choice(DICTIONARY)


DICTIONARY = (
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"1e-999", b"9" * 400, b"0.1" * 30, b"[]", b"{}"),
    *(b'""', b'"\\ud800"', b'"\\u0000"', b"\xff\xfe", b"\xed\xa0\x80", b"\xf0\x9f\x9b\x92", b"[" * 500, b'{"rows":'),
    *(b'"9999-12-31T23:59:59.999999Z"', b'"0001-01-01T00:00:00+23:59"', b'"event_time":', b'"entity_id":"",', b"\0"),
)
WAYS = (flip, cut, insert, repeat, swap, replace_value)


def mangled(body: bytes, chance: random.Random) -> bytes:
    """A body to which one to three things have happened."""
    made = bytearray(body)
    for _ in range(chance.randint(1, 3)):
        if len(made) > 1:
            chance.choice(WAYS)(made, chance)
    return bytes(made)


def good_bodies(released: Released) -> list[tuple[str, bytes]]:
    rows = [{"features": sample.row} for sample in released.signature.samples]
    row = rows[0] | {"event_time": "2024-05-01T08:30:00Z", "entity_id": "e-17"}
    label = {"request_id": "r", "label": 1, "label_ts": "2024-05-01T08:30:00Z", "source": "till"}
    return [
        ("/predict", json.dumps({"rows": rows[:1]}).encode()),
        ("/predict", json.dumps({"rows": [row]}).encode()),
        ("/predict", json.dumps({"rows": rows}).encode()),
        ("/labels", json.dumps({"labels": [label]}).encode()),
    ]


def bombard(server: Server, released: Released, count: int, seed: int) -> Counter[int]:
    """Send so many mangled bodies over connections that stay open, judge each answer, and count them."""
    chance, bodies = random.Random(seed), good_bodies(released)
    answers: Counter[int] = Counter()
    connection = server.connect()
    for number in range(count):
        path, body = bodies[number % len(bodies)] if number % 20 else bodies[3]
        if path == "/labels" and number % 20:
            path, body = bodies[number % 3]  # a good label is a file of its own
        reply = ask(connection, path, mangled(body, chance))
        judge(reply.status, reply.media_type, reply.body)
        answers[reply.status] += 1
    connection.close()
    return answers


def grown_bytes(server: Server, released: Released) -> int:
    """By how much the server's memory grows over 10,000 mangled bodies, after it has seen a part of them."""
    import psutil

    process = psutil.Process(server.process.pid)
    bombard(server, released, MUTATIONS // 5, seed=1)
    before = process.memory_info().rss
    answers = bombard(server, released, MUTATIONS, seed=2)
    assert answers.total() == MUTATIONS
    assert min(answers[200], answers[400], answers[422]) > MUTATIONS / 100  # not all stop at the same check
    grown: int = process.memory_info().rss - before
    return grown


def test_s13_ten_thousand_mangled_bodies_get_no_5xx_and_leave_no_memory_behind(
    server: Server, released: Released
) -> None:
    assert grown_bytes(server, released) < GROWTH_BYTES
    assert server.ask("/readyz").status == 200
    assert server.told("a request failed") == []
    server.wait_until("all are answered", lambda: server.metric("mergeline_requests_running") == 0)


@pytest.mark.parametrize("plant", ["raising", "telling"])
def test_s13_a_mistake_in_the_code_is_found_by_the_same_bombardment(plant: str, released: Released) -> None:
    """The twin: an exception that a body can cause, or an answer that tells of the inside, does not go through."""
    with serving(released.root, *released.options, "--log", "none", plant=[plant]) as server:
        with pytest.raises(AssertionError):
            bombard(server, released, MUTATIONS // 10, seed=2)
        assert bool(server.told("a request failed")) == (plant == "raising")


def test_s13_memory_that_is_not_let_go_is_found_by_the_same_measurement(released: Released) -> None:
    """The twin: a server that keeps what comes in grows beyond the bound."""
    with serving(released.root, *released.options, "--log-rows", "500", plant=["growing"]) as server:
        assert grown_bytes(server, released) > GROWTH_BYTES


def test_s13_mangled_heads_get_no_5xx(server: Server) -> None:
    """Methods, paths and headers that no client sends; some end the connection, none ends the server."""
    chance = random.Random(3)
    answers: Counter[int] = Counter()
    head = (
        f"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Type: {JSON['Content-Type']}\r\nContent-Length: 2\r\n\r\n{{}}"
    )
    for _ in range(400):
        raw = bytearray(head.encode())
        chance.choice((flip, cut, insert, repeat, swap))(raw, chance)
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.1) as connection:
            connection.sendall(bytes(raw) + b"\r\n\r\n")
            answer = http.client.HTTPResponse(connection)
            try:
                answer.begin()
                body = answer.read()
            except (http.client.HTTPException, OSError):
                continue  # it waits for more, or hung up
        answers[answer.status] += 1
        assert answer.status < 500
        assert not leaks(body)
    assert answers[400] > 40
    assert server.ask("/readyz").status == 200
