"""Where something is kept: a folder, or a bucket of S3 with a prefix."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mergeline.errors import ConfigurationError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NO_PREFIX = re.compile(r"[?#\s\x00-\x1f]|(^|/)\.{0,2}(/|$)")


@dataclass(frozen=True, slots=True)
class FolderAddress:
    """A folder; `url` is what users call it, no machine's path where it was given as a relative one."""

    url: str
    path: Path


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """The objects of a bucket whose names begin with `prefix`, which is empty or ends with a slash."""

    url: str
    bucket: str
    prefix: str


def parse_address(url: str, root: Path, setting: str) -> FolderAddress | BucketAddress:
    """Return what `url` names: a folder, absolute or relative to `root`, a `file://` address, or `s3://bucket/prefix`.

    Raises `ConfigurationError`, which begins with `setting`, for any other address.

    >>> parse_address("s3://team-models/churn/", Path("."), "release.store").prefix
    'churn/'
    >>> parse_address(".mergeline/store", Path("here"), "release.store").path.as_posix()
    'here/.mergeline/store'
    """
    scheme, colon, _ = url.partition(":")
    if not colon or _SCHEME.fullmatch(scheme) is None:
        if not url.strip() or "\0" in url:
            raise ConfigurationError(f"{setting}: empty, expected a folder or s3://bucket/prefix")
        return FolderAddress(url, root / url)
    if url.startswith("s3://"):
        return _bucket(url, setting)
    found = urlsplit(url) if url.startswith("file://") else None
    if found and found.netloc in ("", "localhost") and found.path and not found.query and not found.fragment:
        return FolderAddress(url, Path(unquote(found.path)))
    raise ConfigurationError(
        f"{setting}: an address that begins with {scheme}: names no place, expected a folder, file:///folder or"
        " s3://bucket/prefix"
    )


def _bucket(url: str, setting: str) -> BucketAddress:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    if _BUCKET.fullmatch(bucket) is None or _NO_PREFIX.search(prefix or "a"):
        raise ConfigurationError(
            f"{setting}: an s3:// address that names no bucket, expected s3://bucket or s3://bucket/prefix; an"
            " account comes from the environment"
        )
    return BucketAddress(f"s3://{bucket}/{prefix}".rstrip("/"), bucket, f"{prefix}/" if prefix else "")
