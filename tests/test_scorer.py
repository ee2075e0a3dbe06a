"""The scorer: it runs the model that the signature names, and nothing else."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper
from tables import orders

from mergeline.errors import DataError, VerificationError
from mergeline.models import scorer as scorer_module
from mergeline.models.scorer import Scorer
from mergeline.schema import MODEL_FILE, SIGNATURE_FILE, Signature

if TYPE_CHECKING:
    from mergeline.stages.train import Trained


class Payload:
    """An object whose pickle writes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


@pytest.fixture
def folder(candidate: Trained, tmp_path: Path) -> Path:
    """The candidate as `train` leaves it."""
    (tmp_path / MODEL_FILE).write_bytes(candidate.model)
    (tmp_path / SIGNATURE_FILE).write_text(candidate.signature.to_json(), encoding="utf-8")
    return tmp_path


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x01]) + content[at + 1 :]


def graph(inputs: int, outputs: int) -> bytes:
    """A model that gives the first columns of its input."""
    nodes = [
        helper.make_node("Slice", ["x", "zero", "columns", "axis"], ["y"]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("zero", 0), ("columns", outputs), ("axis", 1))
    ]
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, inputs])
    leave = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, outputs])
    made = helper.make_graph(nodes, "g", [entry], [leave], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString()
    return serialized


def test_a_loaded_model_scores_as_the_one_that_was_trained(candidate: Trained, folder: Path) -> None:
    rows = orders(60, seed=1)
    loaded, made = Scorer.load(folder), Scorer(candidate.model, candidate.signature)
    assert loaded.signature == candidate.signature
    assert_array_equal(loaded.score(rows), made.score(rows))
    assert loaded.score(rows).shape == (60, 2)


def test_the_known_samples_are_scored_as_the_signature_says_after_a_round_trip_through_json(folder: Path) -> None:
    """What a server may check when it starts: a row of JSON, time stamps and gaps among it, and its scores."""
    loaded = Scorer.load(folder)
    assert len(loaded.signature.samples) == 5
    for sample in loaded.signature.samples:
        row = json.loads(json.dumps(sample.row))
        np.testing.assert_allclose(loaded.score(pd.DataFrame([row]))[0], sample.scores, atol=1e-6)


def test_scores_do_not_depend_on_the_batch_that_a_row_is_scored_in(
    candidate: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = orders(50, seed=2)
    loaded = Scorer(candidate.model, candidate.signature, threads=1)
    whole = loaded.score(rows)
    monkeypatch.setattr(scorer_module, "BATCH_ROWS", 7)
    assert_array_equal(loaded.score(rows), whole)
    assert_array_equal(np.concatenate([loaded.score(rows.iloc[[at]]) for at in range(50)]), whole)


def test_no_rows_have_no_scores(candidate: Trained) -> None:
    assert Scorer(candidate.model, candidate.signature).score(orders(4).iloc[:0]).shape == (0, 2)


def test_rows_that_the_encoder_refuses_are_not_scored(candidate: Trained) -> None:
    loaded = Scorer(candidate.model, candidate.signature)
    with pytest.raises(DataError, match="shop: expected a column of this name"):
        loaded.score(orders(4).drop(columns="shop"))


# ---- S8: what lies in place of the model ----------------------------------------------------------------------------


IN_PLACE: dict[str, Callable[[bytes, Path], bytes]] = {
    "a pickle": lambda honest, canary: pickle.dumps(Payload(canary)),
    "a truncated file": lambda honest, canary: honest[: len(honest) // 2],
    "all but the last byte": lambda honest, canary: honest[:-1],
    "a flipped bit in the head": lambda honest, canary: flipped(honest, 3),
    "a flipped bit among the weights": lambda honest, canary: flipped(honest, len(honest) // 2),
    "a flipped bit at the end": lambda honest, canary: flipped(honest, len(honest) - 1),
    "one byte more": lambda honest, canary: honest + b"\x00",
    "an empty file": lambda honest, canary: b"",
    "another model": lambda honest, canary: graph(7, 2),
}


@pytest.mark.parametrize("what", IN_PLACE)
def test_s8_other_bytes_in_place_of_the_model_are_refused_and_nothing_in_them_runs(folder: Path, what: str) -> None:
    canary, path = folder / "canary", folder / MODEL_FILE
    path.write_bytes(IN_PLACE[what](path.read_bytes(), canary))
    with pytest.raises(VerificationError, match=r"model\.onnx: expected the bytes of SHA-256") as caught:
        Scorer.load(folder)
    assert caught.value.exit_code == 6
    assert not canary.exists()


@pytest.mark.parametrize("what", ["a pickle", "a truncated file", "an empty file"])
def test_s8_even_with_the_hash_of_their_own_such_bytes_are_no_model(
    candidate: Trained, tmp_path: Path, what: str
) -> None:
    """An attacker who can write the model can write the signature beside it."""
    canary = tmp_path / "canary"
    with pytest.raises(VerificationError, match="expected a model that ONNX Runtime runs on 7 features, found"):
        Scorer(IN_PLACE[what](candidate.model, canary), candidate.signature)
    assert not canary.exists()


def test_s8_the_planted_pickle_would_have_written_its_canary(tmp_path: Path) -> None:
    """The twin: this is what a scorer that unpickles would do."""
    canary = tmp_path / "canary"
    pickle.loads(IN_PLACE["a pickle"](b"", canary))
    assert canary.exists()


def test_a_signature_without_the_hash_of_its_model_loads_nothing(candidate: Trained, folder: Path) -> None:
    unsigned = replace(candidate.signature, onnx_sha256=None)
    (folder / SIGNATURE_FILE).write_text(unsigned.to_json(), encoding="utf-8")
    with pytest.raises(VerificationError, match="expected the bytes of SHA-256 None"):
        Scorer.load(folder)


@pytest.mark.parametrize("name", [MODEL_FILE, SIGNATURE_FILE])
def test_a_missing_file_says_how_to_make_it(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(VerificationError, match=rf"{name}: no such file; `mergeline repro` trains a model"):
        Scorer.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"task": "ranking"}', "null", "3"])
def test_a_signature_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / SIGNATURE_FILE).write_text(text)
    with pytest.raises(VerificationError, match=r"signature\.json: not a signature \(") as caught:
        Scorer.load(folder)
    assert "\n" not in str(caught.value)


# ---- A model that is not the signature's ----------------------------------------------------------------------------


def narrowed(signature: Signature, features: int, classes: int) -> Signature:
    return replace(signature, features=signature.features[:features], classes=("a", "b", "c")[:classes])


def test_a_model_of_the_right_shape_is_taken(candidate: Trained) -> None:
    taken = Scorer(graph(3, 2), narrowed(candidate.signature, 3, 2))
    assert taken.score_matrix(np.array([[1, 2, 3]], dtype=np.float32)).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("features", "classes", "message"),
    [
        pytest.param(4, 2, "expected a model that ONNX Runtime runs on 4 features, found", id="too few inputs"),
        pytest.param(2, 2, "expected a model that ONNX Runtime runs on 2 features, found", id="too many inputs"),
        pytest.param(3, 3, r"expected 3 scores a row, found \(2,\)", id="too few outputs"),
        pytest.param(3, 0, r"expected 1 scores a row, found \(2,\)", id="too many outputs"),
    ],
)
def test_a_model_of_another_shape_is_refused(candidate: Trained, features: int, classes: int, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        Scorer(graph(3, 2), narrowed(candidate.signature, features, classes))
