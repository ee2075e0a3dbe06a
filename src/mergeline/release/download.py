"""Bytes from a shelf into a file: in parallel parts, continued after an interruption, published when they agree."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mergeline.errors import VerificationError
from mergeline.release.shelf import KEYS, Shelf

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Transfer:
    """How bytes come from a shelf: in parts of `part_bytes`, `workers` of them at once."""

    shelf: Shelf
    part_bytes: int
    workers: int

    def digest(self, sha256: str, size: int) -> str:
        """The SHA-256 of the bytes that lie under a key, read part by part."""
        found = hashlib.sha256()
        for start in range(0, size, self.part_bytes):
            found.update(self._part(sha256, start, size))
        return found.hexdigest()

    def fetch(self, sha256: str, size: int, file: Path) -> None:
        """Put the bytes of a key at `file`, or raise `VerificationError` and leave nothing there.

        A try that was interrupted leaves two files beside `file`, from which the next one goes on. Where such a file
        turns out wrong at its end it is thrown away, and the bytes are fetched once anew.
        """
        partial, finished = file.with_name(f"{file.name}.partial"), file.with_name(f"{file.name}.parts")
        continued = self._fill(sha256, size, partial, finished)
        found = sha256_of(partial)
        if continued and found != sha256:
            log.warning("%s: what was left of an earlier download was wrong; it is fetched anew", file.name)
            finished.unlink()
            self._fill(sha256, size, partial, finished)
            found = sha256_of(partial)
        finished.unlink()
        if found != sha256:
            partial.unlink()
            raise alarm(self.shelf.url, sha256, f"bytes of SHA-256 {found}")
        partial.replace(file)

    def _fill(self, sha256: str, size: int, partial: Path, finished: Path) -> bool:
        """Fetch the parts that are not there yet; return whether some were."""
        heading = f"{size} {self.part_bytes}"
        done = _finished(finished, heading) if partial.exists() and partial.stat().st_size == size else set()
        if not done:
            partial.write_bytes(b"")
            finished.write_text(f"{heading}\n", encoding="ascii")
        target = os.open(partial, os.O_RDWR)
        notes = os.open(finished, os.O_WRONLY | os.O_APPEND)
        try:
            os.ftruncate(target, size)

            def fill(start: int) -> None:
                _write(target, self._part(sha256, start, size), start)
                os.write(notes, f"{start}\n".encode())

            in_parallel(fill, [start for start in range(0, size, self.part_bytes) if start not in done], self.workers)
            os.fsync(target)
        finally:
            os.close(notes)
            os.close(target)
        return bool(done)

    def _part(self, sha256: str, start: int, size: int) -> bytes:
        length = min(self.part_bytes, size - start)
        part = self.shelf.read(sha256, start, length)
        if len(part) != length:
            raise alarm(self.shelf.url, sha256, f"fewer bytes than the {size} that it held a moment ago")
        return part


def alarm(url: str, sha256: str, found: str) -> VerificationError:
    """The error of a key that holds other bytes than its own."""
    return VerificationError(
        f"{url}: the store holds other bytes under {KEYS}/{sha256}, found {found}: somebody replaced or squatted them;"
        " serve nothing from this store until you know who writes to it"
    )


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read in pieces."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """The results in the order of the items; after a failure, which is raised, no further item is begun."""
    failures: list[BaseException] = []

    def attempt(item: Item) -> Result:
        if failures:
            raise CancelledError
        try:
            return work(item)
        except BaseException as err:
            failures.append(err)
            raise

    with ThreadPoolExecutor(max(1, min(workers, len(items)))) as pool:
        try:
            futures = [pool.submit(attempt, item) for item in items]
            wait(futures)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    if failures:
        raise failures[0]
    return [future.result() for future in futures]


@contextmanager
def workspace(beside: Path, sha256: str) -> Iterator[Path]:
    """Give a folder beside a path for what is fetched to it; one that was interrupted is given again to the next.

    It goes when the block ends well, or in a `VerificationError`. Where another process works in it, or another user
    made it, the folder is a fresh one and goes in any case.
    """
    beside.parent.mkdir(parents=True, exist_ok=True)
    place = beside.with_name(f".mergeline-{sha256}")
    handle = _claimed(place)
    if handle is None:
        with tempfile.TemporaryDirectory(prefix=".mergeline-", dir=beside.parent) as fresh:
            yield Path(fresh)
        return
    try:
        yield place
    except VerificationError:
        shutil.rmtree(place)
        raise
    else:
        shutil.rmtree(place)
    finally:
        os.close(handle)


def _claimed(place: Path) -> int | None:
    """A handle of the folder that keeps others out until it is closed; None where that cannot be."""
    handle = None
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours, now = os.fstat(handle), place.lstat()
        if (ours.st_dev, ours.st_ino, ours.st_uid) == (now.st_dev, now.st_ino, os.geteuid()):
            return handle
    except (BlockingIOError, FileNotFoundError, FileExistsError, NotADirectoryError):
        log.info("%s: in use; the download starts anew beside it", place)
    if handle is not None:
        os.close(handle)
    return None


def _finished(notes: Path, heading: str) -> set[int]:
    """The starts of the parts that an earlier try noted; none where it asked for others, or the notes are torn."""
    if not notes.exists():
        return set()
    first, *lines = notes.read_text(encoding="ascii", errors="replace").split("\n")
    return {int(line) for line in lines[:-1] if line.isdecimal()} if first == heading else set()


def _write(handle: int, part: bytes, start: int) -> None:
    """Write all of a part; one call of `pwrite` may write less."""
    view = memoryview(part)
    while view:
        written = os.pwrite(handle, view, start)
        view, start = view[written:], start + written
