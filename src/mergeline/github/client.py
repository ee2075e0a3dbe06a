"""One host, one token: the REST API of GitHub, asked with patience and never anywhere else."""

from __future__ import annotations

import http.client
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from mergeline import __version__
from mergeline.errors import ConfigurationError, ServiceError
from mergeline.report.escape import clean

logger = logging.getLogger(__name__)

LARGEST_ANSWER_BYTES = 32 << 20
MOST_PAGES = 200  # of a hundred: a list that goes on longer runs in a circle
MOST_REDIRECTS = 3
API_VERSION = "2022-11-28"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, GONE, TOO_MANY, BROKEN = 401, 403, 404, 410, 429, 500
_NEXT = re.compile(r'<([^>]+)>\s*;[^,]*\brel="next"')
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Refused(ConfigurationError):
    """GitHub's no: the status, and what it said."""

    def __init__(self, text: str, status: int, said: str) -> None:
        super().__init__(text)
        self.status = status
        self.said = said


class Unanswered(ServiceError):
    """No answer to be had; `lost` where the request may have been carried out all the same."""

    def __init__(self, text: str, *, lost: bool = False) -> None:
        super().__init__(text)
        self.lost = lost


@dataclass(frozen=True, slots=True)
class Patience:
    """How often GitHub is asked, and how long it is waited for.

    `backoff_s` seconds pass after the first try in vain, and twice as many after each further one; a limit that asks
    for a longer pause than `longest_wait_s` ends the tries.
    """

    tries: int = 4
    backoff_s: float = 1.0
    timeout_s: float = 20.0
    longest_wait_s: float = 60.0


USUAL = Patience()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, headers by their small names, the JSON of its body."""

    status: int
    headers: Mapping[str, str]
    json: Any


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Every redirect is looked at before it is followed: the library would take the token along."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Client:
    """Asks one API with one token; raises `Refused`, or `Unanswered` where no try had an answer.

    GET, PUT, PATCH and DELETE are asked again after a fault, since twice is as good as once. A POST is asked again only
    where it was not carried out: refused for its rate, or never sent.
    """

    def __init__(
        self, api: str, token: str | None, patience: Patience = USUAL, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.api = _address(api)
        self.host = urlsplit(self.api).netloc
        if token and _TOKEN.fullmatch(token) is None:
            raise ConfigurationError("GITHUB_TOKEN: holds a character that no token has; set it anew")
        self._token = token
        self._patience = patience
        self._sleep = sleep
        self._opener = urllib.request.build_opener(_NoRedirect)

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        """Return the answer to a request; `path` begins with a slash, or is an address of this API."""
        url, content = self._own(path), None if body is None else json.dumps(body).encode()
        for attempt in range(1, self._patience.tries + 1):
            fault, wait = self._tried(method, url, content)
            if isinstance(fault, Reply):
                return fault
            if attempt == self._patience.tries or (fault.lost and method == "POST"):
                raise fault
            pause = self._patience.backoff_s * 2 ** (attempt - 1) if wait is None else wait
            if pause > self._patience.longest_wait_s:
                raise Unanswered(f"{fault}: asks for a pause of {pause:.0f} s; run again after it") from fault
            logger.info("%s; asked again in %.0f s", fault, pause)
            self._sleep(pause)
        raise AssertionError("no try")

    def get(self, path: str) -> Any:
        """Return the JSON at an address."""
        return self.ask("GET", path).json

    def find(self, path: str) -> Any | None:
        """Return the JSON at an address, None where there is nothing or it is not to be seen."""
        try:
            return self.get(path)
        except Refused as err:
            if err.status == NOT_FOUND:
                return None
            raise

    def pages(self, path: str, key: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list, of all pages; with `key`, of the list of that name in each."""
        url: str | None = f"{path}{'&' if '?' in path else '?'}per_page=100"
        for _ in range(MOST_PAGES):
            if url is None:
                return
            reply = self.ask("GET", url)
            entries = reply.json.get(key) if key and isinstance(reply.json, dict) else reply.json
            if not isinstance(entries, list):
                raise Unanswered(
                    f"{self._shown('GET', path)}: expected a list, found none; see whether {self.api} is GitHub's API"
                )
            yield from (each for each in entries if isinstance(each, dict))
            following = _NEXT.search(reply.headers.get("link", ""))
            url = following[1] if following else None
        raise Unanswered(f"{self._shown('GET', path)}: more than {MOST_PAGES} pages; see to the API")

    def login(self) -> str:
        """Return whom the token speaks for; a token of an app is asked by GraphQL, which alone knows."""
        if not (self._token or "").startswith("ghs_"):
            try:
                return str(self.get("/user")["login"])
            except Refused as err:
                if err.status != FORBIDDEN:
                    raise
        graphql = f"{self.api.removesuffix('/v3')}/graphql"
        try:
            found = self.ask("POST", graphql, {"query": "{viewer{login}}"}).json
            return str(found["data"]["viewer"]["login"])
        except (KeyError, TypeError) as err:
            raise Unanswered(f"{self.host}: does not say whom the token speaks for; try again") from err

    # ---- One try -----------------------------------------------------------------------------------------------------

    def _tried(self, method: str, url: str, content: bytes | None) -> tuple[Reply | Unanswered, float | None]:
        """The answer, or why there is none and how long to wait; a no that stays a no is raised."""
        shown = self._shown(method, url)
        try:
            status, headers, body = self._sent(method, url, content)
        except urllib.error.URLError as err:  # not sent
            return Unanswered(f"{shown}: no connection ({clean(err.reason, 200)}); see to the network"), None
        except (OSError, http.client.HTTPException) as err:
            what = clean(err, 200) or type(err).__name__
            return Unanswered(f"{shown}: no whole answer ({what}); try again", lost=True), None
        if status < 300:
            return self._reply(shown, status, headers, body), None
        said = _said(body)
        limited, wait = _limit(status, headers, said, time.time())
        if limited:
            return Unanswered(f"{shown}: {status}, the rate limit is reached ({said})"), wait
        if status >= BROKEN:
            return Unanswered(f"{shown}: GitHub answers {status} ({said}); try again", lost=True), None
        raise Refused(f"{shown}: {_advice(status, said, headers)}", status, said)

    def _sent(self, method: str, url: str, content: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        for _ in range(MOST_REDIRECTS):
            headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION}
            headers["User-Agent"] = f"mergeline/{__version__}"
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            if content is not None:
                headers["Content-Type"] = "application/json"
            request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 - checked by _address
            try:
                with self._opener.open(request, timeout=self._patience.timeout_s) as answer:
                    return answer.status, _small(answer.headers), _read(answer)
            except urllib.error.HTTPError as err:
                with err:
                    status, told, body = err.code, _small(err.headers), _read(err)
            if status not in (301, 302, 307, 308) or "location" not in told:
                return status, told, body
            url = self._followed(method, status, urljoin(url, told["location"]))
        raise Unanswered(f"{self._shown(method, url)}: redirects in a circle; see to the API")

    def _followed(self, method: str, status: int, url: str) -> str:
        """Where a redirect leads, on this host alone: GitHub sends one for a repository that was renamed."""
        if method != "GET" and status in (301, 302):
            raise Unanswered(
                f"{self._shown(method, url)}: a write is redirected; see whether the repository was renamed"
            )
        return self._own(url)

    def _own(self, path: str) -> str:
        """The address of a path; one of another host is refused, for the token goes along."""
        if path.startswith("/"):
            return f"{self.api}{path}"
        if _origin(urlsplit(path)) != _origin(urlsplit(self.api)):
            other = clean(urlsplit(path).hostname or path, 100)
            raise Unanswered(
                f"{self.host}: leads to another host ({other}), which is asked nothing; see GITHUB_API_URL"
            )
        return path

    def _shown(self, method: str, url: str) -> str:
        return f"{self.host}: {method} {clean(urlsplit(url).path, 200)}"

    def _reply(self, shown: str, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        try:
            return Reply(status, headers, json.loads(body) if body else None)
        except ValueError as err:
            text = f"{shown}: expected JSON, found something else; see whether {self.api} is GitHub's API"
            raise Unanswered(text) from err


def _address(api: str) -> str:
    """An API's address without its last slash; plain HTTP on this machine alone."""
    parts = urlsplit(api)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not safe or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            "GITHUB_API_URL: expected https://HOST, found another address; GitHub's own is https://api.github.com"
        )
    return api.rstrip("/")


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _read(answer: Any) -> bytes:
    """The whole body: read up to a limit, the library does not miss what did not come."""
    body: bytes = answer.read(LARGEST_ANSWER_BYTES)
    declared = answer.headers.get("Content-Length", "")
    if declared.isdigit() and len(body) < min(int(declared), LARGEST_ANSWER_BYTES):
        raise http.client.IncompleteRead(body, int(declared) - len(body))
    return body


def _small(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _said(body: bytes) -> str:
    """GitHub's own words, one line of them."""
    try:
        found = json.loads(body)
    except ValueError:
        return "no reason given"
    if not isinstance(found, dict):
        return "no reason given"
    errors = found.get("errors")
    listed = errors if isinstance(errors, list) else []
    more = [str(each.get("message") or each.get("code")) if isinstance(each, dict) else str(each) for each in listed]
    return clean(": ".join(filter(None, [str(found.get("message") or ""), ", ".join(more)])), 300) or "no reason given"


def _limit(status: int, headers: Mapping[str, str], said: str, now: float) -> tuple[bool, float | None]:
    """Whether an answer means "later", and in how many seconds where it says so."""
    if status not in (FORBIDDEN, TOO_MANY):
        return False, None
    after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if after.isdigit():
        return True, float(after)
    if headers.get("x-ratelimit-remaining") == "0":
        return True, max(1.0, float(reset) - now) if reset.isdigit() else None
    return status == TOO_MANY or "secondary rate limit" in said.lower(), None


def _advice(status: int, said: str, headers: Mapping[str, str]) -> str:
    """What a no means, and what to do."""
    if status == UNAUTHORIZED:
        return f"401, the token is not valid any more ({said}); set GITHUB_TOKEN anew"
    if status == FORBIDDEN:
        wanted = clean(headers.get("x-accepted-github-permissions", ""), 200).replace(";", " or")
        return f"403, {said}; " + (f"the token needs {wanted}" if wanted else "see what the token may do")
    if status in (NOT_FOUND, GONE):
        return (
            f"{status}, there is no such thing, or the token may not see it ({said}); see name, number and permissions"
        )
    return f"{status}, {said}; see what was asked for"
