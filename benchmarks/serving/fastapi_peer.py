"""The same pipeline behind FastAPI as it is commonly written: a pydantic model, a data frame, predict_proba.

Usage: MODEL=model.pickle uvicorn fastapi_peer:app
"""

from __future__ import annotations

import os
from pathlib import Path

import cloudpickle
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

MODEL = cloudpickle.loads(Path(os.environ["MODEL"]).read_bytes())
app = FastAPI()


class Features(BaseModel):
    """One flight."""

    model_config = ConfigDict(extra="forbid")

    departure_minute: float | None
    arrival_minute: float | None
    distance_miles: float | None
    departures_in_hour: float | None
    plane_age_years: float | None
    seats: float | None
    temperature_f: float | None
    dew_point_f: float | None
    humidity_percent: float | None
    wind_direction_deg: float | None
    wind_speed_mph: float | None
    wind_gust_mph: float | None
    precipitation_in: float | None
    pressure_hpa: float | None
    visibility_miles: float | None
    carrier: str | None
    origin: str | None
    destination: str | None
    weekday: str | None


class Row(BaseModel):
    """A row of a request."""

    features: Features


class Asked(BaseModel):
    """A request."""

    rows: list[Row] = Field(min_length=1, max_length=1000)


class Answered(BaseModel):
    """The probability of the second class, row by row."""

    scores: list[float]


@app.get("/readyz")
def readyz() -> dict[str, str]:
    """The model was loaded with this module."""
    return {"status": "ready"}


@app.post("/predict")
def predict(asked: Asked) -> Answered:
    """Score the rows."""
    rows = pd.DataFrame([row.features.model_dump() for row in asked.rows])
    return Answered(scores=MODEL.predict_proba(rows)[:, 1].tolist())
