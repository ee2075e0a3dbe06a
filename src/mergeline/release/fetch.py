"""A release's bytes, taken from the model store and verified before anything reads them.

A server and its init container do the same: what lies in the folder already and is right is not asked for again.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mergeline import files
from mergeline.errors import ConfigurationError, ServiceError, VerificationError
from mergeline.release.manifests import Release, parse_release
from mergeline.release.model import Model, ModelFile, checked_sha256
from mergeline.release.receipt import SERVING_CONTRACT, Receipt, parse_receipt
from mergeline.release.store import Store, model_of, open_store

MODEL = "model"
RECEIPT = "receipt.json"
EVALUATION = "evaluation.json"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be served: a model, the store that holds it, and its receipt where one is named.

    `key` is the file of the public key by whose owner the model has to be signed, None where it need not be.
    """

    model_sha256: str
    store: str
    receipt_sha256: str | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """Bytes whose SHA-256 were checked when they were read: the model's files, the receipt, the evaluation."""

    model: Model
    content: dict[str, bytes]
    receipt: Receipt | None
    evaluation: bytes | None


def wanted_of(path: Path, key: Path | None) -> Wanted:
    """Return what a `release.yaml` names; raise `ConfigurationError` where it names no release."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigurationError(f"{path}: no release file that can be read ({err}); name an environment") from err
    found: Release = parse_release(text)
    if found.model_sha256 is None or found.store is None:
        raise ConfigurationError(
            f"{path}: no release yet; `mergeline record` releases a promoted model to staging, a merged promotion to"
            " production"
        )
    return Wanted(found.model_sha256, found.store, found.receipt_sha256, key)


def fetch(wanted: Wanted, root: Path, folder: Path) -> Fetched:
    """Put a release at `folder` (`model/`, `receipt.json`, `evaluation.json`) and return its bytes, each verified.

    A relative store is a folder below `root`. With a key the store is always asked, for the signature; without one it
    is asked for what `folder` does not hold yet. Raises `VerificationError` where a hash, the receipt, the signature
    or the serving contract is not as it must be, before anything of the model is read; `ServiceError` where the store
    does not answer.
    """
    checked_sha256(wanted.model_sha256, "the model")
    store = functools.cache(lambda: open_store(wanted.store, root))  # a pod's server may have no way to it
    if not _is_there(folder / MODEL, wanted.model_sha256):
        _replace(store(), wanted.model_sha256, folder / MODEL)
    model, content = read_verified(folder / MODEL, wanted.model_sha256)
    receipt = _receipt(wanted, store, folder)
    if wanted.key is not None:
        from mergeline.release.signing import read_public_key, require_signature

        require_signature(store(), model, read_public_key(wanted.key))
    evaluation = _record(store, receipt.evaluation_sha256, folder / EVALUATION) if receipt else None
    return Fetched(model, content, receipt, evaluation)


def _replace(store: Store, sha256: str, folder: Path) -> None:
    """Fetch a model; where that fails, say what lies in its place."""
    there = folder.exists()
    try:
        store.get_model(sha256, folder)
    except (ServiceError, VerificationError) as err:
        if not there:
            raise
        raise type(err)(f"{folder}: holds other bytes than those of {sha256}; {err}") from err


def read_verified(folder: Path, sha256: str) -> tuple[Model, dict[str, bytes]]:
    """Return a model and the content of its files; the bytes returned are the bytes that were hashed.

    Raises `VerificationError` where they are not those of `sha256`.
    """
    found = model_of(folder)  # refuses links, hidden files and folders
    content = {file.name: (folder / file.name).read_bytes() for file in found.files}
    model = Model.of([ModelFile(name, hashlib.sha256(read).hexdigest(), len(read)) for name, read in content.items()])
    if model.sha256 != sha256:
        raise VerificationError(
            f"{folder}: expected the model {sha256}, found the bytes of {model.sha256}; remove it, fetch anew"
        )
    return model, content


def _is_there(folder: Path, sha256: str) -> bool:
    """Whether a folder holds anything under the model's name; what it holds is verified when it is read."""
    return folder.is_dir() and not folder.is_symlink() and _model_of_or_none(folder) == sha256


def _model_of_or_none(folder: Path) -> str | None:
    """Return the SHA-256 of the model that a folder is, None for a folder that is none."""
    try:
        return model_of(folder).sha256
    except VerificationError:
        return None


def _receipt(wanted: Wanted, store: Callable[[], Store], folder: Path) -> Receipt | None:
    if wanted.receipt_sha256 is None:
        return None
    try:
        receipt = parse_receipt(_record(store, wanted.receipt_sha256, folder / RECEIPT).decode())
    except UnicodeDecodeError as err:
        raise VerificationError(
            f"the receipt {wanted.receipt_sha256}: expected text ({err.reason}); see the release"
        ) from err
    if receipt.model.sha256 != wanted.model_sha256:
        raise VerificationError(
            f"the receipt {wanted.receipt_sha256} is that of model {receipt.model.sha256}, the release names"
            f" {wanted.model_sha256}; record the release anew"
        )
    if receipt.serving_contract > SERVING_CONTRACT:
        raise VerificationError(
            f"the model needs a server of serving contract {receipt.serving_contract}, this one has {SERVING_CONTRACT};"
            " the server lands first: deploy its newer image"
        )
    return receipt


def _record(store: Callable[[], Store], sha256: str, path: Path) -> bytes:
    """The bytes of a record, from `path` where they are right there, else from the store."""
    if path.is_file() and (read := path.read_bytes()) and hashlib.sha256(read).hexdigest() == sha256:
        return read
    store().get(sha256, path)
    if hashlib.sha256(read := path.read_bytes()).hexdigest() != sha256:
        raise VerificationError(f"{path}: changed after it was fetched; see who writes there")
    return read


def local_folder(root: Path, sha256: str) -> Path:
    """Return where a release is kept on this machine where no other folder is named."""
    return root / files.LOCAL_STATE / "releases" / checked_sha256(sha256, "the model")
