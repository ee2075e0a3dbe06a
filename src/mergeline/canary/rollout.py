"""A canary from its first step to its end: traffic moves, both servers' metrics are read, each step is decided."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import aiohttp

from mergeline.canary.decision import Decision, Measurement, Verdict, decide, measure
from mergeline.canary.proxy import Proxy
from mergeline.canary.reading import model_served, read_samples, rows_scored
from mergeline.canary.series import History
from mergeline.canary.template import CANDIDATE, STABLE, Template
from mergeline.errors import ConfigurationError

READINGS_AN_INTERVAL = 4
LEAST_PREDICTIONS = 20  # that each server has to answer through the proxy in a step
TRAFFIC = "traffic"  # what a step is undecided by without them
MODEL = "model"  # what ends a canary whose candidate changes its own
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
        self._answered_before = self._proxy.traffic.answered.copy()
        self._record = Record(plan, template, dt.datetime.now(dt.UTC))

    async def run(self) -> Record:
        await self._refuse_used()
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

    async def _refuse_used(self) -> None:
        """Refuse a candidate whose drift is of rows that no client of this canary sent."""
        async with aiohttp.ClientSession() as session:
            samples = await read_samples(session, self._plan.candidate.url, CANDIDATE)
        rows = rows_scored(samples)
        if rows:
            raise ConfigurationError(
                f"--candidate {self._plan.candidate.url}: expected a server that scored nothing yet, found {rows:.0f}"
                " rows, which its drift would be of; start a fresh candidate"
            )

    async def _decided(self) -> None:
        try:
            await self._move_and_read()
        except asyncio.CancelledError:
            self._end(Outcome.INTERRUPTED, None, "interrupted")
        self._close_record()

    async def _move_and_read(self) -> None:
        """Move, and read the metrics meanwhile; a candidate that changes its model ends both."""
        moving, reading = asyncio.create_task(self._move()), asyncio.create_task(self._keep_reading())
        try:
            await asyncio.wait((moving, reading), return_when=asyncio.FIRST_COMPLETED)
            if moving.done():
                moving.result()
            else:
                said = f"the candidate serves model {reading.result()[:12]} now"
                self._end(Outcome.ROLLED_BACK, MODEL, said)
        finally:
            for task in (moving, reading):
                task.cancel()
            await asyncio.gather(moving, reading, return_exceptions=True)

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
                said = f"{metric} is undecided at {share:g} % after {self._plan.patience_s:g} s{self._last(step)}"
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
        self._answered_before = self._proxy.traffic.answered.copy()
        while True:
            step.verdict = await self._analyse(step)
            if step.verdict.decision is Decision.PROMOTE and not self._has_traffic():
                step.verdict = Verdict(Decision.PAUSE, TRAFFIC)
            if step.verdict.decision is not Decision.PAUSE or clock() - started >= self._plan.patience_s:
                return
            step.pauses += 1
            said = f"{step.verdict.metric} is undecided{self._last(step)}"
            logger.info("canary: %g %%: %s; the share stays", step.share, said)

    def _answered(self, name: str) -> int:
        """How many predictions a server answered through the proxy in this step."""
        return self._proxy.traffic.answered[name] - self._answered_before[name]

    def _has_traffic(self) -> bool:
        return min(map(self._answered, (STABLE, CANDIDATE))) >= LEAST_PREDICTIONS

    def _last(self, step: Step) -> str:
        """What the step is undecided by, as it was seen last."""
        if step.verdict.metric != TRAFFIC:
            return _last(step, step.verdict.metric)
        found = " and ".join(f"{self._answered(name)} of the {name} server" for name in (STABLE, CANDIDATE))
        return f" (answers through the canary: {found}; {LEAST_PREDICTIONS} of each are the least)"

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

    async def _keep_reading(self) -> str:
        """Read the metrics of both servers, and what the proxy counts, until the candidate's model is another one."""
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
            served = model_served(candidate)
            if served not in (None, self._plan.candidate.model_sha256):
                return str(served)
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
