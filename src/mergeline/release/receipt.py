"""`models/manifest.json`, the receipt: which bytes a branch made, from what, and what they were compared with."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mergeline.errors import VerificationError
from mergeline.release.model import Model, ModelFile

SERVING_CONTRACT = 1  # the newest kind of model that a server of this code knows; older ones it serves as well
MODEL_CONTRACT = 1  # what a model of this code asks of its server; rises where an older server could not serve it
WHERE = "models/manifest.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"none|[0-9a-f]{32}(\.dir)?")  # none: DVC does not track it
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?(-dirty)?")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a candidate is and what it comes from.

    `model` names each file with its size in bytes; `data` maps each input of the pipeline to DVC's MD5 of it;
    `training_commit` is the commit that the inputs were read at (None outside a commit, with `-dirty` behind it where
    they were not those of the commit); `evaluation_sha256` is the SHA-256 of `reports/evaluation.json`, what the model
    was worth on the holdout; `champion_sha256` is the model that was compared against, None for a baseline;
    `serving_contract` is the kind of server that the model asks for, or a newer one.
    """

    model: Model
    dvc_lock_sha256: str
    data: Mapping[str, str]
    training_commit: str | None
    evaluation_sha256: str
    champion_sha256: str | None
    serving_contract: int = MODEL_CONTRACT


def format_receipt(receipt: Receipt) -> str:
    """Return the text of the receipt; equal receipts give equal bytes, and `parse_receipt` reads them back.

    Raises `VerificationError` for a receipt that would not be read back: an unknown size, a hash that is none.
    """
    record = {
        "model": {
            "sha256": receipt.model.sha256,
            "files": {file.name: {"sha256": file.sha256, "size": file.size} for file in receipt.model.files},
        },
        "dvc_lock_sha256": receipt.dvc_lock_sha256,
        "data": {name: receipt.data[name] for name in sorted(receipt.data)},
        "training_commit": receipt.training_commit,
        "evaluation_sha256": receipt.evaluation_sha256,
        "champion_sha256": receipt.champion_sha256,
        "serving_contract": receipt.serving_contract,
    }
    _receipt(record)
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_receipt(text: str) -> Receipt:
    """Return the receipt that a text holds, however it is spaced.

    Raises `VerificationError`, which names the key, for a key that is unknown, missing or there twice, for a value of
    another kind, and for a model whose SHA-256 is not that of its files.
    """
    try:
        return _receipt(json.loads(text, object_pairs_hook=_once))
    except (ValueError, RecursionError) as err:
        raise VerificationError(f"{WHERE}: not JSON ({err}); `mergeline repro` writes it anew") from err


def _receipt(record: Any) -> Receipt:
    keys = (
        *("model", "dvc_lock_sha256", "data", "training_commit"),
        *("evaluation_sha256", "champion_sha256", "serving_contract"),
    )
    model, lock, data, commit, evaluation, champion, contract = _values(record, "", keys)
    return Receipt(
        model=_model(model),
        dvc_lock_sha256=_text(lock, "dvc_lock_sha256", _SHA256, "64 hexadecimal digits"),
        data=_data(data),
        training_commit=None if commit is None else _text(commit, "training_commit", _COMMIT, "a commit or null"),
        evaluation_sha256=_text(evaluation, "evaluation_sha256", _SHA256, "64 hexadecimal digits"),
        champion_sha256=(
            None if champion is None else _text(champion, "champion_sha256", _SHA256, "64 hexadecimal digits or null")
        ),
        serving_contract=_number(contract, "serving_contract", least=1),
    )


def _model(record: Any) -> Model:
    sha256, files = _values(record, "model", ("sha256", "files"))
    if not isinstance(files, dict):
        raise _wrong("model.files", "a mapping from file names", files)
    model = Model.of([_file(name, file) for name, file in files.items()])
    if sha256 != model.sha256:
        raise _wrong("model.sha256", f"the SHA-256 of the list of its files, {model.sha256}", sha256)
    return model


def _file(name: str, record: Any) -> ModelFile:
    where = f"model.files.{name}"
    sha256, size = _values(record, where, ("sha256", "size"))
    return ModelFile(
        name,
        _text(sha256, f"{where}.sha256", _SHA256, "64 hexadecimal digits"),
        _number(size, f"{where}.size", least=0),
    )


def _data(record: Any) -> dict[str, str]:
    if not isinstance(record, dict):
        raise _wrong("data", "a mapping from names to MD5", record)
    for name in record:
        if not name or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            raise _wrong("data", "names that can be read", name)
    return {name: _text(record[name], f"data.{name}", _MD5, "an MD5 as DVC writes it") for name in sorted(record)}


def _values(record: Any, where: str, keys: tuple[str, ...]) -> list[Any]:
    """The values of exactly these keys, in their order."""
    if not isinstance(record, dict):
        raise _wrong(where or "the whole", f"a mapping of {', '.join(keys)}", record)
    for key in [*record, *keys]:
        dotted = f"{where}.{key}" if where else key
        if key not in keys:
            raise VerificationError(
                f"{WHERE}: {dotted!r}: an unknown key, expected {', '.join(keys)}; `mergeline repro` writes it anew"
            )
        if key not in record:
            raise VerificationError(f"{WHERE}: {dotted}: missing; `mergeline repro` writes it anew")
    return [record[key] for key in keys]


def _text(value: Any, where: str, pattern: re.Pattern[str], expected: str) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise _wrong(where, expected, value)
    return value


def _number(value: Any, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(where, f"a whole number from {least} on", value)
    return value


def _wrong(where: str, expected: str, found: Any) -> VerificationError:
    shown = ascii(found)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return VerificationError(
        f"{WHERE}: {ascii(where)[1:-1]}: expected {expected}, found {shown}; `mergeline repro` writes it anew"
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping whose keys stand once; JSON lets the last one win, which a reader may overlook."""
    record = dict(pairs)
    if len(record) != len(pairs):
        twice = next(key for key, _ in pairs if [other for other, _ in pairs].count(key) > 1)
        raise _wrong(twice, "one value", "several")
    return record
