"""The verb `gate`: whether this branch may be merged."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import files, git
from mergeline.admission import Finding, committed, differences, findings
from mergeline.commands import stages
from mergeline.commands.settings import load_judged
from mergeline.errors import GateRefused
from mergeline.github.run import Run
from mergeline.layout import COMPARISON, EVALUATION, METRICS, VALIDATION
from mergeline.report.escape import clean

if TYPE_CHECKING:
    from mergeline.params import Params

logger = logging.getLogger(__name__)


def gate(root: Path, base: str | None, environment: Mapping[str, str], *, rerun: bool, alone: bool = False) -> str:
    """Return the findings, one a line; raise `GateRefused` where one does not hold.

    With `rerun`, validate, evaluate and compare are run once more on the data and the model that lie here, and their
    records must be those of the branch within 1e-6: a dvc.lock that Git merged out of two is then found out. With
    `alone`, that is all that is asked: a worse model and a champion that has moved since are no matter of it.

    A check is a commit's and not a pull request's: one that another branch's policy made green would count for the
    default branch as well. In a run of a pull request into another branch than that one the gate refuses.
    """
    settings = load_judged(root)
    found: list[Finding] = []
    if not alone:
        git.refuse_shallow(root)
        found = [*into_default(environment), committed(root), *findings(root, git.base_branch(root, base), settings)]
    if rerun or alone:
        found += _rerun(root, settings)
    text = "\n".join(f"{'held' if each.held else 'REFUSED'}  {each.name}: {clean(each.said, 2000)}" for each in found)
    refused = [each.name for each in found if not each.held]
    if refused:
        logger.info(text)
        raise GateRefused(f"gate: {', '.join(refused)} {'does' if len(refused) == 1 else 'do'} not hold; see above")
    return text


def into_default(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the pull request of this run, if there is one, is into the default branch."""
    into = Run.of(environment).into
    if into is None:
        return
    if into.branch and into.branch == into.default:
        yield Finding("base", True, f"what is merged here comes into {into.branch}, the default branch")
        return
    known = into.default or "the default branch"
    said = f"this pull request is into {into.branch or 'no branch that is named'}, and a green gate counts for {known}"
    yield Finding("base", False, f"{said}; change its base to {known} once what it builds on is merged")


def _rerun(root: Path, settings: Params) -> Iterator[Finding]:
    yield _same(root, VALIDATION, "validate", stages.validation(root, settings).as_dict())
    evaluated = stages.evaluation(root, settings)
    yield _same(root, EVALUATION, "evaluate", evaluated.as_dict())
    yield _same(root, METRICS, "evaluate", dict(evaluated.headline()))
    yield _same(root, COMPARISON, "compare", stages.comparison(root, settings).as_dict())


def _same(root: Path, path: Path, verb: str, now: dict[str, Any]) -> Finding:
    """Whether a stage that has just run again says what the branch has recorded."""
    apart = list(differences(files.read_json(root / path, f"mergeline {verb}"), files.plain(now)))
    if not apart:
        return Finding(f"{verb} again", True, f"{path} comes out as it is recorded")
    shown = "; ".join(apart[:3])
    return Finding(
        f"{verb} again", False, f"{path} is not what `{verb}` gives: {shown}; `mergeline repro` makes it anew"
    )
