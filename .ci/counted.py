"""The counts and measured figures in README.md and docs/: taken from the tests and the benchmarks, never typed.

usage: counted.py [--check]

A row that begins with the number of a promise ends with how many tests carry that number in their name. A row that
begins with a link to a results.md and names one of its goals ends with what was found, and whether that met the goal.
What stands between `<!-- counted -->` and `<!-- end -->` is the sum. `--check` writes nothing, and ends with 1 where a
page says something else.
"""

from __future__ import annotations

import ast
import posixpath
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the environment of the book does not hold the package

from mergeline.site.promises import held, holding, names_in  # noqa: E402

PAGES = ("README.md", "docs/security.md", "docs/architecture.md")
PROMISE = re.compile(r"^(?P<kept>\| (?P<number>[RS][1-9][0-9]*) \|.*\|) [0-9]* \|$", re.MULTILINE)
RESULT = re.compile(
    r"^(?P<kept>\| \[[^\]]+\]\((?P<file>[^)]+/results\.md)\) \| (?P<goal>[^|]+) \|)[^|\n]*\|[^|\n]*\|$", re.MULTILINE
)
SUM = re.compile(r"(?<=<!-- counted -->\n).*?(?=<!-- end -->)", re.DOTALL)


def names_of(folder: Path) -> tuple[str, ...]:
    """Return the names of the tests in a folder."""
    return tuple(
        name for file in sorted(folder.glob("test_*.py")) for name in names_in(file.read_text(encoding="utf-8"))
    )


def planted_failures(file: Path) -> int:
    """Return how many failures are planted and sent through the whole pipeline: the table `CASES` of its test."""
    tables = (each for each in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(each, ast.Assign))
    for each in tables:
        if ast.unparse(each.targets[0]) == "CASES" and isinstance(each.value, ast.Dict):
            return len(each.value.keys)
    raise LookupError(f"{file}: expected a table CASES, found none")


def with_counts(page: str, counts: Mapping[str, int]) -> str:
    """Return a page whose rows of promises end with their number of tests.

    >>> with_counts("| R1 | what is reviewed is served |  |", {"R1": 24})
    '| R1 | what is reviewed is served | 24 |'
    """
    return PROMISE.sub(lambda row: f"{row['kept']} {counts.get(row['number'], 0)} |", page)


def with_figures(page: str, results: Callable[[str], str]) -> str:
    """Return a page whose rows of goals end with what was found, and whether that met the goal.

    Raises `LookupError` for a goal that its results do not have.
    """

    def filled(row: re.Match[str]) -> str:
        for line in results(row["file"]).splitlines():
            outcome, goal, found, limit, *_ = [each.strip() for each in [*line.strip("|").split("|"), *[""] * 3]]
            if goal == row["goal"] and outcome.strip("*") in ("met", "missed"):
                return f"{row['kept']} {found} | {outcome.strip('*')}: {_limit(limit)} |"
        raise LookupError(f"{row['file']}: has no goal {row['goal']!r}")

    return RESULT.sub(filled, page)


def summary(names: Sequence[str], planted: int) -> str:
    """Return the lines that count all of it."""
    return (
        f"**{len(held(names))} promises are held by {holding(names)} tests** that carry their numbers,"
        f" and {planted} planted\n"
        "models and branches go through the whole pipeline to prove the gates.\n"
    )


def counted(root: Path, page: str, names: Sequence[str]) -> str:
    """Return a page as it has to be, by the names of the tests and what else is in the repository."""
    text = with_counts((root / page).read_text(encoding="utf-8"), held(names))
    text = with_figures(text, lambda file: (root / posixpath.dirname(page) / file).read_text(encoding="utf-8"))
    planted = planted_failures(root / "tests/test_planted_failures.py")
    return SUM.sub(lambda _: summary(names, planted), text)


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write the pages anew, or say which of them are not as they have to be."""
    if arguments not in ([], ["--check"]):
        print("usage: counted.py [--check]", file=sys.stderr)
        return 2
    try:
        names = names_of(root / "tests")
        wanted = {page: counted(root, page, names) for page in PAGES}
    except (LookupError, FileNotFoundError) as err:
        print(f"counted: {err}", file=sys.stderr)
        return 1
    other = [page for page, text in wanted.items() if text != (root / page).read_text(encoding="utf-8")]
    if arguments and other:
        print(f"counted: {', '.join(other)}: not as counted now; `make docs` writes them anew", file=sys.stderr)
        return 1
    for page in other:
        (root / page).write_text(wanted[page], encoding="utf-8")
        print(page)
    return 0


def _limit(cell: str) -> str:
    return cell if cell.startswith("at ") else f"at most {cell}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
