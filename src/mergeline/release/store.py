"""The model store: write-once, addressed by SHA-256, in a folder or on S3. Served bytes come from here alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mergeline.address import BucketAddress, parse_address
from mergeline.errors import ConfigurationError, ServiceError, VerificationError
from mergeline.files import recover_folder, replaced_folder
from mergeline.release.download import Transfer, alarm, in_parallel, sha256_of, workspace
from mergeline.release.folder import Folder
from mergeline.release.model import Model, ModelFile, checked_name, checked_sha256, format_list, parse_list
from mergeline.release.s3 import open_bucket
from mergeline.release.shelf import PART_BYTES, Content, Shelf, missing

WORKERS = 8
FILES_AT_ONCE = 4
LARGEST_LIST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Store:
    """Files under their own SHA-256, and models under theirs.

    A model is the list of its files, stored under the model's SHA-256, and each file under its own; the list is put
    last, so that a model whose list is there is complete. A key is written once: putting the same bytes again changes
    nothing, and other bytes under it are an alarm (`VerificationError`). No method gives out bytes that it has not
    hashed. Raises `ServiceError` where the place, or this machine's disk, does not do its part.
    """

    shelf: Shelf
    part_bytes: int = PART_BYTES
    workers: int = WORKERS

    @property
    def url(self) -> str:
        """What the store is called in release files; no machine's path where a relative folder was given."""
        return self.shelf.url

    # ---- Files -----------------------------------------------------------------------------------------------------

    def put(self, file: Path) -> str:
        """Store a file; return its SHA-256. A file that changes meanwhile is refused, not stored."""
        with _on_disk(file):
            found = _file_at(file)
            self._put(file, found)
        return found.sha256

    def get(self, sha256: str, file: Path) -> None:
        """Put the bytes of a key at `file`, whole and hashed, or leave what is there; an interrupted get goes on."""
        size = self._size(sha256)
        with _on_disk(file):
            if file.is_file() and file.stat().st_size == size and sha256_of(file) == sha256:
                return
            with workspace(file, sha256) as place:
                self._transfer.fetch(sha256, size, place / "file")
                (place / "file").replace(file)

    def verify(self, sha256: str) -> None:
        """Read the bytes of a key and raise `VerificationError` where they are not its own."""
        self._verified_size(sha256)

    # ---- Models ----------------------------------------------------------------------------------------------------

    def put_model(self, folder: Path) -> Model:
        """Store a folder's files, several at once, and then their list."""
        with _on_disk(folder):
            model = model_of(folder)
            in_parallel(lambda file: self._put(folder / file.name, file), model.files, FILES_AT_ONCE)
            with tempfile.TemporaryDirectory(prefix="mergeline-") as place:
                listed = Path(place) / "list"
                listed.write_bytes(format_list(model.files).encode())
                self._put(listed, _file_at(listed))
        return model

    def get_model(self, sha256: str, folder: Path) -> Model:
        """Put a model's files at `folder`, all of them or none; a folder that holds the model already is left alone.

        A folder that holds another model is replaced; one that holds anything else is refused. The folder is renamed
        into place, and so must not be a mount point itself.
        """
        with _on_disk(folder):
            model = self._model(sha256)
            if self._holds(folder, sha256):
                return model
            with workspace(folder, sha256) as place:
                recover_folder(folder, place)
                self._fetch_all(model, place)
                with replaced_folder(folder, place) as made:
                    for number, file in enumerate(model.files):
                        (place / str(number)).replace(made / file.name)
        return model

    def verify_model(self, sha256: str) -> Model:
        """Read all of a model's bytes and raise `VerificationError` where one file is missing or not its own."""
        model = self._model(sha256)
        in_parallel(lambda file: self._verified_size(file.sha256), model.files, FILES_AT_ONCE)
        return model

    # ---- Signatures ------------------------------------------------------------------------------------------------

    def attach(self, sha256: str, signer: str, signature: bytes) -> bool:
        """Put a signer's signature of a model beside it, once; False where there is one already, and it stays."""
        return self.shelf.attach(self._signature(sha256, signer), signature)

    def attached(self, sha256: str, signer: str) -> bytes | None:
        """Return a signer's signature of a model, unverified; None where there is none."""
        return self.shelf.attached(self._signature(sha256, signer))

    def _signature(self, sha256: str, signer: str) -> str:
        return f"{checked_sha256(sha256, self.url)}.{checked_sha256(signer, 'signer')}"

    # ---- Both ------------------------------------------------------------------------------------------------------

    @property
    def _transfer(self) -> Transfer:
        return Transfer(self.shelf, self.part_bytes, self.workers)

    def _put(self, path: Path, file: ModelFile) -> None:
        content = Content(path, file.sha256, file.size or 0, self.part_bytes)
        if self.shelf.size(content.sha256) is None and self.shelf.create(content):
            return
        size = self._size(content.sha256)
        if size != content.size:
            raise alarm(self.url, content.sha256, f"{size} bytes in the place of {content.size}")
        self._verified_size(content.sha256)

    def _size(self, sha256: str) -> int:
        size = self.shelf.size(checked_sha256(sha256, self.url))
        if size is None:
            raise missing(self.url, sha256)
        return size

    def _verified_size(self, sha256: str) -> int:
        size = self._size(sha256)
        found = self._transfer.digest(sha256, size)
        if found != sha256:
            raise alarm(self.url, sha256, f"{size} bytes of SHA-256 {found}")
        return size

    def _model(self, sha256: str) -> Model:
        """The model of a SHA-256 with the sizes of its files, which are all there."""
        size = self._size(sha256)
        if size > LARGEST_LIST_BYTES:
            raise VerificationError(
                f"{self.url}: {sha256} is {size} bytes long, which no model's list is; name a model"
            )
        with tempfile.TemporaryDirectory(prefix="mergeline-") as place:
            listed = Path(place) / "list"
            self._transfer.fetch(sha256, size, listed)
            files = parse_list(_text(listed.read_bytes(), f"{self.url}: {sha256}"))
        sizes = in_parallel(lambda file: self._size(file.sha256), files, FILES_AT_ONCE)
        return Model.of([replace(file, size=size) for file, size in zip(files, sizes, strict=True)])

    def _fetch_all(self, model: Model, place: Path) -> None:
        """Fetch a model's files, named by their position, but for those that an interrupted get finished."""

        def fetch(number: int) -> None:
            file, path = model.files[number], place / str(number)
            if not (path.is_file() and sha256_of(path) == file.sha256):
                self._transfer.fetch(file.sha256, file.size or 0, path)

        in_parallel(fetch, range(len(model.files)), FILES_AT_ONCE)

    def _holds(self, folder: Path, sha256: str) -> bool:
        """Whether a folder is the model; `ConfigurationError` where it is something that must not be replaced."""
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise ConfigurationError(f"{folder}: a link or a file, expected a folder or nothing; name another place")
        if not folder.exists() or not any(folder.iterdir()):
            return False
        try:
            return model_of(folder).sha256 == sha256
        except VerificationError as err:
            raise ConfigurationError(
                f"{folder}: holds more than the files of a model and is not replaced; name another folder"
            ) from err


def open_store(url: str, root: Path, part_bytes: int = PART_BYTES, workers: int = WORKERS) -> Store:
    """Return the store that `release.store` names.

    `url` is a folder, absolute or relative to `root`, a `file://` address, or `s3://bucket/prefix` with the account,
    region and endpoint (AWS_ENDPOINT_URL) of the environment. `part_bytes` is the size of the parts in which large
    files travel (on S3 at least 5 MiB), `workers` how many travel at once. Nothing is read or written yet.
    Raises `ConfigurationError` for any other address.
    """
    address = parse_address(url, root, "release.store")
    if isinstance(address, BucketAddress):
        return Store(open_bucket(address, workers), part_bytes, workers)
    return Store(Folder(address.url, address.path), part_bytes, workers)


def model_of(folder: Path) -> Model:
    """Return the model that a folder is, each file read in pieces.

    `cd folder && LC_ALL=C sha256sum * | sha256sum` prints the same SHA-256. Everything in the folder belongs to the
    model: raises `VerificationError` for an empty folder and for what is no plain file with a plain name, hidden files
    and links among them, which that command would pass over or follow; `ConfigurationError` where there is no folder.
    """
    with _on_disk(folder):
        return Model.of([_file_at(path) for path in folder.iterdir()])


def _file_at(path: Path) -> ModelFile:
    checked_name(path.name)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise VerificationError(f"{path}: a link or a folder, expected a plain file; put the file itself there")
    return ModelFile(path.name, sha256_of(path), path.stat().st_size)


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as err:
        raise VerificationError(f"{where} is a file, expected a model's list; name a model") from err


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Turn what this machine's disk refuses into an error that names the path."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as err:
        raise ConfigurationError(f"{err.filename or path}: {err.strerror}; name a path that is there") from err
    except OSError as err:
        raise ServiceError(
            f"{err.filename or path}: {err.strerror}; see to this machine's disk, then run again"
        ) from err
