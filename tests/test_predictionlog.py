"""The prediction log: what was scored lies on the shelf once, as sent; no failure of it reaches an answer (R13)."""

from __future__ import annotations

import datetime as dt
import io
import math
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from mergeline.errors import ServiceError
from mergeline.logstore import FolderLog
from mergeline.schema import Feature, Kind, Signature, Task
from mergeline.serve import predictionlog
from mergeline.serve.logschema import LogSchema, Piece
from mergeline.serve.logwriter import LogWriter, Putting
from mergeline.serve.predictionlog import Entry, LogSettings, LogStats, PredictionLog

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # planted deaths

FEATURES = (
    Feature("amount", Kind.NUMBER),
    Feature("member", Kind.BOOLEAN),
    Feature("since", Kind.DATETIME),
    Feature("channel", Kind.CATEGORY, ("app", "web")),
)
BINARY = Signature(Task.BINARY, "bought", FEATURES, ("no", "yes"), 0.5)
MULTICLASS = Signature(Task.MULTICLASS, "kind", FEATURES, ("low", "mid", "top"), None)
REGRESSION = Signature(Task.REGRESSION, "price", FEATURES, (), None)
SINCE = dt.datetime(2023, 4, 5, 6, 7, 8, 123_457, tzinfo=dt.UTC)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NOON = 1_714_564_800_000_000  # 2024-05-01 12:00 UTC
HOUR = 3_600_000_000
MICROSECOND = dt.timedelta(microseconds=1)
QUICK = LogSettings(batch_rows=10, batch_seconds=60.0, retry_seconds=0.01, longest_retry_seconds=0.02)


def days(moment: dt.datetime) -> float:
    return ((moment - EPOCH) // MICROSECOND) / 86_400e6


def entry(name: str = "request", **fields: Any) -> Entry:
    """One row of the champion."""
    base = Entry(
        request_ids=[name],
        ts_us=NOON,
        values=np.array([[1.5, 1.0, days(SINCE), 3.0]]),
        scores=np.array([[0.4, 0.6]]),
        latency_ms=0.25,
        variant="champion",
        model_sha256="m1",
    )
    return changed(base, **fields)


def entries(count: int) -> list[Entry]:
    return [entry(f"request-{number}") for number in range(count)]


# ---- Shelves -------------------------------------------------------------------------------------------------------


@dataclass
class Shelf:
    """A store in memory. A put waits for `gate`, and `planted` may raise before or after it has happened."""

    url: str = "shelf"
    files: dict[str, bytes] = field(default_factory=dict)
    tries: list[str] = field(default_factory=list)
    planted: Callable[[int], tuple[str, BaseException | None]] = lambda number: ("before", None)
    gate: threading.Event = field(default_factory=threading.Event)

    def put(self, key: str, body: bytes) -> None:
        assert self.gate.wait(60)
        when, failure = self.planted(len(self.tries))
        self.tries.append(key)
        if failure is not None and when == "before":
            raise failure
        self.files[key] = body
        if failure is not None:
            raise failure

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.files if key.startswith(prefix))

    def read(self, key: str) -> bytes:
        return self.files[key]

    def tables(self) -> list[pa.Table]:
        return [pq.read_table(io.BytesIO(self.files[key])) for key in self.keys("")]

    def rows(self) -> list[dict[str, Any]]:
        return [row for table in self.tables() for row in table.to_pylist()]

    def names(self) -> list[str]:
        return [row["request_id"] for row in self.rows()]


def open_shelf(*failures: BaseException | None) -> Shelf:
    """A shelf whose first puts fail so, one after the other."""
    shelf = Shelf(planted=lambda number: ("before", failures[number] if number < len(failures) else None))
    shelf.gate.set()
    return shelf


@dataclass
class Logs:
    """Makes logs, and ends their threads with the test."""

    made: list[PredictionLog] = field(default_factory=list)

    def open(self, shelf: Any, settings: LogSettings = QUICK, signature: Signature = BINARY) -> PredictionLog:
        self.made.append(PredictionLog(shelf, signature, {"m1": signature}, settings))
        return self.made[-1]


@pytest.fixture
def logs() -> Iterator[Logs]:
    logs = Logs()
    yield logs
    for each in logs.made:
        each.close(0)


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def logged(added: Sequence[Entry], signature: Signature = BINARY, **others: Signature) -> Shelf:
    """The shelf of a log that got these entries and was closed."""
    shelf = open_shelf()
    log = PredictionLog(shelf, signature, {"m1": signature, **others}, QUICK)
    for each in added:
        log.add(each)
    assert log.close(60)
    return shelf


# ---- What is in a file -----------------------------------------------------------------------------------------------


def test_the_columns_have_the_order_and_the_types_of_the_layout() -> None:
    (table,) = logged([entry(scores=np.array([[0.1, 0.7, 0.2]]))], MULTICLASS).tables()
    time_type = pa.timestamp("us", tz="UTC")
    assert [(each.name, each.type) for each in table.schema] == [
        ("schema_version", pa.int32()),
        ("request_id", pa.string()),
        ("ts", time_type),
        ("event_time", time_type),
        ("entity_id", pa.string()),
        ("model_sha256", pa.string()),
        ("variant", pa.string()),
        ("feature_amount", pa.float64()),
        ("feature_member", pa.bool_()),
        ("feature_since", time_type),
        ("feature_channel", pa.string()),
        ("score", pa.float64()),
        ("scores", pa.list_(pa.field("element", pa.float64()))),
        ("decision", pa.string()),
        ("latency_ms", pa.float64()),
        ("status", pa.int32()),
        ("sampling_rate", pa.float64()),
    ]


def test_a_row_reads_back_as_it_was_sent() -> None:
    sent = entry("a", event_times=[NOON - 5], entity_ids=["entity"])
    assert logged([sent]).rows() == [
        {
            "schema_version": 1,
            "request_id": "a",
            "ts": EPOCH + NOON * MICROSECOND,
            "event_time": EPOCH + (NOON - 5) * MICROSECOND,
            "entity_id": "entity",
            "model_sha256": "m1",
            "variant": "champion",
            "feature_amount": 1.5,
            "feature_member": True,
            "feature_since": SINCE,
            "feature_channel": "web",
            "score": 0.6,
            "decision": "yes",
            "latency_ms": 0.25,
            "status": 200,
            "sampling_rate": 1.0,
        }
    ]


def test_missing_unseen_and_false_values_are_told_apart() -> None:
    values = np.array(
        [[math.nan, math.nan, math.nan, 0], [0.0, 0.0, 0.0, 1], [-1.0, 1.0, -0.5, 2], [2.0, 1.0, 1.0, 1]], np.float64
    )
    many = entry(
        request_ids=list("abcd"),
        values=values,
        scores=np.full((4, 2), 0.5),
        texts={(1, 3): "größer", (3, 3): "fax"},
        event_times=[None, NOON, None, NOON],
        entity_ids=[None, "", "x", None],
    )
    rows = logged([entry("first"), many, entry("last", texts={(0, 3): "not unseen, and so not read"})]).rows()
    assert [row["feature_amount"] for row in rows] == [1.5, None, 0.0, -1.0, 2.0, 1.5]
    assert [row["feature_member"] for row in rows] == [True, None, False, True, True, True]
    since = [None, EPOCH, EPOCH - dt.timedelta(hours=12), EPOCH + dt.timedelta(days=1)]
    assert [row["feature_since"] for row in rows] == [SINCE, *since, SINCE]
    assert [row["feature_channel"] for row in rows] == ["web", None, "größer", "app", "fax", "web"]
    assert [row["event_time"] is None for row in rows] == [True, True, False, True, False, True]
    assert [row["entity_id"] for row in rows] == [None, None, "", "x", None, None]


@given(
    amounts=st.lists(
        st.tuples(
            st.floats(allow_infinity=False),
            st.sampled_from([math.nan, 0.0, 1.0]),
            st.none() | st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2050, 1, 1), timezones=st.just(dt.UTC)),
            st.none() | st.sampled_from(["app", "web"]) | st.text(),
        ),
        min_size=1,
        max_size=30,
    ),
    cut=st.integers(1, 7),
)
@settings(deadline=None, max_examples=50)
def test_any_rows_read_back_as_they_were_sent(amounts: list[tuple[Any, ...]], cut: int) -> None:
    schema = LogSchema(BINARY, {"m1": BINARY}, 1.0)
    codes = {None: 0.0, "app": 2.0, "web": 3.0}
    pieces: list[Piece] = []
    for start in range(0, len(amounts), cut):
        part = amounts[start : start + cut]
        values = [[a, m, math.nan if s is None else days(s), codes.get(c, 1.0)] for a, m, s, c in part]
        texts = {(at, 3): row[3] for at, row in enumerate(part) if row[3] not in codes}
        many = entry(
            request_ids=["x"] * len(part), values=np.array(values), scores=np.full((len(part), 2), 0.5), texts=texts
        )
        pieces += schema.pack([many]).values()
    (group,) = schema.pack([entry()])
    rows = pq.read_table(io.BytesIO(schema.parquet(group, pieces))).to_pylist()
    found = [tuple(row[f"feature_{feature.name}"] for feature in FEATURES) for row in rows]
    expected = [
        (
            None if math.isnan(a) else a,
            None if math.isnan(m) else bool(m),
            s,
            c and c.encode("utf-8", "replace").decode(),
        )
        for a, m, s, c in amounts
    ]
    assert found == expected


@pytest.mark.parametrize("code", [4.0, 1e12, math.inf, math.nan, 0.0, -3.0])
def test_a_code_of_no_category_is_a_missing_value_and_takes_nothing_with_it(code: float) -> None:
    stray = entry("stray", values=np.array([[1.0, 0.0, 0.0, code]]))
    found = [(row["request_id"], row["feature_channel"]) for row in logged([entry("a"), stray, entry("b")]).rows()]
    assert found == [("a", "web"), ("stray", None), ("b", "web")]


def test_what_is_no_unicode_is_logged_as_question_marks_and_harms_nothing() -> None:
    torn = entry("a\ud800", values=np.array([[1.0, 0.0, 0.0, 1.0]]), texts={(0, 3): "\udfff!"}, entity_ids=["ü\ud800"])
    (row, other) = logged([torn, entry("b")]).rows()
    assert (row["request_id"], row["feature_channel"], row["entity_id"]) == ("a?", "?!", "ü?")
    assert other["request_id"] == "b"


def test_the_share_that_is_logged_is_a_double_however_it_is_given() -> None:
    schema = LogSchema(BINARY, {"m1": BINARY}, 1)
    ((group, piece),) = schema.pack([entry()]).items()
    column = pq.read_table(io.BytesIO(schema.parquet(group, [piece])))["sampling_rate"]
    assert (column.type, column.to_pylist()) == (pa.float64(), [1.0])


# ---- Scores and decisions --------------------------------------------------------------------------------------------


def test_a_binary_decision_falls_at_the_threshold() -> None:
    scores = np.array([[0.6, 0.4], [0.5, 0.5], [0.4, 0.6]])
    sent = entry(request_ids=list("abc"), values=np.zeros((3, 4)), scores=scores)
    assert [(row["score"], row["decision"]) for row in logged([sent]).rows()] == [
        (0.4, "no"),
        (0.5, "yes"),
        (0.6, "yes"),
    ]
    undecided = logged([sent], replace(BINARY, threshold=None)).rows()
    assert [row["decision"] for row in undecided] == [None, None, None]


def test_a_multiclass_row_has_all_scores_and_the_class_of_the_highest() -> None:
    scores = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    rows = logged([entry(request_ids=["a", "b"], values=np.zeros((2, 4)), scores=scores)], MULTICLASS).rows()
    assert [(row["score"], row["decision"]) for row in rows] == [(0.5, "top"), (0.6, "low")]
    assert [row["scores"] for row in rows] == scores.tolist()


def test_a_regression_has_a_score_and_no_decision() -> None:
    (table,) = logged([entry(scores=np.array([[12.5]]))], REGRESSION).tables()
    assert (table["score"].to_pylist(), table["decision"].to_pylist()) == ([12.5], [None])
    assert "scores" not in table.column_names


@pytest.mark.parametrize("signature", [BINARY, MULTICLASS, REGRESSION], ids=lambda each: each.task)
def test_a_shadow_that_failed_has_no_score_and_its_status(signature: Signature) -> None:
    good = np.full((1, max(1, len(signature.classes))), 0.75)
    sent = [entry("a", variant="shadow", scores=good), entry("b", variant="shadow", scores=None, status=500)]
    good_row, failed = logged(sent, signature).rows()
    assert (good_row["score"], good_row["status"]) == (0.75, 200)
    assert (failed["score"], failed["decision"], failed["status"]) == (None, None, 500)
    assert failed.get("scores") is None


def test_a_challenger_decides_by_its_own_signature_and_logs_the_features_of_the_champion() -> None:
    challenger = replace(BINARY, features=FEATURES[:1], classes=("nay", "yea"), threshold=0.7)
    sent = [entry("a"), entry("b", variant="challenger", model_sha256="m2")]
    shelf = logged(sent, BINARY, m2=challenger)
    assert sorted((row["variant"], row["decision"], row["feature_channel"]) for row in shelf.rows()) == [
        ("challenger", "nay", "web"),
        ("champion", "yes", "web"),
    ]
    found = {
        table["variant"][0].as_py(): pq.read_metadata(io.BytesIO(shelf.files[key])).metadata
        for key, table in zip(shelf.keys(""), shelf.tables(), strict=True)
    }
    assert found["champion"][b"mergeline.task"] == b"binary"
    assert [found[name][b"mergeline.threshold"] for name in ("champion", "challenger")] == [b"0.5", b"0.7"]
    assert [found[name][b"mergeline.classes"] for name in ("champion", "challenger")] == [
        b'["no", "yes"]',
        b'["nay", "yea"]',
    ]


# ---- Personal features -----------------------------------------------------------------------------------------------

SECRET = "Erika-Mustermann-4711"


def secret_entry() -> Entry:
    return entry(values=np.array([[1.5, 1.0, 0.0, 1.0]]), texts={(0, 3): SECRET})


@pytest.mark.parametrize("whose", ["champion", "challenger"])
def test_a_personal_feature_never_reaches_a_file(whose: str) -> None:
    personal = replace(BINARY, personal=("channel",))
    shelf = logged([secret_entry()], *((personal,) if whose == "champion" else (BINARY,)), m2=personal)
    (body,) = shelf.files.values()
    (row,) = shelf.rows()
    assert SECRET.encode() not in body
    assert b"feature_channel" not in body
    assert (row["feature_amount"], row["feature_member"], row["feature_since"]) == (1.5, True, EPOCH)
    assert "feature_channel" not in row


def test_the_twin_without_the_mark_the_value_lies_in_the_file() -> None:
    (body,) = logged([secret_entry()]).files.values()
    assert SECRET.encode() in body
    assert b"feature_channel" in body


# ---- Files -----------------------------------------------------------------------------------------------------------


def test_rows_lie_in_the_folder_of_their_hour() -> None:
    shelf = logged([entry("a", ts_us=NOON - 1), entry("b"), entry("c", ts_us=NOON + HOUR - 1), entry("d", ts_us=1)])
    found = [
        (key[: key.rindex("/")], table["request_id"].to_pylist())
        for key, table in zip(shelf.keys(""), shelf.tables(), strict=True)
    ]
    assert found == [
        ("predictions/date=1970-01-01/hour=00", ["d"]),
        ("predictions/date=2024-05-01/hour=11", ["a"]),
        ("predictions/date=2024-05-01/hour=12", ["b", "c"]),
    ]


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def writer_of(shelf: Shelf, clock: Clock, options: LogSettings = QUICK) -> LogWriter:
    return LogWriter(shelf, LogSchema(BINARY, {"m1": BINARY}, 1.0), options, clock)


def put_all(writer: LogWriter, closing: bool = False) -> None:
    """Let the writer go on until nothing is being put."""
    writer.step(closing)
    while writer._putting is not None:
        writer._putting.join()
        writer.step(closing)


def test_a_file_is_written_when_it_has_its_rows() -> None:
    shelf, clock = open_shelf(), Clock()
    writer = writer_of(shelf, clock)
    writer.queue += entries(25)
    put_all(writer)
    assert [len(table) for table in shelf.tables()] == [10, 10]


def test_a_file_is_written_when_its_seconds_are_over() -> None:
    shelf, clock = open_shelf(), Clock()
    writer = writer_of(shelf, clock)
    writer.queue += entries(3)
    put_all(writer)
    clock.now_s = 59.0
    put_all(writer)
    assert shelf.tables() == []
    clock.now_s = 60.0
    put_all(writer)
    assert [len(table) for table in shelf.tables()] == [3]


def test_a_write_that_fails_waits_twice_as_long_each_time_up_to_a_bound() -> None:
    shelf, clock = open_shelf(*[ServiceError("planted")] * 9), Clock()
    writer = writer_of(shelf, clock, replace(QUICK, retry_seconds=1.0, longest_retry_seconds=5.0))
    writer.queue += entries(10)
    tried: list[int] = []
    for second in range(40):
        clock.now_s = float(second)
        put_all(writer)
        if len(shelf.tries) > len(tried):
            tried.append(second)
    assert tried[:6] == [0, 1, 3, 7, 12, 17]
    assert len(set(shelf.tries)) == 1, "the same key each time"


def test_what_a_hanging_write_does_after_the_end_is_counted_no_more() -> None:
    shelf = Shelf()
    writer = writer_of(shelf, Clock())
    writer.queue += entries(10)
    writer.step()
    writer.abandon(10)
    shelf.gate.set()
    put_all(writer)
    assert (writer.written_rows, writer.given_up_rows) == (0, 10)


def test_a_folder_takes_the_files(tmp_path: Path, logs: Logs) -> None:
    log = logs.open(FolderLog("log", tmp_path / "log"))
    log.add(entry("a"))
    assert log.close(60)
    (file,) = (tmp_path / "log").rglob("*.parquet")
    assert pq.read_table(file)["request_id"].to_pylist() == ["a"]


def test_pandas_is_not_loaded_by_a_log_that_writes(tmp_path: Path) -> None:
    program = f"""
import sys
import numpy as np
from pathlib import Path
from mergeline.logstore import open_log
from mergeline.schema import Feature, Kind, Signature, Task
from mergeline.serve.labels import Label, put_labels
from mergeline.serve.predictionlog import Entry, PredictionLog
features = tuple(Feature(kind, kind, ("x",)) for kind in Kind)
signature = Signature(Task.MULTICLASS, "y", features, ("a", "b", "c"), None)
store = open_log("log", Path({str(tmp_path)!r}))
log = PredictionLog(store, signature, {{"m": signature}})
values, scores = np.array([[1.0, np.nan, 2.0, 1.0]]), np.array([[0.1, 0.2, 0.7]])
log.add(Entry(["r"], 0, values, scores, 0.1, "champion", "m", 200, {{(0, 3): "y"}}, [None], ["e"]))
assert log.close(60)
put_labels(store, [Label("r", "a", 0)])
print(len(store.keys("")), "pandas" in sys.modules, "scipy" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["2", "False", "False"]


def test_as_many_rows_as_a_file_holds_wake_the_writer_at_once(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictionlog, "REST_S", 1000.0)
    shelf = open_shelf()
    log = logs.open(shelf, LogSettings(batch_rows=4, queue_rows=100, batch_seconds=10_000.0))
    for each in entries(4):
        log.add(each)
    until(lambda: len(shelf.names()) == 4)


SLEEPY = LogSettings(batch_rows=4, queue_rows=4, batch_seconds=10_000.0, retry_seconds=0.01)


@pytest.mark.parametrize("failure", [None, ServiceError("planted"), SystemExit()])
def test_the_end_of_a_put_makes_room_at_once_whatever_it_is(
    failure: BaseException | None, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictionlog, "REST_S", 1000.0)
    log = logs.open(open_shelf(failure), SLEEPY)
    for _ in range(2):
        for each in entries(4):
            log.add(each)
        until(lambda: log.stats().queued_rows == 0)
    assert log.stats().written_rows == 8
    assert log.stats().dropped_rows == 0


def test_the_end_of_a_put_makes_no_piece_of_the_few_rows_that_came_meanwhile(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictionlog, "REST_S", 1000.0)
    shelf = Shelf()
    log = logs.open(shelf, replace(SLEEPY, queue_rows=100))
    for each in entries(4):
        log.add(each)
    until(lambda: log._writer._putting is not None)
    log.add(entry("few"))
    shelf.gate.set()
    until(lambda: log.stats().written_rows == 4)
    assert len(log._writer.queue) == 1


def test_who_replaces_a_dead_writer_goes_on_at_once(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictionlog, "REST_S", 1000.0)
    real, planted = LogSchema.pack, [MemoryError()]
    monkeypatch.setattr(LogSchema, "pack", lambda *args: _raise(planted.pop()) if planted else real(*args))
    log = logs.open(open_shelf(), SLEEPY)
    for each in entries(4):
        log.add(each)
    until(lambda: log.stats().written_rows == 4)


def test_a_file_is_put_while_more_rows_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, real = open_shelf(), LogSchema.pack
    writer = writer_of(shelf, Clock())
    writer.queue += entries(20)
    packed: list[int] = []

    def pack(*arguments: Any) -> Any:
        if packed:
            until(lambda: bool(shelf.files))
        packed.append(1)
        return real(*arguments)

    monkeypatch.setattr(LogSchema, "pack", pack)
    writer.step()
    assert len(packed) == 2


def test_at_the_end_one_put_follows_the_other(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictionlog, "REST_S", 1000.0)
    monkeypatch.setattr(predictionlog, "TICK_S", 1000.0)
    shelf = Shelf()
    log = logs.open(shelf, replace(SLEEPY, queue_rows=100))
    for each in entries(40):
        log.add(each)
    shelf.gate.set()
    assert log.close(60)
    assert len(shelf.files) > 5


def test_a_few_rows_that_come_while_others_are_packed_are_no_piece_of_their_own() -> None:
    writer = writer_of(open_shelf(), Clock())
    writer.queue += entries(14)
    writer.step()
    assert len(writer.queue) == 4
    writer.queue += entries(16)
    writer.step()
    assert not writer.queue  # the ten that were left are as many as were packed
    writer.queue += entries(14)
    writer.step(closing=True)
    assert not writer.queue


# ---- R13: failures of the log stay in the log ------------------------------------------------------------------------


def test_r13_a_slow_shelf_does_not_hold_add_and_what_does_not_fit_is_dropped_and_counted(logs: Logs) -> None:
    shelf = Shelf()
    log = logs.open(shelf, replace(QUICK, queue_rows=30))
    for each in entries(100):
        log.add(each)  # no put ends before the gate opens: an add that waited for one would never return
    assert log.stats() == LogStats(0, 70, 30, 0, 0)
    shelf.gate.set()
    assert log.close(60)
    assert log.stats() == LogStats(30, 70, 0, 0, 0)
    assert shelf.names() == [f"request-{number}" for number in range(30)]


def test_r13_room_that_comes_back_is_used(logs: Logs) -> None:
    shelf = Shelf()
    log = logs.open(shelf, replace(QUICK, queue_rows=10))
    for each in entries(20):
        log.add(each)
    shelf.gate.set()
    until(lambda: log.stats().queued_rows == 0)
    log.add(entry("later"))
    assert log.close(60)
    assert shelf.names() == [*(f"request-{number}" for number in range(10)), "later"]


def test_r13_a_shelf_that_fails_is_tried_again_with_the_same_key_and_each_row_is_there_once(logs: Logs) -> None:
    shelf = open_shelf(*[ServiceError("planted")] * 4)
    log = logs.open(shelf)
    for each in entries(25):
        log.add(each)
    assert log.close(60)
    assert log.stats() == LogStats(25, 0, 0, 4, 0)
    assert sorted(shelf.names()) == sorted(each.request_ids[0] for each in entries(25))
    assert len(set(shelf.tries[:5])) == 1


def test_r13_a_write_that_succeeded_and_was_told_to_have_failed_is_there_once(logs: Logs) -> None:
    shelf = open_shelf()
    shelf.planted = lambda number: ("after", ServiceError("planted") if number < 2 else None)
    log = logs.open(shelf)
    for each in entries(10):
        log.add(each)
    assert log.close(60)
    assert (log.stats().written_rows, log.stats().failed_writes) == (10, 2)
    assert sorted(shelf.names()) == sorted(each.request_ids[0] for each in entries(10))


def test_r13_a_shelf_that_fails_for_ever_costs_only_its_rows(logs: Logs) -> None:
    shelf = open_shelf()
    shelf.planted = lambda number: ("before", ServiceError("planted"))
    log = logs.open(shelf, replace(QUICK, queue_rows=30))
    for each in entries(50):
        log.add(each)
    until(lambda: log.stats().failed_writes > 2)
    assert (log.stats().queued_rows, log.stats().dropped_rows) == (30, 20)
    assert not log.close(0.1)
    assert (log.stats().queued_rows, log.stats().dropped_rows) == (0, 50)


@pytest.mark.parametrize("death", [SystemExit(), MemoryError(), KeyError("planted"), OSError("planted")], ids=repr)
def test_r13_a_put_that_dies_of_anything_loses_no_row(logs: Logs, death: BaseException) -> None:
    shelf = open_shelf(death, None, death, death)
    log = logs.open(shelf)
    for each in entries(25):
        log.add(each)
    assert log.close(60)
    stats = log.stats()
    assert (stats.written_rows, stats.dropped_rows, stats.writer_restarts) == (25, 0, 3)
    assert sorted(shelf.names()) == sorted(each.request_ids[0] for each in entries(25))


@pytest.mark.parametrize("step", ["pack", "parquet"])
@pytest.mark.parametrize("death", [SystemExit(), MemoryError()], ids=repr)
def test_r13_a_writer_that_dies_is_replaced_and_no_row_is_lost(
    logs: Logs, monkeypatch: pytest.MonkeyPatch, step: str, death: BaseException
) -> None:
    calls, real = Counter[str](), getattr(LogSchema, step)

    def dying(*args: Any) -> Any:
        calls[step] += 1
        if calls[step] in (1, 3):
            raise death
        return real(*args)

    monkeypatch.setattr(LogSchema, step, dying)
    shelf = open_shelf()
    log = logs.open(shelf)
    for each in entries(25):
        log.add(each)
    assert log.close(60)
    stats = log.stats()
    assert (stats.written_rows, stats.dropped_rows, stats.writer_restarts) == (25, 0, 2)
    assert sorted(shelf.names()) == sorted(each.request_ids[0] for each in entries(25))


def test_r13_a_writer_that_could_not_be_replaced_is_missed_by_the_next_look(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(self: PredictionLog, wait_s: float) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    shelf, planted = open_shelf(), [MemoryError()]
    log = logs.open(shelf)
    real = LogSchema.pack
    monkeypatch.setattr(PredictionLog, "_started", no_more)
    monkeypatch.setattr(LogSchema, "pack", lambda *args: _raise(planted.pop()) if planted else real(*args))
    log.add(entry("a"))
    until(lambda: not log._thread.is_alive())
    assert log.stats().queued_rows == 1
    monkeypatch.undo()
    assert log.stats().queued_rows == 1
    assert log.close(60)
    assert shelf.names() == ["a"]


def test_r13_a_writer_that_dies_before_it_is_known_has_one_successor(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers at once would count rows twice, and put a file of none."""
    started: list[threading.Thread] = []
    real_start, real_pack, planted = PredictionLog._started, LogSchema.pack, [MemoryError(), MemoryError()]

    def slowly(self: PredictionLog, wait_s: float) -> threading.Thread:
        thread = real_start(self, wait_s)
        started.append(thread)
        if len(started) == 1:
            time.sleep(0.5)  # meanwhile this one dies, and is replaced
        return thread

    monkeypatch.setattr(predictionlog, "TICK_S", 0.001)
    shelf = open_shelf()
    log = logs.open(shelf, replace(QUICK, retry_seconds=0.001, batch_rows=1))
    monkeypatch.setattr(PredictionLog, "_started", slowly)
    monkeypatch.setattr(LogSchema, "pack", lambda *args: _raise(planted.pop()) if planted else real_pack(*args))
    first = log._thread
    log.add(entry("a"))
    until(lambda: not first.is_alive())
    until(lambda: log.stats().written_rows == 1)
    assert log.close(60)
    assert (len(started), shelf.names()) == (2, ["a"])


def test_r13_a_first_writer_that_dies_before_it_is_known_has_one_successor(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[threading.Thread] = []
    real_start, real_step, planted = PredictionLog._started, LogWriter.step, [MemoryError()]

    def slowly(self: PredictionLog, wait_s: float) -> threading.Thread:
        is_first = threading.current_thread() is threading.main_thread()
        thread = real_start(self, wait_s)
        started.append(thread)
        if is_first:
            time.sleep(0.5)  # meanwhile it dies
        return thread

    monkeypatch.setattr(predictionlog, "TICK_S", 0.001)
    monkeypatch.setattr(PredictionLog, "_started", slowly)
    monkeypatch.setattr(LogWriter, "step", lambda *args: _raise(planted.pop()) if planted else real_step(*args))
    shelf = open_shelf()
    log = logs.open(shelf, replace(QUICK, retry_seconds=0.001))
    until(lambda: not all(each.is_alive() for each in started))
    assert log.stats().writer_restarts == 1
    log.add(entry("a"))
    assert log.close(60)
    assert (len(started), shelf.names()) == (2, ["a"])


def test_r13_a_put_whose_thread_dies_before_it_begins_is_done_again(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, planted = Putting.run, [MemoryError()]
    monkeypatch.setattr(Putting, "run", lambda self: _raise(planted.pop()) if planted else real(self))
    shelf = open_shelf()
    log = logs.open(shelf)
    log.add(entry("a"))
    assert log.close(60)
    assert (shelf.names(), log.stats().writer_restarts) == (["a"], 1)


def test_r13_who_looks_waits_for_nobody_who_replaces_a_writer(logs: Logs) -> None:
    log = logs.open(open_shelf())
    with log._replacing:
        looks = threading.Thread(target=log.stats, daemon=True)
        looks.start()
        looks.join(20)
        assert not looks.is_alive()


def test_r13_writers_that_cannot_load_what_they_need_follow_each_other_slowly(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    log = logs.open(open_shelf(), replace(QUICK, retry_seconds=0.1))
    until(lambda: log.stats().writer_restarts >= 2)
    time.sleep(0.5)
    assert log.stats().writer_restarts < 10


def test_a_put_that_failed_is_not_done_again_in_the_same_breath() -> None:
    writer = writer_of(open_shelf(ServiceError("planted")), Clock(), replace(QUICK, retry_seconds=0.0))
    writer.queue += entries(10)
    put_all(writer)
    assert (writer.failed_writes, writer.waits_to_retry) == (1, True)
    put_all(writer)
    assert writer.written_rows == 10


def _raise(death: BaseException) -> None:
    raise death


@pytest.mark.parametrize(
    "bad",
    [
        entry("bad", values=np.zeros((1, 3))),
        entry("bad", values=np.zeros((2, 4))),
        entry("bad", values=None),
        entry("bad", scores=np.zeros((1, 3))),
        entry("bad", scores=np.zeros((2, 2))),
        entry("bad", model_sha256="nobody's"),
        entry("bad", entity_ids=["a", "b"]),
        entry("bad", event_times=["noon"]),
        entry("bad", ts_us=10**18),
    ],
    ids=["features", "rows", "nothing", "classes", "scores", "model", "entities", "times", "year"],
)
def test_r13_rows_that_do_not_fit_are_dropped_alone(logs: Logs, bad: Entry) -> None:
    shelf = open_shelf()
    log = logs.open(shelf)
    for each in (entry("a"), bad, entry("b")):
        log.add(each)
    assert log.close(60)
    stats = log.stats()
    assert (shelf.names(), stats.written_rows, stats.dropped_rows) == (["a", "b"], 2, 1)
    assert stats.writer_restarts == 0 or bad.ts_us == 10**18  # of which no date can be made


def test_r13_rows_too_short_and_too_long_do_not_make_up_for_each_other(logs: Logs) -> None:
    shelf = open_shelf()
    log = logs.open(shelf)
    for each in (entry("a"), entry("bad", values=np.zeros((1, 3))), entry("bad", values=np.zeros((1, 5))), entry("b")):
        log.add(each)
    assert log.close(60)
    assert (shelf.names(), log.stats().written_rows, log.stats().dropped_rows) == (["a", "b"], 2, 2)


def test_r13_rows_that_kill_every_writer_are_dropped_alone(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LogSchema.pack

    def dying(self: LogSchema, packed: Sequence[Entry]) -> Any:
        if any(each.request_ids == ["deadly"] for each in packed):
            raise MemoryError
        return real(self, packed)

    monkeypatch.setattr(LogSchema, "pack", dying)
    shelf = open_shelf()
    log = logs.open(shelf)
    for each in (entry("a"), entry("deadly"), entry("b")):
        log.add(each)
    assert log.close(60)
    assert (shelf.names(), log.stats().dropped_rows) == (["a", "b"], 1)


def test_r13_a_block_that_kills_every_writer_is_dropped_and_the_next_one_is_written(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LogSchema.parquet

    def dying(self: LogSchema, group: Any, pieces: Sequence[Piece]) -> bytes:
        if group.variant == "shadow":
            raise MemoryError
        return real(self, group, pieces)

    monkeypatch.setattr(LogSchema, "parquet", dying)
    shelf = open_shelf()
    log = logs.open(shelf)
    for each in (entry("s", variant="shadow"), entry("a")):
        log.add(each)
    assert log.close(60)
    assert (shelf.names(), log.stats().dropped_rows) == (["a"], 1)


def test_r13_close_puts_on_the_shelf_what_waits(logs: Logs) -> None:
    shelf = open_shelf()
    log = logs.open(shelf)
    for each in entries(5):
        log.add(each)
    assert log.close(60)
    assert len(shelf.names()) == 5


def test_r13_the_twin_without_close_the_rows_are_not_on_the_shelf(logs: Logs) -> None:
    shelf = open_shelf()
    log = logs.open(shelf)
    for each in entries(5):
        log.add(each)
    until(lambda: log._writer.queue == [])
    assert shelf.names() == []
    assert log.stats().queued_rows == 5


def test_r13_close_gives_up_on_a_shelf_that_hangs_and_counts_what_is_left(logs: Logs) -> None:
    shelf = Shelf()
    log = logs.open(shelf)
    for each in entries(25):
        log.add(each)
    assert not log.close(0.1)
    assert log.stats() == LogStats(0, 25, 0, 0, 0)
    shelf.gate.set()
    assert not log.close(60)
    assert log.stats() == LogStats(0, 25, 0, 0, 0)


def test_rows_that_come_after_close_are_dropped_and_counted(logs: Logs) -> None:
    shelf = open_shelf()
    log = logs.open(shelf)
    assert log.close(60)
    log.add(entry("late"))
    assert (shelf.names(), log.stats().dropped_rows) == ([], 1)


def test_an_entry_without_rows_is_nothing(logs: Logs) -> None:
    shelf = open_shelf()
    log = logs.open(shelf)
    log.add(entry(request_ids=[], values=np.zeros((0, 4)), scores=np.zeros((0, 2))))
    assert log.close(60)
    assert log.stats() == LogStats(0, 0, 0, 0, 0)


# ---- Sampling --------------------------------------------------------------------------------------------------------


def test_sampling_keeps_its_share_says_so_and_keeps_the_same_requests_of_every_variant(logs: Logs) -> None:
    shelf = open_shelf()
    log = logs.open(shelf, replace(QUICK, batch_rows=1000, sampling_rate=0.25))
    for each in entries(2000):
        log.add(each)
        log.add(changed(each, variant="shadow"))
    assert log.close(60)
    rows = shelf.rows()
    found = {name: {row["request_id"] for row in rows if row["variant"] == name} for name in ("champion", "shadow")}
    assert found["champion"] == found["shadow"]
    assert 400 < len(found["champion"]) < 600, "five standard deviations around 500"
    assert {row["sampling_rate"] for row in rows} == {0.25}
    assert log.stats().written_rows == len(rows)


def test_the_rows_of_one_request_are_sampled_with_all_that_belongs_to_them(logs: Logs) -> None:
    shelf = open_shelf()
    log = logs.open(shelf, replace(QUICK, sampling_rate=0.5))
    count = 200
    log.add(
        entry(
            request_ids=[f"r{number}" for number in range(count)],
            values=np.column_stack([np.arange(count), np.zeros(count), np.zeros(count), np.ones(count)]),
            scores=np.column_stack([1 - np.arange(count) / count, np.arange(count) / count]),
            texts={(number, 3): f"text-{number}" for number in range(count)},
            event_times=list(range(count)),
            entity_ids=[f"e{number}" for number in range(count)],
        )
    )
    assert log.close(60)
    rows = shelf.rows()
    assert 0 < len(rows) < count
    for row in rows:
        number = int(row["request_id"][1:])
        assert (row["feature_amount"], row["score"]) == (number, number / count)
        assert (row["feature_channel"], row["entity_id"]) == (f"text-{number}", f"e{number}")
        assert row["event_time"] == EPOCH + number * MICROSECOND


def test_sampling_raises_nothing_on_the_event_loop_whatever_it_is_given(logs: Logs) -> None:
    shelf = open_shelf()
    log = logs.open(shelf, replace(QUICK, sampling_rate=0.5))
    names = [f"r{number}" for number in range(20)] + ["\ud800"]
    log.add(entry(request_ids=names))
    assert log.close(60)
    assert (shelf.names(), log.stats().dropped_rows) == ([], 21)


# ---- Any sequence of events ------------------------------------------------------------------------------------------

FAILURES = [
    ("before", None),
    *[(when, each) for when in ("before", "after") for each in (ServiceError("planted"), SystemExit())],
]


@given(
    events=st.lists(
        st.integers(1, 7)
        | st.sampled_from(["step", "die", "wait"])
        | st.tuples(st.just("puts"), st.lists(st.sampled_from(FAILURES), max_size=4)),
        max_size=40,
    )
)
@settings(deadline=None, max_examples=60)
def test_r13_every_row_is_written_given_up_or_queued_whatever_happens(events: list[Any]) -> None:
    """The writer step by step: integers add entries of so many rows, `die` kills the next packing or making."""
    shelf, clock, ahead = open_shelf(), Clock(), list[Any]()
    shelf.planted = lambda number: ahead.pop(0) if ahead else ("before", None)
    schema = DyingSchema()
    writer = LogWriter(shelf, schema, replace(QUICK, batch_rows=5), clock)
    added = 0
    for event in [*events, "step"]:
        if isinstance(event, int):
            names = [f"r{added + number}" for number in range(event)]
            writer.queue.append(entry(request_ids=names, values=np.zeros((event, 4)), scores=np.zeros((event, 2))))
            added += event
        elif isinstance(event, tuple):
            ahead += event[1]
        elif event == "die":
            schema.deaths_left += 1
        elif event == "wait":
            clock.now_s += 100
        step_or_die(writer)
        waiting = sum(len(each.request_ids) for each in writer.queue)
        waiting += sum(block.rows for block in writer._blocks.values()) + sum(made.rows for made in writer._made)
        assert writer.settled_rows + waiting == added
    for _ in range(200):
        clock.now_s += 100
        step_or_die(writer, closing=True)
        if writer.is_idle:
            break
    assert writer.is_idle
    names = shelf.names()
    assert len(set(names)) == len(names) == writer.written_rows
    assert writer.written_rows + writer.given_up_rows == added


class DyingSchema(LogSchema):
    """A schema whose next uses kill the writer."""

    def __init__(self) -> None:
        super().__init__(BINARY, {"m1": BINARY}, 1.0)
        self.deaths_left = 0

    def pack(self, entries: Sequence[Entry]) -> Any:
        self.die()
        return super().pack(entries)

    def parquet(self, group: Any, pieces: Sequence[Piece]) -> bytes:
        self.die()
        return super().parquet(group, pieces)

    def die(self) -> None:
        if self.deaths_left:
            self.deaths_left -= 1
            raise SystemExit


def step_or_die(writer: LogWriter, closing: bool = False) -> None:
    try:
        put_all(writer, closing)
    except SystemExit:
        writer.after_death()


@given(
    script=st.lists(st.sampled_from(FAILURES), max_size=8),
    sizes=st.lists(st.integers(1, 12), max_size=20),
    queue_rows=st.integers(5, 100),
)
@settings(deadline=None, max_examples=15)
def test_r13_the_counts_of_a_log_add_up_whatever_its_shelf_does(
    script: list[Any], sizes: list[int], queue_rows: int
) -> None:
    shelf = open_shelf()
    shelf.planted = lambda number: script[number] if number < len(script) else ("before", None)
    log = PredictionLog(shelf, BINARY, {"m1": BINARY}, replace(QUICK, queue_rows=queue_rows))
    for number, size in enumerate(sizes):
        names = [f"{number}-{row}" for row in range(size)]
        log.add(entry(request_ids=names, values=np.zeros((size, 4)), scores=np.zeros((size, 2))))
    stats = log.stats()
    assert stats.written_rows + stats.dropped_rows + stats.queued_rows == sum(sizes)
    assert log.close(60)
    stats = log.stats()
    assert (stats.queued_rows, stats.written_rows + stats.dropped_rows) == (0, sum(sizes))
    names = shelf.names()
    assert len(set(names)) == len(names) == stats.written_rows
