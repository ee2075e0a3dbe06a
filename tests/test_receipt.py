"""The receipt is read back to what was written, and nothing else is a receipt."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_model import hashes, names

from mergeline.errors import VerificationError
from mergeline.release.model import Model, ModelFile
from mergeline.release.receipt import MODEL_CONTRACT, SERVING_CONTRACT, Receipt, format_receipt, parse_receipt

RECEIPT = Receipt(
    model=Model.of([ModelFile("signature.json", "b" * 64, 2), ModelFile("model.onnx", "a" * 64, 7)]),
    dvc_lock_sha256="c" * 64,
    data={"data": "d" * 32 + ".dir"},
    training_commit="e" * 40,
    evaluation_sha256="f" * 64,
    champion_sha256=None,
    serving_contract=1,
)
TEXT = format_receipt(RECEIPT)

files = st.dictionaries(names, st.tuples(hashes, st.integers(0, 2**50)), min_size=1, max_size=5)
receipts = st.builds(
    Receipt,
    model=files.map(lambda files: Model.of([ModelFile(name, *rest) for name, rest in files.items()])),
    dvc_lock_sha256=hashes,
    data=st.dictionaries(
        names, hashes.map(lambda text: text[:32]) | hashes.map(lambda text: text[:32] + ".dir") | st.just("none")
    ),
    training_commit=st.none() | hashes.map(lambda text: text[:40]) | hashes.map(lambda text: text[:40] + "-dirty"),
    evaluation_sha256=hashes,
    champion_sha256=st.none() | hashes,
    serving_contract=st.integers(1, 99),
)


@given(receipts)
def test_a_receipt_is_read_back_and_written_to_the_same_bytes(receipt: Receipt) -> None:
    text = format_receipt(receipt)
    assert parse_receipt(text) == receipt
    assert format_receipt(parse_receipt(text)) == text


def test_equal_receipts_have_equal_bytes_whatever_the_order_of_their_inputs() -> None:
    one, other = {"a": "0" * 32, "b": "1" * 32}, {"b": "1" * 32, "a": "0" * 32}
    first = Receipt(RECEIPT.model, "c" * 64, one, None, "f" * 64, None)
    second = Receipt(RECEIPT.model, "c" * 64, other, None, "f" * 64, None, SERVING_CONTRACT)
    assert format_receipt(first) == format_receipt(second)


def test_the_text_is_the_documented_one() -> None:
    assert json.loads(TEXT) == {
        "model": {
            "sha256": RECEIPT.model.sha256,
            "files": {
                "model.onnx": {"sha256": "a" * 64, "size": 7},
                "signature.json": {"sha256": "b" * 64, "size": 2},
            },
        },
        "dvc_lock_sha256": "c" * 64,
        "data": {"data": "d" * 32 + ".dir"},
        "training_commit": "e" * 40,
        "evaluation_sha256": "f" * 64,
        "champion_sha256": None,
        "serving_contract": 1,
    }
    assert TEXT.startswith('{\n  "model": {\n    "sha256": ')
    assert TEXT.endswith("\n}\n")


def test_a_receipt_that_is_spaced_otherwise_is_the_same() -> None:
    assert parse_receipt(json.dumps(json.loads(TEXT))) == RECEIPT


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda raw: raw.pop("data"), "data: missing"),
        (lambda raw: raw.update(extra=1), "'extra': an unknown key"),
        (lambda raw: raw["model"].update(extra=1), "'model.extra': an unknown key"),
        (lambda raw: raw["model"].pop("sha256"), "model.sha256: missing"),
        (lambda raw: raw["model"]["files"]["model.onnx"].pop("size"), "model.files.model.onnx.size: missing"),
        (lambda raw: raw["model"]["files"]["model.onnx"].update(size=True), "model.files.model.onnx.size: expected"),
        (lambda raw: raw["model"]["files"]["model.onnx"].update(size=7.0), "model.files.model.onnx.size: expected"),
        (lambda raw: raw["model"]["files"]["model.onnx"].update(size=-1), "model.files.model.onnx.size: expected"),
        (lambda raw: raw["model"]["files"]["model.onnx"].update(sha256="A" * 64), "model.files.model.onnx.sha256"),
        (lambda raw: raw["model"]["files"].update({"../x": {"sha256": "a" * 64, "size": 1}}), "'../x'"),
        (lambda raw: raw["model"].update(files=[]), "model.files: expected"),
        (lambda raw: raw["model"].update(sha256="f" * 64), "model.sha256: expected the SHA-256 of the list"),
        (lambda raw: raw.update(dvc_lock_sha256=None), "dvc_lock_sha256: expected"),
        (lambda raw: raw.update(data={"data": 7}), "data.data: expected"),
        (lambda raw: raw.update(data={"a\nb": "d" * 32}), "data: expected"),
        (lambda raw: raw.update(data=None), "data: expected"),
        (lambda raw: raw.update(training_commit="main"), "training_commit: expected"),
        (lambda raw: raw.update(evaluation_sha256=None), "evaluation_sha256: expected"),
        (lambda raw: raw.update(champion_sha256="none"), "champion_sha256: expected"),
        (lambda raw: raw.update(serving_contract="1"), "serving_contract: expected"),
        (lambda raw: raw.update(serving_contract=0), "serving_contract: expected"),
    ],
)
def test_whatever_is_not_a_receipt_is_refused_by_its_key(change: Callable[[Any], Any], named: str) -> None:
    raw = json.loads(TEXT)
    change(raw)
    with pytest.raises(VerificationError) as err:
        parse_receipt(json.dumps(raw))
    assert named in str(err.value)
    assert "\n" not in str(err.value)


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "[" * 100_000, TEXT[:-20], '"text"', "NaN"])
def test_a_text_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match=r"\Amodels/manifest\.json: [^\n]+\Z"):
        parse_receipt(text)


def test_a_key_that_stands_twice_is_refused() -> None:
    with pytest.raises(VerificationError, match="champion_sha256: expected one value"):
        parse_receipt(TEXT.replace('"data": {', '"champion_sha256": null,\n  "data": {'))


def test_a_model_of_unknown_sizes_gets_no_receipt() -> None:
    model = Model.of([ModelFile("model.onnx", "a" * 64)])
    with pytest.raises(VerificationError, match=r"model\.files\.model\.onnx\.size"):
        format_receipt(Receipt(model, "c" * 64, {}, None, "f" * 64, None))


def test_a_server_of_this_code_knows_the_models_of_this_code() -> None:
    assert 1 <= MODEL_CONTRACT <= SERVING_CONTRACT
