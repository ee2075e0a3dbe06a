"""The split of the traffic: a reverse proxy before two servers, whose share moves between two requests."""

from __future__ import annotations

import json
import logging
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from mergeline.canary.series import Sample
from mergeline.canary.template import CANDIDATE, HASH_LABEL, STABLE
from mergeline.errors import ConfigurationError
from mergeline.serve.variants import Split

HOST = "127.0.0.1"
PREDICT = "/predict"
LARGEST_BODY_BYTES = 64 << 20  # more than a server takes: it is the one that refuses
CONNECT_S = 2.0
ANSWER_S = 30.0
ENDING_S = 10.0
PROBLEM = "application/problem+json"
OF_ONE_CONNECTION = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "host", "content-length"),
    )
)

logger = logging.getLogger(__name__)


class _Row(msgspec.Struct):
    entity_id: str | None = None


class _Body(msgspec.Struct):
    rows: list[_Row]


_decoder = msgspec.json.Decoder(_Body)


@dataclass(slots=True)
class Traffic:
    """How many predictions each server answered, and how many requests the candidate did not answer at all."""

    answered: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0

    def samples(self) -> list[Sample]:
        """Return what the candidate's own metrics cannot say: requests that it did not answer, as its errors."""
        labels = frozenset({("route", "predict"), ("status", "502"), (HASH_LABEL, CANDIDATE)})
        return [Sample("mergeline_requests_total", labels, float(self.unanswered))]


class Proxy:
    """Answers with the candidate for `share` of the keys, always the same ones, and with the stable server else.

    The key of a request is the `entity_id` of its first row, else the header `key_header` where one is named, else its
    own. Only predictions are split; everything else is the stable server's, and at a share of 1 the candidate's. A
    prediction that the candidate does not answer is one that the stable server does: it changes nothing, so that
    asking twice is safe.
    """

    def __init__(self, stable: str, candidate: str, candidate_sha256: str, key_header: str | None) -> None:
        self._urls = {STABLE: stable.rstrip("/"), CANDIDATE: candidate.rstrip("/")}
        self._split = Split(candidate_sha256, 0.0)
        self._key_header = key_header
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.traffic = Traffic()

    @property
    def share(self) -> float:
        """The share of the keys that the candidate answers, 0 to 1."""
        return self._split.share

    @share.setter
    def share(self, share: float) -> None:
        self._split = Split(self._split.challenger_sha256, share)

    @property
    def session(self) -> aiohttp.ClientSession:
        """What asks the servers; there from `start` to `close`."""
        if self._session is None:
            raise RuntimeError("the proxy is not started")
        return self._session

    async def start(self, port: int) -> str:
        """Listen on loopback and return the address; raise `ConfigurationError` where the port is taken."""
        timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=CONNECT_S, sock_read=ANSWER_S)
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        application = web.Application(client_max_size=LARGEST_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=ENDING_S, auto_decompress=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, port).start()
        except OSError as err:
            await self.close()
            raise ConfigurationError(f"{HOST}:{port}: {err.strerror}; choose another --port") from err
        return f"http://{HOST}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Take no more connections, answer what was asked, and let go of the servers."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    # ---- A request ---------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _problem(413, f"expected a body of at most {LARGEST_BODY_BYTES} bytes; send the rows in parts")
        except (aiohttp.ClientPayloadError, ConnectionError) as err:  # nobody is left to be answered
            logger.debug("a client's body ended: %s", err)
            return _problem(400, "the body ended before its length")
        is_prediction = request.method == "POST" and request.path == PREDICT
        target = self._target(request, body, is_prediction=is_prediction)
        answer = await self._asked(target, request, body, may_repeat=is_prediction)
        if answer is None and target == CANDIDATE:
            self.traffic.unanswered += is_prediction
            target = STABLE
            answer = await self._asked(target, request, body, may_repeat=is_prediction)
        if answer is None:
            return _problem(502, "no server answers; send the same again later")
        self.traffic.answered[target] += is_prediction
        return answer

    def _target(self, request: web.Request, body: bytes, *, is_prediction: bool) -> str:
        if self.share in (0.0, 1.0) or not is_prediction:
            return CANDIDATE if self.share == 1.0 else STABLE
        return CANDIDATE if self._split.takes(self._key(request, body)) else STABLE

    def _key(self, request: web.Request, body: bytes) -> str:
        try:
            rows = _decoder.decode(body).rows
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            rows = []  # the server says what is wrong with it
        entity = rows[0].entity_id if rows else None
        named = request.headers.get(self._key_header) if self._key_header else None
        return entity or named or secrets.token_hex(8)

    async def _asked(
        self, target: str, request: web.Request, body: bytes, *, may_repeat: bool
    ) -> web.StreamResponse | None:
        """A server's answer; None where none came and asking somebody else is safe.

        The stable server may end a connection that was idle just as a prediction goes out on it: it is asked once more.
        """
        url = URL(f"{self._urls[target]}{_path(request)}", encoded=True)
        for is_last in (target == CANDIDATE or not may_repeat, True):
            try:
                return await self._passed(url, request, body)
            except aiohttp.ClientConnectorError as err:
                logger.debug("%s: %s", url, err)
                return None
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as err:
                logger.debug("%s: %s", url, err)
                if is_last:
                    break
            except (aiohttp.ClientError, TimeoutError) as err:
                logger.debug("%s: %s", url, err)
                break
        return None if may_repeat else _problem(502, "the server ended the connection; it may have done its work")

    async def _passed(self, url: URL, request: web.Request, body: bytes) -> web.Response:
        headers = _passed_on(request.headers)
        async with self.session.request(
            request.method, url, data=body or None, headers=headers, allow_redirects=False
        ) as answer:
            given = _passed_on(answer.headers)
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                given.append(("Content-Length", answer.headers["Content-Length"]))  # of the body that is not sent
            return web.Response(status=answer.status, body=await answer.read(), headers=given)


def _path(request: web.Request) -> str:
    """The path and the query as they were sent, of a target that names a host as well."""
    return request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs


def _passed_on(headers: Any) -> list[tuple[str, str]]:
    """The headers that are the message's own."""
    return [(name, value) for name, value in headers.items() if name.lower() not in OF_ONE_CONNECTION]


def _problem(status: int, detail: str) -> web.Response:
    record = {"type": "about:blank", "status": status, "detail": f"canary: {detail}"}
    return web.Response(status=status, body=json.dumps(record).encode(), content_type=PROBLEM)
