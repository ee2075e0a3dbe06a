"""The demo, played once for all tests with one flight in eight, and each act once more from where it began; a template
that is small enough to be cloned in no time."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from repositories import SAMPLE_PARAMS, TEMPLATE, as_shipped
from sample.demo import play as playing
from sample.demo.act import Act
from sample.demo.acts import Part, Story
from sample.demo.place import Place
from warm import start as warm
from warm.client import VARIABLE

from mergeline.release.manifests import NO_RELEASE, format_release

EVERY = 8
MERGELINE = [sys.executable, "-m", "mergeline"]
NEEDED = ("git", "sh")  # all that a laptop has to have beside Python: neither Node nor kubectl nor a browser
ANSWERING = (2, 3, 5, 6, 7)  # acts that begin with a server in production


@dataclass(slots=True)
class WarmPlace(Place):
    """A place whose verbs, and the stages of its pipeline, are forked from a process that has its imports behind it.

    Of the machine's programs it finds those that are needed and no others.
    """

    def start_and_wait(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        if command[:3] == MERGELINE and command[3] != "serve":  # a server runs the clone's own code
            return warm.run(command[3:], self.root, self.environment())
        return Place.start_and_wait(self, command)

    def environment(self) -> dict[str, str]:
        folder = warm._started()
        path = (folder, Path(sys.executable).parent, programs(self.folder))
        named = {VARIABLE: str(folder / "socket"), "PATH": os.pathsep.join(map(str, path))}
        return {**Place.environment(self), **named}


def small_template(root: Path) -> Path:
    """A repository on the branch `work` with one commit: as much of the template as a place needs to be made."""
    (root / "sample").mkdir(parents=True)
    shutil.copy(TEMPLATE / "sample/2013-01.parquet", root / "sample")
    shutil.copy(SAMPLE_PARAMS, root / "params.yaml")
    release = root / "k8s/overlays/production/release.yaml"
    release.parent.mkdir(parents=True)
    release.write_text(format_release(NO_RELEASE), encoding="utf-8")
    subprocess.run(["git", "-C", str(root), "init", "-q", "-b", "work"], check=True)
    commit(root, "One")
    return root


def commit(root: Path, message: str) -> None:
    """Commit everything."""
    who = ["-c", "user.name=demo", "-c", "user.email=demo@example.org"]
    for command in (["add", "--all"], [*who, "commit", "-q", "-m", message]):
        subprocess.run(["git", "-C", str(root), *command], check=True)


def programs(folder: Path) -> Path:
    """A folder of links to the programs that are needed."""
    place = folder / "programs"
    if not place.exists():
        place.mkdir(parents=True)
        for name in NEEDED:
            (place / name).symlink_to(Path(str(shutil.which(name))).resolve())
    return place


@dataclass(frozen=True, slots=True)
class Played:
    """A demo that was played in `folder`; `said` are its lines, `acts` what they showed."""

    folder: Path
    said: tuple[str, ...]
    acts: tuple[dict[str, Any], ...]

    @property
    def page(self) -> Path:
        return self.folder / "demo" / playing.PAGE

    def kept(self, number: int) -> Path:
        """The place as it was when an act began."""
        return self.folder / f"act-{number}"


def play_all(folder: Path) -> Played:
    """Play every act from a fresh clone of the template, and keep a copy of the place before each."""
    said: list[str] = []
    parts = tuple((name, partial(_kept, folder, number, part)) for number, (name, part) in enumerate(playing.PARTS, 1))
    with _without_tools(folder):
        acts = playing.play(as_shipped(folder / "template"), folder / "demo", said.append, parts, EVERY, WarmPlace)
    record = {"said": said, "acts": [_plain(act) for act in acts]}
    (folder / "played.json").write_text(json.dumps(record))
    return read(folder)


def read(folder: Path) -> Played:
    """The demo that was played there."""
    record = json.loads((folder / "played.json").read_text())
    return Played(folder, tuple(record["said"]), tuple(record["acts"]))


def _plain(act: Act) -> dict[str, Any]:
    return {"number": act.number, "facts": {each.name: each.value for each in act.facts}, "commands": act.commands}


def _kept(folder: Path, number: int, part: Part, story: Story) -> Act:
    place = folder / f"act-{number}"
    shutil.copytree(story.place.folder, place, symlinks=True, ignore=shutil.ignore_patterns("home", "*.log"))
    (place / "story.json").write_text(json.dumps({"models": story.models, "now": story.place.now.isoformat()}))
    return part(story)


@contextmanager
def _without_tools(folder: Path) -> Iterator[None]:
    """Let the demo itself find no more than its commands do."""
    before = os.environ["PATH"]
    os.environ["PATH"] = os.pathsep.join(map(str, (Path(sys.executable).parent, programs(folder))))
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextmanager
def beginning(played: Played, number: int, folder: Path) -> Iterator[Story]:
    """The story as it was when an act began, in a place of its own."""
    shutil.copytree(played.kept(number), folder, symlinks=True)
    record = json.loads((folder / "story.json").read_text())
    (folder / "home").mkdir()
    place = WarmPlace(folder, f"before act {number}")
    place.git("remote", "set-url", "origin", str(place.origin))
    place.go_to(dt.datetime.fromisoformat(record["now"]))
    story = Story(place, models=record["models"])
    try:
        if number in ANSWERING:
            story.serve()
        yield story
    finally:
        story.end()


def act(story: Story, number: int, plant: Callable[[Story], None] = lambda story: None) -> Act:
    """Plant something, then play one act."""
    plant(story)
    name, part = playing.PARTS[number - 1]
    return playing.played(story, name, part)
