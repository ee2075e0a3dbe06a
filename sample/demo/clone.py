"""How the demo's place is made: a folder of its own, and in it a clone of the template's last commit with an origin."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from sample.demo.place import Place

from mergeline.commands.settings import load_params
from mergeline.errors import ConfigurationError
from mergeline.files import LOCAL_STATE
from mergeline.layout import PRODUCTION
from mergeline.params import PARAMS_FILE

MARKER = ".demo"
OWN = ("demo", "year")  # folders of the local state that nothing else writes to
# what makes Git look at another repository than the one that it is asked for
OF_A_REPOSITORY = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
)
MOST_NAMED = 5
FRESH = "play it in a fresh clone of the template"


def make_place(template: Path, folder: Path, every: int = 1, kind: type[Place] = Place) -> Place:
    """Make a repository of the last commit of `template` in `folder`, which is made anew, with a bare origin.

    Its history begins here, as that of a repository made by "Use this template" does. Of the sample's rows it keeps
    one in `every`. Raises `ConfigurationError` where `template` is no Git repository with a commit or is about another
    table than the sample, and where `folder` holds what no demo has made.
    """
    _make_folder(template.resolve(), folder)
    place = kind(folder, "set-up")
    _clone(template.resolve(), place.root)
    shutil.rmtree(place.root / ".git")
    _refuse_another_story(place)
    place.git("init", "-q", "-b", "main")
    if every > 1:
        _thin(place, every)
    place.git("add", "--all", "--force")
    place.git("commit", "-q", "-m", "The template")
    place.git("init", "-q", "--bare", "-b", "main", str(place.origin))
    place.git("remote", "add", "origin", str(place.origin))
    place.git("push", "-q", "--set-upstream", "origin", "main")
    place.git("remote", "set-head", "origin", "main")
    place.commands.clear()
    return place


# ---- The folder ------------------------------------------------------------------------------------------------------


def _make_folder(template: Path, folder: Path) -> None:
    """Make the folder anew, with a marker by which the next demo knows it."""
    refuse_foreign(template, folder)
    try:
        if folder.exists():
            shutil.rmtree(folder)
        (folder / "home").mkdir(parents=True)
        (folder / MARKER).write_text("Made anew by each run of `python -m sample.demo`.\n", encoding="utf-8")
    except OSError as err:
        raise ConfigurationError(
            f"demo: {folder}: expected a folder that can be made anew, found {err.filename}: {err.strerror}; name"
            " another with --folder"
        ) from err


def refuse_foreign(template: Path, folder: Path) -> None:
    """Raise `ConfigurationError` for a folder that is not the demo's to remove: nothing in it is lost by a wrong name.

    Its own are those that an earlier demo has marked, and two of the template's local state.
    """
    where = folder.resolve()
    found = None
    if where == template or where in template.parents:
        found = "the repository itself, or a folder that it lies in"
    elif where.exists() and not where.is_dir():
        found = "a file"
    elif where.exists() and not _is_own(template, where) and any(where.iterdir()):
        found = "files that no demo has made"
    if found:
        raise ConfigurationError(
            f"demo: {folder}: expected no folder, an empty one, or one of an earlier demo, found {found}; name another"
            " with --folder"
        )


def _is_own(template: Path, where: Path) -> bool:
    own = any(where.is_relative_to(template / LOCAL_STATE / name) for name in OWN)
    return own or (where / MARKER).is_file()


# ---- The clone -------------------------------------------------------------------------------------------------------


def _clone(template: Path, root: Path) -> None:
    """Clone the last commit with the user's own settings of Git, which say whose repositories it trusts.

    The process that reads for a clone asks for that trust of `.git` itself, by its own name: where the repository is
    trusted, so is that.
    """
    environment = {key: value for key, value in os.environ.items() if key not in OF_A_REPOSITORY}
    environment["GIT_TERMINAL_PROMPT"] = "0"
    try:
        asked = ["git", "-C", str(template), "rev-parse", "--verify", "--absolute-git-dir", "HEAD"]
        looked = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
        made = looked
        if looked.returncode == 0:
            folder = looked.stdout.splitlines()[0]
            reader = f"git -c {shlex.quote(f'safe.directory={folder}')} upload-pack"
            clone = ["git", "clone", "-q", "--depth", "1", "--upload-pack", reader, template.as_uri(), str(root)]
            made = subprocess.run(clone, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as err:
        raise ConfigurationError("demo: git is not installed; the whole loop goes through it") from err
    if made.returncode or not any(root.glob("*")):
        said = " ".join(made.stderr.split())
        if "safe.directory" in said:
            raise ConfigurationError(
                f"demo: {template}: expected a repository that Git trusts, found another user's;"
                f" `git config --global --add safe.directory {shlex.quote(str(template))}`"
            )
        raise ConfigurationError(
            f"demo: expected a Git repository with a commit in {template}, found none ({said[-200:]}); clone the"
            " template, or `git init` and commit"
        )


def _refuse_another_story(place: Place) -> None:
    """Raise `ConfigurationError` where the commit is about another table, or production has a model already."""
    import pyarrow.parquet as pq

    months = sorted((place.root / "sample").glob("*.parquet"))
    known = set(pq.read_schema(months[0]).names) if months else set[str]()
    other = [name for name in load_params(place.root).data.columns if name not in known]
    if other:
        named = ", ".join(map(repr, other[:MOST_NAMED])) + (" and more" if len(other) > MOST_NAMED else "")
        raise ConfigurationError(
            f"demo: {PARAMS_FILE}: expected the columns of the sample, found {named}; the demo needs the sample's own"
            f" {PARAMS_FILE} and data.dvc: {FRESH}"
        )
    released = place.released("production") if (place.root / PRODUCTION).is_file() else ""
    if released:
        raise ConfigurationError(
            f"demo: {PRODUCTION}: expected no release, found model {released[:12]}; the demo begins before the first:"
            f" {FRESH}"
        )


def _thin(place: Place, every: int) -> None:
    """Keep one row in `every` of each month, and ask for as many rows fewer."""
    import pandas as pd

    for file in sorted((place.root / "sample").glob("*.parquet")):
        pd.read_parquet(file).iloc[::every].reset_index(drop=True).to_parquet(file, index=False)
    place.change_params({"validate.min_rows": load_params(place.root).validation.min_rows // every})
