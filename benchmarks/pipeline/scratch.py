"""A copy of this repository to run the pipeline in, so that a benchmark leaves nothing in the repository itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measurement import Usage, run

TEMPLATE = Path(__file__).parents[2]
SAMPLE = TEMPLATE / "sample"
FIRST_YEAR = 2013
MADE_BY_A_RUN = ("dvc.lock", "models", "reports")
# a setting of the person who runs it must not decide what is measured, nor be measured into that person's accounts
FOREIGN_SETTINGS = ("DVC", "MLFLOW", "GIT_", "AWS_", "OMP_", "GOMP_", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True, slots=True)
class Scratch:
    """A Git and DVC repository with the template's code and settings, in which nothing has run yet."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Scratch:
        """Copy the template, with the data that its `data.dvc` names."""
        made = cls._copy(root)
        made.run("mergeline", "pull")
        made.commit()
        return made

    @classmethod
    def with_months(cls, root: Path, months: int, years: int) -> Scratch:
        """Copy the template, with the first `months` months of the sample, repeated as so many years."""
        made = cls._copy(root)
        (root / "data").mkdir()
        made.python("repeated_months.py", str(SAMPLE), str(months), str(years), "data")
        year, month = divmod(months, 12)
        made.set_param("as_of", f'"{FIRST_YEAR + years - 1 + year}-{month + 1:02}-01"')  # the day after the last month
        made.run("dvc", "add", "--quiet", "data")
        made.commit()
        return made

    @classmethod
    def _copy(cls, root: Path) -> Scratch:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=TEMPLATE, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            made_by_a_run = name.startswith(MADE_BY_A_RUN) and not name.endswith(".gitignore")
            if not made_by_a_run and (TEMPLATE / name).exists():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(TEMPLATE / name, root / name)
        made = cls(root)
        made.run("git", "init", "--quiet")
        return made

    def environment(self, **more: str) -> dict[str, str]:
        """This machine's environment, with this Python's tools first and a home of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        home = {"HOME": str(self.root / ".home"), "DVC_SITE_CACHE_DIR": str(self.root / ".home" / "dvc")}
        return {**kept, **home, "PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, **more}

    def run(self, *command: str, **environment: str) -> Usage:
        """Run a command here and return what it cost."""
        return run(command, self.root, self.environment(**environment))[0]

    def read(self, *command: str, **environment: str) -> tuple[Usage, str]:
        """Run a command here and return what it cost and what it wrote."""
        return run(command, self.root, self.environment(**environment))

    def python(self, program: str, *arguments: str, **environment: str) -> tuple[Usage, str]:
        """Run a program of this folder here; it sees the installed packages, not its neighbours."""
        return self.read(sys.executable, "-P", str(Path(__file__).parent / program), *arguments, **environment)

    def commit(self) -> None:
        """Commit everything."""
        who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org")
        self.run("git", "add", "--all")
        self.run("git", *who, "commit", "--quiet", "--allow-empty", "--message", "as measured")

    def set_param(self, key: str, value: str) -> None:
        """Give the only line of `params.yaml` with this key another value."""
        path = self.root / "params.yaml"
        text, changed = re.subn(rf"(?m)^( +{key}: )[^ \n]+", rf"\g<1>{value}", path.read_text(encoding="utf-8"))
        if changed != 1:
            raise ValueError(f"params.yaml: expected one line with {key}, found {changed}")
        path.write_text(text, encoding="utf-8")
