"""Put the records of a run on a branch: regular files of a list, and nothing else that the run may have left.

usage: place_results.py RESULTS BRANCH

What a pull request's own code made is not to be trusted. A link, a folder in place of a file, a path that leaves the
branch through a link of its own, or a file that is too large ends with 1 and nothing is written. What is missing is
left as the branch has it.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

# `mergeline.layout.RECORDS`; a test holds the two together. The release is not among them: `record` writes it.
RECORDS = (
    "dvc.lock",
    "models/champion.json",
    "models/manifest.json",
    "reports/comparison.json",
    "reports/evaluation.json",
    "reports/metrics.json",
    "reports/validation.json",
)
LARGEST_BYTES = 20_000_000


def main(arguments: list[str]) -> int:
    """Place what is there, say what it was; or say what speaks against it."""
    if len(arguments) != 2:
        print("usage: place_results.py RESULTS BRANCH", file=sys.stderr)
        return 2
    results, branch = map(Path, arguments)
    wrong = list(problems(results, branch))
    if wrong:
        print(f"place_results: {'; '.join(wrong)}; nothing is written", file=sys.stderr)
        return 1
    placed = [name for name in RECORDS if (results / name).exists()]
    if not placed:
        print(f"place_results: {results}: expected records of a run, found none", file=sys.stderr)
        return 1
    for name in placed:
        (branch / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(results / name, branch / name)
    print("\n".join(placed))
    return 0


def problems(results: Path, branch: Path) -> Iterator[str]:
    """Yield what speaks against a copy: of both sides, each file and each folder on the way to it is looked at."""
    for name in RECORDS:
        for side in (results, branch):
            folder = (side / name).parent
            if folder != side and (folder.is_symlink() or (folder.exists() and not folder.is_dir())):
                yield f"{folder}: expected a folder, found something else"
            elif os.path.lexists(side / name) and not _is_plain(side / name):
                yield f"{side / name}: expected a file of at most {LARGEST_BYTES:,} bytes, found something else"


def _is_plain(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_size <= LARGEST_BYTES


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
