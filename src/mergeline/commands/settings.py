"""The settings of the repository that a command works on."""

from __future__ import annotations

from pathlib import Path

from mergeline import params
from mergeline.params import Params


def load_params(root: Path) -> Params:
    """Return the settings of the repository at `root`."""
    return params.load(root / params.PARAMS_FILE)
