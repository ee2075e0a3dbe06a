"""The verb `tune`: better settings, as a change to `params.yaml`."""

from __future__ import annotations

import difflib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from mergeline import files, params, pipeline, table
from mergeline.commands.settings import load_params
from mergeline.errors import ServiceError
from mergeline.layout import DATA
from mergeline.params_file import edited
from mergeline.progress import steps

logger = logging.getLogger(__name__)


def tune(root: Path, *, write: bool, environment: Mapping[str, str]) -> str:
    """Search for better settings of the chosen family; return what was found, and the change to `params.yaml`."""
    from mergeline import git
    from mergeline import tune as tuning

    settings = load_params(root)
    rows = table.read_table(root / DATA, settings.data.columns)
    with steps("tune", sys.stderr) as show:
        found = tuning.search(rows, settings, show)
    tags = {"mergeline.git_commit": git.head_commit(root) or "none", "mergeline.data_md5": pipeline.data_md5(root)}
    try:
        tuning.log(found, root, environment, tags)
    except ServiceError as err:
        logger.warning("warning: %s", err)
    changes = found.changes()
    if not changes:
        return found.summary()
    path = root / params.PARAMS_FILE
    old = path.read_bytes().decode("utf-8")  # read as text, it would lose its line ends
    new = edited(old, changes)
    if write:
        files.write_text(path, new)
    done = "written; `mergeline repro` trains with it" if write else "`mergeline tune --write` makes this change"
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), params.PARAMS_FILE, "proposed", lineterm="")
    return "\n".join([found.summary(), "", *lines, "", done])
