"""A release is fetched whole and verified, or nothing of it is read; with a key it has to be signed."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mergeline.errors import ConfigurationError, VerificationError
from mergeline.release import signing
from mergeline.release.fetch import Wanted, fetch, read_verified
from mergeline.release.model import format_list
from mergeline.release.receipt import SERVING_CONTRACT, Receipt, format_receipt
from mergeline.release.signers import KeyFile
from mergeline.release.store import Store, open_store

FILES = {"model.onnx": b"the model", "signature.json": b"{}", "training.json": b"[]"}


def put(root: Path, contract: int = SERVING_CONTRACT) -> Wanted:
    """A model, its evaluation and its receipt in the store of `root`."""
    folder = root / "made"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    store = open_store("store", root)
    model = store.put_model(folder)
    (root / "evaluation.json").write_text('{"rows": 3}')
    receipt = Receipt(model, "d" * 64, {}, None, store.put(root / "evaluation.json"), None, contract)
    (root / "receipt.json").write_text(format_receipt(receipt))
    return Wanted(model.sha256, "store", store.put(root / "receipt.json"))


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    return put(tmp_path)


def key_files(folder: Path, name: str) -> tuple[Path, Path]:
    """A private key and its public one, as files in PEM."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem, spki = form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    files = folder / f"{name}.pem", folder / f"{name}.pub"
    files[0].write_bytes(private.private_bytes(pem, form.PrivateFormat.PKCS8, form.NoEncryption()))
    files[1].write_bytes(private.public_key().public_bytes(pem, spki))
    return files


def sign(root: Path, wanted: Wanted, private: Path) -> Store:
    """Sign the model with a private key, as `mergeline sign` does."""
    store, key = open_store("store", root), signing.read_private_key(private, None)
    model = store.verify_model(wanted.model_sha256)
    store.attach(model.sha256, signing.fingerprint(key.public_key()), signing.sign(model, KeyFile(key)))
    return store


# ---- Bytes -----------------------------------------------------------------------------------------------------------


def test_r1_what_is_fetched_are_the_bytes_that_were_put(wanted: Wanted, tmp_path: Path) -> None:
    fetched = fetch(wanted, tmp_path, tmp_path / "there")
    assert fetched.content == FILES
    assert fetched.evaluation == b'{"rows": 3}'
    assert fetched.receipt is not None
    assert fetched.receipt.model == fetched.model


def test_a_folder_that_holds_the_release_is_read_without_the_store(wanted: Wanted, tmp_path: Path) -> None:
    first = fetch(wanted, tmp_path, tmp_path / "there")
    shutil.rmtree(tmp_path / "store")
    assert fetch(wanted, tmp_path, tmp_path / "there") == first


@pytest.mark.parametrize("name", FILES)
def test_r1_a_byte_that_was_flipped_in_the_store_ends_the_fetch(name: str, wanted: Wanted, tmp_path: Path) -> None:
    model = open_store("store", tmp_path).verify_model(wanted.model_sha256)
    stored = tmp_path / "store/sha256" / next(file.sha256 for file in model.files if file.name == name)
    stored.chmod(0o644)
    stored.write_bytes(bytes([stored.read_bytes()[0] ^ 1]) + stored.read_bytes()[1:])
    with pytest.raises(VerificationError):
        fetch(wanted, tmp_path, tmp_path / "there")
    assert not (tmp_path / "there/model").exists()


def test_r1_bytes_that_were_changed_where_they_lie_are_fetched_anew(wanted: Wanted, tmp_path: Path) -> None:
    fetch(wanted, tmp_path, tmp_path / "there")
    (tmp_path / "there/model/model.onnx").write_bytes(b"another model")
    assert fetch(wanted, tmp_path, tmp_path / "there").content == FILES


def test_r1_what_is_read_is_what_was_hashed(wanted: Wanted, tmp_path: Path) -> None:
    fetch(wanted, tmp_path, tmp_path / "there")
    (tmp_path / "there/model/model.onnx").write_bytes(b"another model")
    with pytest.raises(VerificationError, match="expected the model"):
        read_verified(tmp_path / "there/model", wanted.model_sha256)


def test_a_receipt_of_another_model_is_refused(wanted: Wanted, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = put(tmp_path / "other")
    assert other.model_sha256 == wanted.model_sha256  # the same files: so make another receipt
    store = open_store("store", tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "more/model.onnx").write_bytes(b"more")
    receipt = Receipt(store.put_model(tmp_path / "more"), "d" * 64, {}, None, "e" * 64, None)
    (tmp_path / "receipt.json").write_text(format_receipt(receipt))
    forged = replace(wanted, receipt_sha256=store.put(tmp_path / "receipt.json"))
    with pytest.raises(VerificationError, match="is that of model"):
        fetch(forged, tmp_path, tmp_path / "there")


def test_a_model_that_needs_a_newer_server_waits_for_it(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="the server lands first"):
        fetch(put(tmp_path, SERVING_CONTRACT + 1), tmp_path, tmp_path / "there")


@pytest.mark.parametrize("sha256", ["none", "A" * 64, "../" + "a" * 61])
def test_a_model_is_named_by_a_sha256_and_nothing_else(sha256: str, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="is no SHA-256"):
        fetch(Wanted(sha256, "store"), tmp_path, tmp_path / "there")


# ---- Signatures ------------------------------------------------------------------------------------------------------


def test_s10_a_model_that_its_key_signed_is_fetched(wanted: Wanted, tmp_path: Path) -> None:
    private, public = key_files(tmp_path, "team")
    sign(tmp_path, wanted, private)
    assert fetch(replace(wanted, key=public), tmp_path, tmp_path / "there").content == FILES


def unsigned(root: Path, wanted: Wanted) -> None:
    """Nobody signs."""


def signed_by_another(root: Path, wanted: Wanted) -> None:
    """Somebody else signs."""
    sign(root, wanted, key_files(root, "other")[0])


def signature_of_other_bytes(root: Path, wanted: Wanted) -> None:
    """The right key has signed another model, and its signature is put under this one's name."""
    (root / "else").mkdir()
    (root / "else/model.onnx").write_bytes(b"else")
    store, key = open_store("store", root), signing.read_private_key(root / "team.pem", None)
    signature = signing.sign(store.put_model(root / "else"), KeyFile(key))
    store.attach(wanted.model_sha256, signing.fingerprint(key.public_key()), signature)


def no_signature_at_all(root: Path, wanted: Wanted) -> None:
    """Bytes that are no signature lie under the right name."""
    key = signing.read_public_key(root / "team.pub")
    open_store("store", root).attach(wanted.model_sha256, signing.fingerprint(key), b"not base64 !")


@pytest.mark.parametrize("plant", [unsigned, signed_by_another, signature_of_other_bytes, no_signature_at_all])
def test_s10_the_twin_any_other_signature_is_none(
    plant: Callable[[Path, Wanted], None], wanted: Wanted, tmp_path: Path
) -> None:
    _, public = key_files(tmp_path, "team")
    plant(tmp_path, wanted)
    with pytest.raises(VerificationError, match="signature"):
        fetch(replace(wanted, key=public), tmp_path, tmp_path / "there")


def test_s6_a_signature_that_lies_there_is_not_replaced(wanted: Wanted, tmp_path: Path) -> None:
    private, public = key_files(tmp_path, "team")
    store = sign(tmp_path, wanted, private)
    signer = signing.fingerprint(signing.read_public_key(public))
    before = store.attached(wanted.model_sha256, signer)
    assert store.attach(wanted.model_sha256, signer, b"forged") is False
    assert store.attached(wanted.model_sha256, signer) == before


def test_openssl_and_this_code_read_each_others_signatures(wanted: Wanted, tmp_path: Path) -> None:
    private, public = key_files(tmp_path, "team")
    store = open_store("store", tmp_path)
    model, key = store.verify_model(wanted.model_sha256), signing.read_private_key(private, None)
    (tmp_path / "list").write_text(format_list(model.files))
    ours = tmp_path / "ours.der"
    ours.write_bytes(base64.b64decode(signing.sign(model, KeyFile(key))))
    command = ["openssl", "dgst", "-sha256", "-verify", str(public), "-signature", str(ours), str(tmp_path / "list")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    theirs = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", str(private), str(tmp_path / "list")], capture_output=True, check=True
    ).stdout
    store.attach(model.sha256, signing.fingerprint(key.public_key()), base64.b64encode(theirs))
    signing.require_signature(store, model, key.public_key())


def test_only_a_key_on_p256_in_pem_is_a_key(tmp_path: Path) -> None:
    other = tmp_path / "rsa.pub"
    public = rsa.generate_private_key(65537, 2048).public_key()
    other.write_bytes(public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(ConfigurationError, match="expected a key on the curve P-256"):
        signing.read_public_key(other)
    with pytest.raises(ConfigurationError, match="expected a key in PEM"):
        signing.read_public_key(Path(__file__))
    with pytest.raises(ConfigurationError, match="No such file"):
        signing.read_private_key(tmp_path / "nowhere.pem", None)
