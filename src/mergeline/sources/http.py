"""A file on a web server -> a file on this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from mergeline.errors import ConfigurationError, ServiceError
from mergeline.sources.declaration import FORMATS, Source
from mergeline.sources.environment import resolved

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
OK, TOO_MANY_REQUESTS, INTERNAL_SERVER_ERROR = 200, 429, 500


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for, how often it is asked, and how much is taken from it.

    `backoff_s` seconds pass after the first try in vain and twice as many after each further one; `timeout_s` is the
    longest silence, not the length of the download; `largest_bytes` of None is no limit.
    """

    tries: int = 3
    backoff_s: float = 1.0
    timeout_s: float = 30.0
    largest_bytes: int | None = None


@contextmanager
def downloaded(source: Source, environment: Mapping[str, str], where: str, patience: Patience) -> Iterator[Path]:
    """Yield the path of a temporary copy of what the source's address holds, named for its format.

    Connection errors, silence, bodies that end early and the statuses 429 and 5xx are tried again; other statuses
    are not. Headers go to the declared host alone, and not along with a redirect to another one.
    Raises ServiceError, which names the address without its account and query, and ConfigurationError.
    """
    address = shown(source.url or "")
    url = resolved(source.url or "", environment, f"{where}.url")
    headers = {
        name: resolved(value, environment, f"{where}.headers.{name}").strip() for name, value in source.headers.items()
    }
    form = source.format or FORMATS[Path(urlsplit(source.url or "").path).suffix.lower()]
    with TemporaryDirectory(prefix="mergeline-") as folder, _session(headers) as session, _no_request_lines():
        path = Path(folder) / f"download.{form}"
        _fetch(session, url, path, f"{where}: {address}", patience)
        log.info("%s: %d bytes from %s", where, path.stat().st_size, address)
        yield path


def shown(url: str) -> str:
    """Return the address for a message, without account, query and fragment; references stay unresolved.

    >>> shown("https://reader:pw@example.org:8443/orders.csv?token=${TOKEN}#top")
    'https://example.org:8443/orders.csv'
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@contextmanager
def _no_request_lines() -> Iterator[None]:
    # At DEBUG, urllib3 logs each request's path with its query, which is where tokens are.
    library = logging.getLogger("urllib3.connectionpool")
    level = library.level
    library.setLevel(logging.INFO)
    try:
        yield
    finally:
        library.setLevel(level)


def _session(headers: Mapping[str, str]) -> requests.Session:
    import requests

    class Session(requests.Session):
        # By itself, requests takes only Authorization away when another host is next.
        def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
            untyped: Any = super()
            untyped.rebuild_auth(prepared_request, response)
            if untyped.should_strip_auth(response.request.url, prepared_request.url):
                for name in headers:
                    prepared_request.headers.pop(name, None)

    session = Session()
    session.headers.update(headers)
    return session


def _fetch(session: requests.Session, url: str, path: Path, where: str, patience: Patience) -> None:
    fault: str | None = "no try"
    for attempt in range(patience.tries):
        if attempt:
            time.sleep(patience.backoff_s * 2 ** (attempt - 1))
        fault = _passing_fault(session, url, path, where, patience)
        if fault is None:
            return
        log.info("%s: try %d of %d: %s", where, attempt + 1, patience.tries, fault)
    raise ServiceError(
        f"{where}: expected the whole file, found {fault} in {patience.tries} tries; try again when the server is well"
    )


def _passing_fault(session: requests.Session, url: str, path: Path, where: str, patience: Patience) -> str | None:
    """Save the file once and return None, or what went wrong where another try may help; raise where none will."""
    import requests

    # Every error is raised without its cause, whose text holds the whole address, query included.
    try:
        with session.get(url, stream=True, timeout=patience.timeout_s) as response:
            status = response.status_code
            if status == TOO_MANY_REQUESTS or status >= INTERNAL_SERVER_ERROR:
                return f"status {status}"
            if status != OK:
                raise ServiceError(f"{where}: expected status 200, found {status}; check the address and the headers")
            _save(response, path, where, patience.largest_bytes)
            return None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader, requests.exceptions.InvalidSchema):
        raise ConfigurationError(
            f"{where}: expected a valid address and headers, found one that cannot be sent; check url, headers and "
            "the environment variables in them"
        ) from None
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
        return "a body that ends early or is damaged"
    except requests.exceptions.Timeout:
        return f"no answer for {patience.timeout_s:g} s"
    except requests.exceptions.ConnectionError:
        return "no connection"
    except requests.exceptions.RequestException as err:
        raise ServiceError(f"{where}: expected the file, found {type(err).__name__}; check the address") from None


def _save(response: requests.Response, path: Path, where: str, largest_bytes: int | None) -> None:
    # A body shorter than its Content-Length ends in a ChunkedEncodingError: urllib3 counts the bytes.
    size = 0
    with path.open("wb") as file:
        for chunk in response.iter_content(CHUNK_BYTES):
            size += len(chunk)
            if largest_bytes is not None and size > largest_bytes:
                raise ServiceError(f"{where}: expected at most {largest_bytes} bytes, found more; raise the limit")
            file.write(chunk)
