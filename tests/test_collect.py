"""The next partition: what was predicted and turned out, and no row lost without a reason."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import replayed
from replayed import DAY, FIRST, asked, put_labels, put_predictions
from repositories import fingerprint, lay_out_dvc

from mergeline.cli import main
from mergeline.commands.collect import Record, collect, collect_all
from mergeline.commands.partition import standing
from mergeline.commands.settings import load_params
from mergeline.errors import ConfigurationError, DataError
from mergeline.logstore import FolderLog
from mergeline.monitor.collect.collected import Collected, Standing, collected, refuse
from mergeline.monitor.collect.convert import converted
from mergeline.monitor.collect.naming import following, period_of
from mergeline.monitor.collect.rules import refusals
from mergeline.params import Params, parse

MODEL = replayed.model("collected")
JUNE = dt.datetime(2024, 6, 15, tzinfo=dt.UTC)
VALIDATE = """\
validate:
  min_rows: 300
  max_age_days: 31
  columns:
    bought: {missing: 0}
    channel: {values: [app, desk, web], missing: 0}
    amount: {min: -10, max: 10, missing: 0.1}
"""

# ---- Rows ------------------------------------------------------------------------------------------------------------

SCHEMA = pa.schema(
    [
        ("order", pa.int32()),
        ("placed", pa.timestamp("ms")),
        ("visits", pa.int16()),
        ("amount", pa.float32()),
        ("member", pa.bool_()),
        ("channel", pa.large_string()),
        ("note", pa.string()),
        ("bought", pa.bool_()),
    ]
)
STANDING = Standing(SCHEMA, frozenset({"7"}), frozenset({"true", "false"}))
RAW: dict[str, Any] = {
    "data": {
        "task": "binary",
        "target": "bought",
        "time": "placed",
        "id": "order",
        "numeric": ["visits", "amount", "member"],
        "categorical": ["channel"],
        "holdout": {"days": 5},
    },
    "validate": {
        "columns": {
            "visits": {"min": 0, "max": 500, "missing": 0},
            "channel": {"values": ["app", "web"], "missing": 0.5},
            "amount": {"max": 100, "severity": "warn"},
            "placed": {"min": "2024-05-01", "max": "2024-05-31"},
        }
    },
}
GOOD: dict[str, Any] = {
    "request_id": "r",
    "entity_id": "1",
    "event_time": FIRST,
    "time": FIRST,
    "absent": "",
    "feature_visits": 3.0,
    "feature_amount": 2.5,
    "feature_member": True,
    "feature_channel": "app",
    "label": "true",
}


def made(*rows: dict[str, Any], params: Params | None = None) -> Collected:
    """Collect rows that are good but for what is said of them; the ids are 1, 2, ..."""
    whole = [{**GOOD, "request_id": f"r{at}", "entity_id": str(at + 1), **row} for at, row in enumerate(rows)]
    return collected(pd.DataFrame(whole), params or parse(RAW), STANDING)


class TestRows:
    def test_a_good_row_has_the_types_and_the_order_of_the_table(self) -> None:
        found = made({"time": FIRST + 2 * DAY}, {"time": FIRST + DAY})
        assert found.table.schema == pa.schema([field for field in SCHEMA if field.name != "note"])
        assert found.table["order"].to_pylist() == [2, 1]
        assert found.table["bought"].to_pylist() == [True, True]
        assert (found.held_up.num_rows, found.counts) == (0, {})

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            pytest.param({"label": None}, "bought: no label yet", id="no label"),
            pytest.param({"label": "maybe"}, "bought: a class that the table does not have", id="another class"),
            pytest.param({"entity_id": None}, "order: no entity_id", id="no id"),
            pytest.param({"entity_id": "7"}, "order: in the table already", id="an id of the table"),
            pytest.param({"entity_id": "A7"}, "order: no int32", id="an id that is none"),
            pytest.param({"feature_visits": 501.0}, "visits: above 500", id="too large"),
            pytest.param({"feature_visits": -1.0}, "visits: below 0", id="too small"),
            pytest.param({"feature_visits": 2.5}, "visits: no int16", id="no whole number"),
            pytest.param({"feature_visits": 40_000.0}, "visits: no int16", id="beyond the type"),
            pytest.param({"feature_visits": None}, "visits: no value", id="missing where it must not be"),
            pytest.param({"feature_amount": 1e300}, "amount: no float", id="infinite as float32"),
            pytest.param({"feature_channel": "fax"}, "channel: none of app, web", id="a category that is not allowed"),
            pytest.param({"time": FIRST + 31 * DAY}, "placed: above 2024-05-31", id="a time beyond the limit"),
            pytest.param({"absent": "visits"}, "not logged: visits", id="a feature that was not logged"),
        ],
    )
    def test_a_row_that_the_table_cannot_take_is_held_up_with_its_reason(
        self, row: dict[str, Any], reason: str
    ) -> None:
        found = made({}, row)
        assert reason in found.counts
        assert found.table["order"].to_pylist() == [1]
        held = found.held_up.to_pylist()
        assert len(held) == 1
        assert reason in held[0]["reason"]
        assert held[0]["request_id"] == "r1"

    @pytest.mark.parametrize(
        "row",
        [
            pytest.param({"feature_amount": 101.0}, id="a rule that only warns"),
            pytest.param({"feature_channel": None}, id="a share may be missing"),
            pytest.param({"feature_member": None}, id="a missing value without a rule"),
            pytest.param({"time": FIRST + 31 * DAY - dt.timedelta(seconds=1)}, id="the end of the last day"),
            pytest.param({"feature_visits": 500.0}, id="the limit itself"),
        ],
    )
    def test_the_twin_what_validate_lets_through_is_not_held_up(self, row: dict[str, Any]) -> None:
        assert made({}, row).rows == 2

    def test_of_one_id_the_last_good_row_is_taken_and_no_row_is_lost(self) -> None:
        found = made(
            {"entity_id": "5", "feature_visits": 1.0},
            {"entity_id": "5", "feature_visits": 2.0, "time": FIRST + DAY},
            {"entity_id": "5", "label": None, "time": FIRST + 2 * DAY},
        )
        assert found.table["visits"].to_pylist() == [2]
        assert found.counts == {"bought: no label yet": 1, "order: asked again later": 1}
        assert found.rows + found.held_up.num_rows == 3

    def test_rows_that_named_no_event_are_counted(self) -> None:
        assert made({}, {"event_time": None}).by_request == 1

    def test_the_id_may_be_that_of_the_request(self) -> None:
        params = parse({**RAW, "collect": {"id": "request_id"}})
        assert made({"request_id": "12"}, {"request_id": "13"}, params=params).table["order"].to_pylist() == [12, 13]

    def test_rules_on_a_whole_partition_refuse_it(self) -> None:
        params = parse({**RAW, "validate": {**RAW["validate"], "min_rows": 4}})
        rows = made({}, {"feature_channel": None}, {"feature_channel": None}).table.to_pandas()
        found = list(refusals(rows, params))
        assert found[0] == "3 rows are good, `validate.min_rows` asks for 4"
        assert "66.7% of channel is missing" in found[1]
        assert list(refusals(rows, parse({**RAW, "validate": {}}))) == []


class TestTypes:
    @pytest.mark.parametrize(
        ("values", "kind", "expected", "bad"),
        [
            ([1.0, None, 2.5], pa.int64(), [1, None, None], [False, False, True]),
            ([-1.0, 255.0, 256.0], pa.uint8(), [None, 255, None], [True, False, True]),
            (["3", "x"], pa.int8(), [3, None], [False, True]),
            ([True, None, False], pa.int8(), [1, None, 0], [False, False, False]),
            (["1.5", "inf"], pa.float64(), [1.5, None], [False, True]),
            (["true", "0", "yes"], pa.bool_(), [True, False, None], [False, False, True]),
            ([3.0, 2.5, None], pa.string(), ["3", "2.5", None], [False, False, False]),
            (["a", None, "a"], pa.dictionary(pa.int8(), pa.string()), ["a", None, "a"], [False] * 3),
            (["2024-05-01T02:00:00+02:00", "x"], pa.timestamp("us"), [FIRST.replace(tzinfo=None), None], [False, True]),
            ([FIRST], pa.timestamp("ms", tz="UTC"), [FIRST], [False]),
            ([FIRST], pa.date32(), [FIRST.date()], [False]),
        ],
    )
    def test_values_become_the_table_s_type_or_are_said_to_be_none(
        self, values: list[Any], kind: pa.DataType, expected: list[Any], bad: list[bool]
    ) -> None:
        found, wrong = converted(pd.Series(values, name="x"), kind)
        assert found.type == kind
        assert (found.to_pylist(), wrong.tolist()) == (expected, bad)

    def test_a_type_that_no_log_holds_is_refused(self) -> None:
        with pytest.raises(DataError, match="column 'x' has the type list"):
            converted(pd.Series([1.0], name="x"), pa.list_(pa.int8()))


class TestTable:
    def test_a_personal_column_is_refused_with_the_reason(self) -> None:
        raw = {**RAW, "data": {**RAW["data"], "personal": ["channel"]}}
        with pytest.raises(ConfigurationError, match=r"data\.personal: channel are in no log"):
            refuse(parse(raw), SCHEMA.names)
        refuse(parse(RAW), SCHEMA.names)

    def test_a_table_without_time_has_no_next_partition(self) -> None:
        raw = {**RAW, "data": {**RAW["data"], "time": None, "holdout": {"share": 0.2}}, "validate": {}}
        with pytest.raises(ConfigurationError, match=r"data\.time: collect needs a time column"):
            refuse(parse(raw), SCHEMA.names)

    def test_names_say_month_or_day_and_follow_each_other(self) -> None:
        assert [name for name, _ in following(["2023-10", "2023-11"], FIRST)] == [
            *("2023-12", "2024-01", "2024-02", "2024-03", "2024-04")
        ]
        assert [name for name, _ in following(["2024-04-28"], FIRST)] == ["2024-04-29", "2024-04-30"]
        assert period_of("2024-02").end - period_of("2024-02").start == 29 * DAY

    @pytest.mark.parametrize("name", ["all", "2024-13", "part-1", "2024-02-30"])
    def test_other_names_are_refused(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match="expected partitions named by month"):
            period_of(name)


# ---- The verb --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose table ends with April, its data tracked by DVC."""
    root = replayed.repository(tmp_path_factory.mktemp("collect") / "repository", replayed.PARAMS + VALIDATE)
    lay_out_dvc(root)
    april = asked(FIRST - 30 * DAY, 30, 400, 1, name="april")
    (root / "data").mkdir()
    table = pa.table(
        {
            "order": pa.array(april.rows["entity_id"], pa.large_string()),
            "placed": pa.array(april.rows["time_us"].to_numpy() // 1000, pa.timestamp("ms")),
            "amount": pa.array(april.values[:, 0], pa.float32()),
            "channel": pa.array(np.array(replayed.CHANNELS)[april.values[:, 1].astype(int) - 2], pa.large_string()),
            "later": pa.array(np.zeros(400)),
            "bought": pa.array(april.rows["label"], pa.large_string()),
        }
    )
    pq.write_table(table, root / "data" / "2024-04.parquet")
    from mergeline.pipeline import track_data

    track_data(root)
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "repository"))


@pytest.fixture
def log(tmp_path: Path) -> FolderLog:
    return FolderLog("log", tmp_path / "log")


@pytest.fixture
def run(root: Path, log: FolderLog) -> Callable[..., Record]:
    def call(now: dt.datetime = JUNE) -> Record:
        return collect(root, str(log.path), now=now, as_of=None, environment={})

    return call


def may(log: FolderLog, labels: int = 600) -> replayed.Asked:
    """600 requests in May, scored by champion and shadow, and labels for the first ones."""
    some = asked(FIRST, 31, 600, 2, name="may")
    put_predictions(log, some, MODEL.sha256)
    put_predictions(log, some, MODEL.sha256, variant="shadow")
    put_labels(log, some, range(labels))
    return some


class TestVerb:
    def test_the_partition_is_what_was_asked_and_turned_out_and_passes_validate(
        self, root: Path, log: FolderLog, run: Callable[..., Record]
    ) -> None:
        some = may(log, 580)
        record = run()
        assert (record.partition, record.written, record.rows, record.held_up) == ("2024-05", True, 580, 20)
        found = pq.read_table(root / "data" / "2024-05.parquet")
        assert found["order"].to_pylist() == some.rows["entity_id"].tolist()[:580]
        assert found["bought"].to_pylist() == some.rows["label"].tolist()[:580]
        assert found.schema.field("placed").type == pa.timestamp("ms")
        np.testing.assert_array_equal(found["amount"].to_numpy(), some.values[:580, 0].astype(np.float32))
        assert 'as_of: "2024-06-15"' in (root / "params.yaml").read_text()
        assert "nfiles: 2" in (root / "data.dvc").read_text()
        assert main(["--root", str(root), "validate"]) == 0

    def test_run_twice_changes_nothing(self, root: Path, log: FolderLog, run: Callable[..., Record]) -> None:
        may(log)
        run()
        before = {name: fingerprint(place) for name, place in (("root", root / "data"), ("log", log.path))}
        texts = [(root / name).read_bytes() for name in ("data.dvc", "params.yaml")]
        again = run(JUNE + DAY)
        assert (again.partition, again.written) == (None, False)
        assert {name: fingerprint(place) for name, place in (("root", root / "data"), ("log", log.path))} == before
        assert [(root / name).read_bytes() for name in ("data.dvc", "params.yaml")] == texts

    def test_what_is_held_up_lies_beside_with_its_reasons_and_the_counts_add_up(
        self, log: FolderLog, run: Callable[..., Record]
    ) -> None:
        may(log, 560)
        bad = asked(FIRST, 31, 40, 3, name="bad")
        bad = replace(bad, values=np.column_stack([np.full(40, 11.0), bad.values[:, 1]]))
        put_predictions(log, bad, MODEL.sha256)
        put_labels(log, bad, name="bad")
        record = run()
        assert record.reasons == {"bought: no label yet": 40, "amount: above 10": 40}
        assert record.rows + record.held_up == record.answers == 640
        held = pq.read_table(pa.BufferReader(log.read("collect/2024-05.parquet"))).to_pandas()
        assert held["reason"].value_counts().to_dict() == record.reasons
        assert json.loads(log.read("collect/2024-05.json"))["held_up"] == 80

    def test_too_few_labels_are_refused_and_said_to_be_missing_not_at_random(
        self, root: Path, log: FolderLog, run: Callable[..., Record]
    ) -> None:
        may(log, 500)
        before = fingerprint(root / "data")
        with pytest.raises(DataError, match=r"2024-05: 500 of 600 answers have a label.*missing at random"):
            run()
        assert fingerprint(root / "data") == before

    def test_a_month_that_is_not_mature_is_waited_for(
        self, root: Path, log: FolderLog, run: Callable[..., Record]
    ) -> None:
        may(log, 500)
        record = run(dt.datetime(2024, 6, 3, tzinfo=dt.UTC))
        assert (record.written, record.partition) == (False, "2024-05")
        assert "wait until 2024-06-06" in record.reason
        assert run(dt.datetime(2024, 5, 31, tzinfo=dt.UTC)).partition is None, "and one that is not over is not there"
        assert not (root / "data" / "2024-05.parquet").exists()

    def test_a_partition_that_validate_would_stop_is_not_written(
        self, root: Path, log: FolderLog, run: Callable[..., Record]
    ) -> None:
        few = asked(FIRST, 31, 200, 4, name="few")
        put_predictions(log, few, MODEL.sha256)
        put_labels(log, few)
        with pytest.raises(DataError, match=r"200 rows are good, `validate\.min_rows` asks for 300"):
            run()
        assert not (root / "data" / "2024-05.parquet").exists()
        assert log.keys("collect/") == ["collect/2024-05.json", "collect/2024-05.parquet"]

    def test_a_month_in_which_nothing_was_asked_is_left_out(self, log: FolderLog, run: Callable[..., Record]) -> None:
        june = asked(FIRST + 31 * DAY, 30, 400, 5, name="june")
        put_predictions(log, june, MODEL.sha256)
        put_labels(log, june)
        assert run(JUNE + 60 * DAY).partition == "2024-06"

    def test_r14_rows_and_labels_that_come_after_their_month_was_collected_are_said_once(
        self, root: Path, log: FolderLog, run: Callable[..., Record]
    ) -> None:
        some = may(log, 560)
        assert run().late == {}
        late = asked(FIRST, 31, 200, 6, name="late")
        put_predictions(log, late, MODEL.sha256, came=JUNE + 5 * DAY)
        put_labels(log, late, name="late")
        put_labels(log, some, range(560, 590), name="more")
        assert run(JUNE + 6 * DAY).late == {}, "nothing is due, and nothing is read"
        for days in (31, 61):
            month = asked(FIRST + days * DAY, 30, 400, 7 + days, name="month")
            put_predictions(log, month, MODEL.sha256)
            put_labels(log, month, name=f"month{days}")
        june = run(JUNE + 90 * DAY)
        said = {"came after 2024-05 was collected": 200, "bought: label after 2024-05 was collected": 30}
        assert (june.partition, june.rows, june.late) == ("2024-06", 400, said)
        held = pq.read_table(pa.BufferReader(log.read("collect/2024-06.late.parquet"))).to_pandas()
        assert held["reason"].value_counts().to_dict() == said
        assert set(held["request_id"]) >= set(late.rows["request_id"])
        assert held["label"].notna().all()
        july = run(JUNE + 90 * DAY)
        assert (july.partition, july.late) == ("2024-07", {}), (
            "the twin: what was said, and what was taken, is not late"
        )
        assert len(pq.read_table(root / "data" / "2024-07.parquet")) == 400

    def test_a_start_that_was_interrupted_before_data_dvc_is_made_good_by_the_next(
        self, root: Path, log: FolderLog, run: Callable[..., Record]
    ) -> None:
        may(log)
        before = (root / "data.dvc").read_bytes()
        run()
        after = (root / "data.dvc").read_bytes()
        (root / "data.dvc").write_bytes(before)  # as a process that was killed there leaves it
        run()
        assert (root / "data.dvc").read_bytes() == after != before

    def test_without_predictions_or_data_it_ends_with_one_line_and_exit_code_3(
        self, root: Path, log: FolderLog, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--root", str(root), "collect", "--log", str(log.path)]) == 3
        assert "expected predictions, found none" in capsys.readouterr().err
        shutil.rmtree(root / "data")
        assert main(["--root", str(root), "collect", "--log", str(log.path)]) == 3
        assert len(capsys.readouterr().err.splitlines()) == 1


def month_after(log: FolderLog, labels: int = 400) -> None:
    """400 requests in June, and labels for the first ones."""
    june = asked(FIRST + 31 * DAY, 30, 400, 5, name="june")
    put_predictions(log, june, MODEL.sha256)
    put_labels(log, june, range(labels), name="june")


class TestAll:
    def test_two_months_that_are_due_are_one_record_and_again_nothing_is(
        self, root: Path, log: FolderLog, capsys: pytest.CaptureFixture[str]
    ) -> None:
        may(log)
        month_after(log)
        arguments = ["--root", str(root), "collect", "--all", "--log", str(log.path), "--now", "2024-08-15"]
        assert main(arguments) == 0
        said = json.loads(capsys.readouterr().out)
        assert [(each["partition"], each["rows"]) for each in said["partitions"]] == [
            ("2024-05", 600),
            ("2024-06", 400),
        ]
        assert (said["written"], said["reason"]) == (True, "no prediction of a time after 2024-06 that is over")
        assert "nfiles: 3" in (root / "data.dvc").read_text()
        assert main(arguments) == 0
        assert json.loads(capsys.readouterr().out) == {**said, "written": False, "partitions": []}

    def test_a_later_month_that_is_refused_ends_it_and_the_twin_the_first_one_is_an_error(
        self, root: Path, log: FolderLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        may(log)
        month_after(log, labels=100)
        place: dict[str, Any] = {"now": JUNE + 60 * DAY, "as_of": None, "environment": {}}
        found = collect_all(root, str(log.path), **place)
        assert [each.partition for each in found.partitions] == ["2024-05"]
        assert found.reason.startswith("2024-06: 100 of 400 answers have a label")
        assert found.reason in caplog.text
        with pytest.raises(DataError, match="2024-06: 100 of 400"):
            collect_all(root, str(log.path), **place)


class TestDue:
    @pytest.fixture
    def validated(self, root: Path) -> Path:
        (root / "reports").mkdir(exist_ok=True)
        (root / "reports/validation.json").write_text(json.dumps({"rows": {"2024-04": 400}}))
        return root

    @pytest.mark.parametrize(
        ("day", "due", "why"),
        [
            ("2024-05-31", False, "the next partition, 2024-05, is over on 2024-06-01"),
            (
                "2024-06-03",
                False,
                "the next partition, 2024-05: 93 % of the answers have a label; wait until 2024-06-06, or for 95 %",
            ),
            ("2024-06-06", True, None),
        ],
    )
    def test_whether_a_partition_is_due_is_what_collect_then_finds(
        self, validated: Path, log: FolderLog, run: Callable[..., Record], day: str, due: bool, why: str | None
    ) -> None:
        may(log, 560)
        at = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
        before = fingerprint(validated / "data")
        found = standing(validated, None, log, load_params(validated), at)
        assert (found.due, found.name) == (due, "2024-05")
        assert found.why == why
        assert fingerprint(validated / "data") == before
        assert run(at).written is due

    def test_a_month_in_which_nothing_was_asked_is_not_due(self, validated: Path, log: FolderLog) -> None:
        month_after(log)
        settings = load_params(validated)
        early = standing(validated, None, log, settings, dt.datetime(2024, 6, 5, tzinfo=dt.UTC))
        assert (early.due, early.why) == (False, "the next partition, 2024-06, is over on 2024-07-01")
        assert standing(validated, None, log, settings, JUNE + 60 * DAY).name == "2024-06"

    def test_the_twin_where_collect_cannot_work_nothing_is_known(
        self, validated: Path, log: FolderLog, tmp_path: Path
    ) -> None:
        settings = load_params(validated)
        assert standing(validated, None, log, settings, JUNE).due is None, "no log"
        may(log)
        assert standing(validated, None, log, settings, JUNE).due is True
        personal = replace_data(settings, personal=("channel",))
        assert standing(validated, None, log, personal, JUNE).due is None
        for rows in ('{"rows": {"all": 5}}', "{", '{"rows": {}}'):
            (validated / "reports/validation.json").write_text(rows)
            assert standing(validated, None, log, settings, JUNE).due is None
        (validated / "reports/validation.json").unlink()
        assert standing(validated, None, log, settings, JUNE).due is None


def replace_data(params: Params, **change: Any) -> Params:
    return params.model_copy(update={"data": params.data.model_copy(update=change)})
