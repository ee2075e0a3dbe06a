"""The signature: what is written is what is read back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergeline.schema import Feature, Kind, KnownSample, Signature, Task

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
CELLS = st.none() | st.booleans() | st.integers() | NUMBERS | st.text()
FEATURES = st.builds(Feature, st.text(), st.sampled_from(Kind), st.lists(st.text()).map(tuple))
SAMPLES = st.builds(KnownSample, st.dictionaries(st.text(), CELLS), st.lists(NUMBERS).map(tuple))
SIGNATURES = st.builds(
    Signature,
    task=st.sampled_from(Task),
    target=st.text(),
    features=st.lists(FEATURES, max_size=4).map(tuple),
    classes=st.lists(st.text(), max_size=4).map(tuple),
    threshold=st.none() | NUMBERS,
    samples=st.lists(SAMPLES, max_size=3).map(tuple),
    onnx_sha256=st.none() | st.text(),
    personal=st.lists(st.text(), max_size=2).map(tuple),
)
PLAIN = Signature(Task.BINARY, "bought", (Feature("shop", Kind.CATEGORY, ("a", "b")),), ("no", "yes"), 0.5)


@settings(deadline=None, derandomize=True, database=None)
@given(SIGNATURES)
def test_any_signature_is_read_back_as_it_was_written(signature: Signature) -> None:
    assert Signature.from_json(signature.to_json()) == signature


def test_a_category_has_two_codes_more_than_values_for_missing_and_other() -> None:
    assert PLAIN.features[0].codes == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_not_written(value: float) -> None:
    sample = KnownSample({"amount": value}, (0.5,))
    with pytest.raises(ValueError, match="not JSON compliant"):
        Signature(Task.BINARY, "bought", (), (), None, (sample,)).to_json()


@pytest.mark.parametrize(
    "name", ["task", "target", "features", "classes", "threshold", "samples", "onnx_sha256", "personal"]
)
def test_a_signature_with_a_missing_part_is_not_read(name: str) -> None:
    raw: dict[str, Any] = json.loads(PLAIN.to_json())
    del raw[name]
    with pytest.raises(KeyError):
        Signature.from_json(json.dumps(raw))
