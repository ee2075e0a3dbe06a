"""The same scores from the server, the scorer and the native model, for 20,000 real rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from repositories import SAMPLE, SAMPLE_PARAMS
from servers import Released, Server, release, requests_of, serving

from mergeline import params
from mergeline.models.encoder import encode
from mergeline.models.scorer import Scorer
from mergeline.params_file import edited
from mergeline.stages.train import Trained, train
from mergeline.table import read_partition

ROWS = 20_000
BATCH = 1_000
TOLERANCE = 1e-5


def months(*names: str) -> pd.DataFrame:
    """Flights of the sample, one in four, in the order of time."""
    return pd.concat([read_partition(SAMPLE / f"{name}.parquet").iloc[::4] for name in names], ignore_index=True)


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A model with the sample's own features, of a part of its own rows."""
    text = SAMPLE_PARAMS.read_text(encoding="utf-8")
    changes: dict[tuple[str, ...], Any] = {("train", "hist_gradient_boosting"): {"iterations": 40, "leaves": 15}}
    settings = params.parse(_loaded(edited(text, changes)))
    return train(months("2013-01", "2013-02"), settings)


def _loaded(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


@pytest.fixture(scope="module")
def released(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Released:
    return release(tmp_path_factory.mktemp("parity"), trained)


@pytest.fixture(scope="module")
def server(released: Released) -> Iterator[Server]:
    with serving(released.root, *released.options, "--log", "none") as running:
        yield running


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Flights of later months; one in fifty of an airline, to a place that nobody has heard of."""
    table = months("2013-04", "2013-05", "2013-06").iloc[:ROWS].reset_index(drop=True)
    unheard = table.index % 50 == 0
    return table.assign(
        carrier=table.carrier.mask(unheard, "ZZ"), destination=table.destination.mask(unheard, "Nirgendwo ✈")
    )


@pytest.fixture(scope="module")
def served(server: Server, released: Released, rows: pd.DataFrame) -> NDArray[np.float64]:
    """The scores that the server answers, a thousand rows a request."""
    asked = requests_of(rows, released.signature)
    parts = [server.predict(asked[start : start + BATCH]) for start in range(0, len(asked), BATCH)]
    return np.array([each["score"] for part in parts for each in part])


def test_the_rows_hold_what_is_hard(rows: pd.DataFrame, released: Released) -> None:
    names = [feature.name for feature in released.signature.features]
    assert len(rows) == ROWS
    assert rows[names].isna().any(axis=1).mean() > 0.05
    assert not set(rows.destination) <= set(
        next(feature.categories for feature in released.signature.features if feature.name == "destination")
    )
    assert any(feature.name == "wind_gust_mph" for feature in released.signature.features)


def test_server_scorer_and_native_model_give_the_same_scores(
    served: NDArray[np.float64], rows: pd.DataFrame, released: Released, trained: Trained
) -> None:
    scorer = Scorer.load(released.root / "release.model").score(rows)[:, 1]
    native = trained.fitted.predict(encode(rows, released.signature.features))
    calibration = trained.record.calibration
    native = calibration.apply(native) if calibration else native
    assert len(served) == ROWS
    assert np.abs(served - scorer).max() <= TOLERANCE
    assert np.abs(served - native[:, 1]).max() <= TOLERANCE


@pytest.mark.parametrize("name", ["departure_minute", "carrier", "wind_gust_mph"])
def test_a_feature_that_is_sent_in_another_ones_place_would_be_noticed(
    name: str, served: NDArray[np.float64], rows: pd.DataFrame, released: Released
) -> None:
    """The twin: the scores of rows whose feature was shuffled lie further apart than the tolerance."""
    shuffled = rows.assign(**{name: rows[name].to_numpy()[::-1]})
    scores = Scorer.load(released.root / "release.model").score(shuffled)[:, 1]
    assert (np.abs(served - scores) > TOLERANCE).mean() > 0.1


def test_a_row_has_the_same_score_alone_and_among_others(
    server: Server, served: NDArray[np.float64], rows: pd.DataFrame, released: Released
) -> None:
    positions = np.linspace(0, ROWS - 1, 200).astype(int)
    alone = [server.predict([row])[0]["score"] for row in requests_of(rows.iloc[positions], released.signature)]
    assert np.abs(np.array(alone) - served[positions]).max() <= 1e-6


def test_a_truth_value_a_time_and_a_number_in_text_are_read_as_in_training(tmp_path: Path) -> None:
    """The sample has no such columns; categories that were numbers are sent as numbers or as their text."""
    from tables import orders
    from tables import params as of_orders

    table = orders(rows=480).assign(shop=lambda rows: rows.shop.str[1:].astype(int))
    made = train(table, of_orders())
    there = release(tmp_path, made)
    later = orders(rows=500, seed=40).assign(
        shop=lambda rows: rows.shop.str[1:].astype(int) * 2, since=lambda rows: rows.since + pd.Timedelta("7h30min")
    )
    expected = Scorer.load(tmp_path / "release.model").score(later)[:, 1]
    with serving(tmp_path, *there.options, "--log", "none") as running:
        asked = requests_of(later, made.signature)
        as_numbers = [each["score"] for each in running.predict(asked)]
        as_texts = [each["score"] for each in running.predict([{**row, "shop": str(row["shop"])} for row in asked])]
    assert np.abs(np.array(as_numbers) - expected).max() <= TOLERANCE
    assert as_texts == as_numbers
