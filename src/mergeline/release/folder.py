"""A folder as the place of a model store: files that are linked into place once and are read-only from then on."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mergeline.errors import ServiceError, VerificationError
from mergeline.release.shelf import KEYS, LARGEST_SIGNATURE_BYTES, SIGNATURES, Content, missing

READ_ONLY = 0o444
_NOT_OURS = (errno.ELOOP, errno.ENOTDIR)  # what O_NOFOLLOW and O_DIRECTORY answer for a link and for a file
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder at `path`, whose keys are files under `sha256/`; `url` is what users call it.

    The folder itself may be a link that its owner made. Below it none is followed, so that whoever can write into the
    store cannot make it answer with files from elsewhere.
    """

    url: str
    path: Path

    def size(self, sha256: str) -> int | None:
        with self._opened(sha256) as handle:
            return None if handle is None else os.fstat(handle).st_size

    def read(self, sha256: str, start: int, length: int) -> bytes:
        with self._opened(sha256) as handle:
            if handle is None:
                raise missing(self.url, sha256)
            return _read(handle, start, length)

    def create(self, content: Content) -> bool:
        return self._create(KEYS, content.sha256, content.parts())

    def attach(self, name: str, body: bytes) -> bool:
        return self._create(SIGNATURES, name, [body])

    def attached(self, name: str) -> bytes | None:
        with self._opened(name, SIGNATURES) as handle:
            return None if handle is None else _read(handle, 0, LARGEST_SIGNATURE_BYTES)

    def _create(self, part: str, name: str, pieces: Iterable[bytes]) -> bool:
        with self._answering():
            (self.path / part).mkdir(parents=True, exist_ok=True)
            with self._folder(part) as folder:
                if folder is None:
                    raise ServiceError(f"{self.url}: the folder vanished while it was written to; put the file again")
                return self._created(name, pieces, folder)

    def _created(self, name: str, pieces: Iterable[bytes], folder: int) -> bool:
        beside = f".{name}.{secrets.token_hex(8)}"
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, READ_ONLY, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fchmod(handle, READ_ONLY)  # whatever the umask says: a server may run as another user
                os.fsync(handle)
            os.link(beside, name, src_dir_fd=folder, dst_dir_fd=folder)  # fails where the name is taken
            os.fsync(folder)
        except FileExistsError:
            return False
        finally:
            os.unlink(beside, dir_fd=folder)
        return True

    @contextmanager
    def _opened(self, name: str, part: str = KEYS) -> Iterator[int | None]:
        """A handle of the file of a name; None where there is none."""
        with self._answering(), self._folder(part) as folder:
            handle = None if folder is None else _open(name, os.O_NONBLOCK, folder)
            if handle is None:
                yield None
                return
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise self._not_ours()
                yield handle
            finally:
                os.close(handle)

    @contextmanager
    def _folder(self, part: str) -> Iterator[int | None]:
        """A handle of the folder that holds the keys, or the signatures; None before the first put."""
        handle = _open(self.path / part, os.O_DIRECTORY)
        try:
            yield handle
        finally:
            if handle is not None:
                os.close(handle)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            if err.errno in _NOT_OURS:
                raise self._not_ours() from err
            if err.errno in _NO_LINKS:
                raise ServiceError(
                    f"{self.url}: its file system refuses hard links ({err.strerror}), which make a key write-once;"
                    " choose a folder on another one, or s3://"
                ) from err
            raise ServiceError(f"{self.url}: {err.strerror}; see to the folder, then run again") from err

    def _not_ours(self) -> VerificationError:
        return VerificationError(
            f"{self.url}: a key is a link or no plain file, expected only files that `put` wrote; find out who put it"
            " there, and remove it"
        )


def _open(path: str | Path, flags: int, folder: int | None = None) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=folder)
    except FileNotFoundError:
        return None


def _read(handle: int, start: int, length: int) -> bytes:
    """All the bytes of a span; one call of `pread` may give fewer."""
    pieces, left = [], length
    while left and (piece := os.pread(handle, left, start + length - left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
