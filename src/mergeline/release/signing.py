"""Signatures of models: who holds a private key says that a model may run in production.

What is signed is the list of a model's files, the very bytes whose SHA-256 is the model's name, by ECDSA on the curve
P-256 with SHA-256 (FIPS 186-5), in DER and base64. So `cosign sign-blob` and `openssl dgst -sha256 -sign` make such
signatures too, and `cosign verify-blob` and `openssl dgst -sha256 -verify` check them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline.errors import ConfigurationError, VerificationError
from mergeline.release.model import Model, format_list

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

    from mergeline.release.signers import Signer
    from mergeline.release.store import Store


def sign(model: Model, signer: Signer) -> bytes:
    """Return the signature of a model, as base64 text."""
    return base64.b64encode(signer.sign(format_list(model.files).encode()))


def require_signature(store: Store, model: Model, key: EllipticCurvePublicKey) -> None:
    """Raise `VerificationError` where the store holds no signature of the model by the owner of `key`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    signer = fingerprint(key)
    found = store.attached(model.sha256, signer)
    if found is None:
        raise VerificationError(
            f"{store.url}: model {model.sha256} has no signature by the key {signer[:12]}, expected one;"
            " `mergeline sign` makes it with the private key"
        )
    try:
        signature = base64.b64decode(b"".join(found.split()), validate=True)  # other tools break it into lines
        key.verify(signature, format_list(model.files).encode(), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error) as err:
        raise VerificationError(
            f"{store.url}: the signature of model {model.sha256} by the key {signer[:12]} is not one of these bytes;"
            " find out who put it there"
        ) from err


def fingerprint(key: EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key (its SubjectPublicKeyInfo in DER), which names a signer."""
    from cryptography.hazmat.primitives import serialization as form

    return hashlib.sha256(key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def read_public_key(path: Path) -> EllipticCurvePublicKey:
    """Return the public key of a PEM file; raise `ConfigurationError` for anything but a key on P-256."""
    from cryptography.hazmat.primitives import serialization as form

    key: EllipticCurvePublicKey = on_p256(str(path), _read(path, form.load_pem_public_key))
    return key


def parse_public_key(where: str, content: bytes) -> EllipticCurvePublicKey:
    """Return the public key of a PEM text; raise `ConfigurationError` for anything but a key on P-256."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form

    try:
        key: EllipticCurvePublicKey = on_p256(where, form.load_pem_public_key(content))
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise ConfigurationError(f"{where}: expected a public key in PEM; {err}") from err
    return key


def read_private_key(path: Path, password: str | None) -> EllipticCurvePrivateKey:
    """Return the private key of a PEM file; raise `ConfigurationError` for anything but a key on P-256."""
    from cryptography.hazmat.primitives import serialization as form

    secret = password.encode() if password else None
    key: EllipticCurvePrivateKey = on_p256(str(path), _read(path, lambda pem: form.load_pem_private_key(pem, secret)))
    return key


def format_public_key(key: EllipticCurvePublicKey) -> str:
    """Return a public key as the PEM text that `read_public_key` reads."""
    from cryptography.hazmat.primitives import serialization as form

    return key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def on_p256(where: str, key: Any) -> Any:
    """Return the key; raise `ConfigurationError`, which says where it is from, for one that is not on P-256."""
    from cryptography.hazmat.primitives.asymmetric import ec

    if not isinstance(getattr(key, "curve", None), ec.SECP256R1):
        raise ConfigurationError(f"{where}: expected a key on the curve P-256, found {type(key).__name__}")
    return key


def _read(path: Path, load: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return load(path.read_bytes())
    except OSError as err:
        raise ConfigurationError(f"{path}: {err.strerror}; name a key file in PEM") from err
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise ConfigurationError(f"{path}: expected a key in PEM, and its password where it has one; {err}") from err
