"""What a model store needs of the place where its bytes lie; a folder and S3 are two such places."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mergeline.errors import VerificationError

PART_BYTES = 16 << 20
MOST_PARTS = 10_000  # of one upload to S3
KEYS = "sha256"  # the part of every key before the hash
SIGNATURES = "signatures"  # beside the keys: what others say of a model, under names of their own
LARGEST_SIGNATURE_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Content:
    """A file that is to lie under a SHA-256: its size in bytes, and in which parts it travels."""

    file: Path
    sha256: str
    size: int
    part_bytes: int = PART_BYTES

    @property
    def is_one_part(self) -> bool:
        return self.size <= self._step

    @property
    def _step(self) -> int:
        return max(self.part_bytes, -(-self.size // MOST_PARTS))

    def parts(self) -> Iterator[bytes]:
        """The bytes, part by part; `VerificationError` instead of an end where they are not those of the SHA-256.

        What has been taken so far must not be published before the end is reached: a file can change while it is read.
        """
        digest, size = hashlib.sha256(), 0
        with self.file.open("rb") as file:
            while part := file.read(self._step):
                digest.update(part)
                size += len(part)
                yield part
        if (digest.hexdigest(), size) != (self.sha256, self.size):
            raise VerificationError(
                f"{self.file}: changed while it was put into the store, expected SHA-256 {self.sha256}, read"
                f" {digest.hexdigest()}; nothing was published, put it again when nothing writes to it"
            )


class Shelf(Protocol):
    """Bytes under SHA-256 keys that are written once.

    `ServiceError` from any method means that the place did not answer; it may be asked again.
    """

    @property
    def url(self) -> str: ...

    def size(self, sha256: str) -> int | None:
        """The number of bytes under a key, None where there is no such key."""

    def read(self, sha256: str, start: int, length: int) -> bytes:
        """The bytes from `start` on, `length` of them or fewer where they end; `VerificationError` without the key."""

    def create(self, content: Content) -> bool:
        """Put the bytes under their key; False, and nothing is changed, where the key is there already."""

    def attach(self, name: str, body: bytes) -> bool:
        """Put a signature under a name; False, and nothing is changed, where the name is there already."""

    def attached(self, name: str) -> bytes | None:
        """The signature under a name, None where there is none."""


def missing(url: str, sha256: str) -> VerificationError:
    """The error of a key that is not there."""
    return VerificationError(
        f"{url}: the store does not hold {KEYS}/{sha256}; put it there, or name the store that holds it"
    )
