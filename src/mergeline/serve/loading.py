"""From verified bytes to a model that answers: loaded by ONNX Runtime alone, and proven on its known samples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from mergeline.errors import VerificationError
from mergeline.models.scorer import Scorer
from mergeline.monitor.profile import Profile
from mergeline.release.fetch import EVALUATION, Fetched
from mergeline.release.receipt import Receipt
from mergeline.schema import MODEL_FILE, SIGNATURE_FILE, Signature, Task
from mergeline.serve.problems import Problem
from mergeline.serve.rows import RequestModel

TRAINING_FILE = "training.json"
PROFILE_FILE = "profile.json"
SAMPLE_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A model that is ready to answer, and what is known of it: how it was made, what it was worth on the holdout."""

    sha256: str
    signature: Signature
    scorer: Scorer
    profile: Profile | None
    training: dict[str, Any]
    evaluation: dict[str, Any] | None
    receipt: Receipt | None


def load(fetched: Fetched) -> Served:
    """Return the model of verified bytes; raise `VerificationError` where it is none that answers as it must.

    Ready means: the signature names these very model bytes, ONNX Runtime runs them, and each known sample, sent through
    the decoder of requests, scores within 1e-5 of what training recorded (of the largest score, for a regression).
    """
    content = fetched.content
    for name in (MODEL_FILE, SIGNATURE_FILE):
        if name not in content:
            raise VerificationError(
                f"model {fetched.model.sha256}: holds no {name}; release a model of `mergeline train`"
            )
    signature = _parsed(SIGNATURE_FILE, content, Signature.from_json)
    found = next(file.sha256 for file in fetched.model.files if file.name == MODEL_FILE)
    if signature.onnx_sha256 != found:
        raise VerificationError(f"{SIGNATURE_FILE}: is that of {signature.onnx_sha256}, beside it lies {found}")
    scorer = Scorer(content[MODEL_FILE], signature, threads=1)
    check_samples(scorer)
    return Served(
        sha256=fetched.model.sha256,
        signature=signature,
        scorer=scorer,
        profile=_parsed(PROFILE_FILE, content, Profile.from_json) if PROFILE_FILE in content else None,
        training=_parsed(TRAINING_FILE, content, _mapping) if TRAINING_FILE in content else {},
        evaluation=None
        if fetched.evaluation is None
        else _parsed(EVALUATION, {EVALUATION: fetched.evaluation}, _mapping),
        receipt=fetched.receipt,
    )


def check_samples(scorer: Scorer) -> None:
    """Raise `VerificationError` where a known sample, asked as a client asks, scores other than was recorded."""
    signature = scorer.signature
    if not signature.samples:
        raise VerificationError(f"{SIGNATURE_FILE}: holds no known sample; train the model anew")
    try:
        body = msgspec.json.encode({"rows": [{"features": sample.row} for sample in signature.samples]})
        request = RequestModel(signature, len(signature.samples))
        rows = request.together([request.decode(body)])
        expected = np.array([sample.scores for sample in signature.samples], dtype=np.float64)
        scores = scorer.score_matrix(rows.matrix)
    except Problem as err:
        raise VerificationError(f"{SIGNATURE_FILE}: a known sample is no request: {err}") from err
    except (ValueError, TypeError, RecursionError) as err:
        raise VerificationError(f"{SIGNATURE_FILE}: no request can be made of it ({_line(err)}); train anew") from err
    if expected.shape != scores.shape:
        raise VerificationError(
            f"{SIGNATURE_FILE}: the known samples have scores of shape {expected.shape}, the model gives {scores.shape}"
        )
    apart = np.abs(scores - expected)
    largest = float(np.abs(expected).max()) if signature.task is Task.REGRESSION else 1.0
    if not apart.max() <= SAMPLE_TOLERANCE * max(largest, 1.0):
        raise VerificationError(
            f"{MODEL_FILE}: a known sample scores {float(apart.max()):.3g} off what training recorded, allowed"
            f" {SAMPLE_TOLERANCE * max(largest, 1.0):g}; this machine's ONNX Runtime runs the model otherwise"
        )


def _parsed(name: str, content: dict[str, bytes], parse: Any) -> Any:
    try:
        return parse(content[name].decode())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise VerificationError(f"{name}: cannot be read ({_line(err)}); train anew") from err


def _mapping(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(f"expected a mapping, found {type(found).__name__}")
    return found


def _line(err: Exception) -> str:
    return " ".join(str(err).split())[:200]
