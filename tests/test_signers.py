"""Who signs: a key in a file or one in AWS KMS, both to the same kind of signature (S10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from test_fetch import key_files, put

from mergeline.cli import main
from mergeline.errors import ConfigurationError, ServiceError, VerificationError
from mergeline.release import signing
from mergeline.release.fetch import fetch
from mergeline.release.signers import KeyFile, Kms


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"AWS_ENDPOINT_URL": moto, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    for name, value in {**settings, "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)


def kms_key(spec: str, usage: str = "SIGN_VERIFY") -> str:
    """The id of a new key."""
    from botocore.session import Session

    made = Session().create_client("kms").create_key(KeySpec=spec, KeyUsage=usage)
    return str(made["KeyMetadata"]["KeyId"])


@pytest.mark.usefixtures("aws")
def test_s10_what_a_kms_key_signed_is_fetched_with_its_public_key(tmp_path: Path) -> None:
    wanted, public = put(tmp_path), tmp_path / "signing.pub"
    named = ["--model", wanted.model_sha256, "--store", "store", "--receipt", str(wanted.receipt_sha256)]
    command = ["--root", str(tmp_path), "sign", *named, "--kms", kms_key("ECC_NIST_P256")]
    assert main([*command, "--write-public", str(public)]) == 0
    fetch(type(wanted)(wanted.model_sha256, "store", wanted.receipt_sha256, public), tmp_path, tmp_path / "there")
    assert main(command) == 0  # once more changes nothing


@pytest.mark.usefixtures("aws")
def test_s10_twin_what_another_kms_key_signed_is_not(tmp_path: Path) -> None:
    wanted, public = put(tmp_path), tmp_path / "signing.pub"
    command = ["--root", str(tmp_path), "sign", "--model", wanted.model_sha256, "--store", "store"]
    assert main([*command, "--kms", kms_key("ECC_NIST_P256")]) == 0
    other = Kms.open(kms_key("ECC_NIST_P256"))
    public.write_text(signing.format_public_key(other.public_key))
    with pytest.raises(VerificationError, match="no signature by the key"):
        fetch(type(wanted)(wanted.model_sha256, "store", wanted.receipt_sha256, public), tmp_path, tmp_path / "there")


@pytest.mark.usefixtures("aws")
def test_a_kms_key_of_another_kind_is_refused_and_one_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigurationError, match="expected a key on the curve P-256"):
        Kms.open(kms_key("RSA_2048"))
    with pytest.raises(ConfigurationError, match="expected a key to sign and verify, found one for ENCRYPT_DECRYPT"):
        Kms.open(kms_key("RSA_2048", "ENCRYPT_DECRYPT"))
    with pytest.raises(ServiceError, match="KMS refused GetPublicKey"):
        Kms.open("11111111-2222-3333-4444-555555555555")


class Digests:
    """KMS as far as signing digests goes, which moto takes for messages."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self.private = private

    def sign(self, *, KeyId: str, Message: bytes, MessageType: str, SigningAlgorithm: str) -> dict[str, bytes]:
        assert (KeyId, MessageType, SigningAlgorithm, len(Message)) == ("key", "DIGEST", "ECDSA_SHA_256", 32)
        return {"Signature": self.private.sign(Message, ec.ECDSA(Prehashed(hashes.SHA256())))}


def test_of_more_than_4096_bytes_kms_signs_the_digest() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    content = b"a" * 4_097
    signature = Kms("key", Digests(private), private.public_key()).sign(content)
    private.public_key().verify(signature, content, ec.ECDSA(hashes.SHA256()))


def test_a_key_file_signs_and_its_public_key_is_what_is_written(tmp_path: Path) -> None:
    private, public = key_files(tmp_path, "team")
    signer = KeyFile.read(private, None)
    assert signing.format_public_key(signer.public_key) == public.read_text()
    assert signing.format_public_key(signing.read_public_key(public)) == public.read_text()


def test_a_key_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = tmp_path / "rsa.pem"
    path.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    with pytest.raises(ConfigurationError, match="expected a key on the curve P-256"):
        KeyFile.read(path, None)


def test_sign_needs_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sign", "--environment", "staging"])
    assert ended.value.code == 2
    assert "--private-key --kms is required" in capsys.readouterr().err
