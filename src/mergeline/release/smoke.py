"""What a server has to show right after a deployment, asked over HTTP as a client asks."""

from __future__ import annotations

import http.client
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mergeline.errors import ConfigurationError, ServiceError, VerificationError
from mergeline.schema import KnownSample, Signature, Task
from mergeline.serve.loading import SAMPLE_TOLERANCE
from mergeline.serve.variants import Role

TIMEOUT_S = 30.0
PROBLEM = "application/problem+json"
JSON = {"Content-Type": "application/json"}
MOST_TRIES = 50  # to be answered by the champion where a challenger has a share
CONNECTIONS = 10  # behind one address may be several servers, and a connection keeps to one
KEEPING = 10  # so many requests of the measurement of latency go over one connection
WARM_UP = 5
FAR_TOO_LARGE_BYTES = 1 << 40


@dataclass(frozen=True, slots=True)
class Expected:
    """What a release promises: its model, and what is known of it."""

    model_sha256: str
    signature: Signature


@dataclass(frozen=True, slots=True)
class Wishes:
    """How latency is measured: so many requests, one after the other, 95 of 100 within `latency_ms`."""

    requests: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Check:
    """One check by its name, whether it passed, and what was seen."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, headers by their small names, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Client:
    """Asks one server on a connection that stays open; raises `ServiceError` where it does not answer."""

    def __init__(self, url: str, key: str | None = None) -> None:
        try:
            parts, port = urlsplit(url), urlsplit(url).port
        except ValueError as err:
            raise ConfigurationError(f"smoke: {url!r}: {err}; expected http://HOST:PORT") from err
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"smoke: expected http://HOST or https://HOST, found {url!r}")
        self.url = url.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = make(parts.hostname, port, timeout=TIMEOUT_S)
        self.key = key

    def ask(self, path: str, body: bytes | None = None, *, declared: int | None = None, with_key: bool = True) -> Reply:
        """Return the answer; `declared` is a length of a body of which nothing is sent."""
        headers = dict(JSON) if body is not None else {}
        if self.key and with_key:
            headers["Authorization"] = f"Bearer {self.key}"
        if declared is not None:
            headers["Content-Length"] = str(declared)
        method = "GET" if body is None else "POST"
        try:
            self._connection.request(method, f"{self._prefix}{path}", None if declared else body, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, UnicodeError, http.client.HTTPException) as err:
            raise self._silent(err) from err
        finally:
            if declared is not None:
                self._connection.close()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)

    def connect_anew(self) -> None:
        """Let go of the connection and open another one, perhaps to another server behind the same address."""
        self._connection.close()
        try:
            self._connection.connect()
        except (OSError, UnicodeError, http.client.HTTPException) as err:
            raise self._silent(err) from err

    def _silent(self, err: Exception) -> ServiceError:
        return ServiceError(f"{self.url}: the server does not answer ({err!r}); see whether it runs")

    def predict(self, *rows: Mapping[str, Any]) -> Reply:
        """Return the answer to some rows' features."""
        return self.ask("/predict", body_of(*rows))


def body_of(*rows: Mapping[str, Any]) -> bytes:
    """Return the body of a request."""
    return json.dumps({"rows": [{"features": row} for row in rows]}).encode()


def smoke(client: Client, expected: Expected, wishes: Wishes) -> Iterator[Check]:
    """Yield the checks in their order; the first that does not pass is the last.

    Raises `ServiceError` where nobody answers. The rows that are asked for are known samples of the model, and lie in
    the prediction log as any others do.
    """
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("ready", lambda: _ready(client)),
        ("model", lambda: _model(client, expected)),
        ("samples", lambda: _samples(client, expected)),
        ("answers", lambda: _answers(client, expected)),
        ("bad-input", lambda: _bad_input(client, expected)),
        ("latency", lambda: _latency(client, expected, wishes)),
    )
    for name, check in checks:
        try:
            said = check()
        except VerificationError as err:
            yield Check(name, passed=False, said=str(err))
            return
        yield Check(name, passed=True, said=said)


# ---- The checks ------------------------------------------------------------------------------------------------------


def _ready(client: Client) -> str:
    found = client.ask("/readyz")
    if found.status != 200:
        raise VerificationError(f"/readyz: expected 200, found {found.status}; the server's log says why")
    return f"{client.url} is ready"


def _model(client: Client, expected: Expected) -> str:
    for _ in range(CONNECTIONS):
        client.connect_anew()
        found = client.ask("/readyz").json
        served = found.get("model_sha256") if isinstance(found, dict) else None
        if served != expected.model_sha256:
            raise _wrong_model(expected, served)
    return f"serves model {expected.model_sha256[:12]} on {CONNECTIONS} connections"


def _wrong_model(expected: Expected, served: object, role: str = "") -> VerificationError:
    found = f"{str(served)[:12]}{role}"
    return VerificationError(f"expected model {expected.model_sha256[:12]}, found {found}; see the rollout")


def _samples(client: Client, expected: Expected) -> str:
    samples, task = expected.signature.samples, expected.signature.task
    largest = max((abs(score) for sample in samples for score in sample.scores), default=0.0)
    tolerance = SAMPLE_TOLERANCE * (max(1.0, largest) if task is Task.REGRESSION else 1.0)
    farthest = 0.0
    for number, sample in enumerate(samples):
        client.connect_anew()
        apart = _apart(expected.signature, sample, _prediction(client, expected, sample)[1])
        if not apart <= tolerance:
            raise VerificationError(
                f"known sample {number} scores {apart:.3g} off what training recorded, allowed {tolerance:g}"
            )
        farthest = max(farthest, apart)
    if not samples:
        raise VerificationError("the model's signature holds no known sample; train it anew")
    return f"{len(samples)} known samples score as recorded, {farthest:.1g} apart at most"


def _apart(signature: Signature, sample: KnownSample, prediction: Mapping[str, Any]) -> float:
    """How far a prediction lies from the recorded scores; NaN where it is none."""
    found, recorded = [prediction.get("score")], sample.scores[-1:]
    if signature.task is Task.MULTICLASS:
        scores = prediction.get("scores")
        found = [scores.get(name) for name in signature.classes] if isinstance(scores, dict) else []
        recorded = sample.scores
    try:
        numbers = [float(value) for value in found if isinstance(value, int | float)]
    except OverflowError:  # more digits than a number has here
        return math.nan
    if len(numbers) != len(recorded):
        return math.nan
    return max(abs(number - score) for number, score in zip(numbers, recorded, strict=True))


def _answers(client: Client, expected: Expected) -> str:
    reply, prediction = _prediction(client, expected, expected.signature.samples[0])
    named = reply.headers.get("x-request-id")
    if not named or prediction.get("request_id") != named:
        raise VerificationError(
            f"expected one request id in header and answer, found {named!r} and {prediction.get('request_id')!r}"
        )
    if not prediction.get("variant"):
        raise VerificationError("expected the variant in the answer, found none; labels could not be told apart")
    return f"request id, model and variant ({prediction['variant']}) are in the answer"


def _bad_input(client: Client, expected: Expected) -> str:
    row = dict(expected.signature.samples[0].row)
    first = expected.signature.features[0].name
    cases: dict[str, Callable[[], Reply]] = {
        "an unknown column": lambda: client.predict({**row, "smoke-unknown": 1}),
        "a wrong type": lambda: client.predict({**row, first: [{}]}),
        "NaN": lambda: client.predict({**row, first: math.nan}),
        "no JSON": lambda: client.ask("/predict", b'{"rows": ['),
        "a body far too large": lambda: client.ask("/predict", b"", declared=FAR_TOO_LARGE_BYTES),
    }
    if client.key:
        cases["no key"] = lambda: client.ask("/predict", body_of(row), with_key=False)
    for name, asked in cases.items():
        reply = asked()
        problem = reply.json if reply.headers.get("content-type", "").partition(";")[0] == PROBLEM else None
        if not (400 <= reply.status < 500 and isinstance(problem, dict) and problem.get("status") == reply.status):
            said = "with" if problem is not None else "without"
            raise VerificationError(
                f"{name}: expected a 4xx with a problem document, found {reply.status} {said} one; see the server's log"
            )
    return f"refused: {', '.join(cases)}"


def _latency(client: Client, expected: Expected, wishes: Wishes) -> str:
    body, times = body_of(expected.signature.samples[0].row), list[float]()
    for number in range(WARM_UP + wishes.requests):
        if number % KEEPING == 0:
            client.connect_anew()
        started = time.perf_counter()
        reply = client.ask("/predict", body)
        times.append((time.perf_counter() - started) * 1e3)
        _answered_by(expected, _prediction_of(reply))
    kept = sorted(times[WARM_UP:])
    median, p95 = statistics.median(kept), kept[math.ceil(0.95 * len(kept)) - 1]
    said = f"{median:.1f} ms at the median and {p95:.1f} ms at 95 of 100 of {len(kept)} requests of one row"
    if p95 > wishes.latency_ms:
        raise VerificationError(f"{said}, expected {wishes.latency_ms:g} ms at most")
    return said


def _prediction(client: Client, expected: Expected, sample: KnownSample) -> tuple[Reply, Mapping[str, Any]]:
    """The champion's answer to a known sample; a challenger's is asked again, the share is by request."""
    for _ in range(MOST_TRIES):
        reply = client.predict(sample.row)
        found = _prediction_of(reply)
        if found.get("model_sha256") == expected.model_sha256:
            return reply, found
        _answered_by(expected, found)
    raise VerificationError(
        f"none of {MOST_TRIES} answers came from model {expected.model_sha256[:12]}; see the challenger's share"
    )


def _prediction_of(reply: Reply) -> Mapping[str, Any]:
    """The one prediction of an answer."""
    found = reply.json
    predictions = found.get("predictions") if isinstance(found, dict) else None
    if reply.status != 200 or not isinstance(predictions, list) or len(predictions) != 1:
        raise VerificationError(f"/predict: expected 200 and one prediction, found {reply.status}")
    if not isinstance(predictions[0], dict):
        raise VerificationError(f"/predict: expected a prediction, found {type(predictions[0]).__name__}")
    return predictions[0]


def _answered_by(expected: Expected, prediction: Mapping[str, Any]) -> None:
    """Refuse what is neither the expected champion's answer nor a challenger's: another champion is another release."""
    served, variant = prediction.get("model_sha256"), prediction.get("variant")
    if variant != Role.CHALLENGER and (variant != Role.CHAMPION or served != expected.model_sha256):
        raise _wrong_model(expected, served, f" as {str(variant)[:20]}")
