"""The verdict on real flights: newer data promote, older are rejected, alike is held, a seen holdout is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from repositories import SAMPLE, SAMPLE_PARAMS

from mergeline.gates.evidence import Contender
from mergeline.gates.gate import Outcome
from mergeline.models.scorer import Scorer
from mergeline.params import Params, load, parse, parse_yaml
from mergeline.params_file import edited
from mergeline.release.champion import Champion, Served
from mergeline.stages.compare import compare
from mergeline.stages.comparison import Comparison
from mergeline.stages.train import train

EVERY = 4  # of a month's rows one in so many
WINTER, SPRING = range(1, 4), range(1, 7)


def settings(**changes: Any) -> Params:
    """The sample's own, with a smaller model; `__` in a name parts the keys of a path."""
    text = SAMPLE_PARAMS.read_text(encoding="utf-8")
    wanted: dict[tuple[str, ...], Any] = {("train", "hist_gradient_boosting", "iterations"): 60}
    wanted.update({tuple(name.split("__")): value for name, value in changes.items()})
    return parse(parse_yaml(edited(text, wanted)))


def flights(months: Sequence[int]) -> pd.DataFrame:
    parts = [pd.read_parquet(SAMPLE / f"2013-{month:02}.parquet").iloc[::EVERY] for month in months]
    return pd.concat(parts, ignore_index=True)


def trained(months: Sequence[int], **changes: Any) -> Contender:
    """The model of a table that ends with the last of `months`, whose last 30 days it has not seen."""
    made = train(flights(months), settings(**changes))
    record = json.loads(json.dumps(made.record.as_dict()))
    scorer = Scorer(made.model, made.signature, threads=1)
    return Contender(hashlib.sha256(made.model).hexdigest(), scorer, record, made.reference, len(made.model))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return flights(SPRING)


@pytest.fixture(scope="module")
def of_winter() -> Contender:
    return trained(WINTER)


@pytest.fixture(scope="module")
def of_spring() -> Contender:
    return trained(SPRING)


def judged(table: pd.DataFrame, candidate: Contender, champion: Contender) -> Comparison:
    """Before the policy and the slices of the template."""
    params = settings()
    standing = Champion(
        Served(champion.sha256, "s3://models"), None, None, "base", params.gates, params.evaluate.slices
    )
    return compare(table, candidate, champion, standing, params)


def outcomes(found: Comparison) -> dict[str, Outcome]:
    return {each.name: each.outcome for each in found.gates}


def test_the_settings_are_the_samples_own_but_for_the_size_of_the_model() -> None:
    own = load(SAMPLE_PARAMS)
    assert settings().data == own.data
    assert settings().gates == own.gates
    assert settings().evaluate == own.evaluate


def test_a_model_of_newer_flights_is_promoted(table: pd.DataFrame, of_spring: Contender, of_winter: Contender) -> None:
    found = judged(table, of_spring, of_winter)
    assert found.holdout["first_time"].startswith("2013-06-01")
    assert found.candidate.last_time is not None
    assert found.champion.last_time is not None
    assert found.candidate.last_time.startswith("2013-05-31")
    assert found.champion.last_time.startswith("2013-03-01")
    assert found.difference is not None
    assert found.difference.low > 0
    assert found.judgement.verdict == "promote", found.judgement.sentence
    assert found.judgement.sentence.startswith("better by 0.0")
    assert found.judgement.sentence.endswith("): promoted")
    assert Outcome.FAILED not in outcomes(found).values()


def test_a_model_of_older_flights_is_rejected_for_being_worse(
    table: pd.DataFrame, of_spring: Contender, of_winter: Contender
) -> None:
    found = judged(table, of_winter, of_spring)
    assert found.difference is not None
    assert found.difference.high < 0
    assert found.judgement.verdict == "reject"
    assert outcomes(found)["improvement"] is Outcome.FAILED
    assert found.judgement.sentence.startswith("worse by 0.0")


def test_the_two_directions_are_one_comparison_with_its_sign_turned(
    table: pd.DataFrame, of_spring: Contender, of_winter: Contender
) -> None:
    there, back = judged(table, of_spring, of_winter).difference, judged(table, of_winter, of_spring).difference
    assert there is not None
    assert back is not None
    assert (back.estimate, back.low, back.high) == pytest.approx((-there.estimate, -there.high, -there.low))


def test_a_champion_that_was_trained_on_a_part_of_june_is_refused(table: pd.DataFrame, of_spring: Contender) -> None:
    champion = trained(SPRING, data__holdout__days=10)
    found = judged(table, of_spring, champion)
    assert found.judgement.verdict == "reject"
    assert found.difference is None
    reason = (
        f"the champion was trained on rows up to {champion.training['last_time']}, and the holdout begins at 2013-06-01"
    )
    assert champion.training["last_time"].startswith("2013-06-20")
    assert found.judgement.sentence.startswith(reason)
    assert [name for name, each in outcomes(found).items() if each is Outcome.FAILED] == ["comparable"]


def test_the_model_that_runs_is_held(table: pd.DataFrame, of_spring: Contender) -> None:
    found = judged(table, of_spring, of_spring)
    assert found.judgement.verdict == "hold"
    assert set(outcomes(found).values()) == {Outcome.NOT_APPLICABLE}
    assert found.judgement.sentence == ("the candidate is the model that production serves: the release stays as it is")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"train__hist_gradient_boosting__learning_rate": 0.0601}, id="hardly another learning rate"),
        pytest.param({"train__seed": 7}, id="another seed"),
    ],
)
def test_two_models_that_differ_by_chance_alone_are_a_tie_that_is_held(
    table: pd.DataFrame, of_spring: Contender, changes: dict[str, Any]
) -> None:
    nearly = trained(SPRING, **changes)
    assert nearly.sha256 != of_spring.sha256
    found = judged(table, nearly, of_spring)
    assert found.judgement.verdict == "hold", found.judgement.sentence
    assert found.judgement.sentence.endswith(": a tie, the release stays as it is")
    assert found.difference is not None
    assert found.difference.low < 0 < found.difference.high
    assert Outcome.FAILED not in outcomes(found).values()
