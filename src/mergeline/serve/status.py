"""What a server knows of itself: for Prometheus, and in short for a person's page."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergeline.serve.metrics import Latency, View
from mergeline.serve.tally import Tally, Timing, read_tallies, write_tally

if TYPE_CHECKING:
    from mergeline.serve.drift import DriftWindow, Gauge, WindowCounts
    from mergeline.serve.lifecycle import Lifecycle
    from mergeline.serve.predictionlog import PredictionLog
    from mergeline.serve.variants import Traffic

DRIFT_EVERY_S = 3.0  # how old the counts of drift may be
DRIFT_FOLDER = "drift"


class Watch:
    """Gathers metrics, drift and the facts of the release; of all workers where they share a folder `state`."""

    def __init__(
        self,
        environment: str,
        traffic: Traffic,
        tally: Tally,
        lifecycle: Lifecycle,
        prediction_log: PredictionLog | None,
        drift: DriftWindow | None,
        state: Path | None,
        worker: str,
    ) -> None:
        self._environment = environment
        self._traffic = traffic
        self._tally = tally
        self._lifecycle = lifecycle
        self._log = prediction_log
        self._drift = drift
        self._state = state
        self._worker = worker
        self._gauges: dict[str, Gauge] = {}
        self._counted_at = float("-inf")
        self._running = 0

    @property
    def model_sha256(self) -> str:
        return self._traffic.champion.sha256

    def tick(self, running: int) -> None:
        """Bring what others see up to date; called every second on the event loop."""
        self._running = running
        stats = self._log.stats() if self._log is not None else None
        self._tally.state(stats, ready=self._lifecycle.is_ready, running=running)
        if self._state is not None:
            write_tally(self._state, self._tally)
            self.drift()

    def metrics(self) -> bytes:
        """Return the metrics of all workers as Prometheus reads them."""
        return View(self._whole(), self._traffic.variants, self.drift()).text()

    def drift(self) -> dict[str, Gauge]:
        """Return the gauge of every feature and of the score; counted anew when it is older than three seconds."""
        if time.monotonic() - self._counted_at > DRIFT_EVERY_S:
            self._count()
        return self._gauges

    def status(self) -> dict[str, Any]:
        """Return what the page shows, as JSON's types."""
        whole = self._whole()
        answered = {key.removeprefix("predict "): count for key, count in whole.requests.items() if "predict " in key}
        return {
            "release": self._release(),
            "variants": [self._variant(each) for each in self._traffic.variants],
            "workers": whole.workers,
            "predictions": whole.predictions,
            "labels": whole.labels,
            "answered": answered,
            "latency": asdict(Latency.of(whole.timings.get("predict", Timing()))),
            "log": whole.log or None,
            "drift": {name: asdict(gauge) for name, gauge in self.drift().items()},
        }

    def _whole(self) -> Tally:
        """The counts of all workers, this one's to the moment."""
        self.tick(self._running)
        return self._tally if self._state is None else read_tallies(self._state)

    def _count(self) -> None:
        if self._drift is None:
            return
        from mergeline.serve.drift import psi, read_counts, write_counts

        mine = self._drift.counts()
        counts: WindowCounts | None = mine
        if self._state is not None:
            write_counts(self._state / DRIFT_FOLDER, self._worker, mine)
            counts = read_counts(self._state / DRIFT_FOLDER, time.time(), self._drift.reference.grouping)
        self._gauges = psi(counts, self._drift.reference) if counts is not None else {}
        self._counted_at = time.monotonic()

    def _variant(self, variant: Any) -> dict[str, Any]:
        split = self._traffic.split
        share = split.share if split else 0.0
        shares = {"champion": 1.0 - share, "challenger": share, "shadow": 0.0}
        return {"variant": variant.name, "model_sha256": variant.sha256, "share": shares[variant.name]}

    def _release(self) -> dict[str, Any]:
        served = self._traffic.champion.served
        signature, receipt = served.signature, served.receipt
        return {
            "environment": self._environment,
            "model_sha256": served.sha256,
            "task": str(signature.task),
            "target": signature.target,
            "classes": list(signature.classes),
            "threshold": signature.threshold,
            "training": {
                name: served.training.get(name)
                for name in ("family", "training_rows", "first_time", "last_time", "importance")
            },
            "training_commit": receipt.training_commit if receipt else None,
            "data": dict(receipt.data) if receipt else {},
            "evaluation": _figures(served.evaluation),
        }


def _figures(evaluation: dict[str, Any] | None) -> dict[str, Any] | None:
    """The holdout's figures; what is none of them is left out, a page has to stand whatever was recorded."""
    if evaluation is None:
        return None
    found = {name: evaluation.get(name) for name in ("primary", "rows", "first_time", "last_time")}
    metrics = evaluation.get("metrics")
    kept = [each for each in metrics if _is_figure(each)] if isinstance(metrics, list) else []
    return {**found, "metrics": kept}


def _is_figure(metric: Any) -> bool:
    numbers = ("estimate", "low", "high")
    return (
        isinstance(metric, dict)
        and isinstance(metric.get("name"), str)
        and all(metric.get(name) is None or isinstance(metric.get(name), int | float) for name in numbers)
    )
