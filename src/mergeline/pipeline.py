"""DVC, called in one process: run what is out of date, say what is, put the data in place."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline.errors import ConfigurationError, DataError, MergelineError, ServiceError, VerificationError
from mergeline.layout import DATA, DATA_FILE

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage


SAMPLE = Path("sample")
STAGES = ("validate", "train", "evaluate", "compare")
SIGNAL_BASE = 128  # a shell's exit code for a process that a signal ended


class StageError(MergelineError):
    """A stage failed; its exit code is the stage's own, its reason stands above, on the stage's stderr."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # of this failure, not of the class


@dataclass(frozen=True, slots=True)
class Freshness:
    """What `status` finds: stages out of date, and what differs from the last commit."""

    stale: dict[str, Any]
    metrics: dict[str, Any]
    params: dict[str, Any]


def reproduce(root: Path, targets: Sequence[str] = (), *, force: bool = False, pull: bool = False) -> tuple[str, ...]:
    """Run the stages that are out of date; return the names of those that ran.

    Raises `StageError` with the failing stage's own exit code, and `ConfigurationError` for a pipeline that cannot be
    read.
    """
    from dvc.exceptions import DvcException, ReproductionError

    with opened(root) as repo:
        try:
            stages = repo.reproduce(targets=list(targets) or None, force=force, pull=pull, single_item=False)
        except ReproductionError as err:
            raise _stage_error(err) from err
        except DvcException as err:
            raise ConfigurationError(f"dvc.yaml: {_line(err)}") from err
    return tuple(_name(stage) for stage in stages if not stage.is_data_source)


def freshness(root: Path) -> Freshness:
    """Return the stages that are out of date and the differences of metrics and parameters to HEAD, in one process."""
    from dvc.exceptions import DvcException

    with opened(root) as repo:
        try:
            return Freshness(repo.status(), repo.metrics.diff(), repo.params.diff())
        except DvcException as err:
            raise ConfigurationError(f"dvc.yaml: {_line(err)}") from err


def stale(root: Path) -> dict[str, str]:
    """Return the stages whose results do not belong to their inputs, each with what differs.

    Needs no data and no cache: what is not here is taken for what the files in Git say it is (`dvc status` calls it
    changed, `dvc repro --dry --allow-missing` says nothing at all). A record that was edited by hand or taken out of
    Git makes its stage stale as well.
    """
    from dvc.exceptions import DvcException

    with opened(root) as repo:
        try:
            stages = [stage for stage in repo.index.stages if not stage.is_data_source]
            outs = {out.fs_path: out.hash_info for stage in repo.index.stages for out in stage.outs}
            found = {_name(stage): _what_differs(stage, outs) for stage in stages}
        except DvcException as err:
            raise ConfigurationError(f"dvc.yaml or dvc.lock: {_line(err)}") from err
    absent = {name: "dvc.yaml does not have it" for name in STAGES if name not in found}
    return absent | {name: said for name, said in found.items() if said}


def _name(stage: Stage) -> str:
    """A stage's name, wherever this process runs; DVC's own is relative to the current folder."""
    name, place = str(stage.name), stage.path_in_repo
    return name if place == "dvc.yaml" else f"{place}:{name}"


def _what_differs(stage: Stage, outs: Mapping[str, Any]) -> str:
    """The first thing in which a stage differs from what `dvc.lock` holds of it; nothing where there is none."""
    from dvc.dependency import ParamsDependency

    if stage.changed_stage():
        return "its command or its list of files changed"
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            changed = bool(dep.status())
        elif dep.fs_path in outs and outs[dep.fs_path] != dep.hash_info:
            changed = True  # made by a stage, or named by data.dvc, with another hash than the one that was read
        else:
            changed = dep.changed_checksum() if dep.exists else dep.fs_path not in outs
        if changed:
            return f"{dep} changed"
    for out in stage.outs:
        if not out.hash_info:
            return f"{out} has never been written"
        if not out.use_cache and not out.exists:  # Git holds it, or nothing does
            return f"{out} is missing"
        if out.exists and out.changed_checksum():
            return f"{out} is not what the stage wrote"
    return ""


def track_data(root: Path) -> None:
    """Bring `data.dvc` up to date with the folder `data/`; unchanged partitions are not stored again."""
    from dvc.exceptions import DvcException

    with opened(root) as repo:
        try:
            repo.add(str(root / DATA))
        except DvcException as err:
            raise DataError(f"{DATA_FILE}: {_line(err)}") from err


def put_data_in_place(root: Path) -> str:
    """Fill `data/` with what `data.dvc` names and return where it came from: place, remote, or sample.

    Nothing is overwritten: a folder that differs from `data.dvc` is a person's work. Raises `DataError` for such a
    folder, `VerificationError` where the sample's bytes are not those that are named, and `ServiceError` where neither
    has them.
    """
    from dvc.exceptions import DvcException

    if not (root / DATA_FILE).exists():
        raise ConfigurationError(f"{DATA_FILE}: no such file; `mergeline init` or `mergeline ingest` makes it")
    with opened(root) as repo:
        if (root / DATA).exists() and any((root / DATA).iterdir()):
            if _agrees(root, repo):
                return "place"
            raise DataError(
                f"{DATA}/ is not what {DATA_FILE} names; `dvc add {DATA}` keeps it, `dvc checkout` drops it"
            )
        sample = _sample(root)
        # with a sample to fall back on, DVC's warnings of a remote that is empty yet would only frighten
        for name in ("dvc", "dvc_data"):
            logging.getLogger(name).setLevel(logging.ERROR if sample else logging.INFO)
        try:
            repo.pull(targets=[str(root / DATA_FILE)])
            return "remote"
        except DvcException as err:
            if not sample:
                said = f"{DATA_FILE}: the remote lacks these bytes or holds others in their place ({_line(err)})"
                raise ServiceError(f"{said}; `dvc push` them from where they are") from err
    _copy_sample(root, sample)
    return "sample"


def refuse_other_data(root: Path) -> None:
    """Raise `DataError` where `data/` holds a person's changes, which another `data.dvc` would have to overwrite."""
    with opened(root) as repo:
        if (root / DATA).exists() and any((root / DATA).iterdir()) and not _agrees(root, repo):
            raise DataError(
                f"{DATA}/ is not what {DATA_FILE} names; `dvc add {DATA}` keeps it, `dvc checkout` drops it"
            )


def replace_data(root: Path) -> None:
    """Make `data/` what `data.dvc` names now; else `dvc repro` would write what lies there into `data.dvc`."""
    with opened(root) as repo:
        if (root / DATA).exists() and _agrees(root, repo):
            return
    shutil.rmtree(root / DATA, ignore_errors=True)
    put_data_in_place(root)


def data_md5(root: Path) -> str:
    """Return the hash under which DVC knows the data, `none` where they are not tracked."""
    path = root / DATA_FILE
    return str(_named(root).get("md5", "none")) if path.exists() else "none"


def set_remote(root: Path, url: str) -> None:
    """Make `url` the DVC remote of everyone, with verification: a tampered object is then refused, not pulled."""
    from dvc.config import Config, ConfigError

    try:
        with opened(root) as repo, repo.config.edit("repo") as config:
            config["remote"]["storage"] = {"url": url, "verify": True}
            config["core"]["remote"] = "storage"
        Config(str(root / ".dvc"))
    except ConfigError as err:
        raise ConfigurationError(f"remote: {_line(err)}") from err


@contextmanager
def opened(root: Path) -> Iterator[Repo]:
    """Open the DVC repository at `root`; the commands of its stages are looked for beside this Python first."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    _listen()
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), path])
    try:
        with Repo(str(root)) as repo:
            yield repo
    except NotDvcRepoError as err:
        raise ConfigurationError(f"{root}: not a DVC repository; `dvc init` makes it one") from err
    except DvcException as err:
        raise ServiceError(f"dvc: {_line(err)}") from err
    finally:
        os.environ["PATH"] = path


def _listen() -> None:
    """Let DVC's talk go where ours goes, to stderr; it brings handlers of its own that write to stdout."""
    for name in ("dvc", "dvc_objects", "dvc_data"):
        logging.getLogger(name).handlers.clear()
    logging.getLogger("dvc.repo.scm_context").setLevel(logging.WARNING)  # hints on `git add`, once a command


def _sample(root: Path) -> list[Path]:
    """As many files of the sample, the oldest first, as `data.dvc` names."""
    named = _named(root)
    files = sorted((root / SAMPLE).glob("*.parquet"))[: int(named.get("nfiles", 0))]
    return files if sum(file.stat().st_size for file in files) == named.get("size") else []


def _named(root: Path) -> dict[str, Any]:
    """The entry of `data.dvc`: hash, size, number of files."""
    from ruamel.yaml import YAML

    raw = YAML(typ="safe").load((root / DATA_FILE).read_text(encoding="utf-8"))
    try:
        entry: dict[str, Any] = dict(raw["outs"][0])
    except (KeyError, IndexError, TypeError, ValueError) as err:
        raise ConfigurationError(f"{DATA_FILE}: names no folder; `dvc add {DATA}` writes it anew") from err
    return entry


def _agrees(root: Path, repo: Repo) -> bool:
    """Whether the bytes in `data/` are those that `data.dvc` names (`dvc status` cannot tell without the cache)."""
    (output,) = repo.stage.load_one(str(root / DATA_FILE)).outs
    return not output.changed_checksum()


def _copy_sample(root: Path, sample: Sequence[Path]) -> None:
    (root / DATA).mkdir(exist_ok=True)
    for file in sample:
        shutil.copyfile(file, root / DATA / file.name)
    with opened(root) as repo:
        if not _agrees(root, repo):
            shutil.rmtree(root / DATA)
            raise VerificationError(f"{SAMPLE}/: its bytes are not those that {DATA_FILE} names; restore both from Git")
        repo.commit(str(root / DATA_FILE), force=True)  # into the cache, so that `dvc push` finds it there


def _stage_error(err: BaseException) -> MergelineError:
    """The exit code and the name of the failing stage, from the chain of DVC's exceptions."""
    from dvc.stage.exceptions import StageCmdFailedError

    cause: BaseException | None = err
    while cause is not None and not isinstance(cause, StageCmdFailedError):
        cause = cause.__cause__
    if cause is None:
        reason = err.__cause__ or err
        return DataError(f"dvc repro: {_line(reason)}")
    code = re.search(r"exited with (-?\d+)$", str(cause))
    status = int(code.group(1)) if code else 1
    return StageError(f"{_line(err)}: {_line(cause)}", status if status >= 0 else SIGNAL_BASE - status)


def _line(err: BaseException) -> str:
    return " ".join(str(err).split())
