"""Labels: checked against the classes, on the shelf before they are accepted, several requests in one file."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mergeline.errors import DataError, ServiceError
from mergeline.models.encoder import category_text
from mergeline.schema import Signature, Task
from mergeline.serve.labels import Label, LabelIntake, checked_label, labels_table, put_labels

BINARY = Signature(Task.BINARY, "paid", (), ("false", "true"), 0.5)
DIGITS = Signature(Task.MULTICLASS, "digit", (), ("0", "1", "2.5"), None)
PRICE = Signature(Task.REGRESSION, "price", (), (), None)


@dataclass
class Shelf:
    """A store in memory; a put waits for `gate`, then raises what `planted` holds, if anything."""

    url: str = "shelf"
    files: dict[str, bytes] = field(default_factory=dict)
    planted: list[BaseException] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def put(self, key: str, body: bytes) -> None:
        assert self.gate.wait(30)
        if self.planted:
            raise self.planted.pop()
        self.files[key] = body

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.files if key.startswith(prefix))

    def read(self, key: str) -> bytes:
        return self.files[key]

    def tables(self) -> list[pa.Table]:
        return [pq.read_table(io.BytesIO(self.files[key])) for key in self.keys("labels/")]


def open_shelf(*planted: BaseException) -> Shelf:
    shelf = Shelf(planted=list(planted))
    shelf.gate.set()
    return shelf


def label(number: int, value: str = "true") -> Label:
    return Label(f"request-{number}", value, 1_700_000_000_000_000 + number)


# ---- What a label may be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "signature", "text"),
    [
        (True, BINARY, "true"),
        (False, BINARY, "false"),
        ("true", BINARY, "true"),
        (1, DIGITS, "1"),
        (1.0, DIGITS, "1"),
        (-0.0, DIGITS, "0"),
        (2.5, DIGITS, "2.5"),
        ("0", DIGITS, "0"),
        (3, PRICE, "3.0"),
        (0.1, PRICE, "0.1"),
    ],
)
def test_a_label_becomes_the_text_of_its_class(raw: object, signature: Signature, text: str) -> None:
    assert checked_label(raw, signature) == text


@pytest.mark.parametrize("raw", [True, False, 0, 1, 7, -3, 1.0, 2.5, 1e300, 1e17, "1", "1.0", " x", "true"])
def test_a_label_reads_as_training_reads_the_same_value(raw: object) -> None:
    (text,) = category_text(pd.Series([raw]))
    known = Signature(Task.MULTICLASS, "kind", (), ("another", text), None)
    assert checked_label(raw, known) == text


@pytest.mark.parametrize("raw", ["yes", "TRUE", 1, 0, None, [], {}, float("nan"), ""])
def test_what_is_no_class_is_refused_and_the_classes_are_named(raw: object) -> None:
    with pytest.raises(DataError, match="expected one of false, true, found"):
        checked_label(raw, BINARY)


@pytest.mark.parametrize("raw", [float("nan"), float("inf"), True, "3", None, 10**400])
def test_a_label_of_a_regression_is_a_finite_number(raw: object) -> None:
    with pytest.raises(DataError, match="expected a finite number"):
        checked_label(raw, PRICE)


def test_a_message_stays_short_whatever_is_sent() -> None:
    many = Signature(Task.MULTICLASS, "kind", (), tuple(f"class-{number}" for number in range(1000)), None)
    with pytest.raises(DataError) as caught:
        checked_label("x" * 10_000, many)
    assert len(str(caught.value)) < 300


# ---- The file --------------------------------------------------------------------------------------------------------


def test_a_file_of_labels_reads_back_as_it_was_written() -> None:
    labels = [Label("a", "true", 1, "desk"), Label("b", "größer", 2), Label("c", "true", 3, "desk")]
    table = pq.read_table(io.BytesIO(labels_table(labels, received_ts_us=9)))
    time = pa.timestamp("us", tz="UTC")
    expected = [("request_id", pa.string()), ("label", pa.string()), ("label_ts", time), ("source", pa.string())]
    assert [(each.name, each.type) for each in table.schema] == [*expected, ("received_ts", time)]
    assert table["label"].to_pylist() == ["true", "größer", "true"]
    assert table["source"].to_pylist() == ["desk", None, "desk"]
    assert table["label_ts"].cast(pa.int64()).to_pylist() == [1, 2, 3]
    assert table["received_ts"].cast(pa.int64()).to_pylist() == [9, 9, 9]


def test_a_file_lies_in_the_folder_of_the_day_on_which_the_labels_came() -> None:
    shelf = open_shelf()
    key = put_labels(shelf, [label(1)])
    received = shelf.tables()[0]["received_ts"][0].as_py()
    assert key.startswith(f"labels/date={received:%Y-%m-%d}/")
    assert key.endswith(".parquet")
    assert shelf.keys("") == [key]


# ---- The intake ------------------------------------------------------------------------------------------------------


def test_labels_lie_on_the_shelf_when_add_returns() -> None:
    shelf = open_shelf()

    async def run() -> list[Any]:
        await LabelIntake(shelf).add([label(1), label(2)])
        return [table["request_id"].to_pylist() for table in shelf.tables()]

    assert asyncio.run(run()) == [["request-1", "request-2"]]


def test_the_twin_add_does_not_return_while_the_write_lasts() -> None:
    shelf = Shelf()

    async def run() -> bool:
        adding = asyncio.create_task(LabelIntake(shelf).add([label(1)]))
        await asyncio.sleep(0.05)
        early = adding.done()
        shelf.gate.set()
        await adding
        return early

    assert not asyncio.run(run())
    assert len(shelf.files) == 1


def test_labels_that_come_while_one_file_is_written_share_the_next_one() -> None:
    shelf = Shelf()

    async def run() -> None:
        intake = LabelIntake(shelf)
        first = asyncio.create_task(intake.add([label(0)]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(intake.add([label(number)])) for number in range(1, 50)]
        await asyncio.sleep(0)
        shelf.gate.set()
        await asyncio.gather(first, *others)

    asyncio.run(run())
    assert sorted(len(table) for table in shelf.tables()) == [1, 49]


@pytest.mark.parametrize("planted", [ServiceError("shelf: planted"), MemoryError(), ValueError("planted")])
def test_a_write_that_fails_is_told_to_all_that_wait_for_it_and_the_next_one_is_tried(planted: BaseException) -> None:
    shelf = open_shelf(planted)

    async def run() -> Sequence[BaseException | None]:
        intake = LabelIntake(shelf)
        failed = await asyncio.gather(*(intake.add([label(number)]) for number in range(3)), return_exceptions=True)
        await intake.add([label(9)])
        return failed

    failed = asyncio.run(run())
    assert [type(each) for each in failed] == [ServiceError] * 3
    assert [table["request_id"].to_pylist() for table in shelf.tables()] == [["request-9"]]


def test_labels_beyond_the_bound_are_refused_and_those_before_it_are_written() -> None:
    shelf = Shelf()

    async def run() -> None:
        intake = LabelIntake(shelf, most_waiting=3)
        first = asyncio.create_task(intake.add([label(1), label(2)]))
        await asyncio.sleep(0.05)
        with pytest.raises(ServiceError, match="wait to be written"):
            await intake.add([label(3), label(4)])
        shelf.gate.set()
        await first
        await intake.add([label(5), label(6), label(7)])

    asyncio.run(run())
    assert sum(len(table) for table in shelf.tables()) == 5


def test_a_request_that_goes_away_takes_no_other_label_with_it() -> None:
    shelf = Shelf()

    async def run() -> None:
        intake = LabelIntake(shelf)
        gone, stays = (asyncio.create_task(intake.add([label(number)])) for number in range(2))
        await asyncio.sleep(0.05)
        gone.cancel()
        shelf.gate.set()
        await stays

    asyncio.run(run())
    assert [table["request_id"].to_pylist() for table in shelf.tables()] == [["request-0", "request-1"]]


def test_close_waits_for_what_is_being_written() -> None:
    shelf = Shelf()

    async def run() -> None:
        intake = LabelIntake(shelf)
        adding = asyncio.create_task(intake.add([label(1)]))
        await asyncio.sleep(0.05)
        shelf.gate.set()
        await intake.close()
        assert len(shelf.files) == 1
        await adding
        await intake.close()

    asyncio.run(run())


def test_no_labels_make_no_file() -> None:
    shelf = open_shelf()
    asyncio.run(LabelIntake(shelf).add([]))
    assert shelf.files == {}
