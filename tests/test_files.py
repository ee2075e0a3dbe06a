"""Writing: the old file or the new one, never half of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mergeline.errors import DataError
from mergeline.files import (
    plain,
    read_json,
    read_text,
    recover_folder,
    replaced_folder,
    sha256,
    write_bytes,
    write_json,
    write_text,
)
from mergeline.schema import Task


class Killed(BaseException):
    """Stands for the end of the process."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """An output folder with a file in it."""
    folder = tmp_path / "reports" / "evaluate"
    write_text(folder / "card.md", "old")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / ".mergeline"


def test_a_file_is_written_with_its_folders_and_read_by_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == ["c.txt"]


def test_a_write_that_does_not_end_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.json"
    write_bytes(path, b"old")

    def die(handle: int) -> None:
        raise Killed

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(Killed):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["metrics.json"]


def test_a_record_is_text_that_a_diff_can_show_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"name": "größer", "rows": [1, 2.5, None]})
    assert path.read_text(encoding="utf-8").startswith('{\n  "name": "größer"')
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert read_json(path, "mergeline train") == {"name": "größer", "rows": [1, 2.5, None]}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_record_with_nan_or_infinity_is_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "record.json", {"auc": value})
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff"])
def test_a_record_that_cannot_be_read_says_who_writes_it(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "record.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"record\.json: (no such record|not JSON .*); mergeline train writes it"):
        read_json(path, "mergeline train")


def test_a_text_is_read_back_and_one_that_cannot_be_says_who_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with pytest.raises(DataError, match=r"manifest\.json: no such record; mergeline repro writes it$"):
        read_text(path, "mergeline repro")
    write_text(path, "größer\n")
    assert read_text(path, "mergeline repro") == "größer\n"
    path.write_bytes(b"gr\xf6\xdfer\n")
    with pytest.raises(DataError, match=r"manifest\.json: not UTF-8 text .*; mergeline repro writes it anew$"):
        read_text(path, "mergeline repro")


def test_a_file_is_hashed_as_sha256sum_does(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"")
    assert sha256(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_plain_record_is_what_its_file_holds(tmp_path: Path) -> None:
    record = {"task": Task.BINARY, "rows": (1, (2.5, None)), "by": {1: "größer"}}
    assert plain(record) == {"task": "binary", "rows": [1, [2.5, None]], "by": {"1": "größer"}}
    assert type(plain(record)["task"]) is str
    write_json(tmp_path / "record.json", record)
    assert plain(record) == read_json(tmp_path / "record.json", "mergeline train")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_record_with_nan_or_infinity_has_no_plain_form(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        plain({"auc": value})


def test_a_folder_is_replaced_as_a_whole(kept: Path, workspace: Path) -> None:
    write_text(kept / "gone.csv", "1")
    with replaced_folder(kept, workspace) as folder:
        write_text(folder / "card.md", "new")
        assert (kept / "card.md").read_text() == "old"
    assert names(kept) == ["card.md"]
    assert (kept / "card.md").read_text() == "new"
    assert kept.stat().st_mode & 0o777 == 0o755
    assert names(workspace) == []


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path, workspace: Path) -> None:
    with replaced_folder(tmp_path / "models" / "candidate", workspace) as folder:
        write_text(folder / "model.onnx", "new")
    assert names(tmp_path / "models" / "candidate") == ["model.onnx"]


@pytest.mark.parametrize("end", [Killed, ValueError])
def test_a_block_that_does_not_end_well_leaves_the_old_folder(
    kept: Path, workspace: Path, end: type[BaseException]
) -> None:
    with pytest.raises(end), replaced_folder(kept, workspace) as folder:
        write_text(folder / "card.md", "half")
        raise end
    assert (kept / "card.md").read_text() == "old"
    assert names(workspace) == []


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_process_killed_at_any_rename_loses_no_folder(
    kept: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    honest = Path.replace
    done: list[Path] = []

    def die_after(self: Path, target: Any) -> Path:
        if len(done) == renames:
            raise Killed
        done.append(self)
        return honest(self, target)

    killed = pytest.raises(Killed) if renames < 2 else monkeypatch.context()
    with killed, replaced_folder(kept, workspace) as folder:
        (folder / "card.md").write_text("new")
        monkeypatch.setattr(Path, "replace", die_after)
    monkeypatch.undo()
    recover_folder(kept, workspace)
    assert (kept / "card.md").read_text() == ("new" if renames == 2 else "old")
    with replaced_folder(kept, workspace) as folder:
        write_text(folder / "card.md", "next")
    assert (kept / "card.md").read_text() == "next"


def test_recovery_does_nothing_where_nothing_was_killed(kept: Path, workspace: Path) -> None:
    recover_folder(kept, workspace)
    assert (kept / "card.md").read_text() == "old"
    write_text(workspace / "evaluate.old" / "card.md", "older")
    recover_folder(kept, workspace)
    assert (kept / "card.md").read_text() == "old"
