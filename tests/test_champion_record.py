"""models/champion.json: what it says is read back equal, and what it cannot mean is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergeline.errors import VerificationError
from mergeline.params import GateParams
from mergeline.release.champion import REASONS, BaseModel, Champion, Served, Without

SHA256, OTHER = "3f" * 32, "a0" * 32
POLICY = GateParams.model_validate(
    {
        "floors": {"roc_auc": 0.7},
        "improvement": {"margin": 0.002, "non_inferiority": True},
        "calibration": {"max_error": None},
        "behaviour": {"invariant": ["flight"], "directions": {"distance": "up"}},
        "fairness": {"columns": ["origin"]},
    }
)
SERVED = Champion(
    Served(SHA256, "s3://models"), None, BaseModel(SHA256, OTHER), "base", POLICY, ("origin", "Straße „1“"), {"days": 5}
)
NONE = Champion(None, Without.NO_RELEASE, None, "branch", GateParams(), ())

texts = st.text(min_size=1, max_size=12)
numbers = st.floats(0, 10, allow_nan=False)
policies = st.builds(
    lambda floors, margin, columns, gain: GateParams.model_validate(
        {
            "floors": floors,
            "slices": {"margin": margin},
            "fairness": {"columns": columns},
            "leakage": {"max_gain": gain},
        }
    ),
    st.dictionaries(texts, numbers, max_size=3),
    numbers,
    st.lists(texts, max_size=3),
    st.none() | st.floats(0.01, 5),
)
standings = st.tuples(st.builds(Served, texts, texts), st.none()) | st.tuples(st.none(), st.sampled_from(Without))
champions = st.builds(
    lambda standing, base, policy, gates, slices, holdout: Champion(
        standing[0], standing[1], base, policy, gates, tuple(slices), holdout
    ),
    standings,
    st.none() | st.builds(BaseModel, texts, texts),
    st.sampled_from(["base", "branch"]),
    policies,
    st.lists(texts, max_size=4),
    st.none() | st.dictionaries(texts, st.none() | numbers | st.integers(), max_size=2),
)


@given(champions)
def test_every_record_is_read_back_equal_and_written_the_same_again(champion: Champion) -> None:
    text = champion.to_json()
    found = Champion.from_json(text)
    assert found == champion
    assert found.to_json() == text


def test_the_file_says_all_that_compare_depends_on() -> None:
    record = json.loads(SERVED.to_json())
    assert list(record) == ["champion", "without", "base", "policy", "slices", "holdout", "gates"]
    assert record["holdout"] == {"days": 5}
    assert record["champion"] == {"model_sha256": SHA256, "store": "s3://models"}
    assert record["base"] == {"model_sha256": SHA256, "signature_sha256": OTHER}
    assert (record["without"], record["policy"], record["slices"]) == (None, "base", ["origin", "Straße „1“"])
    assert record["gates"]["floors"] == {"roc_auc": 0.7}
    assert set(record["gates"]) == set(GateParams.model_fields)
    assert SERVED.to_json().endswith("}\n")


def test_where_no_holdout_has_to_be_kept_the_file_says_so() -> None:
    assert json.loads(NONE.to_json())["holdout"] is None
    assert Champion.from_json(NONE.to_json()).holdout is None


@pytest.mark.parametrize("without", Without)
def test_each_reason_for_a_baseline_has_its_words(without: Without) -> None:
    champion = Champion(None, without, None, "branch", GateParams(), ())
    assert champion.reason == REASONS[without]
    assert json.loads(champion.to_json())["without"] == without.value
    assert SERVED.reason is None


def test_a_policy_of_older_code_has_the_defaults_of_what_it_did_not_know() -> None:
    record = json.loads(NONE.to_json())
    del record["gates"]["fairness"]
    del record["gates"]["slices"]["min_class_rows"]
    assert Champion.from_json(json.dumps(record)) == NONE


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"champion": {"model_sha256": SHA256}}, id="a champion without a store"),
        pytest.param({"champion": {"model_sha256": SHA256, "store": "s", "url": "u"}}, id="a champion with more"),
        pytest.param({"champion": {"model_sha256": 5, "store": "s"}}, id="a hash that is a number"),
        pytest.param({"champion": "3f"}, id="a champion that is text"),
        pytest.param({"champion": {}}, id="a champion that is empty"),
        pytest.param({"champion": None}, id="neither a champion nor a reason"),
        pytest.param({"without": "no release"}, id="a champion and a reason"),
        pytest.param({"champion": None, "without": "bad mood"}, id="another reason"),
        pytest.param({"champion": None, "without": ""}, id="an empty reason"),
        pytest.param({"base": {"model_sha256": SHA256}}, id="a base without its signature"),
        pytest.param({"base": {"model_sha256": SHA256, "signature_sha256": None}}, id="a signature that is null"),
        pytest.param({"policy": "mine"}, id="a policy of nobody"),
        pytest.param({"policy": None}, id="no policy"),
        pytest.param({"slices": "origin"}, id="slices that are text"),
        pytest.param({"slices": None}, id="no slices"),
        pytest.param({"slices": [1]}, id="a slice that is a number"),
        pytest.param({"holdout": 5}, id="a holdout that is a number"),
        pytest.param({"holdout": []}, id="a holdout that is a list"),
        pytest.param({"holdout": "days: 5"}, id="a holdout that is text"),
        pytest.param({"holdout": False}, id="a holdout that is a switch"),
        pytest.param({"gates": None}, id="no gates"),
        pytest.param({"gates": []}, id="gates that are a list"),
        pytest.param({"gates": {"floor": {}}}, id="an unknown gate"),
        pytest.param({"gates": {"slices": {"margin": -1}}}, id="a negative margin"),
        pytest.param({"gates": {"slices": {"margin": "0.1"}}}, id="a margin that is text"),
        pytest.param({"gates": {"size": {"max_mib": 1e999}}}, id="a limit without an end"),
        pytest.param({"approved": True}, id="an unknown key"),
    ],
)
def test_a_record_that_nobody_wrote_is_refused(changes: dict[str, Any]) -> None:
    record = {**json.loads(SERVED.to_json()), **changes}
    with pytest.raises(VerificationError, match=r"models/champion\.json: not as `mergeline champion` writes it .*anew"):
        Champion.from_json(json.dumps(record))


@pytest.mark.parametrize("key", ["champion", "without", "base", "policy", "slices", "holdout", "gates"])
def test_each_key_must_be_there(key: str) -> None:
    record = json.loads(SERVED.to_json())
    del record[key]
    with pytest.raises(VerificationError, match=key):
        Champion.from_json(json.dumps(record))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"text"', "<<<<<<< HEAD\n{}\n"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match=r"here\.json: not as `mergeline champion` writes it"):
        Champion.from_json(text, "here.json")
