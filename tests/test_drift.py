"""mergeline drift: every row of the log counts once, in its own window, and the answer ends in an exit code (R12)."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drift_logs import FEATURES, OTHER_MODEL, START, WEEK, Log, drawn, model_folder, us
from tables import raw_params

from mergeline.cli import main, parser
from mergeline.commands.drift import check
from mergeline.errors import ConfigurationError, DataError
from mergeline.logstore import open_log
from mergeline.monitor.drift import logfile
from mergeline.monitor.drift.counter import count
from mergeline.monitor.drift.plan import Plan, work
from mergeline.monitor.drift.record import Apart, DriftRecord, Outcome, Severity
from mergeline.monitor.drift.seen import KEY, Seen
from mergeline.monitor.drift.tally import Counted
from mergeline.monitor.profile import Profile, profile_of
from mergeline.monitor.windows import Window, windows
from mergeline.params.drift import DriftParams
from mergeline.serve import logschema

ROWS = 1200
LATER = START + 30 * WEEK


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a model and a log."""

    root: Path
    log: Log

    def check(
        self, *options: str, now: dt.datetime = LATER, model: str = "model", keep: bool = True
    ) -> list[DriftRecord]:
        """Return the records of the windows that are checked now."""
        keeping = ["--keep"] if keep else []
        arguments = ["drift", "--candidate", model, *keeping, "--log", str(self.log.folder), *options]
        return check(self.root, parser().parse_args(arguments), {}, now)[0]

    def main(self, *options: str) -> int:
        """Run the command; return its exit code."""
        asked = ["--root", str(self.root), "drift", "--candidate", "model", "--keep", "--log", str(self.log.folder)]
        return main([*asked, *options])

    def kept(self) -> list[str]:
        return self.log.store.keys("drift/")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    model_folder(root / "model", rows=False)
    model_folder(root / "unknown", rows=False, importance=False)
    model_folder(root / "whole")
    return root


@pytest.fixture
def place(models: Path, tmp_path: Path) -> Place:
    for name in ("model", "unknown", "whole"):
        shutil.copytree(models / name, tmp_path / name)
    from mergeline.release.store import model_of

    return Place(tmp_path, Log(tmp_path / "log", model_of(tmp_path / "model").sha256))


def week(number: int) -> dt.datetime:
    return START + number * WEEK


def until(number: int) -> tuple[str, str]:
    """The option under which windows before a week are looked at."""
    return "--until", f"{week(number):%Y-%m-%d}"


def shifted(rows: tuple[Any, Any], column: int, by: float) -> tuple[Any, Any]:
    values = rows[0].copy()
    values[:, column] += by
    return values, rows[1]


def figures(record: DriftRecord) -> DriftRecord:
    """A record without what it says of how far the log was read."""
    return replace(record, log_until=None)


# ---- Looks -----------------------------------------------------------------------------------------------------------


def test_a_look_at_another_model_uses_up_no_window_of_the_release(place: Place) -> None:
    for number in range(3):
        place.log.add(week(number), drawn(ROWS, number))
    (first,) = place.check(*until(1))
    before = {key: place.log.store.read(key) for key in [*place.kept(), KEY]}
    seen = place.check("--since", f"{week(1):%Y-%m-%d}", *until(2), model="whole", keep=False)
    assert [each.outcome for each in seen] == [Outcome.NO_DATA]
    assert {key: place.log.store.read(key) for key in [*place.kept(), KEY]} == before
    assert [each.window.start for each in place.check(*until(3))] == [week(1), week(2)]
    twin = place.check(*until(3), keep=False)  # every window anew, and the record of none
    assert [figures(each) for each in twin[:1]] == [figures(first)]
    assert len(twin) == 3


# ---- Windows ---------------------------------------------------------------------------------------------------------


def test_r12_a_skipped_schedule_loses_no_row_and_changes_no_figure(place: Place, models: Path, tmp_path: Path) -> None:
    for number in range(5):
        place.log.add(week(number), drawn(ROWS + number, number), files=3)
    other = Place(place.root, Log(tmp_path / "other", place.log.model))
    shutil.copytree(place.log.folder, other.log.folder)
    every = [record for number in range(1, 6) for record in place.check(*until(number))]
    skipped = [*other.check(*until(1)), *other.check(*until(2)), *other.check(*until(5))]
    assert [figures(each) for each in skipped] == [figures(each) for each in every]
    assert [each.rows for each in every] == [ROWS + number for number in range(5)]
    assert every[0].window.start == START
    assert all(one.window.end == next_.window.start for one, next_ in pairwise(every))
    assert place.check(*until(5)) == []


def test_the_twin_a_window_from_now_backwards_would_have_lost_rows() -> None:
    """What `windows` does not do: look at the last week, whenever the check happens to run."""
    runs = [START + WEEK, START + 4 * WEEK]
    seen = sum(Window(run - WEEK, run).start <= START + 2 * WEEK < run for run in runs)
    assert seen == 0
    assert sum(START + 2 * WEEK in each for each in windows(START, runs[-1], 7)) == 1


def test_a_window_waits_until_the_log_has_settled(place: Place) -> None:
    place.log.add(week(0), drawn(ROWS, 1))
    assert place.check(now=week(1) + dt.timedelta(minutes=59)) == []
    (record,) = place.check(now=week(1) + dt.timedelta(minutes=61))
    assert record.window == Window(week(0), week(1))


def test_rows_are_put_by_when_their_event_was_and_not_by_when_they_were_asked(place: Place) -> None:
    """A replay asks for the rows of two weeks months later, within a day."""
    asked = dt.timedelta(days=150)
    place.log.add(week(0), drawn(ROWS, 1), length=2 * WEEK, asked=asked, files=4)
    found = place.check(*until(2))
    assert [each.rows for each in found] == [ROWS // 2, ROWS // 2]
    (moment,) = {each.log_until for each in found}
    assert moment is not None
    assert moment > f"{START + asked:%Y-%m-%d}"


def test_late_rows_are_said_and_never_counted_twice(place: Place) -> None:
    place.log.add(week(0), drawn(ROWS, 1))
    place.check(*until(1))
    place.log.add(week(0), drawn(70, 2), asked=dt.timedelta(days=8))
    place.log.add(week(1), drawn(ROWS, 3))
    first, second = *place.check(*until(2)), place.check(*until(3))[0]
    assert (first.rows, first.apart.late) == (ROWS, 70)
    assert (second.outcome, second.apart.late) == (Outcome.NO_DATA, 0)


def test_r12_rows_asked_in_time_whose_file_comes_after_the_check_are_said_once(place: Place) -> None:
    place.log.add(week(0), drawn(ROWS, 1), files=3)
    place.check(*until(1))
    place.log.add(week(0) + dt.timedelta(days=1), drawn(300, 2), length=dt.timedelta(hours=5))
    for number in (1, 2, 3, 4):
        place.log.add(week(number), drawn(ROWS, number))
    assert [(each.rows, each.apart.late) for each in place.check(*until(2))] == [(ROWS, 300)]
    place.log.add(week(0), drawn(40, 6), length=dt.timedelta(hours=1))
    late = [each.apart.late for number in (3, 4, 5) for each in place.check(*until(number))]
    assert late == [40, 0, 0], "however old, and once"


@pytest.mark.parametrize("kept", [True, False], ids=["beside them", "in their place"])
def test_r12_twin_files_of_a_checked_window_that_were_put_together_hold_no_late_row(place: Place, kept: bool) -> None:
    keys = place.log.add(week(0), drawn(ROWS, 1), length=dt.timedelta(hours=3), files=3)
    place.check(*until(1))
    bodies = [pq.read_table(place.log.folder / key) for key in keys]
    pq.write_table(pa.concat_tables(bodies), place.log.folder / keys[0].replace("0001.parquet", "0000.parquet"))
    if not kept:
        for key in keys:
            (place.log.folder / key).unlink()
    place.log.add(week(1), drawn(ROWS, 3))
    (record,) = place.check(*until(2))
    assert (record.rows, record.apart.late) == (ROWS, 0)


def test_a_note_of_the_files_that_is_not_of_the_last_record_says_nothing(place: Place) -> None:
    place.log.add(week(0), drawn(ROWS, 1))
    place.check(*until(1))
    place.log.add(week(0), drawn(300, 2))
    place.log.add(week(1), drawn(ROWS, 3))
    note = place.log.folder / KEY
    for text in (note.read_text().replace("2024-05-13", "2024-05-14"), "{", "[]", '{"version": 1, "files": []}'):
        note.write_text(text)
        (record,) = place.check(*until(2))
        assert (record.rows, record.apart.late) == (ROWS, 0)
        assert Seen.from_json(note.read_text()) is not None
        (place.log.folder / record.key).unlink()


def test_rows_of_clocks_that_go_wrong_are_in_no_window(place: Place) -> None:
    """Asked in the future, or of an event months after the request."""
    place.log.add(week(0), drawn(ROWS, 1))
    place.log.add(week(0), drawn(40, 2), asked=LATER - START + WEEK)
    place.log.add(week(0), drawn(30, 3), asked=dt.timedelta(days=-90))
    (record,) = place.check(*until(1))
    assert (record.rows, record.apart.ahead) == (ROWS, 70)
    assert record.log_until is not None
    assert record.log_until < f"{week(1):%Y-%m-%d}"


def epoch(place: Place, rows: int) -> None:
    """Requests of the first week whose event is said to have been when 1970 began."""
    first = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    place.log.add(first, drawn(rows, 9), length=dt.timedelta(seconds=1), asked=START - first)


def test_r12_one_row_of_1970_begins_no_window_and_is_said(place: Place) -> None:
    place.log.add(week(0), drawn(ROWS, 1))
    epoch(place, 1)
    (record,) = place.check(*until(1))
    assert (record.window, record.rows, record.apart.behind) == (Window(week(0), week(1)), ROWS, 1)
    place.log.add(week(1), drawn(ROWS, 2))
    (next_,) = place.check(*until(2))
    assert (next_.rows, next_.apart.behind, next_.apart.late) == (ROWS, 0, 0)


def test_rows_of_1970_among_those_of_a_file_are_left_out_row_by_row(place: Place) -> None:
    (key,) = place.log.add(week(0), drawn(ROWS, 1))
    file = place.log.folder / key
    table = pq.read_table(file)
    times = table["event_time"].to_pylist()
    times[7] = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    place_of = table.column_names.index("event_time")
    kind = table.schema.field("event_time").type
    pq.write_table(table.set_column(place_of, "event_time", pa.array(times, kind)), file)
    (record,) = place.check(*until(1))
    assert (record.window.start, record.rows, record.apart.behind) == (week(0), ROWS - 1, 1)


def test_r12_twin_old_events_that_are_replayed_begin_the_first_window_unless_the_bound_is_near(place: Place) -> None:
    place.log.add(week(0), drawn(ROWS, 1), asked=dt.timedelta(days=100))
    place.log.add(week(5), drawn(ROWS, 2))
    found = place.check(*until(6))
    assert [(each.rows, each.apart.behind) for each in (found[0], found[5])] == [(ROWS, 0), (ROWS, 0)]
    for key in place.kept():
        (place.log.folder / key).unlink()
    near_bound = json.dumps({**raw_params(), "drift": {"behind_days": 30}})
    (place.root / "params.yaml").write_text(near_bound, encoding="utf-8")
    (near,) = place.check(*until(6))
    assert (near.window.start, near.rows, near.apart.behind) == (week(5), ROWS, ROWS)


def test_an_event_may_lie_some_days_after_its_request(place: Place) -> None:
    place.log.add(week(1), drawn(ROWS, 1), asked=dt.timedelta(days=-6))
    found = place.check("--since", f"{week(1):%Y-%m-%d}", *until(2))
    assert [(each.rows, each.apart.ahead) for each in found] == [(ROWS, 0)]


# ---- What is counted -------------------------------------------------------------------------------------------------


def test_a_file_that_was_copied_counts_once(place: Place) -> None:
    place.log.add(week(0), drawn(ROWS, 1), files=3)
    (alone,) = place.check(*until(1))
    for key in place.kept():
        (place.log.folder / key).unlink()
    for key in place.log.store.keys("predictions/"):
        place.log.store.put(key.replace(".parquet", "-copy.parquet"), place.log.store.read(key))
    (twice,) = place.check(*until(1))
    assert twice.apart.duplicates == ROWS
    assert replace(twice, apart=Apart()) == alone


@pytest.mark.parametrize("mixed", [False, True], ids=["whole files", "files of two windows, variants and releases"])
def test_a_file_without_statistics_counts_as_one_with_them(place: Place, mixed: bool) -> None:
    """With them a row group of one window and release is known as such from the footer, and its times are not read."""
    place.log.add(week(0), drawn(ROWS, 1), files=3)
    if mixed:
        place.log.add(week(1) - WEEK / 2, drawn(ROWS, 2))
        place.log.add(week(0), drawn(ROWS, 3), variant="challenger")
        place.log.add(week(0), drawn(ROWS, 4), model=OTHER_MODEL)
        place.log.add(week(0), drawn(ROWS, 5), rate=0.5)
    told = place.check("--since", f"{week(0):%Y-%m-%d}", *until(1))
    for key in (*place.kept(), *place.log.store.keys("predictions/")):
        path = place.log.folder / key
        if path.suffix == ".parquet":
            rows, metadata = pq.read_table(path), pq.read_metadata(path).metadata
            pq.write_table(rows.replace_schema_metadata(metadata), path, write_statistics=False, store_schema=False)
        else:
            path.unlink()
    assert place.check("--since", f"{week(0):%Y-%m-%d}", *until(1)) == told
    assert told[0].rows > ROWS - 1


@pytest.mark.parametrize("first", [True, False], ids=["before the others", "after them"])
def test_files_that_were_put_together_count_once_with_those_that_they_are_made_of(place: Place, first: bool) -> None:
    keys = place.log.add(week(0), drawn(ROWS, 1), files=3)
    bodies = [pq.read_table(place.log.folder / key) for key in keys]
    name = keys[0].replace("0001.parquet", "0000.parquet" if first else "9999.parquet")
    pq.write_table(pa.concat_tables(bodies), place.log.folder / name)
    (record,) = place.check(*until(1))
    assert (record.rows, record.apart.duplicates) == (ROWS, ROWS)


def test_the_twin_other_requests_at_the_same_moments_count(place: Place) -> None:
    """Two servers whose files begin and end together: alike to the microsecond, and yet no copies."""
    for seed in (1, 2):
        place.log.add(week(0), drawn(ROWS, seed), ids=[f"{seed}-{at}" for at in range(ROWS)])
    (record,) = place.check(*until(1))
    assert (record.rows, record.apart.duplicates) == (2 * ROWS, 0)


def test_a_shadow_that_scores_the_same_requests_is_no_copy(place: Place) -> None:
    rows, names = drawn(ROWS, 1), [f"r{at}" for at in range(ROWS)]
    place.log.add(week(0), rows, ids=names)
    place.log.add(week(0), rows, ids=names, variant="shadow", model=OTHER_MODEL)
    (record,) = place.check(*until(1))
    assert (record.rows, record.apart.duplicates, record.apart.challengers) == (ROWS, 0, ROWS)
    assert record.other_releases == ()


def test_a_release_that_changed_in_mid_window_is_named_and_not_mixed_in(place: Place) -> None:
    place.log.add(week(0), shifted(drawn(ROWS, 1), 0, 30), model=OTHER_MODEL, length=WEEK / 2)
    place.log.add(week(0) + WEEK / 2, drawn(ROWS, 2), length=WEEK / 2)
    (record,) = place.check(*until(1))
    (other,) = record.other_releases
    assert (other.model_sha256, other.rows) == (OTHER_MODEL, ROWS)
    assert f"{START:%Y-%m-%d}" <= other.first < other.last < f"{START + WEEK / 2:%Y-%m-%dT%H}"
    assert (record.rows, record.outcome) == (ROWS, Outcome.NONE)


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        ("amount", lambda table, at: table.remove_column(at), "amount: expected a number, found no column"),
        (
            "amount",
            lambda table, at: table.set_column(at, "feature_amount", table.column(at).cast(pa.string())),
            "amount: expected a number, found string",
        ),
        (
            "channel",
            lambda table, at: table.append_column("feature_colour", table.column(at)),
            "colour: a column that the release does not know",
        ),
    ],
    ids=["gone", "of another type", "new"],
)
def test_a_change_of_the_schema_is_named_and_the_other_columns_are_compared(
    place: Place, column: str, change: Any, said: str
) -> None:
    (key,) = place.log.add(week(0), drawn(ROWS, 1))
    file = place.log.folder / key
    table = pq.read_table(file)
    pq.write_table(change(table, table.column_names.index(f"feature_{column}")), file)
    (record,) = place.check(*until(1))
    assert record.schema_changes == (said,)
    left = {each.name for each in record.features}
    assert left == {"score", *(each.name for each in FEATURES)} - ({"amount"} if column == "amount" else set())
    assert record.outcome is Outcome.NONE


def test_whole_numbers_where_the_server_writes_fractions_are_read_as_what_they_are(place: Place) -> None:
    (key,) = place.log.add(week(0), drawn(ROWS, 1))
    file = place.log.folder / key
    table = pq.read_table(file)
    at = table.column_names.index("feature_weight")
    whole = pa.compute.round(table.column(at)).cast(pa.int64())
    pq.write_table(table.set_column(at, "feature_weight", whole), file)
    (record,) = place.check(*until(1))
    (weight,) = [each for each in record.features if each.name == "weight"]
    assert (record.schema_changes, weight.rows, weight.drifted) == ((), ROWS, True)


def test_a_category_that_training_did_not_keep_is_a_value_and_not_missing(place: Place) -> None:
    values, scores = drawn(ROWS, 1)
    values[:300, 4] = 1
    place.log.add(week(0), (values, scores), texts={(row, 4): f"kiosk {row % 7}" for row in range(300)})
    (record,) = place.check(*until(1))
    (channel,) = [each for each in record.features if each.name == "channel"]
    assert channel.effect == pytest.approx(0.25, abs=0.03)
    assert (channel.severity, channel.missing_now) == (Severity.MAJOR, 0.0)
    assert channel.shape.labels[-1] == "(other)"


def test_rows_weigh_by_the_rate_at_which_they_were_logged(place: Place) -> None:
    """Half of the traffic was logged whole, the other half, with other values, one row in ten."""
    values, scores = drawn(4000, 1)
    low, high = values.copy(), values[:400].copy()
    low[:, 2], high[:, 2] = 0, 1
    place.log.add(week(0), (low, scores))
    place.log.add(week(0), (high, scores[:400]), rate=0.1)
    (record,) = place.check(*until(1))
    (member,) = [each for each in record.features if each.name == "member"]
    assert [(each.rate, each.rows) for each in record.sampling] == [(0.1, 400), (1.0, 4000)]
    assert member.effect < 0.02
    assert record.rows == 4400
    unweighted = abs(400 / 4400 - 0.5)
    assert unweighted > 0.4


# ---- Parts -----------------------------------------------------------------------------------------------------------


def plan(place: Place, weeks: int = 3, sample_rows: int = 50) -> Plan:
    tiles = windows(START, week(weeks), 7)
    day = 86_400_000_000
    return Plan(place.log.model, FEATURES, tiles, us(LATER), 7 * day, None, sample_rows)


def counts(place: Place, keys: Sequence[str], wanted: Plan, threads: int = 1) -> Counted:
    """What some files count to."""
    facts = []
    for key in keys:
        with logfile.opened(key, str(place.log.folder / key)) as file:
            facts.append(file.facts())
    return count(work(facts, wanted), lambda key: str(place.log.folder / key), wanted, threads)


def plainly(counted: Counted) -> Any:
    """Counts as what can be compared."""
    tallies = {
        key: (each.profile.to_json(), each.sample.hashes.tolist(), np.nan_to_num(each.sample.rows, nan=-9).tolist())
        for key, each in counted.tallies.items()
    }
    apart = counted.late, counted.ahead, counted.behind
    return tallies, counted.others, counted.challengers, apart, counted.changes, counted.until_us


def test_parts_of_a_log_add_up_to_the_whole_in_any_order(place: Place) -> None:
    for number in range(3):
        place.log.add(week(number), drawn(400, number), files=3)
    place.log.add(week(1), drawn(50, 7), model=OTHER_MODEL)
    place.log.add(week(2), drawn(50, 8), variant="challenger", model=OTHER_MODEL)
    place.log.add(week(2), drawn(90, 9), rate=0.5)
    keys, wanted = place.log.store.keys("predictions/"), plan(place)
    whole = counts(place, keys, wanted)
    single = [counts(place, [key], wanted) for key in keys]
    for order in (single, single[::-1], single[5:] + single[:5]):
        merged = Counted()
        for each in order:
            merged = merged.merge(each)
        assert plainly(merged) == plainly(whole)
    pairs = [one.merge(other) for one, other in zip(single[::2], single[1::2], strict=False)]
    halves = Counted()
    for each in [*pairs, *([single[-1]] if len(single) % 2 else [])]:
        halves = each.merge(halves)
    assert plainly(halves) == plainly(whole)
    for threads in (2, 3, len(keys) + 1):
        assert plainly(counts(place, keys, wanted, threads)) == plainly(whole)
    assert len(whole.tallies) == 4


def test_a_broken_file_is_named_whichever_thread_reads_it(place: Place) -> None:
    for number in range(2):
        place.log.add(week(number), drawn(400, number))
    keys, wanted = place.log.store.keys("predictions/"), plan(place)
    facts = []
    for key in keys:
        with logfile.opened(key, str(place.log.folder / key)) as file:
            facts.append(file.facts())
    for broken in keys:
        paths = {key: str(place.log.folder / key) for key in keys}
        paths[broken] = str(Path(__file__))
        with pytest.raises(DataError, match=f"^{re.escape(broken)}: not a whole file of the log"):
            count(work(facts, wanted), paths.__getitem__, wanted, threads=2)


@pytest.mark.parametrize("rows", [1, 7, 64, 5000])
def test_row_groups_of_any_size_count_to_the_same(place: Place, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (key,) = place.log.add(week(0), drawn(300, 1), length=2 * WEEK)
    before = counts(place, [key], plan(place))
    file = place.log.folder / key
    pq.write_table(pq.read_table(file), file, row_group_size=rows)
    monkeypatch.setattr(logfile, "VALUES_AT_ONCE", 3)
    assert plainly(counts(place, [key], plan(place))) == plainly(before)


def test_what_is_counted_is_what_training_would_have_profiled(place: Place) -> None:
    values, scores = drawn(ROWS, 1)
    place.log.add(week(0), (values, scores))
    counted = counts(place, place.log.store.keys("predictions/"), plan(place))
    found: Profile = counted.tallies[(0, 1.0)].profile
    assert found.to_json() == profile_of(values.astype(np.float32), FEATURES, scores[:, 1]).to_json()


def test_the_check_reads_what_the_server_writes() -> None:
    assert (logfile.SCHEMA_VERSION, logfile.FEATURE_PREFIX) == (logschema.SCHEMA_VERSION, logschema.FEATURE_PREFIX)


def test_a_log_on_s3_gives_the_record_of_the_same_log_in_a_folder(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    place.log.add(week(0), drawn(ROWS, 1), files=3)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")
        host, port = server.get_host_and_port()
        for name, value in zip(names, ("id", "secret", "us-east-1", f"http://{host}:{port}"), strict=True):
            monkeypatch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="drift")
        store = open_log("s3://drift/log", place.root)
        for key in place.log.store.keys("predictions/"):
            store.put(key, place.log.store.read(key))
        arguments = ["drift", "--candidate", "model", "--keep", "--log", "s3://drift/log", *until(1)]
        (found,), _ = check(place.root, parser().parse_args(arguments), {}, LATER)
        assert [found] == place.check(*until(1))
        assert store.keys("drift/") == place.kept()
    finally:
        server.stop()


# ---- The answer ------------------------------------------------------------------------------------------------------


def test_drift_that_matters_is_sustained_in_three_of_four_windows_and_exits_with_5(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = []
    for number, by in enumerate((0, 6, 6, 0, 6, 6)):
        place.log.add(week(number), shifted(drawn(ROWS, number), 0, by))
        codes.append(place.main(*until(number + 1)))
    assert codes == [0, 0, 0, 0, 5, 5]
    said = capsys.readouterr()
    assert "sustained: amount" in said.err
    assert said.out.startswith("No drift that matters in 2024-05-06--2024-05-13: 6 columns, 1,200 rows.")


def test_the_twin_as_much_drift_of_a_column_that_the_model_hardly_uses_exits_with_0(place: Place) -> None:
    for number in range(4):
        place.log.add(week(number), shifted(drawn(ROWS, number), 1, 3))
    found = place.check(*until(4))
    assert [(each.outcome, each.severity) for each in found] == [(Outcome.NONE, Severity.NONE)] * 4
    (weight,) = found[-1].drifted
    assert (weight.name, weight.severity, weight.matters, weight.windows_drifted) == ("weight", "major", False, 4)
    assert "weight (" in found[-1].sentence
    assert found[-1].weighted < 0.01
    assert place.main(*until(4)) == 0


def test_where_no_importance_is_recorded_every_feature_counts(place: Place, tmp_path: Path) -> None:
    from mergeline.release.store import model_of

    log = Log(tmp_path / "other", model_of(place.root / "unknown").sha256)
    log.add(week(0), shifted(drawn(ROWS, 1), 1, 3))
    (record,) = Place(place.root, log).check(*until(1), model="unknown")
    assert (record.outcome, record.importance_known) == (Outcome.DRIFT, False)
    assert record.weighted == pytest.approx(0.2)


def test_a_run_without_a_new_window_says_the_last_one_again(place: Place) -> None:
    for number in range(3):
        place.log.add(week(number), shifted(drawn(ROWS, number), 0, 6))
    assert [place.main(*until(3)) for _ in range(3)] == [5, 5, 5]
    assert len(place.kept()) == 3


def test_labels_alone_are_no_drift(place: Place) -> None:
    """What is predicted may have changed while no column did: that is for `mergeline performance` to find."""
    from mergeline.serve.labels import Label, put_labels

    for number in range(3):
        place.log.add(week(number), drawn(ROWS, number))
    put_labels(place.log.store, [Label(f"0-{at}", "yes", us(week(1)), None) for at in range(ROWS)])
    assert [each.outcome for each in place.check(*until(3))] == [Outcome.NONE] * 3


def test_no_traffic_is_a_failure_with_a_record(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.log.add(week(0), drawn(ROWS, 1))
    assert place.main(*until(1)) == 0
    assert place.main(*until(2)) == 5
    assert "No traffic: no row of release" in capsys.readouterr().err
    assert DriftRecord.from_json(place.log.store.read(place.kept()[-1]).decode()).outcome is Outcome.NO_DATA


def test_a_log_without_a_file_is_a_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.main() == 5
    assert "no traffic" in capsys.readouterr().err


def test_too_few_rows_are_neither_healthy_nor_drift(place: Place) -> None:
    place.log.add(week(0), shifted(drawn(499, 1), 0, 100))
    (record,) = place.check(*until(1))
    assert (record.outcome, record.features, record.sustained) == (Outcome.TOO_FEW_ROWS, (), False)
    assert "499" in record.sentence
    assert place.main(*until(1)) == 0


@pytest.mark.parametrize(("rows", "sustained"), [(0, False), (ROWS // 4, True)], ids=["no row", "too few rows"])
def test_windows_without_a_row_count_among_the_last_ones_and_those_of_too_few_are_passed_over(
    place: Place, rows: int, sustained: bool
) -> None:
    for number in range(6):
        between = number in (2, 3, 4)
        if not between or rows:
            place.log.add(week(number), shifted(drawn(rows if between else ROWS, number), 0, 6))
    found = place.check(*until(6))
    assert [each.outcome for each in found[2:5]] == [Outcome.TOO_FEW_ROWS if rows else Outcome.NO_DATA] * 3
    assert (found[-1].outcome, found[-1].sustained) == (Outcome.DRIFT, sustained)


def test_drift_under_another_release_does_not_count_for_what_is_sustained(place: Place) -> None:
    for number in range(2):
        place.log.add(week(number), shifted(drawn(ROWS, number), 0, 6))
    place.check(*until(2))
    for key in place.kept():
        file = place.log.folder / key
        file.write_text(file.read_text(encoding="utf-8").replace(place.log.model, OTHER_MODEL), encoding="utf-8")
    place.log.add(week(2), shifted(drawn(ROWS, 2), 0, 6))
    (record,) = place.check(*until(3))
    assert (record.outcome, record.sustained) == (Outcome.DRIFT, False)
    assert record.features[1].windows_drifted == 1


def test_all_columns_together_tell_what_no_column_tells_alone(place: Place, tmp_path: Path) -> None:
    """Each column is as it was, and yet two of them no longer go their own ways."""
    from mergeline.release.store import model_of

    log = Log(tmp_path / "together", model_of(place.root / "whole").sha256)
    together = drawn(3000, 3)
    order = np.argsort(np.argsort(together[0][:, 1]))
    together[0][:, 3] = np.sort(together[0][:, 3])[order]
    log.add(week(0), drawn(3000, 2))
    log.add(week(1), together)
    apart, bound = zip(
        *(
            (each.classifier.auc, each.classifier.bound)
            for each in Place(place.root, log).check(*until(2), model="whole")
        ),
        strict=True,
    )
    assert apart[0] < bound[0] < 0.55 < apart[1]


def test_what_cannot_be_tried_says_why(place: Place) -> None:
    place.log.add(week(0), drawn(ROWS, 1))
    (record,) = place.check(*until(1))
    assert record.classifier.auc is None
    assert record.classifier.reason == "not available: the release holds no reference.parquet"


# ---- Records and bad input -------------------------------------------------------------------------------------------


def test_records_are_the_same_bytes_again_and_read_back_as_they_were(place: Place) -> None:
    place.log.add(week(0), drawn(ROWS, 1))
    (record,) = place.check(*until(1))
    (key,) = place.kept()
    body = place.log.store.read(key)
    assert key == "drift/2024-05-06--2024-05-13.json" == record.key
    assert DriftRecord.from_json(body.decode()) == record
    (place.log.folder / key).unlink()
    place.check(*until(1))
    assert place.log.store.read(key) == body


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1}', '{"version": 1, "window": {}}'])
def test_what_is_no_record_is_refused_with_its_place(place: Place, text: str) -> None:
    place.log.add(week(0), drawn(ROWS, 1))
    place.log.store.put("drift/2024-05-06--2024-05-13.json", text.encode())
    with pytest.raises(DataError, match=r"drift/2024-05-06--2024-05-13\.json: cannot be read"):
        place.check(*until(2))


def test_half_a_file_of_the_log_is_an_error_and_no_smaller_window(place: Place) -> None:
    (key,) = place.log.add(week(0), drawn(ROWS, 1))
    body = place.log.store.read(key)
    place.log.store.put(key, body[: len(body) // 2])
    assert place.main(*until(1)) == 3
    assert place.kept() == []


def test_rows_that_a_later_version_wrote_are_refused(place: Place) -> None:
    (key,) = place.log.add(week(0), drawn(ROWS, 1))
    file = place.log.folder / key
    table = pq.read_table(file)
    at = table.column_names.index("schema_version")
    pq.write_table(table.set_column(at, "schema_version", pa.array(np.full(ROWS, 2, np.int32))), file)
    with pytest.raises(DataError, match="expected schema_version 1, found 2"):
        place.check(*until(1))


def test_no_folder_of_a_model_and_a_start_within_time_to_come_are_refused(place: Place) -> None:
    place.log.add(week(0), drawn(ROWS, 1))
    with pytest.raises(ConfigurationError, match="--candidate"):
        place.check(model="nowhere")
    place.check(*until(1))
    with pytest.raises(ConfigurationError, match="--since: windows were checked until 2024-05-13"):
        place.check("--since", "2024-06-01")


def test_a_start_before_the_first_window_is_refused_and_that_of_the_first_window_may_be_named_again(
    place: Place,
) -> None:
    place.log.add(week(0), drawn(ROWS, 1), length=3 * WEEK)
    place.check("--since", f"{week(1):%Y-%m-%d}", *until(2))
    with pytest.raises(ConfigurationError, match=f"--since: windows were checked from {week(1):%Y-%m-%d} on"):
        place.check("--since", f"{week(0):%Y-%m-%d}", *until(3))
    assert len(place.check("--since", f"{week(1):%Y-%m-%d}", *until(3))) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"minor": 0.3}, "minor not above major"), ({"k": 5}, "k not above n"), ({"windows": 1}, "Extra inputs")],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DriftParams(**settings)


def test_the_records_are_printed_as_json_on_request(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        place.log.add(week(number), drawn(ROWS, number))
    assert place.main("--json", *until(2)) == 0
    found = json.loads(capsys.readouterr().out)
    assert [DriftRecord.from_json(json.dumps(each)).rows for each in found] == [ROWS, ROWS]
