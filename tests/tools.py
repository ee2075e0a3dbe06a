"""Programs that a test needs beside Python; without them it is skipped, in continuous integration it fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest


def unavailable(reason: str, environment: Mapping[str, str] = os.environ) -> NoReturn:
    """End the test: failed where CI=true says that .ci/packages has run, so that no check is lost unseen."""
    if environment.get("CI") == "true":
        pytest.fail(f"{reason}; with CI=true this test has to run", pytrace=False)
    pytest.skip(reason)


def tool(*names: str, environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return where the programs are; where one is missing, the test ends as `unavailable` says."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = {name: shutil.which(name, path=path) for name in names}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        unavailable(f"needs {', '.join(missing)}, which `.ci/packages` installs", environment)
    return tuple(Path(place) for place in found.values() if place)


def root(environment: Mapping[str, str] = os.environ) -> None:
    """Go on as root; as anybody else the test ends as `unavailable` says."""
    if os.geteuid() != 0:
        unavailable("needs root", environment)
