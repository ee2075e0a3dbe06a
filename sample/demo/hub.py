"""The GitHub that the demo's workflows talk to: one on loopback (tests/github_api.py), kept in a file between runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sample.demo.plan import REPOSITORY

from mergeline.errors import VerificationError

if TYPE_CHECKING:
    from sample.demo.place import Place

BOT = "github-actions[bot]"
OF_THE_APP = {"metadata": "read", "contents": "write", "pull_requests": "write"}
# the program, which ends where the demo is killed
START = """\
import os, sys, threading, time

def watch(parent=os.getppid()):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)

threading.Thread(target=watch, daemon=True).start()
sys.path.insert(0, sys.argv.pop(1))
import github_issues, github_api
github_api.main()
"""


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository there, whose branches are those of the place's origin; `tests` is the folder of the program."""

    place: Place
    tests: Path

    @property
    def file(self) -> Path:
        """What it holds."""
        return self.place.folder / "github.json"

    def read(self) -> dict[str, Any]:
        """Return what it holds; at first a repository in which nothing was said."""
        if self.file.exists():
            state: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
            return state
        return {"tokens": {}, "repositories": {REPOSITORY: {"issues": []}}}

    def write(self, state: Mapping[str, Any]) -> None:
        """Keep what it is to hold."""
        self.file.write_text(json.dumps(state, indent=1), encoding="utf-8")

    def pull(self, branch: str, title: str) -> int:
        """The number of the one open pull request from a branch; a person opens it where there is none."""
        state = self.read()
        issues = state["repositories"][REPOSITORY]["issues"]
        for each in issues:
            if each["pull"] and each["pull"]["head"] == branch and each["state"] == "open":
                return int(each["number"])
        number = 1 + max((int(each["number"]) for each in issues), default=0)
        pull = {"head": branch, "base": "main", "from": REPOSITORY, "draft": False, "sha": None, "merged": False}
        rest: dict[str, Any] = {"id": 1_000_000 + number, "body": None, "state": "open", "labels": [], "user": "person"}
        issues.append({"number": number, "title": title, **rest, "pull": pull})
        self.write(state)
        return number

    def merged(self, number: int) -> None:
        """Close a pull request as one that was merged."""
        state = self.read()
        for each in state["repositories"][REPOSITORY]["issues"]:
            if each["number"] == number:
                each["state"] = "closed"
                each["pull"]["merged"] = True
        self.write(state)

    @contextmanager
    def served(self, permissions: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
        """Serve it to the jobs of a workflow, each with the permissions that it asks for; yield the address."""
        state = self.read()
        state["tokens"] = tokens(permissions)
        state["repositories"][REPOSITORY]["git"] = str(self.place.origin)
        self.write(state)
        command = [sys.executable, "-c", START, str(self.tests), "--state", str(self.file)]
        process = self.place.beside(command, subprocess.PIPE)
        try:
            assert process.stdout is not None  # noqa: S101  it was asked for
            address = process.stdout.readline().decode().strip()
            if not address:
                raise VerificationError(f"demo: {self.place.act}: expected a GitHub on loopback, found none")
            yield address
        finally:
            process.terminate()
            process.communicate()


def tokens(permissions: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The token of each job, with what it may, and the app's."""
    own = {
        f"token-of-{job}": {"metadata": "read", **{name.replace("-", "_"): level for name, level in granted.items()}}
        for job, granted in permissions.items()
    }
    every = {**own, "token-of-app": OF_THE_APP}
    return {
        name: {"login": "the-app[bot]" if name == "token-of-app" else BOT, "kind": "installation", "permissions": may}
        for name, may in every.items()
    }
