"""The verb `report`: what a reviewer reads, from the records alone; with `--week`, how a week of service went."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergeline import changes, files, git, pipeline
from mergeline.errors import DataError
from mergeline.layout import (
    CHAMPION,
    COMPARISON,
    CURVES,
    EVALUATION,
    RECEIPT,
    RECORDED,
    REPORT_HTML,
    REPORT_MARKDOWN,
    TIMINGS,
    TRAINING,
    VALIDATION,
)
from mergeline.report.context import Context, Records


def report(root: Path, base: str | None) -> str:
    """Write `reports/report.md` and `reports/report.html`; refuse records that do not belong to what lies here."""
    from mergeline.report.html import html
    from mergeline.report.markdown import markdown

    refuse_stale(root)
    records = _records(root, git.base_branch(root, base))
    files.write_text(root / REPORT_MARKDOWN, markdown(records))
    files.write_text(root / REPORT_HTML, html(records))
    return f"{REPORT_MARKDOWN}, {REPORT_HTML}"


def week(root: Path, log: str | None, day: dt.date, *, as_json: bool, environment: Mapping[str, str]) -> str:
    """Write the report of a day's week; return the names of its files, or its JSON."""
    from mergeline.commands import weekly
    from mergeline.commands.logplace import log_url

    return weekly.report(root, log_url(log, environment), day, as_json=as_json)


def refuse_stale(root: Path) -> None:
    """Raise `DataError` where a stage's records are not those of its inputs, and say which."""
    stale = pipeline.stale(root)
    if stale:
        said = "; ".join(f"{stage} ({why})" for stage, why in stale.items())
        raise DataError(f"reports/: the records of {said} are out of date; `mergeline repro` makes them anew")


def _records(root: Path, base: str | None) -> Records:
    comparison = _read(root / COMPARISON, "mergeline compare")
    return Records(
        comparison=comparison,
        curves=_read(root / CURVES, "mergeline compare"),
        evaluation=_read(root / EVALUATION, "mergeline evaluate"),
        validation=_read(root / VALIDATION, "mergeline validate"),
        training=_read(root / TRAINING, "mergeline train"),
        receipt=_read(root / RECEIPT, "mergeline repro"),
        context=_context(root, base, comparison),
    )


def _context(root: Path, base: str | None, comparison: dict[str, Any]) -> Context:
    policy = _read(root / CHAMPION, "mergeline champion")["gates"]
    commit = git.head_commit(root, ignoring=RECORDED)
    checkout = (f"git checkout {commit}",) if commit and not commit.endswith("-dirty") else ()
    return Context(
        base=base,
        params=changes.parameters(root, base),
        data=changes.partitions(root, base),
        code=changes.code(root, base),
        holdout_uses=changes.holdout_uses(root, comparison),
        holdout_budget=policy["holdout"]["budget"],
        latency_ratio=changes.latency_ratio(root / TIMINGS, comparison["candidate"]["sha256"]),
        commit=commit,
        commands=(*checkout, "make repro"),
    )


def _read(path: Path, made_by: str) -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(path, made_by)
    return found
