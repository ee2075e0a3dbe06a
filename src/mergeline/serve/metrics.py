"""A server's counts and gauges in Prometheus's text format, and the latency read off its histogram."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from mergeline.serve.tally import BUCKETS_S, Tally, Timing

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from mergeline.serve.drift import Gauge
    from mergeline.serve.variants import Variant

MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
DRIFT = {
    "psi": "Population stability index of the last rows against training.",
    "bound": "What the index passes without drift one time in 1,000.",
    "rows": "Rows that the index was made of.",
}
# what a prediction is answered with: each is there from the start, as no rate counts the first value of a series
PREDICT_STATUSES = (200, 400, 401, 408, 413, 415, 422, 500, 503)
LOG = {
    "written_rows": "Rows that lie in the prediction log.",
    "dropped_rows": "Rows that the prediction log dropped.",
    "failed_writes": "Writes of the prediction log that failed and were tried again.",
    "writer_restarts": "Writers of the prediction log that died and were replaced.",
}


@dataclass(frozen=True, slots=True, eq=False)
class View(Collector):
    """What `/metrics` shows: the counts of all workers, the models, and drift by feature."""

    tally: Tally
    variants: Sequence[Variant]
    drift: Mapping[str, Gauge]

    def collect(self) -> Iterator[Metric]:
        yield self._models()
        yield _gauge("ready", "Workers that are ready.", self.tally.workers)
        yield _gauge("requests_running", "Requests that are being answered.", self.tally.running)
        yield _counter("requests", "Answered requests.", ("route", "status"), self._requests())
        yield self._seconds()
        predictions = [((variant,), rows) for variant, rows in self.tally.predictions.items()]
        yield _counter("predictions", "Rows that a variant scored.", ("variant",), predictions)
        yield _counter("labels", "Labels that were taken.", (), [((), self.tally.labels)])
        if self.tally.log:
            for name, said in LOG.items():
                yield _counter(f"log_{name}", said, (), [((), self.tally.log.get(name, 0))])
            queued = self.tally.log.get("queued_rows", 0)
            yield _gauge("log_queued_rows", "Rows that wait for the prediction log's writer.", queued)
        for name, said in DRIFT.items():
            yield self._drift(name, said)

    def _models(self) -> GaugeMetricFamily:
        models = GaugeMetricFamily(
            "mergeline_model_info", "1 for each model that is served.", labels=["sha256", "variant"]
        )
        for variant in self.variants:
            models.add_metric([variant.sha256, variant.name], 1)
        return models

    def _requests(self) -> list[tuple[tuple[str, ...], int]]:
        counts = dict.fromkeys((f"predict {status}" for status in PREDICT_STATUSES), 0) | self.tally.requests
        return [(tuple(key.split(" ")), count) for key, count in counts.items()]

    def _seconds(self) -> HistogramMetricFamily:
        seconds = HistogramMetricFamily(
            "mergeline_request_seconds", "From a request's head to its answer.", labels=["route"]
        )
        for route, timing in self.tally.timings.items():
            bounds = [*map(str, BUCKETS_S), "+Inf"]
            buckets = list(zip(bounds, map(float, accumulate(timing.buckets)), strict=True))
            seconds.add_metric([route], buckets, timing.seconds)
        return seconds

    def _drift(self, name: str, said: str) -> GaugeMetricFamily:
        gauges = GaugeMetricFamily(f"mergeline_drift_{name}", said, labels=["feature"])
        for feature, gauge in self.drift.items():
            value = getattr(gauge, name)
            if value is not None:
                gauges.add_metric([feature], value)
        return gauges

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles of the time to answer, in milliseconds, read off a histogram; None where nothing was answered yet."""

    requests: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, timing: Timing) -> Latency:
        """Return the quantiles of a route."""
        p50, p95, p99 = (quantile_ms(timing.buckets, share) for share in (0.5, 0.95, 0.99))
        return cls(sum(timing.buckets), p50, p95, p99)


def quantile_ms(buckets: Sequence[int], share: float) -> float | None:
    """Return a quantile, interpolated within its bucket as histogram_quantile of Prometheus; of the last, its start.

    >>> round(quantile_ms([50, 50, *[0] * 16], 0.75), 6)
    0.175
    """
    wanted, below, low = share * sum(buckets), 0, 0.0
    if not wanted:
        return None
    for bound, count in zip((*BUCKETS_S, None), buckets, strict=True):
        if bound is None or (count and below + count >= wanted):
            inside = 0.0 if bound is None else (bound - low) * (wanted - below) / count
            return (low + inside) * 1e3
        below, low = below + count, bound
    return None


def _gauge(name: str, said: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mergeline_{name}", said, value)


def _counter(
    name: str, said: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"mergeline_{name}", said, labels=labels)
    for texts, value in values:
        family.add_metric(texts, value)
    return family
