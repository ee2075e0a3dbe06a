"""The ways to serve the same model that are measured: ours, the peers, and a server that does nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.pipeline.scratch import TEMPLATE, Scratch
from benchmarks.serving.released import BODIES
from benchmarks.serving.running import PORT, Contender

HERE = Path(__file__).parent
PEERS = TEMPLATE / ".mergeline" / "peers" / "bin"
OURS, NO_LOG, NO_GAUGES = "ours", "ours, no log", "ours, no log, no gauges"
NOOP, MLFLOW, BENTOML, FASTAPI = "no-op", "mlflow models serve", "BentoML", "FastAPI, pandas, scikit-learn"
SHOWN = (OURS, NO_LOG, NOOP, MLFLOW, BENTOML, FASTAPI)
# an account of who uses what is none of a benchmark's business
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
ROW_SIZES = (1, 100)


def ours(scratch: Scratch, name: str, log: str, *release: str) -> Contender:
    """The model server with its log at `log`; without a `release` what staging serves."""
    command = ("mergeline", "serve", *(release or ("--environment", "staging")), "--log", log)
    return Contender(
        name, (*command, "--port", PORT, "--wait-seconds", "0"), scratch.environment(),
        "/readyz", "/predict", "rows", lambda answer: [each["score"] for each in answer["predictions"]],
    )  # fmt: skip


def without_profile(scratch: Scratch) -> Contender:
    """Ours without the reference profile, and so without drift gauges."""
    program = (
        "import pathlib, shutil; from mergeline.release.store import open_store;"
        "folder = pathlib.Path('no-profile'); shutil.copytree('models/candidate', folder);"
        "(folder / 'profile.json').unlink();"
        "print(open_store('.mergeline/store', pathlib.Path()).put_model(folder).sha256)"
    )
    sha256 = scratch.read(sys.executable, "-P", "-c", program)[1].split()[-1]
    return ours(scratch, NO_GAUGES, "none", "--model", sha256, "--store", ".mergeline/store")


def peers(scratch: Scratch) -> tuple[Contender, ...]:
    """MLflow, BentoML and FastAPI with the fitted pipeline behind the encoder, one worker and one thread each."""
    model = str(scratch.root / BODIES / "model.pickle")
    environment = scratch.environment(OMP_NUM_THREADS="1", MODEL=model, PYTHONPATH=str(scratch.root / "src"), **QUIET)
    mlflow = ("mlflow", "models", "serve", "-m", f"{BODIES}/mlflow", "--env-manager", "local", "--workers", "1")
    bentoml = (str(PEERS / "bentoml"), "serve", "--working-dir", str(HERE), "bentoml_peer:Flights")
    fastapi = (sys.executable, "-m", "uvicorn", "--no-access-log", "--app-dir", str(HERE), "fastapi_peer:app")
    return (
        Contender(
            MLFLOW, (*mlflow, "--port", PORT), environment,
            "/ping", "/invocations", "records", lambda answer: [each[1] for each in answer["predictions"]],
        ),
        Contender(BENTOML, (*bentoml, "--port", PORT), environment, "/readyz", "/predict", "rows", list),
        Contender(
            FASTAPI, (*fastapi, "--port", PORT), environment,
            "/readyz", "/predict", "rows", lambda answer: answer["scores"],
        ),
    )  # fmt: skip


def noop(scratch: Scratch, sizes: Mapping[int, int]) -> Contender:
    """Ours without anything in it: `sizes` are the bytes of its answers by the rows of a request."""
    answers = json.dumps({f"/{rows}": size for rows, size in sizes.items()})
    command = (sys.executable, "-P", str(HERE / "noop.py"), PORT)
    return Contender(NOOP, command, scratch.environment(BYTES=answers), "/", "/{rows}", "rows", None)


def scores_of(contender: Contender, answer: bytes) -> list[float]:
    """The scores in an answer; none of a server that does nothing."""
    found: Any = json.loads(answer) if contender.scores else None
    return contender.scores(found) if contender.scores else []
