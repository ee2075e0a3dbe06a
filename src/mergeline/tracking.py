"""MLflow as a projection of what was trained: it may be down, it is never asked, and it catches up later.

`train` leaves each candidate in an outbox under the local state; `upload` logs what lies there as one run a candidate,
with parameters, metrics, both models and a registered version, and removes it. A run is found again by the SHA-256 of
its model, so uploading twice logs once.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mergeline.errors import ServiceError
from mergeline.files import LOCAL_STATE, read_json, replaced_folder, write_json

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

logger = logging.getLogger(__name__)

OUTBOX = LOCAL_STATE / "outbox"
CANDIDATE = "candidate"
NATIVE_FILE = "native.pickle"
METRICS_FILE = "metrics.json"
RUN_FILE = "run.json"
DEFAULT_NAME = "mergeline"
COMPLETE = "mergeline.complete"
QUIET_AND_QUICK = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # a server that is down should cost seconds; MLflow's own default is seven tries over minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a run is traced by: the commit, the data that DVC names, the SHA-256 of the model that came out."""

    git_commit: str
    data_md5: str
    model_sha256: str


def leave(root: Path, trained: Trained, candidate: Path, lineage: Lineage) -> None:
    """Put a candidate (its folder, its native model, its facts) into the outbox."""
    import cloudpickle

    with replaced_folder(root / OUTBOX / lineage.model_sha256, root / OUTBOX) as folder:
        shutil.copytree(candidate, folder / CANDIDATE)
        (folder / NATIVE_FILE).write_bytes(cloudpickle.dumps(trained.fitted.native))
        facts = {"family": trained.record.family, "seed": trained.record.seed, **trained.record.settings}
        run = {"flavor": trained.fitted.flavor, "params": facts, "lineage": asdict(lineage)}
        write_json(folder / RUN_FILE, run)


def leave_metrics(root: Path, sha256: str, metrics: Mapping[str, float]) -> None:
    """Put the metrics of a candidate beside it, if it still lies in the outbox."""
    folder = root / OUTBOX / sha256
    if folder.exists():
        write_json(folder / METRICS_FILE, metrics)


def upload(root: Path, environment: Mapping[str, str]) -> int:
    """Log every candidate of the outbox to MLflow and return how many there were.

    The server is `MLFLOW_TRACKING_URI`, by default a local SQLite file. Raises `ServiceError` where it does not answer;
    what was not logged stays in the outbox.
    """
    waiting = sorted(path.parent for path in (root / OUTBOX).glob(f"*/{RUN_FILE}"))
    if not waiting:
        return 0
    for name, value in QUIET_AND_QUICK.items():
        os.environ.setdefault(name, value)
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = environment.get("MLFLOW_TRACKING_URI") or local_database(root)
    name = environment.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_NAME
    failures = []
    mlflow.set_tracking_uri(uri)
    for folder in waiting:
        try:
            _use_experiment(name, root, local=uri == local_database(root))
            _log(folder, name)
            shutil.rmtree(folder)
        except (MlflowException, SQLAlchemyError, OSError) as err:  # this one stays; the others have their turn
            failures.append(" ".join(str(err).split()))
            if _is_down(err):
                break
    if failures:
        said = without_credentials(f"mlflow: {uri} does not take the run ({failures[0]}", uri)[:300]
        raise ServiceError(f"{said}); `mergeline track` tries again")
    return len(waiting)


def without_credentials(text: str, uri: str) -> str:
    """Return `text` without the user and the password that the address `uri` may carry.

    >>> without_credentials("no answer from https://me:secret@host/x", "https://me:secret@host")
    'no answer from https://host/x'
    """
    user, at, _ = urlsplit(uri).netloc.rpartition("@")
    return text.replace(user + at, "") if user else text


def _is_down(err: Exception) -> bool:
    """Whether no other candidate would fare better: nobody answered."""
    return not getattr(err, "error_code", None) or "Max retries exceeded" in str(err)


def metric_name(name: str) -> str:
    """Return a metric's name in the signs that MLflow takes; the metrics of a class carry the class's own name.

    >>> metric_name("recall_d,'x'")
    'recall_d__x_'
    """
    return re.sub(r"[^\w\-. /]", "_", name)


def local_database(root: Path) -> str:
    """Return the address of the SQLite file that stands in for a server."""
    return f"sqlite:///{(root / LOCAL_STATE / 'mlflow.db').resolve()}"


def _use_experiment(name: str, root: Path, *, local: bool) -> None:
    import mlflow

    if local and mlflow.get_experiment_by_name(name) is None:
        artifacts = (root / LOCAL_STATE / "mlflow").resolve()
        mlflow.create_experiment(name, artifact_location=artifacts.as_uri())
    mlflow.set_experiment(name)


def _log(folder: Path, name: str) -> None:
    """One candidate as one run and one registered version, unless its model has been logged already."""
    import cloudpickle
    import mlflow

    run = read_json(folder / RUN_FILE, "mergeline train")
    lineage = run["lineage"]
    if _already_logged(lineage["model_sha256"]):
        return
    with mlflow.start_run(tags={f"mergeline.{key}": value for key, value in lineage.items()}) as active:
        mlflow.log_params(run["params"])
        if (folder / METRICS_FILE).exists():
            metrics = read_json(folder / METRICS_FILE, "mergeline evaluate")
            mlflow.log_metrics({metric_name(key): value for key, value in metrics.items()})
        mlflow.log_artifacts(str(folder / CANDIDATE), CANDIDATE)
        native = cloudpickle.loads((folder / NATIVE_FILE).read_bytes())
        uri = _log_native(native, run["flavor"])
        registered = mlflow.register_model(uri, name, tags=lineage)
        mlflow.set_tags({"mergeline.version": registered.version, COMPLETE: "true"})
        logger.info("mlflow: run %s, %s version %s", active.info.run_id, name, registered.version)


def _already_logged(sha256: str) -> bool:
    """Whether a run with these bytes ended well."""
    import mlflow

    wanted = f"tags.`mergeline.model_sha256` = '{sha256}' and tags.`{COMPLETE}` = 'true'"
    return bool(mlflow.search_runs(filter_string=wanted, output_format="list"))


def _log_native(native: Any, flavor: str) -> str:
    """Log the model of the training library and return its address."""
    import mlflow

    noisy = logging.getLogger(f"mlflow.{flavor}")
    noisy.setLevel(logging.ERROR)  # it warns of pickles; what is served is ONNX, this one is for notebooks
    if flavor == "pytorch":
        import mlflow.pytorch

        return str(mlflow.pytorch.log_model(native, name="native", pip_requirements=_pinned("torch")).model_uri)
    import mlflow.sklearn

    needs = _pinned("scikit-learn", "skl2onnx")
    as_pickle = {"pip_requirements": needs, "serialization_format": "cloudpickle"}
    return str(mlflow.sklearn.log_model(native, name="native", **as_pickle).model_uri)


def _pinned(*packages: str) -> list[str]:
    return [f"{package}=={version(package)}" for package in packages]
