"""A model is a folder of files; its name is the SHA-256 of the list of their SHA-256."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mergeline.errors import VerificationError

LONGEST_NAME_BYTES = 255  # what a file system takes
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(r"([0-9a-f]{64})  (.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model: its plain name, the SHA-256 of its bytes, and its size in bytes where it is known."""

    name: str
    sha256: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """The files of a model in the order of their names, and the SHA-256 of their list."""

    sha256: str
    files: tuple[ModelFile, ...]

    @classmethod
    def of(cls, files: Sequence[ModelFile]) -> Model:
        """Return the model that these files make, in whatever order they come."""
        ordered = tuple(sorted(files, key=lambda file: file.name))
        return cls(hashlib.sha256(format_list(ordered).encode()).hexdigest(), ordered)


def format_list(files: Sequence[ModelFile]) -> str:
    r"""Return the list of a model as `LC_ALL=C sha256sum *` prints it inside the folder.

    The SHA-256 of this text is the SHA-256 of the model. Raises `VerificationError` for files that no list can hold:
    none at all, one name twice or out of order, a name that is not plain, a hash that is none.

    >>> format_list([ModelFile("model.onnx", "ab" * 32, 7)]) == "ab" * 32 + "  model.onnx\n"
    True
    """
    if not files:
        raise VerificationError("a model's list: holds no file, expected at least one; name the model's files")
    for file in files:
        checked_name(file.name)
        checked_sha256(file.sha256, f"a model's list: {file.name}")
    for before, after in pairwise(files):
        if before.name >= after.name:
            raise VerificationError(
                f"a model's list: {after.name!r} stands behind {before.name!r}, expected each name once, in bytewise"
                " order; make the list anew from the folder"
            )
    return "".join(f"{file.sha256}  {file.name}\n" for file in files)


def parse_list(text: str) -> tuple[ModelFile, ...]:
    """Return the files of a model's list, their sizes unknown.

    Raises `VerificationError` for any text that `format_list` does not write, to the last byte.
    """
    *lines, rest = text.split("\n")
    if rest:
        raise VerificationError(
            f"a model's list: ends in {_short(rest)} without a newline, expected whole lines; it was cut short"
        )
    files = tuple(_parse_line(number, line) for number, line in enumerate(lines, start=1))
    format_list(files)
    return files


def _parse_line(number: int, line: str) -> ModelFile:
    found = _LINE.fullmatch(line)
    if found is None:
        raise VerificationError(
            f"a model's list: line {number} is {_short(line)}, expected 64 lower-case hexadecimal digits, two spaces"
            " and a file name; this is no list of a model"
        )
    return ModelFile(found[2], found[1])


def checked_name(name: str) -> str:
    """Return a file name that is safe in a list and in a folder; raise `VerificationError` for any other.

    Refused besides slashes, leading dots and control characters: a backslash, which `sha256sum` writes in another way,
    a leading hyphen, which it reads as an option, and what is not UTF-8 or longer than a file system takes.
    """
    if not _is_plain(name):
        raise VerificationError(
            f"a model's list: {_short(name)} is no plain file name; expected no slash, backslash, control character,"
            " leading dot or leading hyphen; rename the file"
        )
    return name


def _is_plain(name: str) -> bool:
    if not name or name[0] in ".-" or "/" in name or "\\" in name:
        return False
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return False
    return len(name.encode()) <= LONGEST_NAME_BYTES


def checked_sha256(text: str, where: str) -> str:
    """Return the text if it is a SHA-256 in lower-case hexadecimal; raise `VerificationError` otherwise."""
    if _SHA256.fullmatch(text) is None:
        raise VerificationError(
            f"{where}: {_short(text)} is no SHA-256, expected 64 lower-case hexadecimal digits; copy it whole"
        )
    return text


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
