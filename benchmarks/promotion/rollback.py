"""From the wish to go back to manifests that render as before: `mergeline rollback` beside `git revert` by hand."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.findings import Goal, Table
from benchmarks.measurement import Summary, Usage, alternate, ratio
from benchmarks.part import Part
from benchmarks.pipeline.scratch import Scratch

PROMOTIONS = 100
MOST_SECONDS = 5.0
OURS, PEER = "mergeline rollback, merge, render", "git revert, render"
OVERLAY = Path("k8s/overlays/production")
RELEASE = OVERLAY / "release.yaml"
IMAGE = "registry.example.org/server@sha256:" + "e" * 64


@dataclass(frozen=True, slots=True)
class Way:
    """A clone with a bare origin, whose production has had so many releases."""

    scratch: Scratch
    before: str

    def there(self, script: str) -> Usage:
        """Run a way back as one process, then see that it led there, and go forward again."""
        usage = self.scratch.run("bash", "-euo", "pipefail", "-c", script)
        found = hashlib.sha256((self.scratch.root / "rendered").read_bytes()).hexdigest()
        if found != self.before:
            raise RuntimeError("the manifests do not render as before")
        self.scratch.run("bash", "-euc", FORWARD)
        return usage


RENDER = f"kubectl kustomize {OVERLAY} > rendered"
BY_VERB = f"mergeline rollback && git fetch -q origin && git merge -q --ff-only origin/rollback/production && {RENDER}"
BY_HAND = f"git revert --no-edit HEAD && {RENDER}"
FORWARD = """
git reset -q --hard last
git push -q --force origin main
git push -q origin --delete rollback/production 2>/dev/null || true
"""


def rollback(folder: Path, runs: int) -> Part:
    """Promote a hundred releases, then take the last one back again and again."""
    way = _promoted(folder)
    usages = alternate(runs, {OURS: lambda: way.there(BY_VERB), PEER: lambda: way.there(BY_HAND)})
    wall = {name: [each.wall_s for each in found] for name, found in usages.items()}
    beside = ratio(wall[OURS], wall[PEER])
    goal = Goal("from the command to manifests rendered as before", MOST_SECONDS, "s", Summary.of(wall[OURS]))
    note = (
        f"The {PROMOTIONS}th of {PROMOTIONS} promotions is taken back on a bare origin, and the overlay rendered; every"
        " time the render is byte for byte the one of the release before. The verb also fetches the origin, reads the"
        f" whole history of the release file, pushes a branch, and it is merged: {beside.sentence()} times the bare"
        " revert and render (paired). Neither runs a stage: there is no data, no model and no dvc.lock here."
    )
    return Part("Back to the release before", (Table.of_usages(usages),), (goal,), (note,), usages)


def _promoted(folder: Path) -> Way:
    scratch = Scratch(folder / "clone")
    shutil.copytree(Path(__file__).parents[2] / "k8s", scratch.root / "k8s")
    (scratch.root / ".gitignore").write_text(".home/\nrendered\n", encoding="utf-8")
    scratch.run("git", "init", "-q", "-b", "main")
    for name, value in (("user.name", "benchmark"), ("user.email", "benchmark@example.org")):
        scratch.run("git", "config", name, value)
    template = (scratch.root / RELEASE).read_text(encoding="utf-8")
    rendered = b""
    for number in range(PROMOTIONS):
        _release(scratch, template, number)
        if number == PROMOTIONS - 2:
            scratch.run("bash", "-c", RENDER)
            rendered = (scratch.root / "rendered").read_bytes()
    scratch.run("git", "tag", "last")
    scratch.run("git", "clone", "-q", "--bare", ".", str(folder / "origin.git"))
    scratch.run("git", "remote", "add", "origin", str(folder / "origin.git"))
    scratch.run("git", "fetch", "-q", "origin")
    return Way(scratch, hashlib.sha256(rendered).hexdigest())


def _release(scratch: Scratch, template: str, number: int) -> None:
    """A promotion of its own: other hashes in the four lines."""
    text = template
    for name in ("model-sha256", "receipt-sha256"):
        sha256 = hashlib.sha256(f"{name} {number}".encode()).hexdigest()
        text = text.replace(f'{name}: "none"', f'{name}: "{sha256}"')
    text = text.replace('model-store: "none"', 'model-store: "s3://models"').replace(
        'image: "none"', f'image: "{IMAGE}"'
    )
    (scratch.root / RELEASE).write_text(text, encoding="utf-8")
    command = ["git", "-C", str(scratch.root)]
    subprocess.run([*command, "add", "--all"], check=True)
    subprocess.run([*command, "commit", "-q", "-m", f"Promote model {number} to production"], check=True)
