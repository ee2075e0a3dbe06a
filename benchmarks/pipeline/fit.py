"""Fit one booster on the flights' training rows, score the holdout, print seconds and AUC as JSON.

Both boosters get the matrix that the product's own preparation makes: the encoder's codes and numbers, wide categories
target-encoded with cross-fitting. Preparing is timed apart; both pay it.
Usage, in a repository with its data in place: fit.py hist_gradient_boosting|lightgbm
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

THREADS = 2
ROUNDS, LEAVES, LEARNING_RATE = 150, 31, 0.06


def booster(name: str, product: Any, seed: int) -> Any:
    """The unfitted estimator: the product's own, or LightGBM with the same three settings and its own defaults."""
    from sklearn.base import clone

    if name == "hist_gradient_boosting":
        return clone(product).set_params(max_iter=ROUNDS, max_leaf_nodes=LEAVES, learning_rate=LEARNING_RATE)
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=ROUNDS, num_leaves=LEAVES, learning_rate=LEARNING_RATE,
        n_jobs=THREADS, random_state=seed, verbose=-1,
    )  # fmt: skip


def main(name: str) -> None:
    """Fit and print."""
    from sklearn.base import clone
    from sklearn.metrics import roc_auc_score

    from mergeline import params, table
    from mergeline.holdout import labelled, split
    from mergeline.models.encoder import encode, fit_features
    from mergeline.models.family import Fitting, Problem, Rows, fitter
    from mergeline.target import classes, encode_target

    settings = params.load(Path("params.yaml"))
    rows = labelled(table.read_table(Path("data"), settings.data.columns), settings.data)
    parts = split(rows, settings.data)
    names = classes(rows, settings.data)
    target = encode_target(rows, settings.data, names)
    started = time.perf_counter()
    features = fit_features(rows.iloc[parts.training], settings.data, settings.train.preprocessing)
    matrix = encode(rows.iloc[parts.training], features)
    encoded_s = time.perf_counter() - started
    holdout = encode(rows.iloc[parts.holdout], features)

    training = Rows(matrix, target[parts.training])
    problem = Problem(settings.data.task, len(names), features)
    one_round = fitter("hist_gradient_boosting")(Fitting(problem, training, None, 1, settings.train, lambda step: None))
    started = time.perf_counter()
    preparation = clone(one_round.native[:-1])
    prepared = preparation.fit_transform(training.matrix, training.target)
    prepared_s = encoded_s + time.perf_counter() - started

    estimator = booster(name, one_round.native[-1], settings.train.seed)
    wall, cpu = time.perf_counter(), time.process_time()
    estimator.fit(prepared, training.target)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    scores = estimator.predict_proba(preparation.transform(holdout))[:, 1]
    auc = roc_auc_score(target[parts.holdout], scores)
    print(json.dumps({"prepared_s": prepared_s, "fit_s": wall, "fit_cpu_s": cpu, "auc": auc, "rows": len(matrix)}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # LightGBM misses the names of columns, which neither was given
    main(sys.argv[1])
