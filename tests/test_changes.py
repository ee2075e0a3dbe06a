"""What a branch changes against its base, and how often its holdout has judged before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_git import commit, git

from mergeline.changes import code, holdout_uses, latency_ratio, parameters, partitions
from mergeline.report.context import CodeChange, ParameterChange, PartitionChange

OLD = """\
data:
  numeric: [amount, visits]
  as_of: 2013-07-01
  positive: true
train:
  seed: 1
  family: torch_mlp
gates: {}
"""
VALIDATION = "reports/validation.json"
COMPARISON = "reports/comparison.json"


@pytest.fixture
def branch(tmp_path: Path) -> Path:
    """A branch that has not changed anything yet."""
    git(tmp_path, "init", "-q", "-b", "main")
    rows = json.dumps({"rows": {"2013-01": 10, "2013-02": 20}})
    commit(tmp_path, {"params.yaml": OLD, VALIDATION: rows, "src/train.py": "1\n2\n", "dvc.yaml": "stages: {}\n"})
    git(tmp_path, "checkout", "-q", "-b", "branch")
    return tmp_path


# ---- Parameters ------------------------------------------------------------------------------------------------------


def test_a_branch_that_changed_nothing_and_one_without_a_base_have_no_changes(branch: Path) -> None:
    for base in ("main", None):
        assert parameters(branch, base) == ()
        assert partitions(branch, base) == ()
        assert code(branch, base) == ()


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        pytest.param("seed: 1", "seed: 2", ParameterChange("train.seed", "1", "2"), id="a number"),
        pytest.param(
            "[amount, visits]",
            "[visits, amount]",
            ParameterChange("data.numeric", "amount, visits", "visits, amount"),
            id="the order of a list",
        ),
        pytest.param("[amount, visits]", "[]", ParameterChange("data.numeric", "amount, visits", ""), id="a list"),
        pytest.param(
            "2013-07-01", "2013-08-01", ParameterChange("data.as_of", "2013-07-01", "2013-08-01"), id="a date"
        ),
        pytest.param("true", "false", ParameterChange("data.positive", "True", "False"), id="a switch"),
        pytest.param("  seed: 1\n", "", ParameterChange("train.seed", "1", None), id="a key that is gone"),
        pytest.param(
            "seed: 1", "seed: 1\n  share: 0.5", ParameterChange("train.share", None, "0.5"), id="a key that is new"
        ),
        pytest.param("seed: 1", "seed:", ParameterChange("train.seed", "1", "None"), id="a key without a value"),
    ],
)
def test_a_changed_setting_is_shown_by_its_dotted_key(
    branch: Path, old: str, new: str, change: ParameterChange
) -> None:
    assert old in OLD
    (branch / "params.yaml").write_text(OLD.replace(old, new))
    assert parameters(branch, "main") == (change,)


def test_settings_of_any_depth_come_in_the_order_of_the_file_and_what_is_gone_last(branch: Path) -> None:
    (branch / "params.yaml").write_text(
        OLD.replace("gates: {}", "gates: {slices: {margin: 0.1, deep: {er: [1, 2]}}}").replace("seed: 1", "zest: 1")
    )
    assert parameters(branch, "main") == (
        ParameterChange("train.zest", None, "1"),
        ParameterChange("gates.slices.margin", None, "0.1"),
        ParameterChange("gates.slices.deep.er", None, "1, 2"),
        ParameterChange("train.seed", "1", None),
        ParameterChange("gates", "{}", None),
    )


def test_another_layout_of_the_same_settings_is_no_change(branch: Path) -> None:
    flow = "{gates: {}, train: {family: torch_mlp, seed: 1}, data: {positive: true, as_of: 2013-07-01, numeric: "
    (branch / "params.yaml").write_text(f"# said otherwise\n{flow}[amount, visits]}}}}\n")
    assert parameters(branch, "main") == ()


@pytest.mark.parametrize("content", [None, "", "{}\n", "data: [1\n", "- a list\n", b"\xff\x00"])
def test_every_setting_is_new_where_the_base_has_none_that_can_be_read(branch: Path, content: Any) -> None:
    git(branch, "checkout", "-q", "main")
    commit(branch, {"params.yaml": content})
    git(branch, "checkout", "-q", "branch")
    found = parameters(branch, "main")
    assert [each.key for each in found] == [
        "data.numeric", "data.as_of", "data.positive", "train.seed", "train.family", "gates",
    ]  # fmt: skip
    assert {each.old for each in found} == {None}


# ---- Data and code ---------------------------------------------------------------------------------------------------


def test_partitions_that_are_new_gone_or_of_other_length_are_shown_by_name(branch: Path) -> None:
    (branch / VALIDATION).write_text(json.dumps({"rows": {"2013-03": 7, "2013-02": 21}}))
    assert partitions(branch, "main") == (
        PartitionChange("2013-01", 10, None),
        PartitionChange("2013-02", 20, 21),
        PartitionChange("2013-03", None, 7),
    )


@pytest.mark.parametrize("content", [None, "", "[]", '{"rows": 30}', "{", b"\xff"])
def test_every_partition_is_new_where_the_base_has_no_record_that_can_be_read(branch: Path, content: Any) -> None:
    git(branch, "checkout", "-q", "main")
    commit(branch, {VALIDATION: content})
    git(branch, "checkout", "-q", "branch")
    assert partitions(branch, "main") == (
        PartitionChange("2013-01", None, 10),
        PartitionChange("2013-02", None, 20),
    )


def test_changed_code_is_counted_from_where_the_branch_left_and_nothing_else_is_code(branch: Path) -> None:
    git(branch, "checkout", "-q", "main")
    commit(branch, {"src/theirs.py": "1\n"})
    git(branch, "checkout", "-q", "branch")
    commit(branch, {"src/train.py": "1\n3\n4\n", "docs/guide.md": "1\n", "params.yaml": "{}\n"})
    (branch / "dvc.yaml").write_text("stages: {}\nplots: []\n")
    assert code(branch, "main") == (CodeChange("dvc.yaml", 1, 0), CodeChange("src/train.py", 2, 1))


# ---- The holdout -----------------------------------------------------------------------------------------------------


def record(candidate: str, holdout: str = "h") -> dict[str, Any]:
    return {"candidate": {"sha256": candidate}, "holdout": {"sha256": holdout}}


def history(root: Path, *records: Any) -> None:
    for number, each in enumerate(records):
        content = each if isinstance(each, str | bytes) else json.dumps(each)
        commit(root, {COMPARISON: content, "counter": str(number)})


def test_a_holdout_that_judges_for_the_first_time_is_used_once(branch: Path) -> None:
    assert holdout_uses(branch, record("a")) == 1


def test_the_same_candidate_on_the_same_holdout_counts_once_however_often_it_is_recorded(branch: Path) -> None:
    history(branch, {**record("a"), "verdict": "hold"}, {**record("a"), "verdict": "promote"})
    assert holdout_uses(branch, record("a")) == 1


def test_each_other_candidate_on_this_holdout_counts_and_none_on_another(branch: Path) -> None:
    history(branch, record("a"), record("b"), record("c", "other"), record("a"))
    assert holdout_uses(branch, record("d")) == 3
    assert holdout_uses(branch, record("d", "other")) == 2


@pytest.mark.parametrize(
    "old",
    [
        "",
        "{",
        b"\xff",
        "[1]",
        "{}",
        {"holdout": None},
        {"holdout": "h", "candidate": "x"},
        {"holdout": {"sha256": "h"}, "candidate": ["x"]},
        {"holdout": {"sha256": "h"}},
        {"holdout": {"sha256": "h"}, "candidate": {"sha256": ["x"]}},
    ],
)
def test_an_old_record_that_cannot_be_read_does_not_count_and_hides_no_other(branch: Path, old: Any) -> None:
    history(branch, record("a"), old, record("b"))
    assert holdout_uses(branch, record("c")) == 3


def test_candidates_that_were_recorded_before_the_bases_records_were_taken_still_count(branch: Path) -> None:
    """What `resync` does: a merge that leaves every record as the base has it."""
    history(branch, record("a"))
    git(branch, "checkout", "-q", "main")
    history(branch, record("b"))
    git(branch, "checkout", "-q", "branch")
    git(branch, "merge", "-q", "-s", "ours", "--no-ff", "--no-commit", "main")
    git(branch, "checkout", "-q", "main", "--", COMPARISON)
    git(branch, "commit", "-q", "--no-edit")
    assert holdout_uses(branch, record("c")) == 3


# ---- The time of this machine ----------------------------------------------------------------------------------------


def test_a_ratio_is_given_for_the_candidate_that_it_was_measured_for_and_for_no_other(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    path.write_text(json.dumps({"candidate": "a", "latency_ratio": {"estimate": 1.5, "low": 1, "high": 2}}))
    assert latency_ratio(path, "a") == 1.5
    assert latency_ratio(path, "b") is None


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"candidate": "a", "latency_ratio": null}'])
def test_there_is_no_ratio_where_nothing_was_measured(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "timings.json"
    if content is not None:
        path.write_text(content)
    assert latency_ratio(path, "a") is None
