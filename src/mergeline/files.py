"""Writing so that a killed process leaves the old file or the new one, never half of one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mergeline.errors import DataError

LOCAL_STATE = Path(".mergeline")  # ignored by Git: remote, tracking database, timings, half-made outputs


def write_text(path: Path, text: str) -> None:
    """Put `text` at `path` as UTF-8, in one step."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: written beside it, flushed to the disk, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Put a record at `path` as JSON that a person and a diff can read; NaN and infinity are refused."""
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, made_by: str) -> Any:
    """Return the record at `path`; raise `DataError` where there is none or it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise DataError(f"{path}: no such record; {made_by} writes it") from err
    except ValueError as err:
        raise DataError(f"{path}: not JSON ({err}); {made_by} writes it anew") from err


def read_text(path: Path, made_by: str) -> str:
    """Return the text of a record; raise `DataError` where there is none or it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise DataError(f"{path}: no such record; {made_by} writes it") from err
    except UnicodeDecodeError as err:
        raise DataError(f"{path}: not UTF-8 text ({err.reason}); {made_by} writes it anew") from err


def sha256(path: Path) -> str:
    """Return the SHA-256 of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain(record: Mapping[str, Any]) -> Any:
    """Return a record as it comes back from its file: tuples are lists, enumerations text."""
    return json.loads(json.dumps(record, allow_nan=False))


@contextmanager
def replaced_folder(path: Path, workspace: Path) -> Iterator[Path]:
    """Give a new folder under `workspace`; where the block ends well, it takes the place of the folder at `path`.

    Both must be on one file system. A process killed between the two renames leaves the old folder
    under `workspace`; `recover_folder` puts it back.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{path.name}.", dir=workspace))
    try:
        yield made
        made.chmod(0o755)
        path.parent.mkdir(parents=True, exist_ok=True)
        old = _old(path, workspace)
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.replace(old)
        made.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def recover_folder(path: Path, workspace: Path) -> None:
    """Undo a replacement that was killed half way; does nothing otherwise."""
    old = _old(path, workspace)
    if old.exists() and not path.exists():
        old.replace(path)


def _old(path: Path, workspace: Path) -> Path:
    return workspace / f"{path.name}.old"
