"""The verbs of the pipeline as a whole: `champion`, `repro`, `status`, `track`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline import base as base_branch
from mergeline import files, git, pipeline, table
from mergeline.commands.settings import load_params
from mergeline.errors import ServiceError, VerificationError
from mergeline.files import LOCAL_STATE
from mergeline.layout import (
    CANDIDATE,
    CHAMPION,
    COMPARE,
    COMPARISON,
    DATA,
    EVALUATION,
    LOCK,
    RECEIPT,
    RECORDED,
    REPORT_HTML,
    REPORT_MARKDOWN,
    REPORTS,
    TRAINING,
    VALIDATION,
)

if TYPE_CHECKING:
    from mergeline.params import Params
    from mergeline.release.receipt import Receipt

logger = logging.getLogger(__name__)

FOLDERS = (CANDIDATE, REPORTS / "validate", REPORTS / "evaluate", COMPARE)
STORED = LOCAL_STATE / "stored"


def recover(root: Path) -> None:
    """Finish what a killed stage left half replaced."""
    for folder in FOLDERS:
        files.recover_folder(root / folder, root / LOCAL_STATE)


def champion(root: Path, base: str | None) -> str:
    """Write `models/champion.json` from the base branch; return a line that says what is compared with what."""
    standing = base_branch.expected(root, git.base_branch(root, base), load_params(root))
    text = standing.to_json()
    path = root / CHAMPION
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        files.write_text(path, text)
    if standing.served is None:
        return f"no champion ({standing.without}): a baseline stands in for it, this branch's gates judge"
    return f"champion {standing.served.model_sha256}; the gates of the base branch judge"


def repro(
    root: Path, *, base: str | None, force: bool, pull: bool, tracking: bool, environment: Mapping[str, str]
) -> str:
    """Name the champion, run what is out of date, write receipt and report, store the model; return the summary.

    Without `tracking`, MLflow is left for a later `track`; a server that is down is a warning. A model that is to be
    promoted must be in the store: `ServiceError` where the store does not take it.
    """
    from mergeline.commands.report import report
    from mergeline.report.summary import summary

    settings = load_params(root)
    table.partitions(root / DATA)
    recover(root)
    champion(root, base)
    ran = pipeline.reproduce(root, force=force, pull=pull)
    found = write_receipt(root, git.base_branch(root, base))
    if tracking:
        _track_or_warn(root, environment)
    if ran or not all((root / path).exists() for path in (REPORT_MARKDOWN, REPORT_HTML)):
        report(root, base)
    comparison = files.read_json(root / COMPARISON, "mergeline compare")
    if comparison["verdict"] == "promote":
        store_candidate(root, settings, found)
    validation = files.read_json(root / VALIDATION, "mergeline validate")
    training = files.read_json(root / TRAINING, "mergeline train")
    evaluation = files.read_json(root / EVALUATION, "mergeline evaluate")
    return summary(ran, validation, training, evaluation, comparison)


def _track_or_warn(root: Path, environment: Mapping[str, str]) -> None:
    try:
        track(root, environment)
    except ServiceError as err:
        logger.warning("warning: %s", err)


def write_receipt(root: Path, base: str | None) -> Receipt:
    """Write `models/manifest.json` for what lies here, and return it; one of the same dvc.lock keeps its commit.

    A result that the base branch has keeps the base's receipt, also where no clone has its commit any more: the branch
    that was merged by squashing is gone.
    """
    from mergeline.release.receipt import format_receipt

    found = receipt_of(root)
    found = _inherited(root, base, found) or found
    text = format_receipt(found)
    path = root / RECEIPT
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        files.write_text(path, text)
    return found


def receipt_of(root: Path) -> Receipt:
    """Return the receipt that belongs to the candidate, the lock and the data that lie here."""
    from mergeline.release.champion import Champion
    from mergeline.release.receipt import MODEL_CONTRACT, Receipt
    from mergeline.release.store import model_of

    standing = Champion.from_json((root / CHAMPION).read_text(encoding="utf-8"))
    lock = files.sha256(root / LOCK)
    return Receipt(
        model=model_of(root / CANDIDATE),
        dvc_lock_sha256=lock,
        data={DATA.name: pipeline.data_md5(root)},
        training_commit=_training_commit(root, lock),
        evaluation_sha256=files.sha256(root / EVALUATION),
        champion_sha256=standing.served.model_sha256 if standing.served else None,
        serving_contract=MODEL_CONTRACT,
    )


def _inherited(root: Path, base: str | None, mine: Receipt) -> Receipt | None:
    """The base branch's receipt of this very result: it may name another commit, and an older serving contract."""
    from mergeline.release.receipt import parse_receipt

    for content in base_branch.receipts(root, base):
        try:
            theirs = parse_receipt(content.decode("utf-8", "replace"))
        except VerificationError:
            continue
        if replace(mine, training_commit=theirs.training_commit, serving_contract=theirs.serving_contract) == theirs:
            return theirs
    return None


def _training_commit(root: Path, lock: str) -> str | None:
    """The commit whose inputs the lock belongs to: once it is a clean one, it stays as long as the lock does."""
    from mergeline.release.receipt import parse_receipt

    try:
        old = parse_receipt((root / RECEIPT).read_text(encoding="utf-8"))
    except (FileNotFoundError, VerificationError):
        old = None
    commit = old.training_commit if old is not None and old.dvc_lock_sha256 == lock else None
    if commit is not None and not commit.endswith("-dirty") and git.commit_of(root, commit) is not None:
        return commit
    return git.head_commit(root, ignoring=RECORDED)


def store_candidate(root: Path, settings: Params, found: Receipt) -> None:
    """Put the candidate, its receipt and its evaluation into the model store; the local state remembers it."""
    from mergeline.release.store import open_store

    if is_stored(root, settings, found):
        return
    url = settings.release.store
    store = open_store(url, root)
    for record in (EVALUATION, RECEIPT):
        store.put(root / record)
    put = store.put_model(root / CANDIDATE)
    if put.sha256 != found.model.sha256:
        raise VerificationError(f"{CANDIDATE}/: changed while it was put into the store; run `mergeline repro` again")
    files.write_text(_note(root, found), url)


def is_stored(root: Path, settings: Params, found: Receipt) -> bool:
    """Whether model and receipt were put into the store, as noted here and, in a folder, as can be seen."""
    note, url = _note(root, found), settings.release.store
    if not note.exists() or note.read_text(encoding="utf-8") != url:
        return False
    return "://" in url or all((root / url / "sha256" / key).exists() for key in (found.model.sha256, note.name))


def _note(root: Path, found: Receipt) -> Path:
    """Where it is noted that a receipt is stored, by the SHA-256 of its text."""
    from mergeline.release.receipt import format_receipt

    return root / STORED / hashlib.sha256(format_receipt(found).encode()).hexdigest()


def track(root: Path, environment: Mapping[str, str]) -> int:
    """Log to MLflow what it has not been told yet; return the number of candidates."""
    from mergeline import tracking

    return tracking.upload(root, environment)


def status(root: Path) -> dict[str, Any]:
    """Return the stages that are out of date, and the metrics and parameters that differ from the last commit."""
    load_params(root)
    return asdict(pipeline.freshness(root))
