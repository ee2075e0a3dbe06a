"""The counts and figures of the pages are those of the tests and benchmarks, and no others."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import citations
import counted as counting
from counted import PAGES, counted, main, names_of, with_counts, with_figures
from mergeline.site.promises import held

ROOT = Path(__file__).resolve().parents[1]
NAMES = names_of(ROOT / "tests")


def test_the_examples_of_both_modules_hold() -> None:
    for module in (citations, counting):
        done = doctest.testmod(module)
        assert done.attempted
        assert not done.failed


@pytest.mark.parametrize("page", PAGES)
def test_the_counts_and_figures_of_a_page_are_those_of_the_tests_and_benchmarks(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == counted(ROOT, page, NAMES), "`make docs` counts anew"


def test_every_promise_has_its_row_and_its_tests_and_no_row_is_without() -> None:
    rows = re.findall(r"^\| ([RS]\d+) \|", (ROOT / "docs/security.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == set(held(NAMES))


def test_another_count_is_found_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for page in PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text("no row\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text("def test_r6_s2_a(): ...\ndef test_r6_b(): ...\ndef test_r(): ...\n")
    (tmp_path / "tests/test_planted_failures.py").write_text("CASES = {'a': 1, 'b': 2}\n")
    written = tmp_path / "docs/security.md"
    written.write_text("| R6 | back | 7 |\n| S2 | roles | 1 |\n| R9 | skipped | 3 |\n")
    assert main(["--check"], tmp_path) == 1
    assert "docs/security.md: not as counted now" in capsys.readouterr().err
    assert main([], tmp_path) == 0
    assert written.read_text() == "| R6 | back | 2 |\n| S2 | roles | 1 |\n| R9 | skipped | 0 |\n"
    assert main(["--check"], tmp_path) == 0


def test_a_goal_that_was_not_measured_is_found() -> None:
    results = "| **missed** | a goal | 2 s | 1 s | 2.0 |\n| met | more | 5 x | at least 4 x | 1 |\n"
    row = "| [x](y/results.md) | {} | 0 | 0 |"
    assert with_figures(row.format("a goal"), lambda _: results) == row.format("a goal").replace(
        "0 | 0", "2 s | missed: at most 1 s"
    )
    assert "met: at least 4 x" in with_figures(row.format("more"), lambda _: results)
    with pytest.raises(LookupError, match="has no goal 'made up'"):
        with_figures(row.format("made up"), lambda _: results)
    assert with_counts("| R1 | a | 1 |\n| X1 | a | 1 |", {"R1": 24}) == "| R1 | a | 24 |\n| X1 | a | 1 |"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 220
