"""Where the files of the prediction log and of the labels lie: a folder, or a prefix of an S3 bucket."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mergeline.address import FolderAddress, parse_address
from mergeline.errors import ServiceError
from mergeline.release.s3 import answering, s3_client

CONNECTIONS = 4


class LogStore(Protocol):
    """Whole files under keys such as `predictions/date=2024-05-01/hour=07/<name>.parquet`.

    A put is all or nothing, and a put of a key that is there replaces it, so that one that failed in an unclear way may
    be done again. Files whose name, or whose folder's, begins with a dot are no keys. Raises `ServiceError` where the
    place does not do its part. All methods may be called from several threads. A store may travel to other processes.
    """

    @property
    def url(self) -> str:
        """What users call the place."""
        ...

    def put(self, key: str, body: bytes) -> None:
        """Store `body` under `key`."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted; none where nothing was put yet."""
        ...

    def read(self, key: str) -> bytes:
        """Return the bytes of a key; raise `ServiceError` for a key that is not there."""
        ...


@dataclass(frozen=True, slots=True)
class FolderLog:
    """The folder at `path`, made by the first put; `url` is what users call it."""

    url: str
    path: Path

    def put(self, key: str, body: bytes) -> None:
        file = self.path / key
        beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        with self._answering():
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                beside.write_bytes(body)
                beside.replace(file)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise

    def keys(self, prefix: str) -> list[str]:
        with self._answering():
            return sorted(key for key in self._walk(prefix) if key.startswith(prefix))

    def read(self, key: str) -> bytes:
        with self._answering():
            return (self.path / key).read_bytes()

    def _walk(self, prefix: str) -> Iterator[str]:
        """The keys below the deepest folder that `prefix` names."""
        for folder, below, names in os.walk(self.path / prefix.rpartition("/")[0], onerror=_unless_absent):
            below[:] = [name for name in below if not name.startswith(".")]
            place = Path(folder).relative_to(self.path)
            yield from ((place / name).as_posix() for name in names if not name.startswith("."))

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            where = f"{self.url}: {err.filename}" if err.filename else self.url
            raise ServiceError(f"{where}: {err.strerror}; see to the log's folder, then run again") from err


@dataclass(frozen=True, slots=True)
class S3Log:
    """The objects of a bucket whose names begin with `prefix`, which is empty or ends with a slash."""

    url: str
    bucket: str
    prefix: str
    client: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return open_log, (self.url, Path())  # the connection stays behind

    def put(self, key: str, body: bytes) -> None:
        with answering(self.url):
            self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=body)

    def keys(self, prefix: str) -> list[str]:
        with answering(self.url):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            found = [each["Key"].removeprefix(self.prefix) for page in pages for each in page.get("Contents", ())]
        return sorted(key for key in found if not re.search(r"(^|/)\.", key))

    def read(self, key: str) -> bytes:
        with answering(self.url):
            return bytes(self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read())


def open_log(url: str, root: Path) -> LogStore:
    """Return the place that `url` names: a folder, absolute or relative to `root`, `file://`, or `s3://bucket/prefix`.

    The account, region and endpoint (AWS_ENDPOINT_URL) of S3 come from the environment. Nothing is read or written yet.
    Raises `ConfigurationError` for any other address.
    """
    address = parse_address(url, root, "log")
    if isinstance(address, FolderAddress):
        return FolderLog(address.url, address.path)
    return S3Log(address.url, address.bucket, address.prefix, s3_client(address.url, CONNECTIONS))


def _unless_absent(err: OSError) -> None:
    if not isinstance(err, FileNotFoundError):
        raise err
