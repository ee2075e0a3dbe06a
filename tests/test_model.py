"""A model is its list, and its list is what `sha256sum` prints."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergeline.errors import ConfigurationError, VerificationError
from mergeline.release.model import Model, ModelFile, checked_sha256, format_list, parse_list
from mergeline.release.store import model_of

A, B = "a" * 64, "b" * 64
GOOD = f"{A}  model.onnx\n{B}  signature.json\n"

hashes = st.binary(min_size=1, max_size=8).map(lambda content: hashlib.sha256(content).hexdigest())
names = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/\\"), min_size=1, max_size=60
).filter(lambda name: name[0] not in ".-")


def folder_with(root: Path, **files: bytes) -> Path:
    folder = root / "model"
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


@given(st.dictionaries(names, hashes, min_size=1, max_size=8))
def test_a_list_is_read_back_to_the_files_it_was_written_from(files: dict[str, str]) -> None:
    model = Model.of([ModelFile(name, sha256) for name, sha256 in files.items()])
    assert parse_list(format_list(model.files)) == model.files
    assert [file.name for file in model.files] == sorted(files, key=lambda name: name.encode())


@given(st.text(st.sampled_from("ab0 \n/.*\\\r"), max_size=140) | st.text(max_size=140))
def test_what_is_read_is_what_would_be_written(text: str) -> None:
    try:
        files = parse_list(text)
    except VerificationError:
        return
    assert format_list(files) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="no file at all"),
        pytest.param(GOOD[:-1], id="no newline at the end"),
        pytest.param(GOOD + "\n", id="an empty line"),
        pytest.param(GOOD + f"{B}  signature.json\n", id="a name twice"),
        pytest.param("".join(reversed(GOOD.splitlines(keepends=True))), id="out of order"),
        pytest.param(GOOD.replace(A, A.upper()), id="upper-case digits"),
        pytest.param(GOOD.replace(A, A[1:]), id="a digit too few"),
        pytest.param(GOOD.replace("  ", " *"), id="the mark of a binary file"),
        pytest.param(GOOD.replace("  ", " "), id="one space"),
        pytest.param(GOOD.replace("\n", "\r\n"), id="line ends of Windows"),
        pytest.param("\ufeff" + GOOD, id="a byte order mark"),
        pytest.param(f"{A}  ../model.onnx\n", id="a way out of the folder"),
        pytest.param(f"{A}  /etc/passwd\n", id="an absolute path"),
        pytest.param(f"{A}  ..\n", id="the folder above"),
        pytest.param(f"{A}  .hidden\n", id="a hidden file"),
        pytest.param(f"{A}  -rf\n", id="an option"),
        pytest.param(f"{A}  a\\b\n", id="a backslash"),
        pytest.param(f"{A}  a\tb\n", id="a control character"),
        pytest.param(f"{A}  a\x85b\n", id="a control character beyond ASCII"),
        pytest.param(f"{A}  {'n' * 256}\n", id="a name longer than a file system takes"),
    ],
)
def test_a_text_that_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match=r"\Aa model's list: [^\n]+\Z"):
        parse_list(text)


def test_the_hash_of_a_model_is_what_a_terminal_prints(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, model_onnx=b"weights", signature_json=b"{}", Z=b"", ä=b"umlaut")
    printed = subprocess.run(
        ["bash", "-c", "LC_ALL=C; sha256sum * | sha256sum"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert printed.stdout.split()[0] == model_of(folder).sha256


def test_a_model_names_the_size_of_each_file(tmp_path: Path) -> None:
    model = model_of(folder_with(tmp_path, model_onnx=b"weights", signature_json=b"{}"))
    assert [(file.name, file.size) for file in model.files] == [("model.onnx", 7), ("signature.json", 2)]


def test_one_flipped_bit_or_another_name_is_another_model(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, model_onnx=b"weights")
    seen = {model_of(folder).sha256}
    (folder / "model.onnx").write_bytes(b"weightr")
    seen.add(model_of(folder).sha256)
    (folder / "model.onnx").rename(folder / "other.onnx")
    seen.add(model_of(folder).sha256)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        pytest.param(".weights", lambda path: path.write_bytes(b""), id="hidden, but model.onnx may refer to it"),
        pytest.param("weights", lambda path: path.symlink_to("/etc/hostname"), id="a link"),
        pytest.param("weights", lambda path: path.mkdir(), id="a folder"),
        pytest.param("weights", os.mkfifo, id="a pipe"),
    ],
)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, name: str, plant: Callable[[Path], object]) -> None:
    folder = folder_with(tmp_path, model_onnx=b"weights")
    plant(folder / name)
    with pytest.raises(VerificationError):
        model_of(folder)


def test_an_empty_folder_is_no_model_and_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="holds no file"):
        model_of(folder_with(tmp_path))
    with pytest.raises(ConfigurationError, match="nowhere: No such file"):
        model_of(tmp_path / "nowhere")


def test_a_hash_is_64_lower_case_digits() -> None:
    assert checked_sha256(A, "here") == A
    for wrong in (A[1:], A.upper(), f"{A}\n", f"../{A[3:]}", "none"):
        with pytest.raises(VerificationError, match=r"\Ahere: "):
            checked_sha256(wrong, "here")
