"""The same pipeline as a service of BentoML, with its adaptive batching.

Usage: MODEL=model.pickle bentoml serve bentoml_peer:Flights
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml
import cloudpickle
import pandas as pd


@bentoml.service(workers=1)
class Flights:
    """Scores flights."""

    def __init__(self) -> None:
        self.model = cloudpickle.loads(Path(os.environ["MODEL"]).read_bytes())

    @bentoml.api(batchable=True)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Score the rows of one request or of several."""
        frame = pd.DataFrame([row["features"] for row in rows])
        return [float(score) for score in self.model.predict_proba(frame)[:, 1]]
