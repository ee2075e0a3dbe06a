"""What the running server answers: the right scores to good requests, an exact refusal to bad ones."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servers import (
    JSON,
    PATIENCE_S,
    PROBLEM,
    Released,
    Reply,
    Server,
    answered,
    ask,
    head,
    ids_in,
    leaks,
    logged,
    release,
    reply_of,
    requests_of,
    run,
    sent,
    serving,
)
from tables import orders, params

from mergeline.models.scorer import Scorer
from mergeline.schema import Task
from mergeline.serve.metrics import PREDICT_STATUSES

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

MAX_ROWS = 50
MAX_BODY = 1_000_000
ROW: dict[str, Any] = {
    "amount": 61.5,
    "visits": 3,
    "member": True,
    "since": "2022-12-29T08:30:00",
    "noise": -0.25,
    "channel": "web",
    "shop": "s16",
}


@pytest.fixture(scope="module")
def released(candidate: Trained, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return release(tmp_path_factory.mktemp("api"), candidate)


@pytest.fixture(scope="module")
def server(released: Released) -> Iterator[Server]:
    options = ("--max-rows", str(MAX_ROWS), "--max-body", str(MAX_BODY))
    with serving(released.root, *released.options, *options) as running:
        yield running


def problem(reply: Reply, status: int, field: str | None = None) -> str:
    """The sentence of a refusal, which has to be one in every respect."""
    assert reply.status == status, reply.body
    assert reply.media_type == PROBLEM
    found = reply.json
    assert set(found) == {"type", "title", "status", "detail", "field", "request_id"}
    assert (found["type"], found["status"], found["field"]) == ("about:blank", status, field), found
    assert found["request_id"] == reply.headers["x-request-id"]
    assert uuid.UUID(found["request_id"]).version == 7
    assert not leaks(reply.body)
    assert len(reply.body) < 2_000
    said: str = found["detail"]
    return said


def body(*rows: Any, **beside: Any) -> bytes:
    """A request of rows of features, each with the same things beside it."""
    return json.dumps({"rows": [{"features": row, **beside} for row in rows or (ROW,)]}).encode()


def with_literal(name: str, literal: str) -> bytes:
    """A request in which a feature has a value that Python's own JSON might not write."""
    return body({**ROW, name: "@@"}).replace(b'"@@"', literal.encode("utf-8", "surrogatepass"))


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ROW.items() if key != name}


# ---- Good requests ---------------------------------------------------------------------------------------------------


def test_a_row_gets_the_scores_of_the_scorer_and_says_who_gave_it(server: Server, released: Released) -> None:
    table = orders(MAX_ROWS, seed=31)
    rows = requests_of(table, released.signature)
    scores = Scorer.load(released.root / "release.model").score(table)[:, 1]
    found = server.predict(rows)
    assert [each["score"] for each in found] == pytest.approx(scores, abs=1e-6)
    threshold = released.signature.threshold
    assert threshold is not None
    assert [each["decision"] for each in found] == ["1" if score >= threshold else "0" for score in scores]
    assert len({each["decision"] for each in found}) == 2
    for each in found:
        assert set(each) == {"request_id", "model_sha256", "variant", "score", "decision"}
        assert (each["model_sha256"], each["variant"]) == (released.sha256, "champion")
        assert uuid.UUID(each["request_id"]).version == 7


def test_every_row_has_an_id_of_its_own_and_the_first_one_that_of_the_answer(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection:
        replies = [ask(connection, "/predict", body(*[ROW] * 20)) for _ in range(20)]
    ids = [each["request_id"] for reply in replies for each in reply.predictions]
    assert len(set(ids)) == len(ids) == 400
    assert [reply.headers["x-request-id"] for reply in replies] == ids[::20]


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_other_tasks_are_answered_as_their_scorer_answers(task: str, tmp_path: Path) -> None:
    from mergeline.stages.train import train

    trained = train(orders(), params(task))
    released = release(tmp_path, trained)
    table = orders(40, seed=32)
    scores = Scorer.load(tmp_path / "release.model").score(table)
    with serving(tmp_path, *released.options) as server:
        found = server.predict(requests_of(table, released.signature))
    assert [each["score"] for each in found] == pytest.approx(answered(scores, Task(task)), rel=1e-6)
    if task == "regression":
        assert all(each["decision"] is None and "scores" not in each for each in found)
        return
    assert [each["decision"] for each in found] == [trained.signature.classes[best] for best in scores.argmax(axis=1)]
    for each, expected in zip(found, scores, strict=True):
        assert list(each["scores"]) == list(trained.signature.classes)
        assert list(each["scores"].values()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ROW)
def test_null_in_any_feature_is_a_missing_value_and_scores_as_one(
    name: str, server: Server, released: Released
) -> None:
    import pandas as pd

    row = {**ROW, name: None}
    table = pd.DataFrame([row]).astype({"since": "datetime64[us]", "amount": float, "visits": float, "noise": float})
    expected = Scorer.load(released.root / "release.model").score(table)[0, 1]
    assert server.predict([row])[0]["score"] == pytest.approx(expected, abs=1e-6)


def test_a_row_of_which_nothing_is_known_is_answered(server: Server) -> None:
    assert 0 < server.predict([dict.fromkeys(ROW)])[0]["score"] < 1


def test_a_category_that_training_never_saw_is_answered_as_other(server: Server, released: Released) -> None:
    table = orders(3, seed=33).assign(shop=["s99", "", "Ünseen 🛒"])
    expected = Scorer.load(released.root / "release.model").score(table)[:, 1]
    found = server.predict(requests_of(table, released.signature))
    assert [each["score"] for each in found] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(with_literal("amount", "1e-400"), id="a number too small for a float is zero"),
        pytest.param(with_literal("amount", "-0.0"), id="minus zero"),
        pytest.param(with_literal("amount", "3e38"), id="almost the largest float32"),
        pytest.param(with_literal("amount", "7"), id="a whole number"),
        pytest.param(with_literal("channel", r'"\ud83d\ude00"'), id="a surrogate pair"),
        pytest.param(with_literal("channel", json.dumps("x" * 256)), id="the longest text"),
        pytest.param(with_literal("since", '"20221229"'), id="a date in ISO 8601's basic form"),
        pytest.param(with_literal("since", '"2022-12-29T08:30:00.123456+05:30"'), id="a time with an offset"),
        pytest.param(with_literal("since", '"9999-12-31T23:59:59.999999"'), id="the last time"),
        pytest.param(with_literal("since", '"0001-01-01T00:00:00+00:00"'), id="the first time"),
        pytest.param(body(ROW, event_time="9999-12-31T23:59:59.999999Z"), id="an event at the end of time"),
        pytest.param(body(ROW, event_time="1970-01-01T00:00:00Z"), id="an event at the epoch"),
        pytest.param(body(ROW, event_time="2024-05-01 08:30:00"), id="an event without an offset"),
        pytest.param(body(ROW, event_time=None, entity_id=None), id="null beside the features"),
        pytest.param(body(ROW, entity_id="\0"), id="a strange entity"),
        pytest.param(b" \r\n\t" + body() + b"\n ", id="white space around"),
    ],
)
def test_what_is_unusual_but_right_is_answered(good: bytes, server: Server) -> None:
    assert len(server.ask("/predict", good).predictions) == 1


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_may_be_announced_in_several_ways(content_type: str, server: Server) -> None:
    assert server.ask("/predict", body(), headers={"Content-Type": content_type}).status == 200


def test_a_body_in_chunks_is_read_to_its_end(server: Server) -> None:
    pieces = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body()[:7], body()[7:50], body()[50:])]
    reply = sent(server, head("/predict", "Transfer-Encoding: chunked"), *pieces, b"0\r\n\r\n")
    assert len(reply.predictions) == 1


def test_a_client_that_asks_whether_to_go_on_is_told_so(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(head("/predict", "Expect: 100-continue", f"Content-Length: {len(body())}"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body())
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_a_client_that_offers_http_2_is_answered_in_http_1(server: Server) -> None:
    """As Java's own client and `curl --http2` do with every first request."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    reply = sent(server, head("/predict", *offer, f"Content-Length: {len(body())}"), body())
    assert len(reply.predictions) == 1


# ---- Bad requests ----------------------------------------------------------------------------------------------------

AMOUNT = "rows[0].features.amount"
BAD_VALUES = [
    *[
        (f"a number that is {what}", with_literal("amount", literal), 422, AMOUNT)
        for what, literal in {
            "a text": '"61.5"',
            "a truth value": "true",
            "a list": "[61.5]",
            "an object": "{}",
            "nested deeply": "[" * 5_000 + "]" * 5_000,
            "beyond float32": "1e39",
            "below float32": "-1e39",
            "beyond float64": "1e400",
            "below float64": "-1e400",
            "an integer of 40 digits": "1" + "0" * 40,
            "an integer of 400 digits": "1" + "0" * 400,
        }.items()
    ],
    *[
        (f"a truth value that is {what}", with_literal("member", literal), 422, "rows[0].features.member")
        for what, literal in {"a number": "1", "a text": '"true"'}.items()
    ],
    *[
        (f"a time that is {what}", with_literal("since", literal), 422, "rows[0].features.since")
        for what, literal in {
            "a number": "1700000000",
            "a word": '"yesterday"',
            "empty": '""',
            "no day of the calendar": '"2023-02-30"',
            "long": json.dumps("2" * 257),
            "before the year 1 in UTC": '"0001-01-01T00:00:00+10:00"',
            "after the year 9999 in UTC": '"9999-12-31T23:59:59-10:00"',
        }.items()
    ],
    *[
        (f"a category that is {what}", with_literal("channel", literal), 422, "rows[0].features.channel")
        for what, literal in {"a number": "3", "a truth value": "true", "long": json.dumps("x" * 257)}.items()
    ],
]
NOT_JSON = {
    "NaN": with_literal("amount", "NaN"),
    "Infinity": with_literal("amount", "Infinity"),
    "minus Infinity": with_literal("amount", "-Infinity"),
    "a leading zero": with_literal("amount", "061.5"),
    "hexadecimal": with_literal("amount", "0x3D"),
    "a lone surrogate in a category": with_literal("channel", r'"\ud800"'),
    "a lone surrogate in an entity": body(ROW, entity_id="@@").replace(b"@@", rb"\udc00"),
    "a lone surrogate in a name": body().replace(b'"amount"', rb'"\ud800": 1, "amount"'),
    "a surrogate in UTF-8": with_literal("channel", '"\ud800"'),
    "no UTF-8 in a value": with_literal("channel", '"@@"').replace(b"@@", b"\xff\xfe"),
    "no UTF-8 in a name": body().replace(b"amount", b"am\xffunt"),
    "a byte order mark": b"\xef\xbb\xbf" + body(),
    "UTF-16": body().decode().encode("utf-16"),
    "nothing": b"",
    "half of it": body()[:-5],
    "more after it": body() + b"x",
    "two of it": body() * 2,
    "a NUL after it": body() + b"\0",
    "a control character in a text": with_literal("channel", '"a\nb"'),
    "a comment": b"/* */" + body(),
    "a comma too many": body()[:-1] + b",}",
    "a name without quotes": body().replace(b'"rows"', b"rows"),
    "a form": b"rows=1",
}
BAD_SHAPES: list[tuple[str, bytes, int, str | None]] = [
    ("null", b"null", 422, None),
    ("a list", b"[]", 422, None),
    ("a text", b'"rows"', 422, None),
    ("deeply nested lists", b"[" * 90_000, 422, None),
    ("deeply nested objects", b'{"rows":' * 20_000, 422, "rows"),
    ("no rows", b"{}", 422, "rows"),
    ("null in place of the rows", b'{"rows": null}', 422, "rows"),
    ("an empty list of rows", b'{"rows": []}', 422, "rows"),
    ("something beside the rows", b'{"rows": [], "x": 1}', 422, "rows"),
    ("something unknown before the rows", body().replace(b'"rows"', b'"x": 1, "rows"'), 422, "x"),
    ("something deep before the rows", body().replace(b'"rows"', b'"x":' + b"[" * 90_000), 422, "x"),
    ("too many rows", body(*[ROW] * (MAX_ROWS + 1)), 413, "rows"),
    ("a row that is a list", b'{"rows": [[]]}', 422, "rows[0]"),
    ("a row without features", b'{"rows": [{}]}', 422, "rows[0].features"),
    ("a row with more than features", body(ROW, weight=1), 422, "rows[0].weight"),
    ("features that are a list", b'{"rows": [{"features": []}]}', 422, "rows[0].features"),
    *[(f"no {name}", body(without(name)), 422, f"rows[0].features.{name}") for name in ROW],
    ("no value in the second row", body(ROW, without("noise")), 422, "rows[1].features.noise"),
    ("an unknown column", body({**ROW, "colour": 1}), 422, "rows[0].features.colour"),
    ("the target among the columns", body({**ROW, "bought": 1}), 422, "rows[0].features.bought"),
    ("a column of another case", body({**without("amount"), "Amount": 1}), 422, "rows[0].features.Amount"),
    (
        "a wrong value that a right one follows",
        body().replace(b'"amount"', b'"amount": "x", "amount"'),
        422,
        AMOUNT,
    ),
    (
        "a right value that a wrong one follows",
        body().replace(b'"shop"', b'"amount": "x", "shop"'),
        422,
        AMOUNT,
    ),
    *[
        (f"an event_time that is {what}", body(ROW, event_time=value), 422, "rows[0].event_time")
        for what, value in {
            "a word": "now",
            "a number": 1_700_000_000,
            "a leap second": "2016-12-31T23:59:60Z",
            "empty": "",
            "before the year 1 in UTC": "0001-01-01T00:00:00+10:00",
            "after the year 9999 in UTC": "9999-12-31T23:59:59-10:00",
        }.items()
    ],
    *[
        (f"an entity_id that is {what}", body(ROW, entity_id=value), 422, "rows[0].entity_id")
        for what, value in {"empty": "", "a number": 7, "long": "x" * 257}.items()
    ],
]


@pytest.mark.parametrize(
    ("bad", "status", "field"),
    [
        *[pytest.param(bad, status, field, id=name) for name, bad, status, field in [*BAD_VALUES, *BAD_SHAPES]],
        *[pytest.param(bad, 400, None, id=name) for name, bad in NOT_JSON.items()],
    ],
)
def test_s13_a_bad_request_is_refused_by_the_field(bad: bytes, status: int, field: str | None, server: Server) -> None:
    problem(server.ask("/predict", bad), status, field)


def test_s13_the_check_of_a_refusal_finds_a_traceback(released: Released) -> None:
    """The twin: a server that tells of its inside is caught by what the tests above check."""
    with serving(released.root, *released.options, "--log", "none", plant=["telling"]) as telling:
        reply = telling.ask("/predict", b"{}")
    with pytest.raises(AssertionError):
        problem(reply, 422, "rows")
    assert {"Traceback", ".py"} <= set(leaks(reply.body))


def test_the_sentence_says_what_was_expected_and_what_was_found(server: Server) -> None:
    said = problem(server.ask("/predict", with_literal("amount", '"61.5"')), 422, AMOUNT)
    assert said == "rows[0].features.amount: expected float | null, found str"
    said = problem(server.ask("/predict", body(without("noise"))), 422, "rows[0].features.noise")
    assert said == "rows[0].features.noise: missing; send null where the value is not known"


def test_a_value_that_stands_twice_counts_as_the_last_one(server: Server) -> None:
    twice = server.ask("/predict", body().replace(b'"visits"', b'"amount": 3, "visits"')).predictions
    assert twice[0]["score"] == server.predict([{**ROW, "amount": 3}])[0]["score"]
    assert twice[0]["score"] != server.predict([ROW])[0]["score"]


@pytest.mark.parametrize("length", [1_000, 150_000])
def test_a_name_that_is_endless_is_not_sent_back_as_a_whole(length: int, server: Server) -> None:
    reply = server.ask("/predict", body({**ROW, "k" * length: 1}))
    assert reply.status == 422
    assert reply.json["field"].startswith("rows[0].features.kkk")
    assert len(reply.body) < 2_000


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/jsonlines"},
        {"Content-Type": "application/json-patch+json"},
    ],
    ids=lambda headers: headers.get("Content-Type", "none") or "empty",
)
@pytest.mark.parametrize("path", ["/predict", "/labels"])
def test_a_body_that_is_not_announced_as_json_gets_415(path: str, headers: dict[str, str], server: Server) -> None:
    problem(server.ask(path, body(), headers=headers), 415)


READS = ("/", "/docs", "/healthz", "/metrics", "/openapi.json", "/readyz", "/status")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *[(method, path, "POST") for method in ("GET", "HEAD", "PUT", "DELETE") for path in ("/predict", "/labels")],
        *[("POST", path, "GET, HEAD") for path in READS],
        ("OPTIONS", "/predict", "POST"),
        ("TRACE", "/predict", "POST"),
        ("PATCH", "/status", "GET, HEAD"),
    ],
)
def test_another_method_gets_405_and_the_ones_that_are_allowed(
    method: str, path: str, allowed: str, server: Server
) -> None:
    reply = server.ask(path, method=method)
    assert reply.headers["allow"] == allowed
    if method == "HEAD":
        assert (reply.status, reply.body) == (405, b"")
    else:
        problem(reply, 405)


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/predict/", "//predict", "/Predict", "/%00", "/%ff%fe", "/..%2f..%2fetc/passwd", "/" + "x" * 9_000],
)
def test_an_unknown_path_gets_404(path: str, server: Server) -> None:
    problem(server.ask(path), 404)


@pytest.mark.parametrize("path", READS)
def test_head_has_the_headers_of_get_and_no_body(path: str, server: Server) -> None:
    whole, only = server.ask(path), server.ask(path, method="HEAD")
    assert (whole.status, only.status, only.body) == (200, 200, b"")
    assert only.media_type == whole.media_type
    assert int(whole.headers["content-length"]) == len(whole.body) > 0
    assert int(only.headers["content-length"]) > 0


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_may_load_nothing_from_elsewhere_and_is_not_framed(path: str, server: Server) -> None:
    reply = server.ask(path)
    assert reply.media_type == "text/html; charset=utf-8"
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert reply.headers["x-content-type-options"] == "nosniff"


# ---- Sizes and times -------------------------------------------------------------------------------------------------


def test_s13_a_body_that_is_said_to_be_too_large_is_not_read(server: Server) -> None:
    reply = sent(server, head("/predict", f"Content-Length: {MAX_BODY + 1}"))
    problem(reply, 413)
    assert reply.headers["connection"] == "close"


def test_s13_a_body_that_turns_out_too_large_is_refused(server: Server) -> None:
    chunk = b"%x\r\n%s\r\n" % (10_000, b" " * 10_000)
    reply = sent(server, head("/predict", "Transfer-Encoding: chunked"), *[chunk] * 300)
    problem(reply, 413)
    assert reply.headers["connection"] == "close"


def test_a_body_of_just_the_size_that_is_allowed_is_read(server: Server) -> None:
    exact = body() + b" " * (MAX_BODY - len(body()))
    assert len(server.ask("/predict", exact).predictions) == 1
    reply = sent(server, head("/predict", f"Content-Length: {len(exact) + 1}"), exact + b" ")  # it may not read it all
    problem(reply, 413)


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: -5",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: " + "9" * 5_000,),
        ("Content-Length: 1_0",),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("X-Header: a\0b",),
    ],
    ids=["negative", "twice", "endless", "underscore", "smuggled", "control character"],
)
def test_s13_what_is_no_http_gets_400_and_the_connection_ends(lines: tuple[str, ...], server: Server) -> None:
    reply = sent(server, head("/predict", *lines), b"12345")
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert not leaks(reply.body)


def test_s13_bytes_of_another_protocol_get_400(server: Server) -> None:
    assert sent(server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").status == 400
    assert server.ask("/healthz").status == 200


def test_s13_a_head_without_an_end_is_cut_off(released: Released) -> None:
    """Ten megabytes of one header are neither kept nor waited for."""
    import psutil

    with serving(released.root, *released.options, "--log", "none") as server:
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Endless: ")
            with pytest.raises(OSError, match=r"reset|Broken pipe"):
                for _ in range(100):
                    connection.sendall(b"x" * 100_000)
        assert process.memory_info().rss - before < 5_000_000
        assert server.ask("/healthz").status == 200


def test_s13_a_head_that_is_never_finished_ends_its_connection(released: Released) -> None:
    with serving(released.root, *released.options, "--log", "none", plant=["short-head"]) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nX-Slow: ")
            assert connection.recv(100) == b""
        with contextlib.closing(server.connect()) as connection_of_others:
            for _ in range(3):
                assert len(ask(connection_of_others, "/predict", body()).predictions) == 1


def test_s13_requests_that_are_sent_one_behind_the_other_are_no_long_head(server: Server) -> None:
    """More of them than a head may have bytes, on one connection."""
    whole = head("/predict", f"Content-Length: {len(body())}") + body()
    count = 3 * 65_536 // len(whole)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        sender = threading.Thread(target=connection.sendall, args=(whole * count,))
        sender.start()
        received = b""
        while received.count(b"HTTP/1.1 ") < count:
            piece = connection.recv(65_536)
            assert piece, received[-300:]
            received += piece
        sender.join()
    assert received.count(b"HTTP/1.1 200 OK") == count


def test_s13_a_body_that_never_arrives_gets_408(released: Released) -> None:
    with serving(released.root, *released.options, "--log", "none", plant=["short-body"]) as server:
        waiting = head("/predict", "Content-Length: 50")
        for reply in (sent(server, waiting), sent(server, waiting, b'{"rows"')):
            problem(reply, 408)
            assert reply.headers["connection"] == "close"
        assert len(server.predict([ROW])) == 1
        server.wait_until("none is left", lambda: server.metric("mergeline_requests_running") == 0)


def test_s13_a_client_that_leaves_half_way_takes_nothing_with_it(released: Released) -> None:
    with serving(released.root, *released.options, "--log", "none") as server:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
                connection.sendall(head("/predict", "Content-Length: 500") + body()[:20])
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
            connection.sendall(head("/predict", f"Content-Length: {len(body())}") + body())  # reads no answer
        server.wait_until("all have left", lambda: server.metric("mergeline_requests_running") == 0)
        assert len(server.predict([ROW])) == 1
        assert server.told("a request failed") == []


def test_one_request_more_than_allowed_gets_503_and_when_to_come_again(released: Released) -> None:
    limit = 3
    options = ("--concurrency", str(limit), "--log", "none")
    with serving(released.root, *released.options, *options) as server, contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S))
            for _ in range(limit)
        ]
        for connection in held:
            connection.sendall(head("/predict", f"Content-Length: {len(body())}") + body()[:20])
        server.wait_until("all are read", lambda: server.metric("mergeline_requests_running") == limit)
        reply = server.ask("/predict", body())
        problem(reply, 503)
        assert int(reply.headers["retry-after"]) >= 1
        assert server.ask("/readyz").status == 200
        assert server.ask("/healthz").status == 200
        for connection in held:
            connection.sendall(body()[20:])
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        server.wait_until("all are answered", lambda: server.metric("mergeline_requests_running") == 0)
        assert len(server.predict([ROW])) == 1


def test_several_requests_that_are_sent_at_once_are_answered_in_their_order(server: Server) -> None:
    sizes = (1, 3, 2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        bodies = [body(*[ROW] * size) for size in sizes]
        heads = [head("/predict", f"Content-Length: {len(each)}") for each in bodies[:-1]]
        heads.append(head("/predict", f"Content-Length: {len(bodies[-1])}", "Connection: close"))
        connection.sendall(b"".join(first + second for first, second in zip(heads, bodies, strict=True)))
        whole = b""
        while piece := connection.recv(65_536):
            whole += piece
    assert [part.count(b'"score"') for part in whole.split(b"HTTP/1.1 200 OK")[1:]] == list(sizes)


# ---- The key ---------------------------------------------------------------------------------------------------------

KEY = "a-key-of-32-characters-and-a-few"


@pytest.fixture(scope="module")
def guarded(released: Released) -> Iterator[Server]:
    path = released.root / "key"
    path.write_text(f"{KEY}\n")
    with serving(released.root, *released.options, "--api-key-file", str(path)) as running:
        yield running


@pytest.mark.parametrize(
    "sent_key",
    [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY}"}],
    ids=["its own header", "bearer", "bearer in lower case"],
)
def test_the_right_key_is_let_in(sent_key: dict[str, str], guarded: Server) -> None:
    assert guarded.ask("/predict", body(), headers=JSON | sent_key).status == 200


@pytest.mark.parametrize(
    "sent_key",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY + "x"},
        {"X-API-Key": KEY.upper()},
        {"X-API-Key": f"Bearer {KEY}"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {KEY}"},
    ],
    ids=lambda sent_key: ", ".join(f"{name} {value[:9]}" for name, value in sent_key.items()) or "none",
)
@pytest.mark.parametrize("path", ["/predict", "/labels"])
def test_any_other_key_gets_401_before_the_body_is_read(path: str, sent_key: dict[str, str], guarded: Server) -> None:
    reply = guarded.ask(path, b"not even JSON", headers={"Content-Type": "text/plain"} | sent_key)
    problem(reply, 401)
    assert reply.headers["www-authenticate"] == "Bearer"
    assert KEY not in guarded.said


def test_probes_need_no_key_and_the_description_asks_for_it(guarded: Server, server: Server) -> None:
    assert all(guarded.ask(path).status == 200 for path in READS)
    described = guarded.ask("/openapi.json").json
    assert described["paths"]["/predict"]["post"]["security"] == [{"key": []}, {"bearer": []}]
    assert set(described["components"]["securitySchemes"]) == {"key", "bearer"}
    assert "securitySchemes" not in server.ask("/openapi.json").json["components"]


@pytest.mark.parametrize("content", [b"", b"\n", b"fifteen letters", None], ids=["empty", "blank", "short", "none"])
def test_a_key_that_is_too_short_or_not_there_ends_the_start(
    content: bytes | None, released: Released, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    done = run(released.root, "serve", *released.options, "--api-key-file", str(path), "--port", "0")
    assert done.returncode == 2
    assert done.stderr.startswith(f"mergeline: {path}: ")
    assert done.stderr.count("\n") == 1


# ---- The description -------------------------------------------------------------------------------------------------


def test_the_description_is_openapi_3_1_and_its_examples_are_answered(server: Server) -> None:
    from openapi_schema_validator import OAS31Validator
    from openapi_spec_validator import OpenAPIV31SpecValidator

    described = server.ask("/openapi.json").json
    assert described["openapi"].startswith("3.1.")
    assert not list(OpenAPIV31SpecValidator(described).iter_errors())
    for path, status in (("/predict", 200), ("/labels", 200)):
        operation = described["paths"][path]["post"]
        asked = operation["requestBody"]["content"]["application/json"]
        answer = operation["responses"][str(status)]["content"]["application/json"]
        schema, answers = (
            OAS31Validator({**each["schema"], "components": described["components"]}) for each in (asked, answer)
        )
        assert asked["examples"]
        for name, example in asked["examples"].items():
            assert not list(schema.iter_errors(example["value"])), name
            reply = server.ask(path, example["value"])
            assert reply.status == status, (name, reply.body)
            assert not list(answers.iter_errors(reply.json)), name
        for example in answer["examples"].values():
            assert not list(answers.iter_errors(example["value"]))


def test_the_example_of_an_answer_is_the_answer_to_the_example(server: Server) -> None:
    operation = server.ask("/openapi.json").json["paths"]["/predict"]["post"]
    asked = operation["requestBody"]["content"]["application/json"]["examples"]["one row"]["value"]
    shown = operation["responses"]["200"]["content"]["application/json"]["examples"]["one row"]["value"]
    [answer] = server.ask("/predict", asked).predictions
    [example] = shown["predictions"]
    assert answer["score"] == pytest.approx(example["score"], abs=1e-6)
    ids = {"request_id"}
    assert {key: answer[key] for key in answer.keys() - {"score"} - ids} == {
        key: example[key] for key in example.keys() - {"score"} - ids
    }


def test_a_refusal_is_as_the_description_says(server: Server) -> None:
    from openapi_schema_validator import OAS31Validator

    described = server.ask("/openapi.json").json
    answers = described["paths"]["/predict"]["post"]["responses"]
    for bad, status in ((b"", 400), (b"{}", 422), (body(*[ROW] * (MAX_ROWS + 1)), 413)):
        schema = answers[str(status)]["content"][PROBLEM]["schema"]
        found = server.ask("/predict", bad).json
        assert not list(OAS31Validator({**schema, "components": described["components"]}).iter_errors(found))


def test_no_personal_value_stands_in_the_description(candidate: Trained, tmp_path: Path) -> None:
    from servers import with_signature

    trained = with_signature(candidate, personal=("amount",))
    with serving(tmp_path, *release(tmp_path, trained).options, "--log", "none") as server:
        said = server.ask("/openapi.json").body.decode()
        page = server.ask("/").body.decode() + server.ask("/docs").body.decode()
    values = [str(sample.row["amount"]) for sample in trained.signature.samples if sample.row["amount"] is not None]
    assert values
    assert not [value for value in values if value in said + page]


# ---- Labels ----------------------------------------------------------------------------------------------------------


def label(name: str, value: Any, **beside: Any) -> dict[str, Any]:
    return {"request_id": name, "label": value, **beside}


def labels_in(server: Server) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = logged(server.root / ".mergeline/log", "labels").to_pylist()
    return rows


def test_labels_that_were_accepted_are_on_the_shelf_exactly_once(server: Server) -> None:
    ids = [each["request_id"] for each in server.predict([ROW] * 40)]
    sent_labels = [
        label(name, [0, 1, "0", "1", 1.0][number % 5], source="till", label_ts="2024-05-01T08:30:00+02:00")
        for number, name in enumerate(ids)
    ]
    reply = server.ask("/labels", {"labels": sent_labels})
    assert (reply.status, reply.json) == (200, {"accepted": 40})
    found = {row["request_id"]: row for row in labels_in(server) if row["request_id"] in ids}
    counts = ids_in(logged(server.root / ".mergeline/log", "labels"))
    assert [counts[name] for name in ids] == [1] * 40
    assert [found[name]["label"] for name in ids] == ["0", "1", "0", "1", "1"] * 8
    assert {(row["source"], row["label_ts"].isoformat()) for row in found.values()} == {
        ("till", "2024-05-01T06:30:00+00:00")
    }
    assert server.metric("mergeline_labels_total") >= 40


def test_a_label_without_a_time_was_known_when_it_came(server: Server) -> None:
    name = str(uuid.uuid4())
    before = time.time()
    assert server.ask("/labels", {"labels": [label(name, "1")]}).status == 200
    [row] = [row for row in labels_in(server) if row["request_id"] == name]
    assert before - 1 <= row["label_ts"].timestamp() <= time.time() + 1
    assert row["source"] is None


NAME = "01900000-0000-7000-8000-00000000000b"
UNFIT: tuple[Any, ...] = (None, True, 2, 0.5, "", "x", " 1", [], {}, 10**30)


@pytest.mark.parametrize(
    ("bad", "status", "field"),
    [
        pytest.param([], 422, None, id="a list"),
        pytest.param({}, 422, "labels", id="nothing"),
        pytest.param({"labels": []}, 422, "labels", id="no label"),
        pytest.param({"labels": [label("x", 1)] * 10_001}, 413, "labels", id="too many"),
        pytest.param({"labels": [label(NAME, 1, weight=2)]}, 422, "labels[0].weight", id="something unknown"),
        pytest.param({"labels": [{"label": 1}]}, 422, "labels[0].request_id", id="no id"),
        pytest.param({"labels": [label("", 1)]}, 422, "labels[0].request_id", id="an empty id"),
        pytest.param({"labels": [label("x" * 65, 1)]}, 422, "labels[0].request_id", id="a long id"),
        pytest.param({"labels": [{"request_id": NAME}]}, 422, "labels[0].label", id="no value"),
        *[
            pytest.param({"labels": [label(NAME, value)]}, 422, "labels[0].label", id=f"the label {value!r:.12}")
            for value in UNFIT
        ],
        pytest.param({"labels": [label(NAME, 1), label(NAME, "x")]}, 422, "labels[1].label", id="one good and one bad"),
        *[
            pytest.param({"labels": [label(NAME, 1, label_ts=value)]}, 422, "labels[0].label_ts", id=f"at {value!r}")
            for value in ("now", "", 3, "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00")
        ],
        *[
            pytest.param({"labels": [label(NAME, 1, source=value)]}, 422, "labels[0].source", id=f"by {value!r:.9}")
            for value in ("", 3, "x" * 257)
        ],
        pytest.param(b'{"labels": [{"request_id": "\xff"}]}', 400, None, id="no UTF-8"),
        pytest.param(b"[" * 90_000, 422, None, id="deeply nested"),
    ],
)
def test_s13_bad_labels_are_refused_by_the_field_and_none_of_them_is_kept(
    bad: Any, status: int, field: str | None, server: Server
) -> None:
    problem(server.ask("/labels", bad), status, field)
    assert NAME not in ids_in(logged(server.root / ".mergeline/log", "labels"))


def test_a_number_is_the_label_of_a_regression(tmp_path: Path) -> None:
    from mergeline.stages.train import train

    with serving(tmp_path, *release(tmp_path, train(orders(), params("regression"))).options) as server:
        for good in (1_034.5, 7, -0.25, 1e300):
            assert server.ask("/labels", {"labels": [label(NAME, good)]}).status == 200
        for bad in ("7", True, None):
            problem(server.ask("/labels", {"labels": [label(NAME, bad)]}), 422, "labels[0].label")
        problem(server.ask("/labels", b'{"labels":[{"request_id":"x","label":1e400}]}'), 422, "labels[0].label")
        assert sorted(float(row["label"]) for row in labels_in(server)) == [-0.25, 7, 1_034.5, 1e300]


def test_labels_for_a_shelf_that_fails_get_503_and_predictions_their_answer(released: Released) -> None:
    (released.root / "no-folder").write_text("a file in the place of the folder")
    options = ("--log", "no-folder", "--log-rows", "1")
    with serving(released.root, *released.options, *options) as server:
        reply = server.ask("/labels", {"labels": [label(NAME, 1)]})
        problem(reply, 503)
        assert int(reply.headers["retry-after"]) >= 1
        assert "no-folder" not in reply.body.decode()
        [told] = server.told("a store does not answer")
        assert told["request_id"] == reply.headers["x-request-id"]
        assert "no-folder" in told["reason"]
        assert len(server.predict([ROW])) == 1
        (released.root / "no-folder").unlink()
        assert server.ask("/labels", {"labels": [label(NAME, 1)]}).status == 200


def test_a_server_without_a_log_takes_no_labels(released: Released) -> None:
    with serving(released.root, *released.options, "--log", "none") as server:
        problem(server.ask("/labels", {"labels": [label(NAME, 1)]}), 404)
        assert len(server.predict([ROW])) == 1


# ---- What it says of itself ------------------------------------------------------------------------------------------


def test_metrics_count_what_was_answered_and_refused(released: Released) -> None:
    with serving(released.root, *released.options, "--log", "none") as server:
        server.predict([ROW] * 3)
        server.ask("/predict", b"{}")
        server.ask("/nowhere")
        assert server.metric("mergeline_requests_total", route="predict", status="200") == 1
        assert server.metric("mergeline_requests_total", route="predict", status="422") == 1
        assert server.metric("mergeline_requests_total", route="none", status="404") == 1
        assert server.metric("mergeline_predictions_total", variant="champion") == 3
        assert server.metric("mergeline_request_seconds_count", route="predict") == 2
        assert server.metric("mergeline_model_info", sha256=released.sha256, variant="champion") == 1
        assert server.metric("mergeline_ready") == 1


def test_failures_are_counted_from_the_first_because_their_series_are_there_before_it(released: Released) -> None:
    with serving(released.root, *released.options, "--log", "none", plant=["raising"]) as server:
        before = server.ask("/metrics").body.decode()
        for status in PREDICT_STATUSES:
            assert f'mergeline_requests_total{{route="predict",status="{status}"}} 0.0\n' in before
        asked = [body(ROW, entity_id="e"), b"{}", b"{"]
        answered = [server.ask("/predict", each).status for each in asked]
        answered.append(server.ask("/predict", b"{}", headers={"Content-Type": "text/plain"}).status)
    assert answered == [500, 422, 400, 415]
    assert set(answered) <= set(PREDICT_STATUSES)


def test_the_status_tells_of_release_latency_and_log(server: Server, released: Released) -> None:
    server.predict([ROW])
    status = server.ask("/status").json
    release_of = status["release"]
    assert (release_of["model_sha256"], release_of["task"]) == (released.sha256, "binary")
    assert release_of["training_commit"] == "c" * 40
    assert release_of["evaluation"]["rows"] == 120
    assert status["variants"] == [{"variant": "champion", "model_sha256": released.sha256, "share": 1.0}]
    assert status["latency"]["p50_ms"] > 0
    assert status["log"]["dropped_rows"] == 0


def test_the_log_holds_what_was_asked_and_answered(released: Released) -> None:
    rows: Sequence[dict[str, Any]] = [ROW, {**ROW, "shop": "s99", "amount": None, "member": None}]
    options = ("--log", "as-asked")
    with serving(released.root, *released.options, *options) as server:
        asked = [{"features": row, "entity_id": "e1", "event_time": "2024-05-01T08:00:00Z"} for row in rows]
        found = server.ask("/predict", {"rows": asked}).predictions
        assert server.stop() == 0
    kept = {row["request_id"]: row for row in logged(released.root / "as-asked", "predictions").to_pylist()}
    assert list(kept) == [each["request_id"] for each in found]
    for answer, row in zip(found, rows, strict=True):
        held = kept[answer["request_id"]]
        assert (held["score"], held["decision"]) == (answer["score"], answer["decision"])
        assert (held["model_sha256"], held["variant"], held["status"]) == (released.sha256, "champion", 200)
        assert (held["entity_id"], held["event_time"].isoformat()) == ("e1", "2024-05-01T08:00:00+00:00")
        assert held["feature_since"].isoformat() == "2022-12-29T08:30:00+00:00"
        assert {name: held[f"feature_{name}"] for name in ROW if name != "since"} == {
            name: value for name, value in row.items() if name != "since"
        }
        assert np.isfinite(held["latency_ms"])


def test_the_first_and_the_last_time_there_is_can_be_read_from_the_log(released: Released) -> None:
    times = ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"]
    with serving(released.root, *released.options, "--log", "all-time") as server:
        for when in times:
            assert server.ask("/predict", body({**ROW, "since": when}, event_time=when)).status == 200
        assert server.stop() == 0
    kept = logged(released.root / "all-time", "predictions").to_pylist()
    assert [row["event_time"].isoformat() for row in kept] == times
    assert [row["feature_since"].year for row in kept] == [1, 9999]


def test_a_request_that_fails_inside_is_told_without_the_inside(released: Released) -> None:
    with serving(released.root, *released.options, "--log", "none", plant=["raising"]) as server:
        reply = server.ask("/predict", body(ROW, entity_id="e"))
        said = problem(reply, 500)
        assert "planted" not in said
        [told] = server.told("a request failed")
        assert told["request_id"] == reply.headers["x-request-id"]
        assert "planted: the inside of the server" in told["traceback"]
        assert len(server.predict([ROW])) == 1


def test_an_answer_that_stays_unread_does_not_hold_up_others(server: Server) -> None:
    with contextlib.closing(server.connect()) as slow:
        slow.request("POST", "/predict", body(*[ROW] * MAX_ROWS), JSON)
        assert len(server.predict([ROW])) == 1
        assert len(reply_of(slow.getresponse()).predictions) == MAX_ROWS
