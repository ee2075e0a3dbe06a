"""The ASGI application: HTTP in, one handler a route, HTTP out; what a route does stands elsewhere."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import msgspec

from mergeline.errors import ServiceError
from mergeline.release.retirement import DEPRECATED_DAYS
from mergeline.serve import pages
from mergeline.serve.ids import Ids
from mergeline.serve.metrics import MEDIA_TYPE as METRICS_TYPE
from mergeline.serve.problems import MEDIA_TYPE as PROBLEM_TYPE
from mergeline.serve.problems import Answer, Problem
from mergeline.serve.requests import ApiKey, Bodies, Gone, Receive

if TYPE_CHECKING:
    from mergeline.serve.labelling import Labelling
    from mergeline.serve.lifecycle import Lifecycle
    from mergeline.serve.predict import Predictor
    from mergeline.serve.settings import Limits
    from mergeline.serve.status import Watch
    from mergeline.serve.tally import Tally

log = logging.getLogger(__name__)

HTML = b"text/html; charset=utf-8"
RETRY_AFTER_S = "1"
PAGE_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

Send = Callable[[dict[str, Any]], Awaitable[None]]
Work = Callable[[bytes, str], Awaitable[Answer]]
Read = Callable[[], Awaitable[Answer]]
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """What an application is made of."""

    predictor: Predictor
    labelling: Labelling | None
    described: dict[str, Any]
    watch: Watch
    lifecycle: Lifecycle
    tally: Tally
    ids: Ids
    key: ApiKey
    limits: Limits
    access_log: bool
    headers: Headers  # of every answer


@dataclass(frozen=True, slots=True)
class Look:
    """A route that is free: its name in metrics, and who answers."""

    name: str
    answer: Read


@dataclass(slots=True)
class Job:
    """A route that takes a body, needs the key and is bounded: its name, who answers, how many it answers now.

    Each has places of its own: labels that wait for their store take none of predictions.
    """

    name: str
    answer: Work
    running: int = 0


class App:
    """Answers every request: a problem as `application/problem+json`, never a traceback.

    At most `limits.concurrency` requests are read and answered at once; one more gets 503 and Retry-After.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._bodies = Bodies(parts.limits)
        self._read = self._bodies.read
        self._next_id = parts.ids.next
        self._count = parts.tally.answered
        self._key = parts.key
        self._concurrency = parts.limits.concurrency
        self._predict = Job("predict", parts.predictor.predict)
        self._label = Job("labels", self._labels)
        self._described = msgspec.json.encode(parts.described)
        self._docs = pages.docs(parts.described)
        self._home = pages.Home(parts.described)
        # nothing on a page comes from elsewhere, and no page is framed
        self._page_headers = {**PAGE_HEADERS, "Content-Security-Policy": pages.content_security_policy()}
        self._routes: Mapping[str, Mapping[str, Look | Job]] = {
            "/predict": {"POST": self._predict},
            "/invocations": {"POST": self._predict},  # this and /ping are what SageMaker asks for
            "/labels": {"POST": self._label},
            "/healthz": _reads("healthz", self._healthz),
            "/readyz": _reads("readyz", self._readyz),
            "/ping": _reads("readyz", self._readyz),
            "/metrics": _reads("metrics", self._metrics),
            "/status": _reads("status", self._status),
            "/openapi.json": _reads("openapi", self._openapi),
            "/docs": _reads("docs", self._documentation),
            "/": _reads("page", self._page),
        }

    def tick(self) -> None:
        """End what takes too long, and bring what others see up to date; called every second."""
        self._bodies.sweep(time.perf_counter())
        self._parts.lifecycle.look_after_parent()
        self._parts.lifecycle.settle()
        self._parts.watch.tick(self._predict.running + self._label.running)

    @property
    def watch(self) -> Watch:
        """What the application knows of itself."""
        return self._parts.watch

    async def close(self, timeout_s: float) -> None:
        """Return when nothing is left that was answered and not handed to the log, or after `timeout_s` seconds."""
        await self._parts.predictor.close(timeout_s)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the start and the end of the process."""
        if scope["type"] == "lifespan":
            await self._parts.lifecycle.run(self, receive, send)
            return
        started = time.perf_counter()
        request_id = self._next_id()
        name = "none"
        try:
            route = self._route(scope["method"], scope["path"])
            name = route.name
            if isinstance(route, Job):
                headers = dict(scope["headers"])
                self._admit(route, headers)
                route.running += 1
                try:
                    answer = await route.answer(await self._read(receive, headers, request_id, started), request_id)
                finally:
                    route.running -= 1
            else:
                answer = await route.answer()
        except Gone:
            return
        except Problem as err:
            answer = _refusal(err, request_id)
        except ServiceError as err:
            log.warning("a store does not answer", extra={"request_id": request_id, "reason": str(err)})
            said = "a store does not answer; send the same again later"
            answer = _refusal(Problem(503, said, headers={"Retry-After": RETRY_AFTER_S}), request_id)
        except Exception:  # the edge: a client learns nothing of the inside, whatever broke there
            log.exception("a request failed", extra={"request_id": request_id, "route": name})
            answer = _refusal(Problem(500, "the server failed; its log has the reason"), request_id)
        await send(self._head(answer, request_id))
        await send({"type": "http.response.body", "body": answer.body})
        seconds = time.perf_counter() - started
        self._count(name, answer.status, seconds)
        if answer.status >= 400 or self._parts.access_log:
            _log_request(scope, answer, request_id, seconds)

    def _route(self, method: str, path: str) -> Look | Job:
        methods = self._routes.get(path)
        if methods is None:
            raise Problem(404, f"{path[:80]!r}: no such path; /docs has them all")
        route = methods.get(method)
        if route is None:
            allowed = ", ".join(methods)
            raise Problem(405, f"{path}: expected {allowed}, found {method[:20]}", headers={"Allow": allowed})
        return route

    def _admit(self, job: Job, headers: dict[bytes, bytes]) -> None:
        self._key.check(headers)
        if job.running >= self._concurrency:
            said = f"{job.running} requests are being answered, which is the most; come again"
            raise Problem(503, said, headers={"Retry-After": RETRY_AFTER_S})

    def _head(self, answer: Answer, request_id: str) -> dict[str, Any]:
        headers = [
            (b"content-type", answer.media_type),
            (b"content-length", b"%d" % len(answer.body)),
            (b"x-request-id", request_id.encode()),
            *self._parts.headers,
        ]
        if answer.headers:
            headers += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        if self._parts.lifecycle.is_leaving:
            headers.append((b"connection", b"close"))
        return {"type": "http.response.start", "status": answer.status, "headers": headers}

    # ---- Routes ------------------------------------------------------------------------------------------------------

    async def _labels(self, body: bytes, _request_id: str) -> Answer:
        if self._parts.labelling is None:
            raise Problem(404, "this server keeps no log, and so no labels")
        accepted = await self._parts.labelling.take(body)
        self._parts.tally.labels += accepted
        return Answer(msgspec.json.encode({"accepted": accepted}))

    async def _healthz(self) -> Answer:
        return Answer(b'{"status":"alive"}')

    async def _readyz(self) -> Answer:
        ready = self._parts.lifecycle.is_ready
        state = {"status": "ready" if ready else "not ready", "model_sha256": self._parts.watch.model_sha256}
        return Answer(msgspec.json.encode(state), status=200 if ready else 503)

    async def _metrics(self) -> Answer:
        return Answer(self._parts.watch.metrics(), METRICS_TYPE)

    async def _status(self) -> Answer:
        return Answer(msgspec.json.encode(self._parts.watch.status()))

    async def _openapi(self) -> Answer:
        return Answer(self._described)

    async def _documentation(self) -> Answer:
        return Answer(self._docs, HTML, headers=self._page_headers)

    async def _page(self) -> Answer:
        return Answer(self._home.html(self._parts.watch.status()), HTML, headers=self._page_headers)


def sunset_headers(day: dt.date | None) -> Headers:
    """Return what tells clients that the model goes on a day: Deprecation (RFC 9745) and Sunset (RFC 8594).

    >>> sunset_headers(dt.date(2027, 3, 1))
    ((b'deprecation', b'@1796083200'), (b'sunset', b'Mon, 01 Mar 2027 00:00:00 GMT'))
    """
    if day is None:
        return ()
    at = dt.datetime.combine(day, dt.time(), dt.UTC)
    since = round((at - dt.timedelta(DEPRECATED_DAYS)).timestamp())
    return (b"deprecation", b"@%d" % since), (b"sunset", format_datetime(at, usegmt=True).encode())


def _reads(name: str, read: Read) -> dict[str, Look | Job]:
    look = Look(name, read)
    return {"GET": look, "HEAD": look}


def _refusal(problem: Problem, request_id: str) -> Answer:
    return Answer(problem.body(request_id), PROBLEM_TYPE, problem.status, problem.headers)


def _log_request(scope: Mapping[str, Any], answer: Answer, request_id: str, seconds: float) -> None:
    log.info(
        "request",
        extra={
            "request_id": request_id,
            "method": scope["method"],
            "path": scope["path"],
            "status": answer.status,
            "milliseconds": round(seconds * 1e3, 3),
            # the field and not the sentence, which may hold a value
            **({"field": msgspec.json.decode(answer.body).get("field")} if answer.status >= 400 else {}),
        },
    )
