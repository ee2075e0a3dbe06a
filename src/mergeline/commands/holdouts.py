"""What models were worth on their holdouts, as the history of Git has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline.errors import ConfigurationError, VerificationError
from mergeline.layout import EVALUATION, RECEIPT

if TYPE_CHECKING:
    from mergeline.monitor.performance.holdout import Holdout


def holdouts(root: Path, ref: str | None, models: Iterable[str]) -> dict[str, Holdout]:
    """Return what models were worth on their holdouts, as the commits that brought their receipts have it.

    Looked at are the branch `ref` (by default the base branch), HEAD, and the working tree; a model that none of them
    knows is left out. An evaluation that is not the one of its receipt is no record of the model's.
    """
    from mergeline.monitor.performance.holdout import holdout_of

    wanted, found = set(models), {}
    for commit, receipt, evaluation in _recorded(root, ref):
        model = _evaluated(receipt, evaluation)
        if model in wanted and model not in found and evaluation is not None:
            found[model] = holdout_of(model, commit, evaluation)
    return found


def _recorded(root: Path, ref: str | None) -> Iterable[tuple[str | None, bytes | None, bytes | None]]:
    """Each commit that changed the receipt, the newest first, with receipt and evaluation; last the working tree."""
    from mergeline import git

    if git.commit_of(root, "HEAD") is not None:
        for start in dict.fromkeys(git.commit_of(root, name) for name in _starts(root, ref)):
            changed = [each.sha for each in reversed(git.commits(root, start, RECEIPT))] if start else []
            names = {each: [f"{each}:./{path.as_posix()}" for path in (RECEIPT, EVALUATION)] for each in changed}
            contents = git.read_many(root, [name for pair in names.values() for name in pair])
            for each, pair in names.items():
                yield each, contents[pair[0]], contents[pair[1]]
    receipt, evaluation = (root / path for path in (RECEIPT, EVALUATION))
    if receipt.is_file() and evaluation.is_file():
        yield None, receipt.read_bytes(), evaluation.read_bytes()


def _starts(root: Path, ref: str | None) -> tuple[str, ...]:
    from mergeline import git

    if ref is not None:
        if git.commit_of(root, ref) is None:
            raise ConfigurationError(f"--ref: {ref!a} is no branch or commit here; fetch it, or name another")
        return (ref,)
    try:
        base = git.base_branch(root)
    except ConfigurationError:  # origin's default is not known here: HEAD says what this clone knows
        base = None
    return (base, "HEAD") if base else ("HEAD",)


def _evaluated(receipt: bytes | None, evaluation: bytes | None) -> str | None:
    """The model of a receipt, where the evaluation is the one that it names."""
    from mergeline.release.receipt import parse_receipt

    try:
        found = parse_receipt((receipt or b"").decode("utf-8", "replace"))
    except VerificationError:
        return None
    same = hashlib.sha256(evaluation or b"").hexdigest() == found.evaluation_sha256
    return found.model.sha256 if same else None
