"""The demo, played once for all tests with one flight in eight, and each act once more from where it began; a template
that is small enough to be cloned in no time."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from repositories import SAMPLE_PARAMS, TEMPLATE, as_shipped
from sample.demo import play as playing
from sample.demo.act import Act
from sample.demo.acts import Part, Story
from sample.demo.place import Place
from sample.demo.runner import installed
from sample.demo.verbs import Verbs
from sample.demo.workflows import Workflows
from warm import start as warm

from mergeline.commands.settings import load_params
from mergeline.release.manifests import NO_RELEASE, format_release

EVERY = 8
NEEDED = ("git", "sh")  # all that a laptop has to have beside Python: neither Node nor kubectl nor a browser
# Node, by which the workflows are read, and what their lines call
WITH_NODE = (
    *NEEDED,
    *("node", "npm", "bash", "cat", "cp", "cut", "env", "false", "grep", "mkdir", "rm", "sed", "sleep", "tail", "tee"),
    *("test", "tr"),
)
ANSWERING = (2, 3, 5, 6, 7)  # acts that begin with a server in production
TAMPERING = (5,)  # acts that change what lies in the store, for a moment


@dataclass(slots=True)
class WarmPlace(Place):
    """A place whose verbs, and the stages of its pipeline, are forked from a process that has its imports behind it.

    Of the machine's programs it finds those that are needed and no others.
    """

    found: ClassVar[tuple[str, ...]] = NEEDED

    def __post_init__(self) -> None:
        self.forks = warm._started()

    def environment(self) -> dict[str, str]:
        path = (self.forks, Path(sys.executable).parent, programs(self.folder, self.found))
        return {**Place.environment(self), "PATH": os.pathsep.join(map(str, path))}


class NodePlace(WarmPlace):
    """The same on a machine that has Node as well."""

    __slots__ = ()
    found = WITH_NODE


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


def programs(folder: Path, names: Sequence[str]) -> Path:
    """A folder of links to the programs of these names; a script that its folder finds others by is called there."""
    place = folder / "programs"
    if not place.exists():
        place.mkdir(parents=True)
        for name in names:
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


def play_all(folder: Path, kind: type[WarmPlace]) -> Played:
    """Play every act from a fresh clone of the template, and keep a copy of the place before each."""
    said: list[str] = []
    parts = tuple((name, partial(_kept, folder, number, part)) for number, (name, part) in enumerate(playing.PARTS, 1))
    with _without_tools(folder, kind.found):
        acts = playing.play(as_shipped(folder / "template"), folder / "demo", said.append, parts, EVERY, kind)
    record = {"said": said, "acts": [_plain(act) for act in acts]}
    (folder / "played.json").write_text(json.dumps(record))
    return read(folder)


def read(folder: Path) -> Played:
    """The demo that was played there."""
    record = json.loads((folder / "played.json").read_text())
    return Played(folder, tuple(record["said"]), tuple(record["acts"]))


def _plain(act: Act) -> dict[str, Any]:
    return {"number": act.number, "facts": {each.name: each.value for each in act.facts}, "played": act.played}


def _kept(folder: Path, number: int, part: Part, story: Story) -> Act:
    place = folder / f"act-{number}"
    shutil.copytree(story.place.folder, place, symlinks=True, ignore=shutil.ignore_patterns("home", "runs", "*.log"))
    now, shared = story.place.now.isoformat(), story.place.shared
    (place / "story.json").write_text(json.dumps({"models": story.models, "now": now, "shared": shared}))
    return part(story)


@contextmanager
def _without_tools(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """Let the demo itself find no more than its commands do."""
    before = os.environ["PATH"]
    os.environ["PATH"] = os.pathsep.join(map(str, (Path(sys.executable).parent, programs(folder, names))))
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextmanager
def beginning(played: Played, number: int, folder: Path) -> Iterator[Story]:
    """The story as it was when an act began, in a place of its own.

    The DVC remote stays shared with other acts that are played at the same time, and the model store with those that
    only read it.
    """
    shutil.copytree(played.kept(number), folder, symlinks=True)
    record = json.loads((folder / "story.json").read_text())
    (folder / "home").mkdir()
    by_node = (folder / "programs/node").exists()
    place = (NodePlace if by_node else WarmPlace)(folder, f"before act {number}", shared=record["shared"])
    place.git("remote", "set-url", "origin", str(place.origin))
    place.go_to(dt.datetime.fromisoformat(record["now"]))
    if place.shared and number in TAMPERING:
        place.git("checkout", "-q", "-f", "main")
        shared = load_params(place.root).release.store
        place.change_params({"release.store": str(place.folder / "store")})
        for release in place.root.glob("k8s/overlays/*/release.yaml"):  # a server looks there, and only there
            release.write_text(release.read_text().replace(shared, str(place.folder / "store")))
        place.commit("Serve from a store of its own")
    story = Story(place, Workflows(place, installed(TEMPLATE)) if by_node else Verbs(place), models=record["models"])
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
