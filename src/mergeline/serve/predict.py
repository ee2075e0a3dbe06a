"""From a request's body to its answer: decode, choose the variant, score, decide, hand over to log and gauges."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mergeline.schema import Signature, Task
from mergeline.serve.beside import Beside
from mergeline.serve.ids import Ids
from mergeline.serve.logschema import Entry
from mergeline.serve.problems import Answer, Problem
from mergeline.serve.rows import Parsed, RequestModel, Rows
from mergeline.serve.shadow import Shadow
from mergeline.serve.variants import Traffic, Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mergeline.serve.drift import DriftWindow
    from mergeline.serve.predictionlog import PredictionLog
    from mergeline.serve.tally import Tally

log = logging.getLogger(__name__)

ROWS_ON_THE_LOOP = 64  # their scoring takes less than handing it to a thread and back may


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The answer for one row.

    `request_id` names it for labels that come later. `score` is the probability of the second class, of the likeliest
    of several, or the predicted value; `decision` the class, null for a regression; `scores` the probability of every
    class where there are more than two.
    """

    request_id: str
    model_sha256: str
    variant: str
    score: float
    decision: str | None
    scores: dict[str, float] | msgspec.UnsetType = msgspec.UNSET


class Predictions(msgspec.Struct, frozen=True, gc=False):
    """The answer to a request: one prediction a row, in the order of the rows."""

    predictions: list[Prediction]


class Job(msgspec.Struct, frozen=True, gc=False):
    """A request that waits for its scores; `answer` gets its predictions."""

    parsed: Parsed
    ids: list[str]
    started: float
    answer: asyncio.Future[list[Prediction]]


class _Batch(msgspec.Struct, frozen=True, gc=False):
    """Requests whose rows are scored together, and when that was (microseconds since 1970 UTC)."""

    jobs: Sequence[Job]
    rows: Rows
    ids: list[str]
    ts_us: int


class _Scored(msgspec.Struct, frozen=True, gc=False):
    """Rows that one variant has scored; `positions` are theirs among all, None for all of them."""

    variant: Variant
    scores: NDArray[np.float64]
    positions: Sequence[int] | None


class Predictor:
    """Answers requests with the variants of one traffic, and lets log, gauges and counters know.

    Requests that come in the same turn of the event loop are scored together: under load a call of the runtime, a
    matrix and an entry of the log serve many of them, and none waits for another to come. `log` and `drift` are None
    where they are switched off.
    """

    def __init__(
        self,
        traffic: Traffic,
        request: RequestModel,
        ids: Ids,
        tally: Tally,
        log: PredictionLog | None,
        drift: DriftWindow | None,
    ) -> None:
        self._traffic = traffic
        self._request = request
        self._ids = ids
        self._tally = tally
        self._log = log
        self._drift = drift
        self._encode = msgspec.json.Encoder().encode
        self._shadow = None if traffic.shadow is None else Shadow(traffic.shadow, self._keep_shadow)
        self._beside = Beside("scoring")
        self._waiting: list[Job] = []
        self._waiting_rows = 0

    async def predict(self, body: bytes, request_id: str) -> Answer:
        """Return the answer to a request's body; raise `Problem` where it cannot be answered.

        The first row gets `request_id` as its own, each further one a new id.
        """
        started = time.perf_counter()
        parsed = self._request.decode(body)
        rows = len(parsed.values)
        ids = [request_id] if rows == 1 else [request_id, *self._ids.many(rows - 1)]
        loop = asyncio.get_running_loop()
        job = Job(parsed, ids, started, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._score_waiting)
        self._waiting.append(job)
        self._waiting_rows += rows
        if self._waiting_rows > ROWS_ON_THE_LOOP:  # at once: their thread scores them while the next ones are decoded
            self._score_waiting()
        return Answer(self._encode(Predictions(await job.answer)))

    def _score_waiting(self) -> None:
        """Answer what waits; many rows are scored in a thread, so that the loop goes on with other requests."""
        jobs, self._waiting, self._waiting_rows = self._waiting, [], 0
        if not jobs:
            return
        with _failing(jobs):
            batch = self._batch(jobs)
            if len(batch.ids) > ROWS_ON_THE_LOOP:
                self._beside.do(lambda: self._scored(batch.rows, batch.ids), partial(self._answer_later, batch))
            else:
                self._answer(batch, self._scored(batch.rows, batch.ids))

    def _answer_later(self, batch: _Batch, scored: list[_Scored] | Exception) -> None:
        with _failing(batch.jobs):
            if isinstance(scored, Exception):
                raise scored
            self._answer(batch, scored)

    def _batch(self, jobs: Sequence[Job]) -> _Batch:
        ids = jobs[0].ids if len(jobs) == 1 else [each for job in jobs for each in job.ids]
        return _Batch(jobs, self._request.together([job.parsed for job in jobs]), ids, time.time_ns() // 1_000)

    def _answer(self, batch: _Batch, scored: list[_Scored]) -> None:
        """Answer a batch; a request whose own rows have no finite score fails alone."""
        jobs, rows, ids = batch.jobs, batch.rows, batch.ids
        predictions = _predictions(scored[0], ids) if scored[0].positions is None else _in_order(scored, ids)
        if not math.isfinite(sum([each.score for each in predictions])):  # of finite float32 it is finite in float64
            self._answer_apart(jobs, predictions)
            return
        at = 0
        for job in jobs:
            end = at + len(job.ids)
            if not job.answer.done():  # done: its client has left
                job.answer.set_result(predictions[at:end])
            at = end
        latency_ms = (time.perf_counter() - jobs[0].started) * 1e3
        for part in scored:
            self._keep(part, rows, ids, batch.ts_us, latency_ms)
        if self._shadow is not None:
            self._shadow.listen(rows, ids, batch.ts_us)

    def _answer_apart(self, jobs: Sequence[Job], predictions: Sequence[Prediction]) -> None:
        """Answer one by one; the request that has no finite score is no prediction, and is logged as none."""
        if len(jobs) > 1:
            for job in jobs:
                batch = self._batch([job])
                self._answer(batch, self._scored(batch.rows, batch.ids))
            return
        row = next(number for number, each in enumerate(predictions) if not math.isfinite(each.score))
        said = f"rows[{row}]: the model has no finite score for these values; see to their size"
        if not jobs[0].answer.done():
            jobs[0].answer.set_exception(Problem(422, said, f"rows[{row}]"))

    def _scored(self, rows: Rows, ids: Sequence[str]) -> list[_Scored]:
        traffic = self._traffic
        if traffic.split is None or traffic.challenger is None:
            return [_Scored(traffic.champion, traffic.champion.score(rows), None)]
        entities = rows.entity_ids or [None] * len(rows)
        taken = [traffic.split.takes(entity or own) for entity, own in zip(entities, ids, strict=True)]
        if all(taken):
            return [_Scored(traffic.challenger, traffic.challenger.score(rows), None)]
        if not any(taken):
            return [_Scored(traffic.champion, traffic.champion.score(rows), None)]
        parts = []
        for variant, wanted in ((traffic.champion, False), (traffic.challenger, True)):
            positions = [position for position, is_taken in enumerate(taken) if is_taken is wanted]
            parts.append(_Scored(variant, variant.score(rows.at(positions)), positions))
        return parts

    def _keep(self, part: _Scored, rows: Rows, ids: Sequence[str], ts_us: int, latency_ms: float) -> None:
        """Let log, window and counters know of rows that were answered."""
        variant, positions = part.variant, part.positions
        mine = rows if positions is None else rows.at(positions)
        own_ids = ids if positions is None else [ids[position] for position in positions]
        self._tally.predicted(variant.name, len(mine))
        if self._drift is not None and variant is self._traffic.champion:
            self._drift.add(mine.values, score_of(variant.signature, part.scores))
        if self._log is not None:
            self._log.add(_entry(variant, mine, own_ids, ts_us, part.scores, latency_ms))

    async def close(self, timeout_s: float) -> None:
        """Return when the shadow, if there is one, has scored what was answered, or after `timeout_s` seconds."""
        if self._shadow is not None:
            await self._shadow.close(timeout_s)
        self._beside.close()

    def _keep_shadow(
        self, rows: Rows, ids: Sequence[str], ts_us: int, scores: NDArray[np.float64] | None, latency_ms: float
    ) -> None:
        shadow = self._traffic.shadow
        if shadow is None:
            return
        self._tally.predicted(shadow.name, len(rows))
        if self._log is not None:
            self._log.add(_entry(shadow, rows, ids, ts_us, scores, latency_ms))


@contextmanager
def _failing(jobs: Sequence[Job]) -> Iterator[None]:
    """Let what goes wrong in the block be the answer of those who wait for one, and tell it where nobody does."""
    try:
        yield
    except Exception as err:
        waiting = [job for job in jobs if not job.answer.done()]
        if not waiting:  # else the app says so, of each of them
            log.exception("rows were answered and not kept", extra={"request_id": jobs[0].ids[0]})
        for job in waiting:
            job.answer.set_exception(err)


def score_of(signature: Signature, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the one score a row that is answered, logged and watched: float64 (rows,)."""
    if signature.task is Task.BINARY:
        return scores[:, 1]
    return scores[:, 0] if signature.task is Task.REGRESSION else np.asarray(scores.max(axis=1))


def _in_order(parts: Sequence[_Scored], ids: Sequence[str]) -> list[Any]:
    """The predictions of several variants in the order of the request."""
    ordered: list[Any] = [None] * len(ids)
    for part in parts:
        positions = part.positions or ()
        for position, prediction in zip(positions, _predictions(part, [ids[each] for each in positions]), strict=True):
            ordered[position] = prediction
    return ordered


def _predictions(part: _Scored, ids: Sequence[str]) -> list[Prediction]:
    signature, sha256, role = part.variant.signature, part.variant.sha256, str(part.variant.name)
    if len(part.scores) != len(ids):  # the columns below end where the shortest does
        raise ValueError(f"expected the scores of {len(ids)} rows from {sha256}, found {len(part.scores)}")
    if signature.task is Task.BINARY:
        low, high = signature.classes
        threshold = signature.threshold
        values = part.scores[:, 1].tolist()
        decisions = repeat(None) if threshold is None else [high if score >= threshold else low for score in values]
        return list(map(Prediction, ids, repeat(sha256), repeat(role), values, decisions))
    if signature.task is Task.REGRESSION:
        values = part.scores[:, 0].tolist()
        return list(map(Prediction, ids, repeat(sha256), repeat(role), values, repeat(None)))
    likeliest = part.scores.argmax(axis=1).tolist()
    return [
        Prediction(
            own, sha256, role, scores[best], signature.classes[best], dict(zip(signature.classes, scores, strict=True))
        )
        for own, scores, best in zip(ids, part.scores.tolist(), likeliest, strict=True)
    ]


def _entry(
    variant: Variant,
    rows: Rows,
    ids: Sequence[str],
    ts_us: int,
    scores: NDArray[np.float64] | None,
    latency_ms: float,
) -> Entry:
    return Entry(
        request_ids=ids,
        ts_us=ts_us,
        values=rows.values,
        scores=scores,
        latency_ms=latency_ms,
        variant=variant.name,
        model_sha256=variant.sha256,
        status=500 if scores is None else 200,
        texts=rows.texts,
        event_times=rows.event_times,
        entity_ids=rows.entity_ids,
    )
