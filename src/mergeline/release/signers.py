"""Who signs: the owner of a private key in a file, or of one that never leaves AWS KMS."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mergeline.errors import ConfigurationError, ServiceError
from mergeline.release.signing import on_p256, read_private_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

LARGEST_MESSAGE_BYTES = 4_096


class Signer(Protocol):
    """Makes signatures on the curve P-256."""

    @property
    def public_key(self) -> EllipticCurvePublicKey:
        """The key that checks its signatures."""

    def sign(self, content: bytes) -> bytes:
        """Return the signature of some bytes, by ECDSA with SHA-256, in DER."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key that this process holds."""

    private: EllipticCurvePrivateKey

    @classmethod
    def read(cls, path: Path, password: str | None) -> KeyFile:
        """Return the signer of a PEM file; raise `ConfigurationError` for anything but a key on P-256."""
        return cls(read_private_key(path, password))

    @property
    def public_key(self) -> EllipticCurvePublicKey:
        """The key that checks its signatures."""
        return self.private.public_key()

    def sign(self, content: bytes) -> bytes:
        """Return the signature of some bytes, by ECDSA with SHA-256, in DER."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        return self.private.sign(content, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True, slots=True)
class Kms:
    """A key of AWS KMS (ECC_NIST_P256, to sign and verify) by its id, ARN or alias.

    KMS hashes what it signs, up to 4,096 bytes; of more it takes the digest.
    """

    key_id: str
    client: Any
    public_key: EllipticCurvePublicKey

    @classmethod
    def open(cls, key_id: str) -> Kms:
        """Return the signer of a key, with the AWS account of the environment.

        Raises `ConfigurationError` for a key of another kind, `ServiceError` where KMS does not answer or refuses.
        """
        from botocore.session import Session
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        with _answering(key_id):
            client = Session().create_client("kms")
            found = client.get_public_key(KeyId=key_id)
        if found["KeyUsage"] != "SIGN_VERIFY":
            raise ConfigurationError(f"{key_id}: expected a key to sign and verify, found one for {found['KeyUsage']}")
        return cls(key_id, client, on_p256(key_id, load_der_public_key(found["PublicKey"])))

    def sign(self, content: bytes) -> bytes:
        """Return the signature of some bytes, by ECDSA with SHA-256, in DER."""
        kind, message = ("RAW", content)
        if len(content) > LARGEST_MESSAGE_BYTES:
            kind, message = ("DIGEST", hashlib.sha256(content).digest())
        with _answering(self.key_id):
            made = self.client.sign(
                KeyId=self.key_id, Message=message, MessageType=kind, SigningAlgorithm="ECDSA_SHA_256"
            )
        signature: bytes = made["Signature"]
        return signature


@contextmanager
def _answering(key_id: str) -> Iterator[None]:
    """Turn what botocore raises into a `ServiceError` of one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as err:
        code = err.response.get("Error", {}).get("Code", "no code")
        said = f"{key_id}: KMS refused {err.operation_name} ({code}), expected a key that this role may use"
        raise ServiceError(f"{said}; see the role's policy") from err
    except BotoCoreError as err:
        raise ServiceError(
            f"{key_id}: KMS does not answer ({err}); see to the AWS settings of this environment"
        ) from err
