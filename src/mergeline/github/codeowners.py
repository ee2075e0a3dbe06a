"""Who has to approve a path, as GitHub reads a CODEOWNERS file: the last line that matches decides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")  # the first that is there is read
NOBODY = "@OWNER"  # of the template
# One path under each pattern that has to have owners.
WATCHED = {
    ".github/**": (".github/workflows/retrain.yml", ".github/actions/setup/action.yml", ".github/CODEOWNERS"),
    ".ci/**": (".ci/place_results.py", ".ci/new/file"),
    "requirements/**": ("requirements/dev.in", "requirements/new/file.txt"),
    "dvc.yaml": ("dvc.yaml",),
    "params.yaml": ("params.yaml",),
    "k8s/overlays/production/**": ("k8s/overlays/production/release.yaml", "k8s/overlays/production/new/file.yaml"),
    "k8s/retirements.yaml": ("k8s/retirements.yaml",),
    "terraform/**": ("terraform/main.tf", "terraform/new/file.tf"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A pattern and its owners; without any, what it matches has none."""

    pattern: str
    owners: tuple[str, ...]

    def matches(self, path: str) -> bool:
        """Whether the pattern is for a path of the repository.

        >>> Line("/k8s/", ()).matches("k8s/base/a.yaml"), Line("docs/*", ()).matches("docs/a/b.md")
        (True, False)
        """
        return _regex(self.pattern).match(path) is not None


def parse(text: str) -> tuple[Line, ...]:
    """Return the lines; comments and blank ones are none."""
    words = (_words(line) for line in text.splitlines())
    return tuple(Line(each[0], tuple(each[1:])) for each in words if each)


def owners(lines: tuple[Line, ...], path: str) -> tuple[str, ...]:
    """Return the owners of a path; the template's placeholder is nobody."""
    last = next((line for line in reversed(lines) if line.matches(path)), None)
    return tuple(each for each in (last.owners if last else ()) if not _is_nobody(each))


def uncovered(lines: tuple[Line, ...]) -> tuple[str, ...]:
    """Return which of the watched patterns hold a path that nobody owns."""
    return tuple(name for name, paths in WATCHED.items() if not all(owners(lines, path) for path in paths))


def placeholders(lines: tuple[Line, ...]) -> tuple[str, ...]:
    """Return the owners that are still the template's."""
    return tuple(sorted({each for line in lines for each in line.owners if _is_nobody(each)}))


def _is_nobody(owner: str) -> bool:
    return owner.partition("/")[0] == NOBODY


def _words(line: str) -> list[str]:
    """The words before a comment; a blank or a hash behind a backslash belongs to its word."""
    words = [word.replace("\\ ", " ") for word in re.findall(r"(?:\\.|\S)+", line)]
    start = next((number for number, word in enumerate(words) if word.startswith("#")), len(words))
    return [word.replace("\\#", "#") for word in words[:start]]


def _regex(pattern: str) -> re.Pattern[str]:
    anchored = "/" in pattern.rstrip("/")
    body = "".join(_pieces(pattern.strip("/")))
    # docs/* is for the files of one folder alone, any other name also for what lies below it
    below = "" if re.search(r"(^|/)\*$", pattern.strip("/")) and anchored else "(/.*)?"
    inside = "/.*" if pattern.endswith("/") else below
    return re.compile(f"{'' if anchored else '(.*/)?'}{body}{inside}$")


def _pieces(pattern: str) -> Iterator[str]:
    for piece in re.split(r"(\*\*/|/\*\*$|\*\*|\*|\?)", pattern):
        known = {"**/": "(.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        yield known.get(piece, re.escape(piece))
