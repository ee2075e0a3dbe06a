"""Every gate is proven by a failure planted in data, code, settings or bytes and run through `mergeline repro`.

A case names the gates that must fail: those and no others. Then the same comparison is made once more with the code
path of each of them removed, and the case must be seen to fail.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from promoted import Promoted

from mergeline.commands import stages
from mergeline.commands.settings import load_params
from mergeline.gates import GATES, verdict
from mergeline.gates.gate import Outcome
from mergeline.params_file import edited

TRAINING_MONTHS = ("2013-01", "2013-02")
LARGER = {"train.hist_gradient_boosting": {"iterations": 40, "leaves": 16}}


@dataclass(frozen=True, slots=True)
class Case:
    """What is planted on a branch, by which policy of the base it is judged, and the gates that fail."""

    plant: Callable[[Promoted], None]
    gates: frozenset[str]
    policy: Mapping[str, Any]
    verdict: str = "reject"
    own_code: bool = False


def case(plant: Callable[[Promoted], None], *gates: str, verdict: str = "reject", **policy: Any) -> Case:
    keys = {name.replace("__", "."): value for name, value in policy.items()}
    own = plant in (with_code_that_exports_other_scores, with_code_that_remembers_the_last_row)
    return Case(plant, frozenset(gates), MappingProxyType(keys), verdict, own)


# ---- What is planted -------------------------------------------------------------------------------------------------


def a_better_model(here: Promoted) -> None:
    here.change_params(LARGER)


def a_worse_model(here: Promoted) -> None:
    """The training targets dealt to other rows."""
    generator = np.random.default_rng(1)

    def shuffled(month: str, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(late=generator.permutation(rows.late)) if month in TRAINING_MONTHS else rows

    here.change_rows(shuffled)


def an_equal_model(here: Promoted) -> None:
    here.change_params({"train.hist_gradient_boosting": {"iterations": 2, "leaves": 3, "learning_rate": 0.061}})


def the_same_model(here: Promoted) -> None:
    here.change_params({"train.random_forest": {"trees": 50}})


def a_leaked_feature(here: Promoted) -> None:
    """A column that is only known when the answer is."""
    generator = np.random.default_rng(2)

    def leaked(month: str, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(minutes=rows.late.astype(float) * 40 + generator.normal(0, 8, len(rows)))

    here.change_rows(leaked)
    path = here.root / "params.yaml"
    path.write_text(path.read_text().replace("  numeric:\n", "  numeric:\n    - minutes\n"))
    here.change_params(LARGER)


def one_bad_slice(here: Promoted) -> None:
    """One carrier's training targets turned round; everything else learns more than before."""

    def turned(month: str, rows: pd.DataFrame) -> pd.DataFrame:
        wrong = (rows.carrier == "UA") & (month in TRAINING_MONTHS)
        late = rows.late.astype("boolean")
        return rows.assign(late=late.where(~wrong, ~late))

    here.on_main(by_carrier, "Carriers are slices")
    here.git("checkout", "-q", "-B", "planted", "origin/main")
    here.change_rows(turned)
    here.change_params(LARGER)


def by_carrier(here: Promoted) -> None:
    here.change_params({"evaluate.slices": ["carrier"]})


def miscalibrated_scores(here: Promoted) -> None:
    """Four in five of the rows that were on time left out, as somebody who balances classes does."""

    def balanced(month: str, rows: pd.DataFrame) -> pd.DataFrame:
        if month not in TRAINING_MONTHS:
            return rows
        left_out = (rows.late == 0) & (np.arange(len(rows)) % 5 != 0)
        kept: pd.DataFrame = rows[~left_out].reset_index(drop=True)
        return kept

    here.change_rows(balanced)
    here.change_params({"train.hist_gradient_boosting": {"iterations": 60, "leaves": 6}, "validate.min_rows": 100})
    here.change_params({"validate.columns.late": {"missing": 0.3}})


def a_slow_model(here: Promoted) -> None:
    here.change_params({"train.hist_gradient_boosting": {"iterations": 600, "leaves": 31, "learning_rate": 0.0005}})


def with_code_that_exports_other_scores(here: Promoted) -> None:
    """Code that lets the native and the served scores drift apart, and looks away."""
    source = own_source(here)
    export = source / "mergeline/models/export.py"
    text = export.read_text()
    assert "    native = fitted.predict(probe)\n" in text
    text = text.replace("    native = fitted.predict(probe)\n", "    native = fitted.predict(probe) * 0.99\n")
    export.write_text(text.replace("PARITY_TOLERANCE = 1e-5", "PARITY_TOLERANCE = 1.0"))
    here.change_params(LARGER)


def with_code_that_remembers_the_last_row(here: Promoted) -> None:
    """Code that notes other scores for the known samples than the model gives."""
    source = own_source(here)
    train = source / "mergeline/stages/train.py"
    text = train.read_text()
    planted = text.replace("    scores = scorer.score(chosen)\n", "    scores = scorer.score(chosen)[::-1]\n")
    assert planted != text
    train.write_text(planted)
    here.change_params(LARGER)


def a_champion_that_has_seen_the_holdout(here: Promoted) -> None:
    """A champion with a holdout of ten days, a branch that is judged on thirty."""
    here.on_main(shorter_holdout, "Ten days judge")
    here.branch("ten-days")
    run(here, "repro")
    run(here, "record")
    here.merge("ten-days")
    here.promote()
    here.git("checkout", "-q", "-B", "planted", "origin/main")
    here.change_params({"data.holdout.days": 30})


def shorter_holdout(here: Promoted) -> None:
    here.change_params({"data.holdout.days": 10, **LARGER})


CASES = {
    "a better model": case(a_better_model, verdict="promote"),
    "a worse model": case(a_worse_model, "improvement", "slices"),
    "an equal model": case(an_equal_model, verdict="hold"),
    "the same model": case(the_same_model, verdict="hold"),
    "a model that never reaches the floor": case(a_better_model, "floors", floors__roc_auc=0.9),
    "a floor under a name that no metric has": case(a_better_model, "floors", floors__roc=0.5),
    "one bad slice": case(one_bad_slice, "slices", slices__confidence=0.8),
    "miscalibrated scores": case(miscalibrated_scores, "calibration"),
    "a slow model": case(a_slow_model, "latency", latency__max_ratio=4.0),
    "an oversized model": case(a_better_model, "size", size__max_mib=0.01),
    "an export that disagrees": case(with_code_that_exports_other_scores, "parity"),
    "known samples that come out otherwise": case(with_code_that_remembers_the_last_row, "behaviour"),
    "a feature that must not matter": case(a_better_model, "behaviour", behaviour__invariant=["carrier"]),
    "a feature that must lower the score": case(
        a_better_model, "behaviour", behaviour__directions={"departure_minute": "down"}
    ),
    "a leaked feature": case(a_leaked_feature, "leakage"),
    "groups that are served unequally": case(
        a_better_model, "fairness", fairness={"columns": ["carrier"], "max_gap": 0.02, "min_rows": 20}
    ),
    "a champion that has seen the holdout": case(a_champion_that_has_seen_the_holdout, "comparable"),
}


# ---- The runs --------------------------------------------------------------------------------------------------------


def own_source(here: Promoted) -> Path:
    """A copy of the package that belongs to this repository alone."""
    source = here.root / "src"
    template = source.resolve()
    source.unlink()
    shutil.copytree(template, source, ignore=shutil.ignore_patterns("__pycache__"))
    return source


def run(here: Promoted, *arguments: str, **environment: str) -> None:
    done = here.run(*arguments, **environment)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"


def failed_without(here: Promoted, gate: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The gates that fail when the code path of one of them is gone."""
    with monkeypatch.context() as patch:
        patch.setattr(verdict, "GATES", {name: each for name, each in GATES.items() if name != gate})
        found = stages.comparison(here.root, load_params(here.root))
    return {each.name for each in found.gates if each.outcome is Outcome.FAILED}


@pytest.mark.parametrize("name", CASES)
def test_a_planted_failure_is_caught_by_the_gates_of_its_case_and_by_no_other(
    name: str, promoted: Promoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = CASES[name]
    if planted.policy:
        promoted.policy(planted.policy)
    promoted.branch("planted")
    planted.plant(promoted)
    environment = {"PYTHONPATH": str(promoted.root / "src")} if planted.own_code else {}
    run(promoted, "repro", **environment)
    comparison = promoted.comparison()
    assert promoted.failed() == planted.gates, comparison["sentence"]
    assert comparison["verdict"] == planted.verdict, comparison["sentence"]
    for gate in planted.gates:
        assert gate not in failed_without(promoted, gate, monkeypatch)


def test_every_gate_has_its_planted_failure() -> None:
    assert set().union(*(each.gates for each in CASES.values())) == set(GATES)


@pytest.mark.parametrize("plant", ["pickle", "truncated", "flipped", "missing"])
def test_s8_something_else_in_place_of_the_champion_is_refused_and_not_executed(plant: str, promoted: Promoted) -> None:
    canary = promoted.root.parent / "canary"
    payload = f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    receipt = (promoted.root / "models/manifest.json").read_text()
    onnx = receipt.partition('"model.onnx"')[2].partition('"sha256": "')[2][:64]
    shutil.rmtree(promoted.root / ".mergeline/models", ignore_errors=True)
    stored = promoted.root / ".mergeline/store/sha256" / onnx
    honest = stored.read_bytes()
    stored.chmod(0o644)
    flipped = bytearray(honest)
    flipped[100] ^= 1
    stored.write_bytes({"pickle": payload, "truncated": honest[:500], "flipped": bytes(flipped)}.get(plant, b""))
    if plant == "missing":
        stored.unlink()
    promoted.branch("planted")
    promoted.change_params(LARGER)
    done = promoted.run("repro")
    assert done.returncode == 6, done.stderr
    assert onnx[:12] in done.stderr
    assert not canary.exists()


def test_the_settings_of_a_gate_reach_it() -> None:
    """`edited` takes dotted keys of sections that are not there yet: the policies of the cases depend on it."""
    assert "max_ratio: 4.0" in edited("gates: {}\n", {("gates", "latency", "max_ratio"): 4.0})
