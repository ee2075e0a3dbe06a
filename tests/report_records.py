"""Records as the stages leave them, made by plain functions, for tests of the reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mergeline.report.context import CodeChange, Context, ParameterChange, PartitionChange, Records

CANDIDATE, CHAMPION, HOLDOUT, LOCK = ("3fa9c1d2" * 8, "b81e07aa" * 8, "0c44f3e1" * 8, "77d0a5b6" * 8)
HOSTILE = "@everyone <img src=x> | `x`"
GATES = (
    *("holdout", "improvement", "floors", "slices", "calibration", "latency", "size"),
    *("parity", "behaviour", "leakage", "fairness"),
)
# name, greater is better, champion, candidate, half the width of its interval
METRICS: dict[str, tuple[tuple[str, bool | None, float, float, float], ...]] = {
    "binary": (
        ("roc_auc", True, 0.7281, 0.7591, 0.0063),
        ("average_precision", True, 0.5702, 0.6135, 0.011),
        ("log_loss", False, 0.5523, 0.5281, 0.0067),
        ("brier_score", False, 0.1842, 0.1751, 0.0027),
        ("expected_calibration_error", False, 0.0312, 0.029, 0.0048),
        ("accuracy", True, 0.6841, 0.7025, 0.0054),
        ("f1", True, 0.5695, 0.592, 0.0081),
        ("predicted_positive_share", None, 0.4302, 0.4139, 0.0059),
    ),
    "multiclass": (
        ("log_loss", False, 0.9021, 0.8711, 0.009),
        ("accuracy", True, 0.6102, 0.6284, 0.006),
        ("macro_f1", True, 0.5512, 0.5731, 0.008),
        ("roc_auc_ovr", True, 0.7801, 0.8012, 0.005),
    ),
    "regression": (
        ("rmse", False, 31.42, 29.84, 0.41),
        ("mae", False, 18.11, 17.42, 0.22),
        ("r2", True, 0.412, 0.468, 0.012),
        ("bias", None, -0.84, 0.31, 0.4),
    ),
}
LABELS = {"binary": "ROC AUC", "multiclass": "log loss", "regression": "RMSE"}
CARRIERS = ("9E", "AA", "B6", "DL", "EV", "MQ", "UA", "US", "WN")
SHIFT = {"promote": 0.0, "hold": -0.031, "reject": -0.048}


def interval(estimate: float, half: float, confidence: float = 0.95) -> dict[str, Any]:
    """An interval about an estimate."""
    ends = {"estimate": estimate, "low": estimate - half, "high": estimate + half}
    return {**ends, "method": "linearised", "confidence": confidence}


def records(task: str = "binary", verdict: str = "promote", **context: Any) -> Records:
    """All records of a run with this verdict; `context` replaces fields of the context."""
    return Records(
        comparison=comparison(task, verdict),
        curves=curves(task),
        evaluation={"primary": METRICS[task][0][0], "rows": 27075},
        validation=validation(),
        training={"family": "hist_gradient_boosting", "training_rows": 133603},
        receipt=receipt(),
        context=replace(full_context(), **context),
    )


def with_comparison(made: Records, **changes: Any) -> Records:
    """The same records with other fields of the comparison."""
    return replace(made, comparison={**made.comparison, **changes})


def contender(task: str, *, candidate: bool, shift: float = 0.0) -> dict[str, Any]:
    """A model of the comparison; `shift` worsens it in the metric's own direction."""
    found = [
        {"name": name, "greater_is_better": up, "rows": 27075, **interval(_value(row, candidate, shift), row[4])}
        for row in METRICS[task]
        for name, up in [row[:2]]
    ]
    return {
        "kind": "model",
        "sha256": CANDIDATE if candidate else CHAMPION,
        "family": "hist_gradient_boosting" if candidate else "logistic_regression",
        "training_rows": 133603 if candidate else 104800,
        "first_time": "2013-01-01T05:15:00",
        "last_time": "2013-05-31T23:59:00" if candidate else "2013-04-30T23:59:00",
        "metrics": found,
    }


def _value(row: tuple[str, bool | None, float, float, float], candidate: bool, shift: float) -> float:
    _, up, champion, own, _ = row
    sign = -1 if up is False else 1
    return own + sign * shift * abs(champion) / 0.7281 if candidate else champion


def comparison(task: str = "binary", verdict: str = "promote") -> dict[str, Any]:
    """What `compare` records."""
    shift = SHIFT[verdict]
    candidate, champion = contender(task, candidate=True, shift=shift), contender(task, candidate=False)
    differences = [
        {"metric": own["name"], **interval(_better(own, other), 0.45 * (own["high"] - own["low"]))}
        for own, other in zip(candidate["metrics"], champion["metrics"], strict=True)
        if own["greater_is_better"] is not None
    ]
    first = {key: value for key, value in differences[0].items() if key != "metric"}
    said = f"{LABELS[task]} (95 % {first['low']:.3f} to {first['high']:.3f})"
    sentences = {
        "promote": f"better by {first['estimate']:.3f} {said}: promoted",
        "hold": f"better by {first['estimate']:.3f} {said}: a tie, the release stays as it is",
        "reject": f"worse by {-first['estimate']:.3f} {said}; 2 of 16 slices are worse by more than 0.03: rejected",
    }
    return {
        "verdict": verdict,
        "sentence": sentences[verdict],
        "notes": [],
        "primary": METRICS[task][0][0],
        "greater_is_better": METRICS[task][0][1],
        "policy": "base",
        "holdout": {
            "rows": 27075,
            "first_time": "2013-06-01T05:00:00",
            "last_time": "2013-06-30T23:59:00",
            "sha256": HOLDOUT,
        },
        "candidate": candidate,
        "champion": champion,
        "difference": first,
        "differences": differences,
        "slices": slices(first["estimate"], failed=verdict == "reject"),
        "gates": gates(first["estimate"], failed=("improvement", "slices") if verdict == "reject" else ()),
    }


def _better(own: dict[str, Any], other: dict[str, Any]) -> float:
    by = float(own["estimate"] - other["estimate"])
    return by if own["greater_is_better"] else -by


def slices(estimate: float, *, failed: bool) -> list[dict[str, Any]]:
    """One slice a value, the first two failed if asked for, the last too small to be judged."""
    names = [("origin", name) for name in ("EWR", "JFK", "LGA")] + [("carrier", name) for name in CARRIERS]
    names += [("weekday", name) for name in ("Fri", "Sat", "Sun")] + [("carrier", "YV")]
    found = []
    for number, (column, value) in enumerate(names):
        fails, small = failed and number in (4, 9), number == len(names) - 1
        by = estimate + 0.012 * math.sin(number) - (0.06 if fails else 0.0)
        found.append(
            {
                "column": column,
                "value": value,
                "rows": 41 if small else 9800 - 560 * number,
                "candidate": None if small else 0.728 + by,
                "champion": None if small else 0.728,
                "difference": None if small else interval(by, 0.01 + 0.002 * number, 0.9969),
                "outcome": "not applicable" if small else "failed" if fails else "passed",
            }
        )
    return found


def gates(estimate: float, failed: Sequence[str]) -> list[dict[str, Any]]:
    """Every gate; fairness has nothing to say."""
    evidence = {
        "holdout": ("27,075 rows, all newer than what either model was trained on", 27075.0, 500.0),
        "improvement": (f"better by {estimate:.3f} in the metric that counts", estimate, 0.0),
        "floors": ("every metric is above its floor", None, None),
        "slices": ("16 slices, none worse by more than 0.03", -0.0321, -0.03),
        "calibration": ("expected calibration error 0.029, at most 0.05 is allowed", 0.029, 0.05),
        "latency": ("1.08 times the champion's, at most 1.5 is allowed", 1.08, 1.5),
        "size": ("0.61 MB, at most 50 MB is allowed", 0.61, 50.0),
        "parity": ("the ONNX model differs by at most 3.4e-07", 3.4e-07, 1e-05),
        "behaviour": ("loads, answers one score a row, knows unseen categories", None, None),
        "leakage": ("no feature predicts the target alone", 0.61, 0.98),
        "fairness": ("no protected column is named", None, None),
    }
    if failed:
        evidence["improvement"] = (f"worse by {-estimate:.3f} in the metric that counts", estimate, 0.0)
        evidence["slices"] = ("2 of 16 slices are worse by more than 0.03: carrier=AA, carrier=UA", -0.0861, -0.03)
    outcomes = dict.fromkeys(GATES, "passed") | {"fairness": "not applicable"} | dict.fromkeys(failed, "failed")
    return [
        {"name": name, "outcome": outcomes[name], "value": value, "threshold": limit, "evidence": said}
        for name in GATES
        for said, value, limit in [evidence[name]]
    ]


def curves(task: str = "binary") -> dict[str, Any]:
    """What the plots are drawn from."""
    return {
        "candidate": model_curves(task, 2.4),
        "champion": model_curves(task, 2.0),
        "distributions": distributions(task),
    }


def model_curves(task: str, strength: float) -> dict[str, Any]:
    """The curves of a model; the stronger, the further from chance."""
    steps = [number / 40 for number in range(41)]
    roc = [
        {"threshold": 1 - step, "false_positive_rate": step, "true_positive_rate": step ** (1 / strength)}
        for step in steps
    ]
    recall = [{"threshold": 1 - step, "recall": step, "precision": 1 - 0.68 * step ** (strength / 2)} for step in steps]
    scale = 60.0 if task == "regression" else 1.0
    bins = [
        {
            "mean_prediction": scale * (number + 0.5) / 10,
            "observed": interval(
                scale * ((number + 0.5) / 10) ** (1.3 - 0.1 * strength), scale * (0.012 + 0.004 * number)
            ),
            "rows": 2700 - 240 * number,
        }
        for number in range(10)
    ]
    binary = task == "binary"
    return {
        "roc": roc if binary else [],
        "precision_recall": recall if binary else [],
        "calibration": [] if task == "multiclass" else bins,
    }


def distributions(task: str = "binary") -> list[dict[str, Any]]:
    """The score, numbers and categories, then and now."""
    scale = 60.0 if task == "regression" else 1.0
    found = [_numbers("score", [scale * step / 10 for step in range(11)], 2.1, 3.0, (0.0, 0.0))]
    found.append(_numbers("departure_minute", [float(144 * step) for step in range(11)], 6.0, 6.2, (0.0, 0.0)))
    found.append(_numbers("pressure_hpa", [984 + 5.5 * step for step in range(11)], 5.0, 4.4, (0.11, 0.084)))
    found.append(_numbers("temperature_f", [10.0 + 9 * step for step in range(11)], 3.0, 8.0, (0.0005, 0.0)))
    found.append(_categories("carrier", ["UA", "EV", "B6", "DL", "AA", "MQ", "other"], (0.0, 0.0)))
    found.append(_categories("weekday", ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], (0.0, 0.02)))
    return found


def _numbers(name: str, edges: list[float], then: float, now: float, missing: tuple[float, float]) -> dict[str, Any]:
    shapes = [[math.exp(-((number - centre) ** 2) / 5) for number in range(10)] for centre in (then, now)]
    return _distribution(name, "number", [], edges, shapes, missing)


def _categories(name: str, labels: list[str], missing: tuple[float, float]) -> dict[str, Any]:
    shapes = [[1 / (number + turn) for number in range(len(labels))] for turn in (1.5, 2.5)]
    return _distribution(name, "category", labels, [], shapes, missing)


def _distribution(
    name: str,
    kind: str,
    labels: list[str],
    edges: list[float],
    shapes: list[list[float]],
    missing: tuple[float, float],
) -> dict[str, Any]:
    then, now = (
        [value * (1 - gone) / sum(shape) for value in shape] for shape, gone in zip(shapes, missing, strict=True)
    )
    found = {"feature": name, "kind": kind, "labels": labels, "edges": edges, "then": then, "now": now}
    return {**found, "missing_then": missing[0], "missing_now": missing[1]}


def validation() -> dict[str, Any]:
    """Six months, one expectation that warns."""
    held = {"passed": True, "column": "origin", "rule": "one of EWR, JFK, LGA", "severity": "error"}
    months = {
        "2013-01": 27004,
        "2013-02": 24951,
        "2013-03": 28834,
        "2013-04": 28330,
        "2013-05": 28796,
        "2013-06": 28243,
    }
    warned = {
        "passed": False,
        "column": "plane_age_years",
        "rule": "at most 30 % missing",
        "severity": "warn",
        "partitions": 6,
        "findings": [
            {
                "partition": "2013-06",
                "unexpected": 8921,
                "checked": 28243,
                "examples": [{"row": 4, "value": None, "id": 7}],
            }
        ],
    }
    return {
        "success": True,
        "rows": months,
        "quality": {"score": 0.981543, "completeness": 0.944629, "consistency": 1.0, "freshness": 1.0},
        "expectations": [{**held, "partitions": 6, "findings": []}, warned],
    }


def receipt() -> dict[str, Any]:
    """models/manifest.json."""
    return {
        "model": {"sha256": CANDIDATE, "files": {"model.onnx": {"sha256": CANDIDATE, "size": 612345}}},
        "dvc_lock_sha256": LOCK,
        "data": {"data": "d41d8cd98f00b204e9800998ecf8427e.dir"},
        "training_commit": "9d3c2a1f" * 5,
        "evaluation_sha256": "5e" * 32,
        "champion_sha256": CHAMPION,
        "serving_contract": 1,
    }


def full_context() -> Context:
    """Changes of every kind, a holdout within its budget."""
    return Context(
        base="origin/main",
        params=(
            ParameterChange("train.hist_gradient_boosting.iterations", "100", "150"),
            ParameterChange("train.family", "logistic_regression", "hist_gradient_boosting"),
            ParameterChange("data.as_of", None, "2013-07-01"),
        ),
        data=(PartitionChange("2013-06", None, 28243), PartitionChange("2013-05", 28796, 28796)),
        code=(CodeChange("src/mergeline/models/scikit_learn.py", 12, 4),),
        holdout_uses=4,
        holdout_budget=20,
        latency_ratio=1.08,
        commit="9d3c2a1f" * 5,
        commands=("git checkout 9d3c2a1f", "make setup", "make repro"),
    )


def refused(task: str = "binary") -> Records:
    """The champion was trained on rows of the holdout: nothing was compared."""
    made = records(task, "reject")
    reason = "the champion was trained on rows up to 2013-06-12, which the holdout contains"
    unscored = {**made.comparison["champion"], "metrics": []}
    refused_gate = {"name": "holdout", "outcome": "failed", "value": None, "threshold": None, "evidence": reason}
    unjudged = {"outcome": "not applicable", "value": None, "threshold": None, "evidence": "nothing could be compared"}
    others = [{"name": name, **unjudged} for name in GATES[1:]]
    found = with_comparison(
        made,
        sentence=f"{reason}: rejected",
        champion=unscored,
        difference=None,
        differences=[],
        slices=[],
        gates=[refused_gate, *others],
    )
    return replace(found, curves={**found.curves, "champion": {}})


def baseline(task: str = "binary", verdict: str = "promote") -> Records:
    """No model runs yet."""
    made = records(task, verdict)
    nameless = dict.fromkeys(("sha256", "family", "first_time", "last_time"))
    note = "no model is in production yet: a baseline that answers with the share of the class stands in for it"
    return with_comparison(
        made,
        notes=[f"{note}; the branch's own gates judge"],
        policy="branch",
        champion={**made.comparison["champion"], **nameless, "kind": "baseline"},
    )


def hostile(text: str = HOSTILE) -> Records:
    """Every text that comes from data, a person or a file name is this one."""
    made = records(verdict="reject")
    said = made.comparison
    changed = with_comparison(
        made,
        sentence=text,
        notes=[text],
        slices=[{**each, "column": text, "value": text} for each in said["slices"]],
        gates=[{**each, "evidence": text} for each in said["gates"]],
        candidate={**said["candidate"], "family": text, "first_time": text, "last_time": text},
    )
    expectations = [
        {
            "passed": False,
            "column": text,
            "rule": text,
            "severity": "error",
            "partitions": 1,
            "findings": [{"partition": text, "unexpected": 1, "checked": 2, "examples": [{"row": 0, "value": text}]}],
        }
    ]
    shown = [
        {
            **each,
            "feature": each["feature"] if each["feature"] == "score" else text,
            "labels": [text for _ in each["labels"]],
        }
        for each in made.curves["distributions"]
    ]
    return replace(
        changed,
        curves={**made.curves, "distributions": shown},
        validation={**made.validation, "rows": {text: 1}, "expectations": expectations},
        context=replace(
            made.context,
            base=text,
            params=(ParameterChange(text, text, text),),
            data=(PartitionChange(text, 1, 2),),
            code=(CodeChange(text, 1, 2),),
            commands=(text,),
            commit=text,
        ),
    )


def huge() -> Records:
    """More of everything than a comment can hold, under long names that need escaping."""
    made = hostile("`|@<" * 200)
    said, many = made.comparison, 5000
    return replace(
        with_comparison(
            made,
            slices=said["slices"] * (many // 10),
            gates=said["gates"] * 20,
            notes=said["notes"] * 50,
            candidate={
                **said["candidate"],
                "metrics": [{**said["candidate"]["metrics"][0], "name": f"{number:_>300}"} for number in range(many)],
            },
        ),
        curves={**made.curves, "distributions": made.curves["distributions"] * 40},
        validation={
            **made.validation,
            "rows": {f"{number:`>300}": number for number in range(many)},
            "expectations": made.validation["expectations"] * many,
        },
        context=replace(
            made.context,
            params=made.context.params * many,
            data=made.context.data * many,
            code=made.context.code * many,
            commands=made.context.commands * many,
        ),
    )
