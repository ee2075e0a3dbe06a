"""The verbs that write results into Git: `record` and `resync`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import base as base_branch
from mergeline import files, git, pipeline
from mergeline.admission import release_for
from mergeline.changes import CODE
from mergeline.commands.report import refuse_stale
from mergeline.commands.repro import is_stored, repro
from mergeline.commands.settings import load_judged
from mergeline.errors import ConfigurationError, VerificationError
from mergeline.layout import CANDIDATE, COMPARISON, LOCK, RECEIPT, RECORDED, STAGING
from mergeline.release.manifests import NO_RELEASE, format_release
from mergeline.release.receipt import parse_receipt
from mergeline.report.escape import clean
from mergeline.report.wording import figure, metric_label, signed

if TYPE_CHECKING:
    from mergeline.params import Params
    from mergeline.release.receipt import Receipt

logger = logging.getLogger(__name__)


def record(root: Path, base: str | None) -> str:
    """Commit the results of this branch, and staging's release where the candidate is promoted; twice changes nothing.

    Nothing but generated files is committed. Raises `ConfigurationError` where inputs are not committed yet: a result
    belongs to a commit; `DataError` for records that are out of date, `VerificationError` for a receipt of others.
    """
    settings = load_judged(root)
    changed = git.changed_files(root, ignoring=RECORDED)
    if changed:
        some = ", ".join(changed[:5]) + (", ..." if len(changed) > 5 else "")
        raise ConfigurationError(
            f"record: {some} changed and are not committed; commit them, the results belong to them"
        )
    unknown = git.untracked(root, CODE)
    if unknown:
        raise ConfigurationError(f"record: Git does not know {', '.join(unknown[:5])}; commit or remove what was run")
    refuse_stale(root)
    receipt = _receipt(root)
    branch = git.base_branch(root, base)
    comparison = files.read_json(root / COMPARISON, "mergeline compare")
    _refuse_unstored(root, settings, comparison, receipt)
    if not base_branch.unchanged(root, branch):
        _write_release(root, branch, settings, comparison)
    present = [path.as_posix() for path in RECORDED if (root / path).exists()]
    git.do(root, "add", "--", *present)
    if not git.do(root, "diff", "--cached", "--name-only", "--", *present).strip():
        return "nothing to record: Git has these results already"
    git.do(root, "commit", "--quiet", "--message", _message(comparison, receipt), "--only", "--", *present)
    return f"recorded: {clean(comparison['sentence'], 2000)}"


def resync(root: Path, base: str | None, environment: Mapping[str, str]) -> str:
    """Merge the base branch, take its generated files, run again, and record what came out.

    All generated files are the base's after the merge, not only those that conflict: lines of two dvc.lock that Git
    merges without a word make a pipeline that never ran look up to date.

    Raises `ConfigurationError` where a person has to decide: a conflict in any other file.
    """
    branch = git.base_branch(root, base)
    if branch is None:
        raise ConfigurationError("resync: no base branch; add a remote called origin, or name one with --base")
    if not git.merging(root):
        pipeline.refuse_other_data(root)
        _start_merge(root, branch)
    if git.merging(root):
        _take_generated(root)
        others = git.conflicts(root)
        if others:
            raise ConfigurationError(
                f"resync: {', '.join(others)} conflict; resolve them, `git add` them, then `mergeline resync` again"
            )
        git.do(root, "commit", "--quiet", "--no-edit")
    pipeline.replace_data(root)
    said = repro(root, base=base, force=False, pull=False, tracking=True, environment=environment)
    return f"{said}\n{record(root, base)}"


def _receipt(root: Path) -> Receipt:
    receipt = parse_receipt(files.read_text(root / RECEIPT, "mergeline repro"))
    lock = files.sha256(root / LOCK)
    if receipt.dvc_lock_sha256 != lock:
        raise VerificationError(
            f"{RECEIPT}: it is the receipt of another {LOCK}; `mergeline repro` writes the right one"
        )
    return receipt


def _refuse_unstored(root: Path, settings: Params, comparison: Mapping[str, Any], receipt: Receipt) -> None:
    """Raise `VerificationError` for a model that was made here, is to be promoted, and has not been stored."""
    made_here = (root / CANDIDATE).exists()
    if comparison["verdict"] == "promote" and made_here and not is_stored(root, settings, receipt):
        raise VerificationError(f"{settings.release.store}: does not hold the model; `mergeline repro` puts it there")


def _write_release(root: Path, base: str | None, settings: Params, comparison: Mapping[str, Any]) -> None:
    release = release_for(root, base, settings, dict(comparison))
    path = root / STAGING
    if release == NO_RELEASE and not path.exists():
        return
    if not path.exists() or base_branch.staged(root) != release:
        files.write_text(path, format_release(release))


def _message(comparison: Mapping[str, Any], receipt: Receipt) -> str:
    """A title with the figures, the sentence, and trailers that tools read."""
    primary = next((each for each in comparison["candidate"]["metrics"] if each["name"] == comparison["primary"]), None)
    label = metric_label(comparison["primary"])
    value = f"{label} {figure(primary['estimate'])}" if primary else f"{label} undefined"
    difference = comparison["difference"]
    change = f" ({signed(difference['estimate'])})" if difference else ""
    trailers = {
        "Verdict": comparison["verdict"],
        "Model-SHA256": receipt.model.sha256,
        "Champion-SHA256": receipt.champion_sha256 or "none",
        "Trained-From": receipt.training_commit or "none",
    }
    lines = "\n".join(f"{name}: {text}" for name, text in trailers.items())
    return f"Record {comparison['verdict']}: {value}{change}\n\n{clean(comparison['sentence'], 2000)}\n\n{lines}\n"


def _start_merge(root: Path, branch: str) -> None:
    """Merge the base; a merge with conflicts is left for what follows, any other failure is an error."""
    changed = git.changed_files(root)
    if changed:
        raise ConfigurationError(f"resync: {', '.join(changed[:5])} changed and are not committed; commit or drop them")
    how = ("--ff-only",) if git.fork_point(root, branch) == git.commit_of(root, "HEAD") else ("--no-commit", "--no-ff")
    try:
        git.do(root, "merge", "--quiet", *how, branch)
    except ConfigurationError:
        if not git.merging(root):
            raise


def _take_generated(root: Path) -> None:
    """Make every generated file the base's; one that the base has not is dropped."""
    for path in RECORDED:
        name = path.as_posix()
        if git.read(root, "MERGE_HEAD", path) is not None:
            git.do(root, "checkout", "--quiet", "MERGE_HEAD", "--", name)
        elif git.tracked(root, path):
            git.do(root, "rm", "--quiet", "--force", "--", name)
