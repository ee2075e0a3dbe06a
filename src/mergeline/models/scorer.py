"""The one way in which a model is run: ONNX Runtime on the encoder's matrix."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mergeline.errors import VerificationError
from mergeline.models.encoder import encode
from mergeline.schema import MODEL_FILE, SIGNATURE_FILE, Signature

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

BATCH_ROWS = 65_536


class Scorer:
    """A loaded model: rows in, scores out; nothing but ONNX operators is executed.

    Raises `VerificationError` where `model` is no ONNX model or does not fit its signature.
    """

    def __init__(self, model: bytes, signature: Signature, threads: int = 0) -> None:
        # its builds report to their maker from the import on; this must be set before it
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = False  # it would keep what the largest batch took, and is no faster
        # weights outside of the file are bytes that no hash speaks for; there is nothing to be found in this place
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        self.signature = signature
        self._columns = max(1, len(signature.classes))
        one_row = np.zeros((1, len(signature.features)), dtype=np.float32)
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0].name
            self._outputs = [self._session.get_outputs()[0].name]
            found = self.score_matrix(one_row).shape
        except Exception as err:  # the runtime's exceptions share no base but this one
            expected = f"expected a model that ONNX Runtime runs on {one_row.shape[1]} features"
            raise VerificationError(f"{MODEL_FILE}: {expected}, found {_line(err)}") from err
        if found != (1, self._columns):
            raise VerificationError(f"{MODEL_FILE}: expected {self._columns} scores a row, found {found[1:]}")

    @classmethod
    def load(cls, folder: Path, threads: int = 0) -> Scorer:
        """Return the model in `folder`; its bytes are those that the signature names, or none of them is executed."""
        try:
            signature = Signature.from_json((folder / SIGNATURE_FILE).read_text(encoding="utf-8"))
            model = (folder / MODEL_FILE).read_bytes()
        except FileNotFoundError as err:
            raise VerificationError(f"{err.filename}: no such file; `mergeline repro` trains a model") from err
        except (ValueError, KeyError, TypeError) as err:
            raise VerificationError(f"{folder / SIGNATURE_FILE}: not a signature ({_line(err)})") from err
        found = hashlib.sha256(model).hexdigest()
        if found != signature.onnx_sha256:
            expected = f"expected the bytes of SHA-256 {signature.onnx_sha256}, which {SIGNATURE_FILE} names"
            raise VerificationError(f"{folder / MODEL_FILE}: {expected}, found {found}; restore both files together")
        return cls(model, signature, threads)

    def score(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Return scores of shape (rows, classes), or (rows, 1) of a regression; raise `DataError` as `encode` does."""
        return self.score_matrix(encode(rows, self.signature.features))

    def score_matrix(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the scores of encoded rows, a bounded batch at a time."""
        if len(matrix) <= BATCH_ROWS:
            return self._run(matrix)
        starts = range(0, len(matrix), BATCH_ROWS)
        return np.concatenate([self._run(matrix[at : at + BATCH_ROWS]) for at in starts])

    def _run(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        if not len(matrix):
            return np.empty((0, self._columns))
        scores: NDArray[np.float32] = self._session.run(self._outputs, {self._input: matrix})[0]
        return scores.astype(np.float64)


def _line(err: Exception) -> str:
    return " ".join(str(err).split())[:200] or type(err).__name__
