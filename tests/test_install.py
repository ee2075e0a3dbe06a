"""Set-up installs by uv, and by pip where uv cannot; who fails says why in one line."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[1] / ".ci" / "install"


@dataclass(frozen=True)
class Place:
    """An environment whose Python and whose uv say how they were called, and end as they are told to."""

    folder: Path

    def program(self, name: str, ending: int, said: str = "") -> Path:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'#!/bin/sh\ncase "$*" in *"config get"*) echo "$INDEX"; exit 0;; esac\n'
            f'echo "{name} $* ${{UV_DEFAULT_INDEX:-}}" >> {self.folder}/calls\necho "{said}"\nexit {ending}\n'
        )
        path.chmod(0o755)
        return path

    def install(self, uv: Path | None, **more: str) -> subprocess.CompletedProcess[str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("UV", "PIP_", "VENV"))}
        environment = {**plain, "VENV": str(self.folder), **({"UV": str(uv)} if uv else {}), **more}
        command = [str(INSTALL), "the runtime", "--no-deps", "-r", "a.lock"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    @property
    def calls(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_uv_installs_and_pip_is_not_asked(place: Place) -> None:
    place.program("python", 0)
    done = place.install(place.program("uv", 0))
    assert (done.returncode, done.stderr) == (0, "setup: the runtime\n")
    (call,) = place.calls
    assert call[:3] == ["uv", "pip", "install"]
    assert call[-3:] == ["--no-deps", "-r", "a.lock"]


def test_where_uv_cannot_pip_does_and_it_is_said_why(place: Place) -> None:
    place.program("python", 0)
    done = place.install(place.program("uv", 2, "error: Request failed after 3 retries"))
    assert done.returncode == 0
    assert "not by uv (error: Request failed after 3 retries); by pip" in done.stderr
    assert [call[0] for call in place.calls] == ["uv", "python"]
    assert place.calls[1][-3:] == ["--no-deps", "-r", "a.lock"]


def test_where_neither_can_the_last_word_is_pips(place: Place) -> None:
    place.program("python", 1, "ERROR: No matching distribution found for x")
    done = place.install(place.program("uv", 2, "error: no"))
    assert done.returncode == 1
    assert "ERROR: No matching distribution found for x" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("setup: could not install the runtime")


@pytest.mark.parametrize(
    ("more", "index"),
    [
        ({}, []),
        ({"INDEX": "https://own.test/simple"}, ["https://own.test/simple"]),
        ({"PIP_INDEX_URL": "https://own.test/a", "INDEX": "https://own.test/b"}, ["https://own.test/a"]),
        ({"PIP_INDEX_URL": "https://own.test/a", "UV_DEFAULT_INDEX": "https://own.test/c"}, ["https://own.test/c"]),
    ],
)
def test_uv_asks_the_index_that_pip_is_set_to(place: Place, more: dict[str, str], index: list[str]) -> None:
    place.program("python", 0)
    place.install(place.program("uv", 0), **more)
    (call,) = place.calls
    assert call[call.index("a.lock") + 1 :] == index
