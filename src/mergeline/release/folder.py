"""A folder as the place of a model store: files that are linked into place once and are read-only from then on."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mergeline.errors import ServiceError, VerificationError
from mergeline.release.shelf import KEYS, Content, missing

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
        with self._answering():
            (self.path / KEYS).mkdir(parents=True, exist_ok=True)
            with self._keys() as keys:
                if keys is None:
                    raise ServiceError(f"{self.url}: the folder vanished while it was written to; put the file again")
                return self._created(content, keys)

    def _created(self, content: Content, keys: int) -> bool:
        beside = f".{content.sha256}.{secrets.token_hex(8)}"
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, READ_ONLY, dir_fd=keys)
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(content.parts())
                file.flush()
                os.fchmod(handle, READ_ONLY)  # whatever the umask says: a server may run as another user
                os.fsync(handle)
            os.link(beside, content.sha256, src_dir_fd=keys, dst_dir_fd=keys)  # fails where the name is taken
            os.fsync(keys)
        except FileExistsError:
            return False
        finally:
            os.unlink(beside, dir_fd=keys)
        return True

    @contextmanager
    def _opened(self, sha256: str) -> Iterator[int | None]:
        """A handle of the file under a key; None where there is none."""
        with self._answering(), self._keys() as keys:
            handle = None if keys is None else _open(sha256, os.O_NONBLOCK, keys)
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
    def _keys(self) -> Iterator[int | None]:
        """A handle of the folder that holds the keys; None before the first put."""
        handle = _open(self.path / KEYS, os.O_DIRECTORY)
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
