"""A canary from its first step to its end: traffic moves, both servers' metrics are read, each step is decided."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import math
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mergeline.canary.decision import Decision, Measurement, Verdict, decide, measure
from mergeline.canary.proxy import Proxy
from mergeline.canary.reading import read_samples
from mergeline.canary.series import History
from mergeline.canary.template import CANDIDATE, STABLE, Template

READINGS_AN_INTERVAL = 4
WHOLE = 100

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How a canary ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    UNDECIDED = "undecided"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Side:
    """A server: its address and the model that it said it serves."""

    url: str
    model_sha256: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a canary is asked for.

    `steps` are shares in percent, rising, the last 100; `interval_s` is the time between two measurements (None: the
    template's), with which the template's other times grow or shrink; a step that is still undecided after `patience_s`
    seconds ends it. With `stay` the proxy serves on after the decision, until a signal.
    """

    stable: Side
    candidate: Side
    steps: tuple[float, ...]
    interval_s: float | None
    patience_s: float
    port: int
    key_header: str | None
    stay: bool


@dataclass(slots=True)
class Step:
    """A share of the traffic, in percent, what was measured at it, and what was decided."""

    share: float
    measured: list[Measurement] = field(default_factory=list)
    verdict: Verdict = field(default_factory=lambda: Verdict(Decision.CONTINUE))
    pauses: int = 0


@dataclass(slots=True)
class Record:
    """All of a canary, for the file that is left of it."""

    plan: Plan
    template: Template
    started_at: dt.datetime
    steps: list[Step] = field(default_factory=list)
    outcome: Outcome = Outcome.INTERRUPTED
    metric: str | None = None
    said: str = ""
    answered: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0
    ended_at: dt.datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON's types; what is no number in JSON is its name."""
        sides = {STABLE: self.plan.stable, CANDIDATE: self.plan.candidate}
        return {
            "outcome": self.outcome.value,
            "metric": self.metric,
            "said": self.said,
            **{
                name: {"url": side.url, "model_sha256": side.model_sha256, "answered": self.answered.get(name, 0)}
                for name, side in sides.items()
            },
            "unanswered": self.unanswered,
            "template": self.template.path.as_posix(),
            "started_at": self.started_at.isoformat(timespec="milliseconds"),
            "ended_at": self.ended_at and self.ended_at.isoformat(timespec="milliseconds"),
            "steps": [_step_as_dict(step) for step in self.steps],
        }


def run(plan: Plan, template: Template, keep: Callable[[Record], None]) -> Record:
    """Move the traffic until it is decided, and return what happened; a signal ends it and takes the traffic back.

    `keep` gets the record once, as soon as it is decided; the proxy may serve on after that.
    """
    import uvloop

    return uvloop.run(_Rollout(plan, template, keep).run())


class _Rollout:
    def __init__(self, plan: Plan, template: Template, keep: Callable[[Record], None]) -> None:
        self._plan = plan
        self._keep = keep
        self._template = template
        self._scale = 1.0 if plan.interval_s is None else plan.interval_s / template.interval_s
        self._reading_every_s = template.interval_s * self._scale / READINGS_AN_INTERVAL
        self._history = History(template.longest_window_s * self._scale + 2 * self._reading_every_s)
        self._proxy = Proxy(plan.stable.url, plan.candidate.url, plan.candidate.model_sha256, plan.key_header)
        self._record = Record(plan, template, dt.datetime.now(dt.UTC))

    async def run(self) -> Record:
        url = await self._proxy.start(self._plan.port)
        logger.info("canary: %s splits between %s and %s", url, self._plan.stable.url, self._plan.candidate.url)
        try:
            with _ended_by_signals():
                await self._decided()
                if self._plan.stay and self._record.outcome is not Outcome.INTERRUPTED:
                    await self._stay()
        finally:
            await self._proxy.close()
        return self._record

    async def _decided(self) -> None:
        try:
            async with self._read():
                await self._move()
        except asyncio.CancelledError:
            self._end(Outcome.INTERRUPTED, None, "interrupted")
        self._close_record()

    async def _stay(self) -> None:
        logger.info("canary: %s; serving on until a signal", self._record.outcome)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    def _close_record(self) -> None:
        traffic = self._proxy.traffic
        self._record.answered, self._record.unanswered = dict(traffic.answered), traffic.unanswered
        self._record.ended_at = dt.datetime.now(dt.UTC)
        self._keep(self._record)

    # ---- The steps ---------------------------------------------------------------------------------------------------

    async def _move(self) -> None:
        for share in self._plan.steps:
            self._proxy.share = share / WHOLE
            logger.info("canary: %g %% to model %s", share, self._plan.candidate.model_sha256[:12])
            if share == WHOLE:
                self._end(Outcome.PROMOTED, None, "promoted: the candidate answers everything")
                return
            step = Step(share)
            self._record.steps.append(step)
            await self._decide(step)
            metric = step.verdict.metric
            if step.verdict.decision is Decision.ROLL_BACK:
                self._end(Outcome.ROLLED_BACK, metric, f"{metric} failed at {share:g} %{_last(step, metric)}")
                return
            if step.verdict.decision is Decision.PAUSE:
                said = f"{metric} is undecided at {share:g} % after {self._plan.patience_s:g} s{_last(step, metric)}"
                self._end(Outcome.UNDECIDED, metric, said)
                return

    def _end(self, outcome: Outcome, metric: str | None, said: str) -> None:
        self._record.outcome, self._record.metric, self._record.said = outcome, metric, said
        if outcome is not Outcome.PROMOTED:
            self._proxy.share = 0.0
            logger.info("canary: back to 0 %%: %s", said)

    async def _decide(self, step: Step) -> None:
        """Measure until the step is decided; while it is undecided the share stays, for as long as patience lasts."""
        clock = asyncio.get_running_loop().time
        started = clock()
        while True:
            step.verdict = await self._analyse(step)
            if step.verdict.decision is not Decision.PAUSE or clock() - started >= self._plan.patience_s:
                return
            step.pauses += 1
            said = f"{step.verdict.metric} is undecided{_last(step, step.verdict.metric)}"
            logger.info("canary: %g %%: %s; the share stays", step.share, said)

    async def _analyse(self, step: Step) -> Verdict:
        """One analysis run: every metric as often as the template says, until they decide."""
        clock = asyncio.get_running_loop().time
        started, measured = clock(), list[Measurement]()
        due = {metric.name: started + metric.delay_s * self._scale for metric in self._template.metrics}
        while (verdict := decide(self._template, measured)).decision is Decision.CONTINUE:
            waiting = [each for each in self._template.metrics if each.name in due]
            metric = min(waiting, key=lambda each: due[each.name])
            await asyncio.sleep(max(0.0, due[metric.name] - clock()))
            found = measure(metric, self._history, clock(), self._scale)
            measured.append(found)
            step.measured.append(found)
            times = sum(each.metric == metric.name for each in measured)
            logger.info(
                "canary: %g %%: %s %d of %d: %s, %s",
                *(step.share, metric.name, times, metric.count, _values(found.values), found.phase),
            )
            if times == metric.count:
                del due[metric.name]
            else:
                due[metric.name] = clock() + metric.interval_s * self._scale
        return verdict

    # ---- What is measured --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[None]:
        """Read the metrics of both servers, and what the proxy counts, again and again."""
        reading = asyncio.create_task(self._keep_reading())
        try:
            yield
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def _keep_reading(self) -> None:
        clock = asyncio.get_running_loop().time
        at = clock()
        while True:
            stable, candidate = await asyncio.gather(
                read_samples(self._proxy.session, self._plan.stable.url, STABLE),
                read_samples(self._proxy.session, self._plan.candidate.url, CANDIDATE),
            )
            now = clock()
            self._history.take(now, STABLE, stable)
            self._history.take(now, CANDIDATE, candidate)
            self._history.take(now, "proxy", self._proxy.traffic.samples())
            at = max(at + self._reading_every_s, now)
            await asyncio.sleep(at - now)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM cancel the task that is in the block."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, task.cancel if task else loop.stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _values(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values) or "no data"


def _last(step: Step, metric: str | None) -> str:
    """What a metric was measured as last, in brackets."""
    found = [each for each in step.measured if each.metric == metric]
    return f" ({_values(found[-1].values)})" if found else ""


def _step_as_dict(step: Step) -> dict[str, Any]:
    return {
        "share": step.share,
        "decision": step.verdict.decision.value,
        "metric": step.verdict.metric,
        "pauses": step.pauses,
        "measurements": [
            {
                "metric": each.metric,
                "values": [value if math.isfinite(value) else str(value) for value in each.values],
                "phase": each.phase.value,
            }
            for each in step.measured
        ],
    }
