"""The verb `post`: a report to the summary of the run, and to the one comment of the pull request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from mergeline import files
from mergeline.errors import ConfigurationError, DataError
from mergeline.github.client import FORBIDDEN, USUAL, Patience, Refused
from mergeline.github.comment import body_of, mark, put
from mergeline.github.excerpt import excerpt
from mergeline.github.run import Run

logger = logging.getLogger(__name__)

LARGEST_SUMMARY_BYTES = 1 << 20  # of a step


def post(
    root: Path,
    report: Path,
    number: int | None,
    title: str,
    environment: Mapping[str, str],
    patience: Patience = USUAL,
) -> str:
    """Append the report to the summary, then see to the comment; return what was done.

    The summary is written first and stays, whatever becomes of the comment. A run whose token may only read, of a fork
    or of Dependabot, ends well with the summary alone.
    """
    mark(title)  # a title that cannot be is refused before anything is written
    text = files.read_text(root / report, "mergeline report")
    if not text.strip():
        raise DataError(f"{report}: empty; `mergeline report` writes it")
    run = Run.of(environment)
    summarised = append_summary(run.summary, text, _rest(report))
    target = number or run.pull_request
    if target is None:
        if not summarised:
            raise ConfigurationError("post: no pull request and no summary; name one by --pull-request N")
        return f"{summarised}; no pull request started this run, so there is no comment"
    try:
        done = put(run.client(patience), run.named(), target, title, body_of(title, text, _rest(report, run.page)))
    except Refused as err:
        if err.status == FORBIDDEN and run.read_only and summarised:
            return f"{summarised}; no comment: GitHub gives a fork's run, and Dependabot's, a token that may only read"
        raise
    return "; ".join(filter(None, [summarised, f"pull request #{target}: the comment {title!r} {done}"]))


def append_summary(path: Path | None, text: str, rest: str) -> str:
    """Append a report to the summary of a step, which takes 1 MiB; return what was done, empty where there is none."""
    if path is None:
        return ""
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before.endswith(_ended(text)):
            return "the summary has it already"
        room = LARGEST_SUMMARY_BYTES - len(before.encode())
        added = excerpt(_ended(text), room, rest, lambda each: len(each.encode()))
        if len(added.encode()) > room:
            logger.info("the summary of this step is full, nothing is added")
            return ""
        with path.open("a", encoding="utf-8") as file:
            file.write(added)
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigurationError(f"GITHUB_STEP_SUMMARY: no file that can be written ({type(err).__name__})") from err
    return "added to the summary"


def _ended(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def _rest(report: Path, page: str | None = None) -> str:
    """Where the rest of a report is that was cut: what a comment leaves out stands in the summary of the run."""
    where = (
        f"the summary of [the run]({page})" if page else f"`{report.as_posix()}`, which the run keeps as an artifact"
    )
    return f"**Cut here, the report is too long for this place. The whole of it is in {where}.**"
