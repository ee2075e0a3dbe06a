"""What the base branch says: the model that production serves, the policy that judges, the results it holds."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import git, pipeline
from mergeline.errors import ConfigurationError, VerificationError
from mergeline.layout import CHAMPION, LOCK, PRODUCTION, RECEIPT, STAGING
from mergeline.params import PARAMS_FILE, PRIMARY_METRICS, parse_gates, parse_yaml
from mergeline.release.champion import BaseModel, Champion, Served, Without
from mergeline.release.manifests import NO_RELEASE, Release, parse_release
from mergeline.release.receipt import Receipt, parse_receipt
from mergeline.schema import SIGNATURE_FILE, Task

if TYPE_CHECKING:
    from mergeline.params import GateParams, Params

PROBLEM = ("task", "target")


def standing(root: Path, base: str | None, settings: Params) -> Champion:
    """Return what this branch is to be compared with, and by whose policy, as the base branch is now."""
    raw = _params(root, base)
    production = release(root, base, PRODUCTION)
    model = _model(receipt(root, base))
    without = _without(base, raw, production, settings)
    if base is None or _problem(raw) != _own_problem(settings):
        return Champion(None, without, model, "branch", settings.gates, settings.evaluate.slices)
    served = None
    if without is None and production.model_sha256 is not None and production.store is not None:
        served = Served(production.model_sha256, production.store)
    policy = _policy(raw, base)
    slices = _section(raw, "evaluate").get("slices")
    judging = tuple(slices) if isinstance(slices, list) else ()
    return Champion(served, without, model, "base", policy, judging, _holdout(raw))


def _holdout(raw: dict[str, Any]) -> dict[str, Any] | None:
    """The base's `data.holdout`; what could not stand there is left out, as the base's own `repro` would refuse it."""
    found = _section(_section(raw, "data"), "holdout")
    numbers = {str(key): value for key, value in found.items() if isinstance(value, int | float) and value > 0}
    return numbers or None


def _policy(raw: dict[str, Any], base: str) -> GateParams:
    try:
        return parse_gates(raw.get("gates"), f"{base}:{PARAMS_FILE}: gates")
    except ConfigurationError as err:
        raise ConfigurationError(f"{err}; the base branch's gates judge: merge it (`mergeline resync`)") from err


def expected(root: Path, base: str | None, settings: Params) -> Champion:
    """Return what `models/champion.json` has to say: `standing`, or what it says already where nothing is to be judged.

    A branch that holds the base's own results (of documentation, of a manifest) is not judged again because production
    has moved since: it keeps the file, but for a policy that is its own.
    """
    found = standing(root, base, settings)
    try:
        recorded = Champion.from_json((root / CHAMPION).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, VerificationError):
        return found
    if recorded == found or not (unchanged(root, base) and not pipeline.stale(root)):
        return found
    if recorded.policy == found.policy == "branch":
        return replace(recorded, gates=found.gates, slices=found.slices)
    return recorded


def unchanged(root: Path, base: str | None) -> bool:
    """Whether this branch brings no result: its dvc.lock is the base's, now or where the branch left it."""
    if base is None or not (root / LOCK).exists():
        return False
    mine = (root / LOCK).read_bytes()
    return any(git.read(root, commit, LOCK) == mine for commit in (base, git.fork_point(root, base)) if commit)


def release(root: Path, base: str | None, path: Path) -> Release:
    """Return the release of an environment on the base branch; one that is not there is no release."""
    content = git.read(root, base, path) if base is not None else None
    return NO_RELEASE if content is None else parse_release(content.decode("utf-8", "replace"))


def live_before(root: Path, base: str, path: Path) -> set[Release]:
    """Return every release that an environment had on the base branch and that a verdict there has made.

    A verdict leaves a receipt: the release names one of the base's, and its model. What a merged branch held on its way
    was never live, and a version that cannot be read is left out. No release at all counts as long as there was one
    release only: a revert of the first promotion.
    """
    receipts = _receipts(root, base)
    found = set()
    for content in git.versions(root, base, path, merged=False):
        try:
            found.add(parse_release(content.decode("utf-8", "replace")))
        except VerificationError:
            continue
    judged = {each for each in found if (each.receipt_sha256, each.model_sha256) in receipts}
    first = {each for each in found if not each.is_release} if len(judged) <= 1 else set()
    return judged | first


def _receipts(root: Path, base: str) -> set[tuple[str | None, str | None]]:
    """The hash of each receipt that the base branch had, with the model that it is of."""
    found: set[tuple[str | None, str | None]] = set()
    for content in git.versions(root, base, RECEIPT, merged=False):
        try:
            model = parse_receipt(content.decode("utf-8", "replace")).model.sha256
        except VerificationError:
            continue
        found.add((hashlib.sha256(content).hexdigest(), model))
    return found


def receipts(root: Path, base: str | None) -> tuple[bytes, ...]:
    """Return the receipt that the base branch has now, and the one that it had where this branch left it."""
    commits = (base, git.fork_point(root, base)) if base is not None else ()
    found = (git.read(root, commit, RECEIPT) for commit in commits if commit)
    return tuple(dict.fromkeys(content for content in found if content is not None))


def receipt(root: Path, base: str | None) -> Receipt | None:
    """Return the base branch's receipt; None where it has none."""
    content = git.read(root, base, RECEIPT) if base is not None else None
    return None if content is None else parse_receipt(content.decode("utf-8", "replace"))


def staged(root: Path) -> Release:
    """Return this branch's own release of staging; one that is not there is no release."""
    path = root / STAGING
    return parse_release(path.read_bytes().decode("utf-8", "replace")) if path.exists() else NO_RELEASE


def _params(root: Path, base: str | None) -> dict[str, Any]:
    content = git.read(root, base, Path(PARAMS_FILE)) if base is not None else None
    raw = {} if content is None else parse_yaml(content.decode("utf-8", "replace"), f"{base}:{PARAMS_FILE}")
    return raw if isinstance(raw, dict) else {}


def _without(base: str | None, raw: dict[str, Any], production: Release, settings: Params) -> Without | None:
    if base is None:
        return Without.NO_BASE
    if production.model_sha256 is None:
        return Without.NO_RELEASE
    return None if _problem(raw) == _own_problem(settings) else Without.OTHER_PROBLEM


def _problem(raw: dict[str, Any]) -> tuple[Any, ...]:
    """Task, target and primary metric of a params.yaml that may be older than this code."""
    data = _section(raw, "data")
    primary = _section(raw, "evaluate").get("primary")
    if primary is None and data.get("task") in [task.value for task in Task]:
        primary = PRIMARY_METRICS[Task(data["task"])][0]
    return (*(data.get(key) for key in PROBLEM), primary)


def _section(raw: dict[str, Any], name: str) -> dict[str, Any]:
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def _own_problem(settings: Params) -> tuple[Any, ...]:
    data = settings.data
    return (data.task.value, data.target, settings.primary)


def _model(found: Receipt | None) -> BaseModel | None:
    if found is None:
        return None
    signature = next((file.sha256 for file in found.model.files if file.name == SIGNATURE_FILE), None)
    return None if signature is None else BaseModel(found.model.sha256, signature)
