"""Labels come late, twice, out of order and corrected; each prediction has one label all the same, or none."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergeline.commands.logplace import log_url
from mergeline.commands.monitoring import add_labels
from mergeline.errors import DataError
from mergeline.monitor.labels import Joined, join

SEARCH = settings(max_examples=80, deadline=None, derandomize=True, database=None)
START = pd.Timestamp("2024-05-01", tz="UTC")
NOW = dt.datetime(2024, 5, 9, 12, tzinfo=dt.UTC)
IDS = [f"request {number}" for number in range(8)]

# request, hour the label speaks of, hour it came: few of each, so that ties and corrections are the rule
GIVEN = st.lists(
    st.tuples(st.sampled_from([*IDS, "of nobody"]), st.integers(0, 3), st.integers(0, 3), st.sampled_from("abc")),
    max_size=30,
)


def hours(numbers: Sequence[int]) -> pd.Series[Any]:
    return pd.Series(START + pd.to_timedelta(np.asarray(numbers, dtype="int64"), unit="h"))


def predictions(ids: Sequence[str] = IDS, variant: str = "champion") -> pd.DataFrame:
    numbers = range(len(ids))
    return pd.DataFrame(
        {"request_id": pd.Series(ids, dtype="str"), "variant": variant, "ts": hours(numbers), "score": 0.5}
    )


def labels(rows: Sequence[tuple[str, int, int, str]]) -> pd.DataFrame:
    ids, spoken, came, texts = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pd.DataFrame(
        {
            "request_id": pd.Series(ids, dtype="str"),
            "label": pd.Series(texts, dtype="str"),
            "label_ts": hours(spoken),
            "received_ts": hours(came),
        }
    )


def naive(asked: pd.DataFrame, given: pd.DataFrame) -> pd.DataFrame:
    """What a hurried reader writes: the first of each, whatever the order of the files is."""
    once = given.drop_duplicates("request_id")[["request_id", "label", "label_ts"]]
    merged = asked.drop_duplicates(["request_id", "variant"]).merge(once, how="left", on="request_id")
    return merged.sort_values(["request_id", "variant"], ignore_index=True)


class TestJoin:
    @SEARCH
    @given(GIVEN, st.randoms(use_true_random=False))
    def test_r14_shuffled_duplicated_and_late_labels_give_the_same_table(
        self, rows: list[tuple[str, int, int, str]], chance: Any
    ) -> None:
        straight = join(predictions(), labels(rows))
        again = rows + [row for row in rows if chance.random() < 0.5]  # a client that tried twice
        chance.shuffle(again)
        late = labels(again[: len(again) // 2]), labels(again[len(again) // 2 :])  # half of them in a later file
        asked = pd.concat([predictions(), predictions()]).sample(frac=1, random_state=chance.randrange(2**31))
        found = join(asked, pd.concat(late))
        pd.testing.assert_frame_equal(found.rows, straight.rows)
        assert (found.corrected, found.unmatched) == (straight.corrected, straight.unmatched)
        assert (straight.repeated, found.repeated) == (0, len(IDS))

    def test_r14_the_twin_a_naive_merge_gives_another_table_for_another_order(self) -> None:
        rows = [("request 0", 1, 1, "a"), ("request 0", 2, 2, "b")]
        there, back = (labels(order) for order in (rows, rows[::-1]))
        assert not naive(predictions(), there).equals(naive(predictions(), back))
        pd.testing.assert_frame_equal(join(predictions(), there).rows, join(predictions(), back).rows)

    @pytest.mark.parametrize(
        ("first", "second", "holds"),
        [
            pytest.param((1, 3, "a"), (2, 1, "b"), "b", id="the label that speaks of a later time"),
            pytest.param((1, 1, "a"), (1, 2, "b"), "b", id="of one time the label that came later"),
            pytest.param((1, 1, "b"), (1, 1, "a"), "b", id="of equal times the greater text"),
        ],
    )
    def test_of_several_labels_one_holds(
        self, first: tuple[int, int, str], second: tuple[int, int, str], holds: str
    ) -> None:
        rows = [("request 3", *first), ("request 3", *second)]
        for order in (rows, rows[::-1]):
            found = join(predictions(), labels(order))
            assert found.rows.set_index("request_id").loc["request 3", "label"] == holds
            assert (found.labelled, found.corrected) == (1, 1)

    def test_no_label_yet_is_no_negative(self) -> None:
        found = join(predictions(), labels([("request 1", 1, 1, "a"), ("request 5", 1, 1, "b")]))
        assert found.rows["label"].isna().sum() == 6
        assert (found.labelled, found.coverage) == (2, 0.25)

    def test_a_missing_label_is_no_label_and_takes_no_ones_place(self) -> None:
        given = labels([("request 1", 1, 1, "a"), ("request 1", 2, 2, "a")])
        given.loc[1, "label"] = None
        assert join(predictions(), given).labelled == 1

    def test_labels_without_a_prediction_are_counted_once_a_request_and_join_nothing(self) -> None:
        found = join(
            predictions(), labels([("of nobody", 1, 1, "a"), ("of nobody", 2, 1, "b"), ("request 0", 1, 1, "a")])
        )
        assert (found.unmatched, found.labelled, len(found.rows), found.corrected) == (1, 1, 8, 0)

    def test_a_champion_and_its_shadow_share_the_label_of_their_request(self) -> None:
        both = pd.concat([predictions(), predictions(variant="shadow")])
        found = join(both, labels([("request 2", 1, 1, "a")]))
        assert found.rows[found.rows["label"] == "a"]["variant"].tolist() == ["champion", "shadow"]
        assert (found.labelled, found.repeated) == (2, 0)

    def test_rows_that_contradict_each_other_give_one_row_whatever_their_order(self) -> None:
        asked = predictions(["r", "r", "s"]).assign(
            scores=pd.Series([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]], dtype="object")
        )
        found = [join(order, labels([])) for order in (asked, asked[::-1])]
        pd.testing.assert_frame_equal(found[0].rows, found[1].rows)
        assert [each.repeated for each in found] == [1, 1]

    def test_neither_predictions_nor_labels_give_an_empty_table_of_the_same_columns(self) -> None:
        found: Joined = join(predictions([]), labels([]))
        assert list(found.rows) == ["request_id", "variant", "ts", "score", "label", "label_ts"]
        assert (found.labelled, found.coverage, found.unmatched) == (0, None, 0)


# ---- labels add ------------------------------------------------------------------------------------------------------


def log_of(root: Path, task: str = "binary", classes: str = '["no", "yes"]') -> Path:
    """A log with one file of two predictions."""
    times = pa.timestamp("us", tz="UTC")
    fields: dict[str, tuple[pa.DataType, list[Any]]] = {
        "schema_version": (pa.int32(), [1, 1]),
        "request_id": (pa.string(), ["a", "b"]),
        "ts": (times, [NOW, NOW]),
        "entity_id": (pa.string(), [None, None]),
        "model_sha256": (pa.string(), ["0" * 64] * 2),
        "variant": (pa.string(), ["champion"] * 2),
        "score": (pa.float64(), [0.2, 0.8]),
        "decision": (pa.string(), [None, None]),
        "status": (pa.int32(), [200, 200]),
        "sampling_rate": (pa.float64(), [1.0, 1.0]),
    }
    if task == "multiclass":
        fields["scores"] = (pa.list_(pa.float64()), [[0.2, 0.3, 0.5]] * 2)
    table = pa.table({name: pa.array(values, kind) for name, (kind, values) in fields.items()})
    table = table.replace_schema_metadata({"mergeline.task": task, "mergeline.classes": classes})
    file = root / "log" / "predictions" / "date=2024-05-09" / "hour=12" / "one.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(table, file)
    return root / "log"


def added(root: Path, text: str, name: str = "labels.csv") -> str:
    (root / name).write_text(text, encoding="utf-8")
    return add_labels(root, root / name, "log", environment={}, now=NOW)


def shelf(root: Path) -> list[dict[str, Any]]:
    files = sorted((root / "log" / "labels").rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


class TestAdd:
    def test_a_csv_becomes_rows_of_the_log(self, tmp_path: Path) -> None:
        log_of(tmp_path)
        text = "request_id,label,label_ts,source\na,yes,2024-05-03T10:00:00+02:00,desk\nb,no,2024-05-04,\nc,no,,\n"
        assert "3 labels of 3 requests" in added(tmp_path, text)
        found = shelf(tmp_path)
        assert [(row["request_id"], row["label"], row["source"]) for row in found] == [
            ("a", "yes", "desk"),
            ("b", "no", None),
            ("c", "no", None),
        ]
        assert [row["label_ts"] for row in found] == [
            dt.datetime(2024, 5, 3, 8, tzinfo=dt.UTC),
            dt.datetime(2024, 5, 4, tzinfo=dt.UTC),
            NOW,
        ]

    @pytest.mark.parametrize(
        ("task", "classes", "texts", "expected"),
        [
            ("binary", '["false", "true"]', ["True", "false"], ["true", "false"]),
            ("binary", '["0", "1"]', ["1.0", "0"], ["1", "0"]),
            ("multiclass", '["1.5", "a", "true"]', ["1.5", "true"], ["1.5", "true"]),
            ("regression", "[]", ["1", "2.50"], ["1.0", "2.5"]),
        ],
    )
    def test_a_label_is_written_as_training_writes_it(
        self, tmp_path: Path, task: str, classes: str, texts: list[str], expected: list[str]
    ) -> None:
        log_of(tmp_path, task, classes)
        added(
            tmp_path, "request_id,label\n" + "".join(f"{key},{text}\n" for key, text in zip("ab", texts, strict=True))
        )
        assert [row["label"] for row in shelf(tmp_path)] == expected

    def test_a_parquet_file_does_as_well(self, tmp_path: Path) -> None:
        log_of(tmp_path, classes='["false", "true"]')
        table = pd.DataFrame({"request_id": ["a", "b"], "label": [True, False], "label_ts": [NOW, NOW]})
        table.to_parquet(tmp_path / "labels.parquet", index=False)
        add_labels(tmp_path, tmp_path / "labels.parquet", "log", environment={}, now=NOW)
        assert [row["label"] for row in shelf(tmp_path)] == ["true", "false"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("request_id,label\na,yes\nb,maybe\n", "row 2: label: expected one of no, yes, found 'maybe'"),
            ("request_id,label\na,yes\nb,\n", "row 2: label: expected one of no, yes, found None"),
            ("request_id,label\n,yes\n", "row 1: request_id: expected the id of an answer, found None"),
            ("request_id,label,label_ts\na,yes,soon\n", "row 1: label_ts: expected a time as ISO 8601, found 'soon'"),
            ("request_id,label\na,yes,more\n", "row 1: expected 2 cells, found more"),
            ("request_id,label\na\n", "row 1: expected 2 cells, found fewer"),
            ("request_id,lable\na,yes\n", "found no label"),
            ("request_id,label,score\na,yes,1\n", "found 'score' as well"),
            ("request_id,label,label\na,yes,no\n", "found label twice"),
            ("request_id,label\n", "expected labels, found no row"),
            ("", "found no request_id"),
            ('request_id,label\na,"yes\n', "expected CSV as UTF-8"),
        ],
    )
    def test_a_bad_row_is_one_clear_error_and_nothing_is_written(self, tmp_path: Path, text: str, said: str) -> None:
        log_of(tmp_path)
        with pytest.raises(DataError) as caught:
            added(tmp_path, text)
        assert said in str(caught.value)
        assert "labels.csv" in str(caught.value)
        assert shelf(tmp_path) == []

    @pytest.mark.parametrize("name", ["none.csv", "none.parquet"])
    def test_a_file_that_is_not_there_is_one_clear_error(self, tmp_path: Path, name: str) -> None:
        log_of(tmp_path)
        with pytest.raises(DataError, match="No such file"):
            add_labels(tmp_path, tmp_path / name, "log", environment={}, now=NOW)

    def test_bytes_that_are_no_parquet_are_one_clear_error(self, tmp_path: Path) -> None:
        log_of(tmp_path)
        with pytest.raises(DataError, match="not a whole Parquet file"):
            added(tmp_path, "request_id,label\n", "labels.parquet")

    def test_without_a_prediction_nobody_knows_the_classes(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="expected predictions that labels can belong to"):
            added(tmp_path, "request_id,label\na,yes\n")

    def test_the_same_file_twice_changes_no_joined_table(self, tmp_path: Path) -> None:
        log_of(tmp_path)
        tables = []
        for _ in range(2):
            added(tmp_path, "request_id,label,label_ts\na,yes,2024-05-03\nb,no,2024-05-04\n")
            given = pd.DataFrame(shelf(tmp_path))
            tables.append(join(predictions(["a", "b"]), given).rows)
        pd.testing.assert_frame_equal(tables[0], tables[1])

    def test_the_log_is_what_is_asked_for_or_the_environment_s_or_the_repository_s(self) -> None:
        assert log_url("here", {"MERGELINE_LOG": "there"}) == "here"
        assert log_url(None, {"MERGELINE_LOG": "there"}) == "there"
        assert log_url(None, {}) == ".mergeline/log"
