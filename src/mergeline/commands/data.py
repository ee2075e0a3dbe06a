"""The verbs of the data: `init` and `ingest`."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import files, params, pipeline
from mergeline.commands.settings import load_params
from mergeline.errors import ConfigurationError
from mergeline.files import LOCAL_STATE
from mergeline.layout import DATA, DATA_FILE
from mergeline.params_file import edited

if TYPE_CHECKING:
    from mergeline.init import Wishes


def ingest(root: Path, *, as_of: dt.date, replace: bool, environment: Mapping[str, str]) -> dict[str, Any]:
    """Read the declared sources, write their partitions into `data/`, and note them in `data.dvc` and `data.as_of`."""
    from mergeline import sources

    settings = load_params(root)
    if settings.sources is None:
        raise ConfigurationError(f"{params.PARAMS_FILE}: sources: missing; declare where the rows come from")
    joined = sources.read_joined(settings.sources, root, environment)
    parts = sources.partition(joined, settings.data.time, settings.data.id)
    record = sources.write_partitions(parts, root / DATA, replace)
    pipeline.track_data(root)
    if settings.data.as_of not in (None, as_of):
        path = root / params.PARAMS_FILE
        files.write_text(path, edited(path.read_text(encoding="utf-8"), {("data", "as_of"): as_of}))
    return asdict(record)


def init(root: Path, path: Path, wishes: Wishes, *, force: bool) -> str:
    """Write `params.yaml`, `data/` and `data.dvc` for a table, all or none; return what was guessed of it."""
    from mergeline import sources
    from mergeline.init import guess, params_text, read, summary

    _refuse_init(root, path, force=force)
    rows = read(path)
    guessed = guess(rows, wishes)
    text = params_text(guessed)
    parts = sources.partition(rows, guessed.params.data.time, guessed.params.data.id)
    with _all_or_none(root):
        sources.write_partitions(parts, root / DATA, replace=False)
        pipeline.track_data(root)
        files.write_text(root / params.PARAMS_FILE, text)
    return summary(guessed, len(rows), tuple(parts))


def _refuse_init(root: Path, path: Path, *, force: bool) -> None:
    """Whether this is a place to write to: the template's repository, with nothing in the way."""
    if not ((root / ".dvc").is_dir() and (root / "dvc.yaml").is_file()):
        raise ConfigurationError(f"init: expected dvc.yaml and .dvc/ in {root.resolve()}; clone the template first")
    files.recover_folder(root / DATA, root / LOCAL_STATE)
    if path.resolve().is_relative_to((root / DATA).resolve()):
        raise ConfigurationError(f"init: {path} lies in {DATA}/, which is written anew; move it to another folder")
    if not path.exists():
        raise ConfigurationError(f"init: expected a CSV or Parquet file at {path}, found none")
    held = (root / DATA).exists() and any((root / DATA).iterdir())
    standing = [name for name in (params.PARAMS_FILE, str(DATA_FILE)) if (root / name).exists()]
    standing += [f"{DATA}/"] * held
    if standing and not force:
        raise ConfigurationError(f"init: {', '.join(standing)} would be overwritten; `--force` does it")


@contextmanager
def _all_or_none(root: Path) -> Iterator[None]:
    """Let the block make `data/`, `data.dvc` and `params.yaml` anew; where it fails, the old ones come back."""
    texts = {name: root / name for name in (params.PARAMS_FILE, str(DATA_FILE))}
    before = {name: path.read_bytes() for name, path in texts.items() if path.exists()}
    data, aside = root / DATA, root / LOCAL_STATE / f"{DATA}.old"  # `files.recover_folder` finds it there
    aside.parent.mkdir(exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)
    if data.exists():
        data.replace(aside)
    try:
        yield
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        if aside.exists():
            aside.replace(data)
        for name, path in texts.items():
            if name in before:
                files.write_bytes(path, before[name])
            else:
                path.unlink(missing_ok=True)
        raise
    shutil.rmtree(aside, ignore_errors=True)
