"""Init: a table of any shape becomes a repository whose pipeline runs, and what was guessed is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repositories import Repository, lay_out
from ruamel.yaml import YAML

from mergeline.commands import data, stages
from mergeline.commands.settings import load_params
from mergeline.errors import ConfigurationError, DataError
from mergeline.init import LEAK, Guess, Wishes, guess, limits, params_text, read, summary, typed
from mergeline.params import parse

ROWS = 200
DAYS = pd.date_range("2024-01-01", periods=ROWS, freq="D")


def column(*values: Any, rows: int = ROWS) -> list[Any]:
    """The values in turn, so that each is as frequent as the others."""
    return [values[row % len(values)] for row in range(rows)]


def table(columns: Mapping[str, Any]) -> pd.DataFrame:
    """A plain table of 200 rows: a number, a target of two words, and what a case adds or replaces."""
    numbers = np.random.default_rng(1).normal(size=ROWS).round(3)
    return typed(pd.DataFrame({"size": numbers, "target": column("on time", "late", "late"), **columns}))


def guessed(columns: Mapping[str, Any], **wishes: str) -> Guess:
    return guess(table(columns), Wishes("target", **wishes))


def said(found: Guess, name: str) -> str:
    """Why a column was left out."""
    return next((each.reason for each in found.left_out if each.name == name), "it was not left out")


# --- the guess -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task", "positive"),
    [
        pytest.param(column(False, True), "binary", True, id="true of truth values"),
        pytest.param(column(False, True, None), "binary", True, id="true of truth values with gaps"),
        pytest.param(column(0, 1), "binary", 1, id="1 of 0 and 1"),
        pytest.param(column(2, 1, 1), "binary", 2, id="the larger number"),
        pytest.param(column(0.5, -1.5), "binary", 0.5, id="the larger fraction"),
        pytest.param(column(" No", "Yes", "Yes"), "binary", "Yes", id="yes, though it is the more frequent"),
        pytest.param(column("churned", "not churned", "churned"), "binary", "churned", id="what the other one denies"),
        pytest.param(column("ok", "ok", "broken"), "binary", "broken", id="the rarer word"),
        pytest.param(column("a", "b"), "binary", "b", id="the last of two as frequent words"),
        pytest.param(column("a", "b", "c"), "multiclass", None, id="three words"),
        pytest.param(column(1, 2, 3), "multiclass", None, id="three whole numbers"),
        pytest.param(column(*range(11)), "regression", None, id="eleven whole numbers"),
        pytest.param(column(0.5, 1.5, 2.5), "regression", None, id="three fractions"),
    ],
)
def test_task_and_positive_class_follow_the_written_rules(values: list[Any], task: str, positive: Any) -> None:
    found = guessed({"target": values}).params.data
    assert (str(found.task), found.positive) == (task, positive)
    assert type(found.positive) is type(positive)


def test_a_wish_goes_before_the_guess() -> None:
    columns = {"target": column(1, 2, 3), "day": DAYS, "other": DAYS[::-1]}
    found = guessed(columns, task="regression", time="other")
    assert (str(found.params.data.task), found.params.data.time) == ("regression", "other")
    assert found.reasons["task"] == found.reasons["time"] == "as you said"


@pytest.mark.parametrize(
    ("columns", "time"),
    [
        pytest.param({"when": DAYS}, "when", id="time stamps"),
        pytest.param({"when": DAYS.strftime("%Y-%m-%d")}, "when", id="dates as ISO 8601 text"),
        pytest.param({"when": DAYS.strftime("%Y-%m-%dT00:00:00+02:00")}, "when", id="times with an offset"),
        pytest.param({"when": DAYS.date}, "when", id="dates of Parquet"),
        pytest.param({"paid": DAYS[::-1], "moved": DAYS}, "moved", id="the one that the rows are sorted by"),
        pytest.param(
            {"paid": DAYS[::-1], "event_time": DAYS[::-1]}, "event_time", id="the one that is named like a time"
        ),
        pytest.param({"birthDate": DAYS, "dueDate": DAYS}, None, id="no birthday and no deadline"),
        pytest.param({"when": [None, *DAYS[1:]]}, None, id="none with a gap"),
        pytest.param({"when": column(*DAYS[:2])}, None, id="none in which the newest day is half of the table"),
        pytest.param({"when": DAYS.strftime("%d.%m.%Y")}, None, id="no text in another form"),
        pytest.param({"year": range(1800, 1800 + ROWS)}, None, id="no number"),
    ],
)
def test_the_time_is_a_complete_column_of_dates(columns: dict[str, Any], time: str | None) -> None:
    assert guessed(columns).params.data.time == time


def test_the_newest_day_becomes_the_day_of_the_data() -> None:
    assert str(guessed({"when": DAYS}).params.data.as_of) == "2024-07-18"
    assert guessed({}).params.data.as_of is None


@pytest.mark.parametrize(
    ("columns", "identity"),
    [
        pytest.param({"key": range(100, 100 + ROWS)}, "key", id="whole numbers named like an id"),
        pytest.param({"PatientID": [f"P {row}" for row in range(ROWS)]}, "PatientID", id="text named like an id"),
        pytest.param({"code": [f"x{row}" for row in range(ROWS)]}, "code", id="text without blanks"),
        pytest.param({"row": range(ROWS)}, "row", id="row numbers"),
        pytest.param(
            {"row": range(ROWS), "flight_id": range(5, 5 + ROWS)}, "flight_id", id="a name before row numbers"
        ),
        pytest.param({"income": range(100, 100 + 3 * ROWS, 3)}, None, id="no number that is only never twice"),
        pytest.param({"note": [f"note no. {row}" for row in range(ROWS)]}, None, id="no sentences"),
        pytest.param({"id": np.arange(ROWS) + 0.5}, None, id="no float"),
        pytest.param({"id": [None, *range(1, ROWS)]}, None, id="none with a gap"),
        pytest.param({"id": [1, *range(1, ROWS)]}, None, id="none with a value twice"),
    ],
)
def test_the_id_names_every_row_once(columns: dict[str, Any], identity: str | None) -> None:
    assert guessed(columns).params.data.id == identity


@pytest.mark.parametrize(
    ("values", "group"),
    [
        pytest.param(column(1.5, 2.5, None), "numeric", id="numbers with gaps"),
        pytest.param(column(1, 2, 3), "numeric", id="few whole numbers, whose order counts"),
        pytest.param(column(True, False), "numeric", id="truth values"),
        pytest.param(column(True, None), "numeric", id="truth values with gaps"),
        pytest.param(DAYS[::-1].strftime("%Y-%m-%d").where(DAYS.day > 3), "numeric", id="dates with gaps"),
        pytest.param([Decimal("1.5"), Decimal("2.5")] * (ROWS // 2), "numeric", id="decimals"),
        pytest.param(column("a", "b", None), "categorical", id="text that repeats"),
        pytest.param(column("x", None), "categorical", id="a mark or nothing"),
        pytest.param(column("65+", *map(str, range(30, 60))), "categorical", id="numbers and the rest of them"),
        pytest.param(column("V27", "E8", *map(str, range(30, 60))), "categorical", id="codes, most of them numbers"),
        pytest.param(column("none", "1", "2", "3"), "categorical", id="few numbers and a word"),
    ],
)
def test_a_feature_stands_in_the_list_of_its_values(values: Any, group: str) -> None:
    data = guessed({"added": values}).params.data
    assert "added" in getattr(data, group)


@pytest.mark.parametrize("name", ["zip code", "storeId", "REGION", "vehicle_type"])
def test_whole_numbers_that_are_named_like_a_code_are_categories(name: str) -> None:
    assert guessed({name: column(10, 20, 30)}).params.data.categorical == (name,)
    assert guessed({"rooms": column(10, 20, 30)}).params.data.categorical == ()


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({"added": column("x")}, "'x' in every row", id="a constant"),
        pytest.param({"added": [None] * ROWS}, "no value in any row", id="nothing"),
        pytest.param({"added": [f"note no. {row}" for row in range(ROWS)]}, "hardly repeats", id="free text"),
        pytest.param(
            {"added": [f"{row % 28 + 1:02}.05.{row + 1800}" for row in range(ROWS)]}, "convert", id="other dates"
        ),
        pytest.param({"added": column("?", *map(str, range(30)))}, "numbers but for '?'", id="a word for a gap"),
        pytest.param({"id": range(ROWS), "added": range(1, ROWS + 1)}, "another id", id="a second id"),
        pytest.param({"account_id": range(ROWS), "added": [[1]] * ROWS}, "neither", id="lists"),
        pytest.param({"added": column(1.0, float("inf"))}, "not finite", id="infinity"),
        pytest.param({"added": column("2024-01-01", "9999-12-31", None)}, "after 2261", id="the end of time"),
        pytest.param(
            {"added": column("L", "ok", "ok"), "target": column(1, 0, 0)}, LEAK, id="the target in other words"
        ),
        pytest.param(
            {"added": column("why", None, None), "target": column(1, 0, 0)}, LEAK, id="the reason of the target"
        ),
        pytest.param(
            {"added": np.arange(ROWS) * 1.8 + 32, "target": np.arange(ROWS) + 0.5}, LEAK, id="in another unit"
        ),
        pytest.param({"score": column(1, 2, 3), "added": column("x")}, "in every row", id="a constant beside others"),
    ],
)
def test_what_no_model_should_see_is_left_out_and_said(columns: dict[str, Any], reason: str) -> None:
    found = guessed(columns)
    assert reason in said(found, "added")
    assert "added" not in found.params.data.columns
    assert "'added'" in summary(found, ROWS, ("all",))
    assert "# left out: 'added': " in params_text(found)


def test_names_that_the_pipeline_cannot_hold_are_left_out() -> None:
    found = guessed({name: column(1, 2, 3) for name in ("score", "a\x85b", '5"', "a\tb")})
    assert "the model's own" in said(found, "score")
    assert "dvc.lock" in said(found, "a\x85b")
    assert "no request can carry" in said(found, '5"')
    assert "no request can carry" in said(found, "a\tb")


def test_a_near_copy_of_the_target_is_no_leak() -> None:
    found = guessed({"added": ["late", *column("on time", "late", "late")[1:]]})
    assert found.leaks == ()
    assert "added" in found.params.data.categorical


# --- rules and settings ----------------------------------------------------------------------------------------------


def test_guessed_rules_warn_and_the_classes_stop() -> None:
    town = column("a", "b", "b", None)
    rules = guessed({"town": town, "rank": column(1, 2, 3), "when": DAYS, "born": DAYS[::-1]}).params.validation.columns
    assert (rules["target"].values, rules["target"].severity) == (("late", "on time"), "error")
    assert (rules["town"].values, rules["town"].severity) == (("a", "b"), "warn")
    assert (rules["rank"].min, rules["rank"].max, rules["rank"].missing) == (0, 4, 0.05)
    assert 0.3 <= (rules["town"].missing or 0) <= 0.4  # of the month that misses most, and a margin
    assert str(rules["born"].min) == "2023-12-11"
    assert rules["born"].max is None


def test_a_category_of_many_values_gets_no_list() -> None:
    rules = guessed({"town": column(*(f"t{number}" for number in range(31)))}).params.validation.columns
    assert rules["town"].values is None


def test_the_rules_allow_half_of_the_smallest_month() -> None:
    assert guessed({"when": DAYS}).params.validation.min_rows == 9  # 18 days of July
    assert guessed({}).params.validation.min_rows == ROWS // 2


@given(low=st.floats(-1e30, 1e30), width=st.floats(0, 1e30))
def test_limits_hold_what_was_seen_and_cross_no_zero(low: float, width: float) -> None:
    high = low + width
    lowest, highest = limits(low, high)
    assert lowest <= low <= high <= highest
    assert (lowest >= 0) == (low >= 0)
    assert (highest <= 0) == (high <= 0)


@pytest.mark.parametrize(
    ("rows", "threshold", "leaves", "slice_rows"),
    [pytest.param(200, 0.5, 8, 10, id="small"), pytest.param(12_000, "f1", 31, 200, id="large")],
)
def test_settings_fit_the_size_of_the_table(rows: int, threshold: Any, leaves: int, slice_rows: int) -> None:
    plain = pd.DataFrame({"size": np.arange(rows) % 977 / 7, "town": column("a", "b", "c", rows=rows)})
    found = guess(plain.assign(target=column(0, 1, 1, 0, 1, rows=rows)), Wishes("target")).params
    assert (found.train.threshold, found.train.hist_gradient_boosting.leaves) == (threshold, leaves)
    assert found.evaluate.slices == ("town",)
    assert found.evaluate.min_slice_rows == slice_rows


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "columns", "error", "words"),
    [
        pytest.param(Wishes("none"), {}, ConfigurationError, "it has 'size', 'target'$", id="no such target"),
        pytest.param(Wishes("Targt "), {}, ConfigurationError, "do you mean 'target'", id="a target misspelt"),
        pytest.param(Wishes("target", time="size"), {}, ConfigurationError, "expected dates", id="numbers as time"),
        pytest.param(Wishes("target", time="target"), {}, ConfigurationError, "is the target", id="the target as time"),
        pytest.param(Wishes("target", id="target"), {}, ConfigurationError, "is the target", id="the target as id"),
        pytest.param(Wishes("target", id="size"), {}, ConfigurationError, "whole numbers", id="a float as id"),
        pytest.param(Wishes("target", id="no"), {"no": column(1, 2)}, DataError, "again in 198", id="an id twice"),
        pytest.param(
            Wishes("target", time="d"), {"d": [None, *DAYS[1:]]}, DataError, "1 row without", id="a gap in time"
        ),
        pytest.param(
            Wishes("target", "binary"), {"target": column(1, 2, 3)}, ConfigurationError, "two", id="no two values"
        ),
        pytest.param(Wishes("target", "regression"), {}, ConfigurationError, "needs numbers", id="text as quantity"),
        pytest.param(
            Wishes("target"), {"target": column("x")}, DataError, "is 'x' in every row", id="a constant target"
        ),
        pytest.param(Wishes("target"), {"target": column(1)}, DataError, "is 1 in every row", id="a constant number"),
        pytest.param(Wishes("target"), {"target": [None] * ROWS}, DataError, "empty", id="an empty target"),
        pytest.param(Wishes("target"), {"target": DAYS}, DataError, "time", id="dates as target"),
        pytest.param(Wishes("target"), {"target": column(1, float("inf"))}, DataError, "finite", id="infinite target"),
        pytest.param(
            Wishes("target"), {"target": [f"t{row}" for row in range(ROWS)]}, DataError, "too many", id="free text"
        ),
        pytest.param(
            Wishes("target"),
            {"size": column("x")},
            DataError,
            "no column is left to learn from: 'size'",
            id="no feature",
        ),
        pytest.param(
            Wishes("target"), {"size": range(ROWS)}, DataError, r"'size' is the id \(in every row", id="an id alone"
        ),
        pytest.param(
            Wishes("target"),
            {"when": DAYS, "target": column("a", "b", rows=ROWS - 9) + ["new"] * 9},
            DataError,
            "'new' in the holdout alone",
            id="a class of the holdout alone",
        ),
        pytest.param(
            Wishes("a\x85b"), {"a\x85b": column(1, 2)}, ConfigurationError, "dvc.lock", id="a name that DVC loses"
        ),
    ],
)
def test_what_cannot_become_a_model_is_refused_in_one_line(
    wishes: Wishes, columns: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=rf"\Ainit: .*{words}[^\n]*\Z") as caught:
        guess(table(columns), wishes)
    assert type(caught.value) is error


# --- the file --------------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85"), min_size=1, max_size=60)


@given(
    names=st.lists(
        NAMES.filter(lambda name: name not in ("target", "size", "score", "plain")), min_size=1, max_size=4, unique=True
    )
)
@settings(max_examples=60, deadline=None)
def test_any_name_and_any_category_comes_back_from_the_file(names: list[str]) -> None:
    columns = {"plain": column(1, 2, 3), **{name: column(*names, None, "other") for name in names}}
    found = guess(table({"target": column(0, 1), **columns}), Wishes("target"))
    assert parse(YAML(typ="safe").load(params_text(found))) == found.params


@pytest.mark.parametrize(
    "name", ["yes", "No", "null", "~", "12", "1e3", "2024-01-01", "12:30", "a: b", "#a", " a", "<<"]
)
def test_a_name_that_some_yaml_reader_takes_for_another_value_is_quoted(name: str) -> None:
    text = params_text(guessed({name: column(1, 2, 3)}))
    assert f"    - '{name}'\n" in text


def test_the_file_is_readable() -> None:
    text = params_text(guessed({"when": DAYS, "größe": column("klein", "groß"), "is paid": column(True, False)}))
    assert '  as_of: "2024-07-18"' in text
    assert "    - größe\n" in text
    assert "    größe: {values: [groß, klein], missing: 0.05, severity: warn}\n" in text
    assert "What warns" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_holdout_is_counted_and_a_poor_one_is_said() -> None:
    good = summary(guessed({}), ROWS, ("all",))
    assert "of 200 rows, by their hash\n" in good
    few = guess(pd.DataFrame({"target": column(0, 1), "town": column("a", "b", "a")}), Wishes("target"))
    assert "an id column would part them better" in summary(few, ROWS, ("all",))
    with pytest.raises(DataError, match="init: 200 rows are too few or too alike"):
        guess(pd.DataFrame({"target": column(0, 1), "town": column("c", "d", "e")}), Wishes("target"))


def test_the_summary_says_a_role_in_a_line() -> None:
    found = guessed({"when": DAYS, "flight_id": range(7, ROWS + 7), "copy": column("y", "z", "z")})
    lines = summary(found, ROWS, ("2024-01", "2024-02")).splitlines()
    assert [line.split()[0] for line in lines] == [
        "target", "task", "positive", "time", "id", "numeric", "categorical", "LEAK", "holdout", "wrote", "next",
    ]  # fmt: skip
    assert "'copy'" in lines[7]
    assert "200 rows in 2 partitions" in lines[9]


# --- reading ---------------------------------------------------------------------------------------------------------


def test_what_looks_like_a_number_but_is_a_code_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("zip,order,price,day\n00501,1234567890123456789012345,0.5,2024-01-01\n10001,2,10,2024-01-02\n")
    found = read(path)
    assert found["zip"].tolist() == ["00501", "10001"]
    assert found["order"].tolist() == ["1234567890123456789012345", "2"]
    assert found["price"].tolist() == [0.5, 10.0]
    assert found["day"].dtype.kind == "M"


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        pytest.param("table.txt", "a,b\n1,2\n", ConfigurationError, "expected a .csv or a .parquet", id="another kind"),
        pytest.param("table.csv", "a,b\n", DataError, "expected rows", id="no row"),
        pytest.param("table.csv", "a,b\n1\n", DataError, "expected 2 values", id="a row cut short"),
        pytest.param("table.parquet", "a,b\n1,2\n", DataError, "Parquet", id="no Parquet"),
        pytest.param("none.csv", None, DataError, "No such file", id="no file"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: str | None, error: type[Exception], words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=words):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param("a;b\n1;2\n", "semicolons", id="semicolons"),
        pytest.param("a;b\n1,5;2,5\n", "semicolons", id="semicolons and decimal commas"),
        pytest.param("a\tb\n1\t2\n", "tabs", id="tabs"),
    ],
)
def test_a_file_with_another_separator_is_recognised(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(DataError, match=f"found {found}; save the file with commas"):
        read(tmp_path / "table.csv")
    (tmp_path / "table.csv").write_text("a;b,c\n1,2\n")
    assert list(read(tmp_path / "table.csv").columns) == ["a;b", "c"]  # a name of two


# --- the repository --------------------------------------------------------------------------------------------------


def empty_repository(root: Path) -> Repository:
    """The template without data and settings."""
    lay_out(root)
    repository = Repository(root)
    repository.tool("git", "init", "-q")
    return repository


def files(root: Path) -> dict[str, bytes]:
    """The bytes of params.yaml, data.dvc and data/, and of whatever lies beside them."""
    ignored = {".git", ".dvc", ".mergeline", "src", ".home"}
    found = (path for path in root.rglob("*") if path.is_file() and not ignored & set(path.relative_to(root).parts))
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return empty_repository(tmp_path / "repository")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.csv"
    table({}).to_csv(path, index=False)
    return path


def test_nothing_is_overwritten_unasked_and_all_of_it_when_asked(repository: Repository, small: Path) -> None:
    data.init(repository.root, small, Wishes("target"), force=False)
    before = files(repository.root)
    assert {"params.yaml", "data.dvc", "data/all.parquet"} <= set(before)
    with pytest.raises(ConfigurationError, match=r"params\.yaml, data\.dvc, data/ would be overwritten; `--force`"):
        data.init(repository.root, small, Wishes("target"), force=False)
    assert files(repository.root) == before
    table({"when": DAYS}).to_csv(small, index=False)
    data.init(repository.root, small, Wishes("target"), force=True)
    assert not (repository.root / "data/all.parquet").exists()
    assert len(list((repository.root / "data").glob("2024-*.parquet"))) == 7
    assert "as_of" in (repository.root / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("standing", "named"), [("params.yaml", "params.yaml"), ("data.dvc", "data.dvc"), ("data/notes.txt", "data/")]
)
def test_each_thing_in_the_way_is_named(repository: Repository, small: Path, standing: str, named: str) -> None:
    (repository.root / standing).parent.mkdir(exist_ok=True)
    (repository.root / standing).write_text("mine")
    with pytest.raises(ConfigurationError, match=f"init: {named} would be overwritten"):
        data.init(repository.root, small, Wishes("target"), force=False)


def test_a_bad_table_leaves_everything_as_it_was(repository: Repository, small: Path, tmp_path: Path) -> None:
    data.init(repository.root, small, Wishes("target"), force=False)
    before = files(repository.root)
    bad = tmp_path / "bad.csv"
    bad.write_text("size,target\n1,x\n2,x\n")
    with pytest.raises(DataError):
        data.init(repository.root, bad, Wishes("target"), force=True)
    assert files(repository.root) == before


def test_where_dvc_refuses_the_old_data_come_back(repository: Repository, small: Path) -> None:
    for name, text in (("params.yaml", "old: settings\n"), ("data/old.csv", "old,data\n")):
        (repository.root / name).parent.mkdir(exist_ok=True)
        (repository.root / name).write_text(text)
    repository.tool("git", "add", "--force", "data")  # DVC takes no folder that Git has
    before = files(repository.root)
    with pytest.raises(DataError, match="tracked by SCM"):
        data.init(repository.root, small, Wishes("target"), force=True)
    assert files(repository.root) == before


def test_a_table_inside_data_is_not_lost(repository: Repository) -> None:
    (repository.root / "data").mkdir()
    table({}).to_csv(repository.root / "data/mine.csv", index=False)
    with pytest.raises(ConfigurationError, match="move it to another folder"):
        data.init(repository.root, repository.root / "data/mine.csv", Wishes("target"), force=True)
    assert (repository.root / "data/mine.csv").exists()


def test_outside_of_the_template_it_says_what_to_do(tmp_path: Path, small: Path) -> None:
    done = Repository(tmp_path).run("init", str(small), "--target", "target")
    assert done.returncode == ConfigurationError.exit_code
    assert "clone the template first" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["small.csv"]


# --- from a table to a model, through the real commands --------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A table, its target, what the metrics must reach, and what the settings must be."""

    rows: pd.DataFrame
    target: str
    above: Mapping[str, float]
    task: str
    data: Mapping[str, Any] = field(default_factory=dict)


def toy(name: str) -> Case:
    from sklearn import datasets

    if name == "breast_cancer":
        loaded = datasets.load_breast_cancer(as_frame=True)
        words = loaded.target.map({0: "malignant", 1: "benign"})
        above = {"roc_auc": 0.97, "accuracy": 0.9}
        return Case(loaded.data.assign(diagnosis=words), "diagnosis", above, "binary", {"positive": "malignant"})
    if name == "wine":
        loaded = datasets.load_wine(as_frame=True)
        return Case(loaded.data.assign(cultivar=loaded.target), "cultivar", {"accuracy": 0.9}, "multiclass")
    loaded = datasets.load_diabetes(as_frame=True)
    return Case(loaded.data.assign(progression=loaded.target), "progression", {"r2": 0.3}, "regression")


def nasty() -> Case:
    """Names and values that break careless code, in a table that can be learnt from."""
    generator, rows = np.random.default_rng(7), 400
    when = pd.Timestamp("2024-01-03") + pd.to_timedelta(np.sort(generator.uniform(0, 118, rows)), unit="D")
    size = generator.normal(size=rows)
    town = generator.choice(["São Paulo", "O'Fallon, MO", 'the "Hague"', "a: b #1", " yes ", "no"], rows)
    late = size + 2 * (town == "no") + generator.normal(size=rows) / 2 > 0.5

    def gappy(values: Any, share: float = 0.1) -> pd.Series:
        return pd.Series(values).astype(object).where(generator.random(rows) > share)

    born = pd.Timestamp("1970-01-01") + pd.to_timedelta(generator.integers(0, 12_000, rows), unit="D")
    columns = {
        " commandé le ": when.strftime("%Y-%m-%dT%H:%M:%S+01:00"),
        "order id": [f"{number:06d}" for number in generator.permutation(rows)],
        "größe, in cm": gappy(size.round(4)),
        "town: 'where'": gappy(town),
        "#rank": generator.integers(0, 5, rows),
        "12": generator.normal(size=rows),
        "yes": gappy(generator.random(rows) < 0.5),
        "null": generator.random(rows) < 0.5,
        "born": gappy(born.strftime("%Y-%m-%d")),
        "zip code": [f"{number:05d}" for number in generator.choice([501, 10001, 94105], rows)],
        "${data.target}": generator.normal(size=rows),
        "it's constant": "x",
        "empty": None,
        "remarks\nof all": [f"remark no. {row}" for row in range(rows)],
        "late again": np.where(late, "L", "ok"),
        "is it late?": np.where(late, "Yes", "No"),
    }
    found = {
        "time": " commandé le ",
        "id": "order id",
        "positive": "Yes",
        "numeric": ("größe, in cm", "#rank", "12", "yes", "null", "born", "${data.target}"),
        "categorical": ("town: 'where'", "zip code"),
    }
    return Case(pd.DataFrame(columns), "is it late?", {"roc_auc": 0.85}, "binary", found)


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow database for all: to make its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "diabetes", "nasty"])
def test_a_table_becomes_a_model_with_two_commands(
    name: str, repository: Repository, tmp_path: Path, tracking: str
) -> None:
    case = nasty() if name == "nasty" else toy(name)
    case.rows.to_csv(tmp_path / "table.csv", index=False)
    done = repository.run("init", "../table.csv", "--target", case.target)
    assert done.returncode == 0, done.stderr
    settings = load_params(repository.root)
    assert str(settings.data.task) == case.task
    assert case.data.items() <= dict(settings.data).items()

    done = repository.run("repro", MLFLOW_TRACKING_URI=tracking)
    assert done.returncode == 0, done.stderr
    assert "ran      validate, train, evaluate" in done.stdout
    metrics = json.loads((repository.root / "reports/metrics.json").read_text())
    assert all(metrics[metric] > least for metric, least in case.above.items()), metrics
    validation = json.loads((repository.root / "reports/validation.json").read_text())
    assert all(each["passed"] for each in validation["expectations"])  # no guess is broken by what it was guessed from

    before = files(repository.root)
    done = repository.run("repro", MLFLOW_TRACKING_URI=tracking)
    assert "ran      nothing" in done.stdout, done.stderr
    assert files(repository.root) == before


def test_a_value_that_was_never_seen_warns_and_a_new_class_stops(repository: Repository, small: Path) -> None:
    data.init(repository.root, small, Wishes("target"), force=False)
    path = repository.root / "data/all.parquet"
    rows = pd.read_parquet(path)
    rows.assign(size=rows["size"].where(rows.index > 0, 1e6)).to_parquet(path, index=False)
    stages.validate(repository.root)
    failed = [each for each in validation_of(repository) if not each["passed"]]
    assert [(each["column"], each["severity"]) for each in failed] == [("size", "warn")]
    rows.assign(target=rows["target"].where(rows.index > 0, "cancelled")).to_parquet(path, index=False)
    with pytest.raises(DataError, match="'target': expected one of late, on time"):
        stages.validate(repository.root)


def validation_of(repository: Repository) -> list[dict[str, Any]]:
    record = json.loads((repository.root / "reports/validation.json").read_text())
    return list(record["expectations"])
