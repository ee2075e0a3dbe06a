"""From settings to an application: every part of a worker made and put in its place."""

from __future__ import annotations

import os

from mergeline.errors import ConfigurationError
from mergeline.logstore import LogStore, open_log
from mergeline.release.fetch import Wanted, fetch
from mergeline.serve.app import App, Parts, sunset_headers
from mergeline.serve.drift import DriftWindow
from mergeline.serve.ids import Ids
from mergeline.serve.labelling import Labelling
from mergeline.serve.labels import LabelIntake
from mergeline.serve.lifecycle import Lifecycle
from mergeline.serve.loading import Served, load
from mergeline.serve.openapi import describe
from mergeline.serve.predict import Predictor
from mergeline.serve.predictionlog import PredictionLog
from mergeline.serve.requests import ApiKey
from mergeline.serve.rows import RequestModel
from mergeline.serve.settings import Settings
from mergeline.serve.status import Watch
from mergeline.serve.tally import Tally
from mergeline.serve.variants import Traffic


def load_traffic(settings: Settings) -> Traffic:
    """Fetch, verify and load what is to be served; raise `VerificationError` where it is not what it must be."""
    champion = load(fetch(settings.wanted, settings.root, settings.folder))
    return Traffic.of(champion, _other(settings), settings.share)


def rehearse(settings: Settings) -> None:
    """Raise what would keep a worker from starting, before there are several that would fail one after the other."""
    champion = load_traffic(settings).champion.served
    ApiKey(settings.api_key_file)
    _drift(champion)
    if settings.log_url is not None:
        open_log(settings.log_url, settings.root)


def _drift(champion: Served) -> DriftWindow | None:
    return DriftWindow(champion.profile, champion.signature.features) if champion.profile else None


def _other(settings: Settings) -> Served | None:
    wanted: Wanted | None = settings.challenger
    if wanted is None:
        return None
    if wanted.model_sha256 == settings.wanted.model_sha256:
        raise ConfigurationError(f"the challenger is the champion, {wanted.model_sha256}; name another release")
    folder = settings.challenger_folder
    if folder is None or folder == settings.folder:
        raise ConfigurationError("the challenger needs a folder of its own; name it with --challenger-folder")
    return load(fetch(wanted, settings.root, folder))


def assemble(settings: Settings, traffic: Traffic) -> App:
    """Return the application of one worker; its log's writer runs from now on."""
    champion = traffic.champion.served
    ids, tally = Ids(), Tally()
    request = RequestModel(champion.signature, settings.limits.max_rows)
    key = ApiKey(settings.api_key_file)
    store = None if settings.log_url is None else open_log(settings.log_url, settings.root)
    prediction_log = None if store is None else _log(settings, traffic, store)
    intake = None if store is None else LabelIntake(store)
    drift = _drift(champion)
    lifecycle = Lifecycle(settings.ending, prediction_log, intake, supervised=settings.state is not None)
    watch = Watch(
        settings.environment,
        traffic,
        tally,
        lifecycle,
        prediction_log,
        drift,
        settings.state,
        str(os.getpid()),
    )
    return App(
        Parts(
            predictor=Predictor(traffic, request, ids, tally, prediction_log, drift),
            labelling=None if intake is None else Labelling(intake, champion.signature),
            described=describe(request, champion.sha256, guarded=key.is_set, logged=intake is not None),
            watch=watch,
            lifecycle=lifecycle,
            tally=tally,
            ids=ids,
            key=key,
            limits=settings.limits,
            access_log=settings.access_log,
            headers=sunset_headers(settings.sunset),
        )
    )


def _log(settings: Settings, traffic: Traffic, store: LogStore) -> PredictionLog:
    signatures = {variant.sha256: variant.signature for variant in traffic.variants}
    return PredictionLog(store, traffic.champion.signature, signatures, settings.log)
