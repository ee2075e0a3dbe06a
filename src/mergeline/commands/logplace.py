"""Where the prediction log lies, as the verbs that read it ask for it."""

from __future__ import annotations

from collections.abc import Mapping

from mergeline.files import LOCAL_STATE

LOG_VARIABLE = "MERGELINE_LOG"
DEFAULT_LOG = f"{LOCAL_STATE}/log"
LOG_HELP = "a folder or s3://bucket/prefix (default: MERGELINE_LOG, else .mergeline/log)"


def log_url(asked: str | None, environment: Mapping[str, str]) -> str:
    """Return where the log lies: what was asked for, MERGELINE_LOG, or `.mergeline/log`."""
    return asked or environment.get(LOG_VARIABLE) or DEFAULT_LOG
