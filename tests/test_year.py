"""docs/a-year.md: what its first sentences say is what its table says, and its weeks tile the year."""

from __future__ import annotations

import datetime as dt
import re
from itertools import pairwise
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "a-year.md"
WEEK = dt.timedelta(days=7)


def rows(text: str) -> list[list[str]]:
    """The cells of the weeks."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:4] == "| 20"]


def metric(cell: str) -> float:
    """The estimate; its interval holds it."""
    estimate, low, high = map(float, re.findall(r"\d\.\d+", cell))
    assert low <= estimate <= high
    return estimate


def check(text: str) -> None:
    """Raise `AssertionError` where the sentences and the table differ."""
    weeks = rows(text)
    days = [dt.date.fromisoformat(week[0]) for week in weeks]
    assert (days[0], days[-1]) == (dt.date(2013, 4, 1), dt.date(2013, 12, 23))
    assert {later - earlier for earlier, later in pairwise(days)} == {WEEK}
    said = " ".join(text.split())
    promoted = [day for day, week in zip(days, weeks, strict=True) if "promoted (" in week[4]]
    assert f"{len(promoted)} retrainings were promoted" in said
    after = [week for day, week in zip(days, weeks, strict=True) if day > promoted[0] and week[5] != "-" != week[6]]
    followed, alone = ([metric(week[at]) for week in after] for at in (5, 6))
    better = sum(mine > other for mine, other in zip(followed, alone, strict=True))
    means = [sum(each) / len(each) for each in (followed, alone)]
    told = re.search(r"In the (\d+) weeks .* was ([\d.]+) on average .* and ([\d.]+) where .* in (\d+) of them", said)
    assert told
    assert (int(told[1]), int(told[4])) == (len(after), better)
    assert [float(told[2]), float(told[3])] == pytest.approx(means, abs=1e-3)


def test_the_sentences_and_the_table_agree() -> None:
    check(PAGE.read_text(encoding="utf-8"))


def test_twin_a_week_that_is_gone_or_a_figure_that_was_bettered_is_noticed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("| 2013-08"))
    with pytest.raises(AssertionError):
        check(text.replace(line + "\n", ""))
    estimate = re.findall(r"(\d\.\d+) \((?=\d)", line)[0]
    with pytest.raises(AssertionError):
        check(text.replace(line, line.replace(estimate, "0.999", 1)))


def test_following_the_decisions_paid() -> None:
    """What the page is there to show; played anew, it has to hold again."""
    said = " ".join(PAGE.read_text(encoding="utf-8").split())
    followed, alone = map(float, re.findall(r"was ([\d.]+) on average .* and ([\d.]+) where", said)[0])
    assert followed > alone
