"""What `doctor` reads in the checkout: who owns what, where results are kept, which branches start the workflows."""

from __future__ import annotations

import configparser
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mergeline import params
from mergeline.errors import ConfigurationError
from mergeline.github.codeowners import PLACES

WORKFLOWS = Path(".github/workflows")
DVC_CONFIG = Path(".dvc/config")
BUCKET = "s3://BUCKET"  # of one's own


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kind of result is kept: how people call it, its address (empty where none is named), how to move it."""

    name: str
    url: str
    mend: str

    def out_of_reach(self, *, own_runners: bool) -> str | None:
        """Return why a job on another machine does not reach it; None where it does.

        A whole path is taken for a disk that all of one's own runners share.
        """
        if not self.url:
            return f"{self.name} is not named"
        if "://" in self.url or (own_runners and self.url.startswith("/")):
            return None
        return f"{self.name} is {self.url}, a folder that no other machine has"


@dataclass(frozen=True, slots=True)
class Checkout:
    """The files of the repository that say how GitHub is to be set up; what is not there, or unreadable, is left out.

    `starts` are the branches of which a push starts a workflow, by the name of its file.
    """

    code_owners: str | None = None
    places: tuple[Place, ...] = ()
    starts: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_checkout(root: Path) -> Checkout:
    """Return what lies at `root`."""
    return Checkout(_code_owners(root), tuple(_places(root)), dict(_starts(root)))


def _code_owners(root: Path) -> str | None:
    for place in PLACES:
        path = root / place
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
    return None


def _places(root: Path) -> Iterator[Place]:
    path = root / params.PARAMS_FILE
    with contextlib.suppress(ConfigurationError):  # no settings, or wrong ones: `mergeline repro` says so
        store = params.load(path).release.store
        add = f"printf 'release: {{store: {BUCKET}/models}}\\n' >> {params.PARAMS_FILE}"
        change = f"sed -i.bak 's|store: .*|store: {BUCKET}/models|' {params.PARAMS_FILE}"
        yield Place("the model store", store, change if "\nrelease:" in path.read_text(encoding="utf-8") else add)
    if (root / DVC_CONFIG).is_file():
        yield Place("the DVC remote", _remote(root / DVC_CONFIG), f"mergeline remote {BUCKET}/dvc")


def _remote(path: Path) -> str:
    """The address of the remote that DVC takes by itself; a folder is named from the folder of the file."""
    config = configparser.RawConfigParser(strict=False)
    try:
        config.read_string(path.read_text(encoding="utf-8", errors="replace"))
        name = config["core"]["remote"]
        section = next(each for each in config.sections() if each.strip("'") == f'remote "{name}"')
        return config[section]["url"]
    except (configparser.Error, KeyError, StopIteration):
        return ""


def _starts(root: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    for path in sorted((root / WORKFLOWS).glob("*.y*ml")):
        try:
            raw = params.parse_yaml(path.read_text(encoding="utf-8", errors="replace"), path.name)
        except ConfigurationError:
            continue  # GitHub says so at every push
        branches = _part(_part(_part(raw, "on"), "push"), "branches")
        if isinstance(branches, list):
            yield path.name, tuple(map(str, branches))


def _part(raw: Any, name: str) -> Any:
    return raw.get(name) if isinstance(raw, dict) else None
