"""Every flight of July through the demo's canary, and what the candidate's gauge of the scores reads after each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from repositories import TEMPLATE
from sample.demo.traffic import FLIGHTS_AT_ONCE, Clients, read_month

from mergeline.canary.template import TEMPLATE as ANALYSIS
from mergeline.commands.settings import load_params
from mergeline.monitor.profile import Profile
from mergeline.release.fetch import fetch, wanted_of
from mergeline.schema import SCORE
from mergeline.serve.drift import MIN_ROWS, DriftWindow, psi
from mergeline.serve.loading import load
from mergeline.serve.variants import Split

MODELS = 4  # whose hashes part the clients: a model that is trained elsewhere may have other bytes
MOST_ROWS = 2000  # from here on a gauge hardly moves any more


@dataclass(frozen=True, slots=True)
class July:
    """The flights of each request, as the demo's clients ask and in the order of time, and the score of each flight.

    `keys` are hashes of models, the candidate's own the first; `limit` is the template's for score-drift.
    """

    profile: Profile
    scores: Mapping[str, float]
    asked: tuple[tuple[str, ...], ...]
    in_time: tuple[tuple[str, ...], ...]
    keys: tuple[str, ...]
    limit: float

    @classmethod
    def of(cls, clone: Path, folder: Path) -> July:
        """July as the model scores it that staging of a clone has."""
        settings = load_params(TEMPLATE)
        wanted = wanted_of(clone / "k8s/overlays/staging/release.yaml", key=None)
        model = load(fetch(wanted, clone, folder))
        assert model.profile is not None
        rows = read_month(TEMPLATE / "sample/2013-07.parquet", settings)
        flights = rows[str(settings.data.id)].astype(str).tolist()
        found = np.asarray(model.scorer.score(rows)).reshape(len(rows), -1)[:, -1]
        requests = Clients("http://127.0.0.1:1", rows, settings).requests
        failed = r"name: score-drift.*?failureCondition: any\(result, \{# > ([\d.]+)\}"
        (limit,) = re.findall(failed, (TEMPLATE / ANALYSIS).read_text(encoding="utf-8"), re.DOTALL)
        others = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(MODELS - 1))
        return cls(
            model.profile,
            dict(zip(flights, found.tolist(), strict=True)),
            tuple(tuple(str(row["entity_id"]) for row in request) for request in requests),
            tuple(tuple(flights[at : at + FLIGHTS_AT_ONCE]) for at in range(0, len(flights), FLIGHTS_AT_ONCE)),
            (str(wanted.model_sha256), *others),
            float(limit),
        )

    def readings(self, requests: Sequence[Sequence[str]], key: str, share: float) -> list[float]:
        """The index of the candidate's scores less its bound after each request that the canary's split gives it."""
        window, split, found = DriftWindow(self.profile, ()), Split(key, share), list[float]()
        rows = 0
        for flights in requests:
            if not split.takes(flights[0]):
                continue
            scores = np.array([self.scores[each] for each in flights])
            window.add(np.zeros((len(flights), 0), np.float32), scores)
            rows += len(flights)
            if rows >= MIN_ROWS:
                gauge = psi(window.counts(), window.reference)[SCORE]
                assert gauge.psi is not None
                assert gauge.bound is not None
                found.append(gauge.psi - gauge.bound)
            if rows >= MOST_ROWS:
                break
        return found
