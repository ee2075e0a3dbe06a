"""Put the model of the last run where the peers read it, and rows of the holdout where the load reads them.

The peers get the pipeline that training fitted, behind the encoder, so that all requests carry the same raw rows. Of
bodies there is a file for each form and size, a body a line: `rows` is ours, `records` is MLflow's.
Usage, in a repository where the pipeline has run: prepare.py FOLDER
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

BODIES = {1: 500, 100: 20}  # rows of a body: bodies
STRIDE = 7  # neighbours of the table left at the same time from the same place


def model(root: Path, features: Any) -> Any:
    """The fitted pipeline with the encoder as its first step: raw rows in, probabilities out."""
    import cloudpickle
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    from mergeline.models.encoder import encode

    native = cloudpickle.loads(next(root.glob(".mergeline/outbox/*/native.pickle")).read_bytes())
    return Pipeline([("encode", FunctionTransformer(encode, kw_args={"features": features})), *native.steps])


def main(folder: Path) -> None:
    """Write the models and the bodies."""
    import cloudpickle
    import mlflow.sklearn

    from mergeline import table
    from mergeline.schema import Signature

    signature = Signature.from_json(Path("models/candidate/signature.json").read_text(encoding="utf-8"))
    pipeline = model(Path(), signature.features)
    folder.mkdir()
    (folder / "model.pickle").write_bytes(cloudpickle.dumps(pipeline))
    mlflow.sklearn.save_model(
        pipeline, folder / "mlflow", pip_requirements=[], serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
    )  # fmt: skip
    names = [feature.name for feature in signature.features]
    rows = table.read_partition(table.partitions(Path("data"))[-1], names)
    found = json.loads(rows.iloc[::STRIDE].to_json(orient="records", double_precision=6))
    for size, count in BODIES.items():
        starts = [number * size % (len(found) - size) for number in range(count)]
        parts = [found[start : start + size] for start in starts]
        ours = [{"rows": [{"features": row} for row in part]} for part in parts]
        _write(folder / f"rows-{size}.jsonl", ours)
        _write(folder / f"records-{size}.jsonl", [{"dataframe_records": part} for part in parts])


def _write(path: Path, bodies: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(body, separators=(",", ":")) + "\n" for body in bodies), encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # MLflow warns of pickles
    main(Path(sys.argv[1]))
