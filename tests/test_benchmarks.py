"""The arithmetic of the benchmarks; what they measure is not tested."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from benchmarks.findings import Goal, Section
from benchmarks.machine import Machine
from benchmarks.measurement import FailedCommandError, Summary, Usage, alternate, difference, ratio, run


def test_the_median_ratio_is_of_paired_runs_and_not_of_medians() -> None:
    ours, peers = [1.0, 20.0, 3.0], [1.0, 10.0, 1.0]  # the second pair met a busy machine
    assert ratio(ours, peers) == Summary(median=2.0, low=1.0, high=3.0)
    assert Summary.of(ours).median / Summary.of(peers).median == 3.0


def test_runs_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="zip"):
        difference([1.0], [1.0, 2.0])


def test_an_even_number_of_runs_has_the_mean_of_the_middle_two() -> None:
    assert Summary.of([4.0, 1.0, 2.0, 100.0]) == Summary(median=3.0, low=1.0, high=100.0)


def test_contenders_take_turns() -> None:
    order: list[str] = []
    found = alternate(2, {"a": lambda: order.append("a"), "b": lambda: order.append("b")})
    assert order == ["a", "b", "a", "b"]
    assert {name: len(each) for name, each in found.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("median", "limit", "met", "share"),
    [
        pytest.param(0.8, 0.8, True, 1.0, id="at the limit"),
        pytest.param(1.2, 0.8, False, 1.5, id="over it"),
        pytest.param(0.0, 0.0, True, None, id="nothing, where nothing is allowed"),
        pytest.param(1.0, 0.0, False, None, id="something, where nothing is allowed"),
        pytest.param(-0.01, 0.002, True, -5.0, id="better than the peer"),
    ],
)
def test_a_goal_is_met_by_the_median(median: float, limit: float, met: bool, share: float | None) -> None:
    goal = Goal("goal", limit, "s", Summary(median, median - 1, median + 1))
    assert goal.met is met
    assert goal.share == (None if share is None else pytest.approx(share))
    assert ("missed" in goal.cells()[0]) is not met


def test_what_is_written_reads_back() -> None:
    summary = Summary(1.0, 0.5, 2.0)
    machine = Machine("2013-01-01", "a processor", 2, 8.0, "Linux", "3.11.0", {"dvc": "3.67.0"})
    goal = Goal("goal", 1.0, "s", summary)
    usages = {"one": [Usage(1.0, 2.0, 3.0)]}
    section = Section("name", "Title", machine, (0.5, 1.0), (summary, summary), ("note",), (), (goal,), usages)
    assert Section.from_dict(json.loads(json.dumps(section.as_dict()))) == section


def test_a_command_is_charged_for_its_own_processor_time_and_memory(tmp_path: Path) -> None:
    used, text = run([sys.executable, "-c", "print(len(bytearray(10**8)))"], tmp_path, {})
    assert text == "100000000\n"
    assert used.peak_mb > 95
    assert used.cpu_s > 0
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(FailedCommandError, match="exit code 3\nno more"):
        run([sys.executable, "-c", "import sys; sys.exit(print('no more') or 3)"], tmp_path, {})
