"""The model that production serves at a moment, as Git has it: since when, and what there is to go back to."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline import git
from mergeline.layout import CANDIDATE, COMPARISON, PRODUCTION, RETIREMENTS
from mergeline.monitor.decide.evidence import Model
from mergeline.monitor.profile import PROFILE_FILE
from mergeline.release.history import Deployment
from mergeline.release.history import standing as not_taken_back
from mergeline.release.manifests import NO_RELEASE
from mergeline.release.records import deployments, receipt_of, retirements
from mergeline.release.retirement import retired
from mergeline.release.store import model_of

if TYPE_CHECKING:
    from mergeline.params import Params


def base_commit(root: Path) -> str | None:
    """Return the newest commit of the base branch, else of this checkout; None where there is none."""
    return git.commit_of(root, git.base_branch(root) or "HEAD")


def standing(root: Path, base: str | None, settings: Params, at: dt.datetime) -> Model:
    """Return the model of production on the base branch, else of this checkout, which nothing serves yet.

    A deployment that brings back a release which an other one had replaced makes neither it nor its model new.
    """
    lived = deployments(root, base, PRODUCTION) if base else ()
    known = [each for each in lived if each.deployed_at <= at]
    last = (known or lived)[-1] if lived else None
    if base is None or last is None or not last.release.is_release:
        return Model(_own_model(root), None, _data_until(root, None, settings), has_earlier=False, has_other=False)
    _, brought = receipt_of(root, base, last.release)
    found = Model(last.release.model_sha256, None, _data_until(root, brought, settings), False, has_other=False)
    if not known:
        return found
    stood = not_taken_back(known)
    before = _before(stood, _gone(root, base, at))
    return replace(
        found,
        released_at=stood[-1].deployed_at,
        deployed_at=last.deployed_at,
        served_at=not_taken_back([_of_the_model(each) for each in known])[-1].deployed_at,
        has_earlier=before is not None,
        has_other=before is not None and before.release.model_sha256 != last.release.model_sha256,
    )


def _before(stood: Sequence[Deployment], gone: frozenset[str]) -> Deployment | None:
    """What a rollback goes back to: the last one before with a model that is not retired; None where there is none."""
    good = (each for each in reversed(stood[:-1]) if each.release.is_release and each.release.model_sha256 not in gone)
    return next(good, None)


def _of_the_model(each: Deployment) -> Deployment:
    """A deployment as far as its model goes, whatever the image that serves it."""
    return replace(each, release=replace(NO_RELEASE, model_sha256=each.release.model_sha256))


def _gone(root: Path, base: str, at: dt.datetime) -> frozenset[str]:
    """The models that nothing may serve any more at a moment."""
    changed = [each for each in git.commits(root, base, RETIREMENTS) if each.committed_at <= at]
    return retired(retirements(root, changed[-1].sha)) if changed else frozenset()


def _own_model(root: Path) -> str | None:
    folder = root / CANDIDATE
    return model_of(folder).sha256 if (folder / PROFILE_FILE).exists() else None


def _data_until(root: Path, commit: str | None, settings: Params) -> dt.datetime | None:
    """The newest row that the model was trained or judged on, else the day its table was last fed."""
    content = git.read(root, commit, COMPARISON) if commit else None
    if content is None and (root / COMPARISON).exists():
        content = (root / COMPARISON).read_bytes()
    try:
        found = json.loads(content or b"{}")["holdout"]["last_time"]
        moment = dt.datetime.fromisoformat(found)
    except (ValueError, KeyError, TypeError):
        as_of = settings.data.as_of
        return dt.datetime.combine(as_of, dt.time(), dt.UTC) if as_of else None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
