"""The log of a search: a run in MLflow, with a nested run a trial."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mergeline import tracking
from mergeline.errors import ServiceError
from mergeline.files import LOCAL_STATE
from mergeline.tune.search import Search
from mergeline.tune.trial import Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT_SUFFIX = "-tune"  # an experiment of its own: these runs have no model


def log(found: Search, root: Path, environment: Mapping[str, str], tags: Mapping[str, str]) -> None:
    """Log a search to MLflow as one run with a nested run a trial; raise `ServiceError` where it does not answer."""
    for name, value in tracking.QUIET_AND_QUICK.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = environment.get("MLFLOW_TRACKING_URI") or tracking.local_database(root)
    name = (environment.get("MLFLOW_EXPERIMENT_NAME") or tracking.DEFAULT_NAME) + EXPERIMENT_SUFFIX
    try:
        (root / LOCAL_STATE).mkdir(exist_ok=True)
        client = MlflowClient(tracking_uri=uri)
        existing = client.get_experiment_by_name(name)
        experiment = existing.experiment_id if existing else client.create_experiment(name)
        parent = _log_run(client, experiment, found.best, {**tags, "mlflow.runName": f"tune {found.family}"})
        for trial in found.trials:
            _log_run(
                client, experiment, trial, {"mlflow.parentRunId": parent, "mlflow.runName": f"trial {trial.number}"}
            )
    except (MlflowException, SQLAlchemyError, OSError) as err:
        reason = " ".join(str(err).split())
        said = tracking.without_credentials(f"mlflow: {uri} does not take the search ({reason}", uri)[:300]
        raise ServiceError(f"{said})") from None  # the cause repeats the address


def _log_run(client: MlflowClient, experiment: str, trial: Trial, tags: dict[str, str]) -> str:
    """One run with the settings, the mean loss and each fold's; return its id."""
    from mlflow.entities import Metric, Param

    values = {f"loss_fold_{fold}": loss for fold, loss in enumerate(trial.losses)}
    values |= {"loss": trial.loss} if trial.losses else {}
    values |= {"primary": trial.primary} if trial.primary is not None else {}
    run = client.create_run(experiment, tags=tags)
    now = run.info.start_time
    metrics = [Metric(key, value, now, 0) for key, value in values.items()]
    client.log_batch(run.info.run_id, metrics, [Param(key, str(value)) for key, value in trial.settings.items()])
    client.set_terminated(run.info.run_id, "FINISHED" if trial.losses else "FAILED")
    return str(run.info.run_id)
