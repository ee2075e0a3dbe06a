"""train: fitted on the training rows alone, proven against its native self, the same twice."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from tables import FAMILIES, TARGETS, orders, params

from mergeline.errors import ConfigurationError, DataError, VerificationError
from mergeline.holdout import split
from mergeline.models import importance, scikit_learn
from mergeline.models.encoder import encode
from mergeline.models.scorer import Scorer
from mergeline.monitor.profile import profile_of
from mergeline.monitor.sketch import CategoryCounts, NumberSketch
from mergeline.params import Params
from mergeline.schema import Kind
from mergeline.stages import train as stage
from mergeline.stages.train import Trained, best_f1_threshold, train

# Everything that decides something by rows: the threshold, the calibration, the end of the fit.
ALL_DECISIONS: dict[str, Any] = {
    "threshold": "f1",
    "calibration": "sigmoid",
    "tuning_share": 0.2,
    "hist_gradient_boosting": {
        "iterations": 25,
        "early_stopping_rounds": 3,
        "learning_rate": 0.2,
        "leaves": 7,
        "min_leaf_rows": 5,
    },
}
TELLTALE = "tell-tale"


def settings(family: str = "hist_gradient_boosting", task: str = "binary", **train: Any) -> Params:
    chosen = ALL_DECISIONS if task == "binary" else {}
    return params(task, train={**chosen, "family": family, **train})


def training_rows(table: pd.DataFrame, of: Params) -> np.ndarray[Any, np.dtype[np.int64]]:
    return split(table, of.data).training


def holdout_mask(table: pd.DataFrame, of: Params) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros(len(table), dtype=bool)
    mask[split(table, of.data).holdout] = True
    return mask


def same(first: Trained, second: Trained) -> bool:
    """Whether all that `train` leaves behind is the same."""
    return (
        first.model == second.model
        and first.signature == second.signature
        and first.record == second.record
        and first.reference.equals(second.reference)
        and first.profile.to_json() == second.profile.to_json()
    )


def written(trained: Trained) -> str:
    """All that a person or a program could read a row's value from."""
    records = trained.signature.to_json() + json.dumps(trained.record.as_dict()) + trained.profile.to_json()
    return records + trained.reference.to_csv()


# ---- The holdout -----------------------------------------------------------------------------------------------------


def rewritten(table: pd.DataFrame, of: Params) -> pd.DataFrame:
    """The table with every holdout row made up: other values and types, gaps, a new category, a third class."""
    held = holdout_mask(table, of)
    changed = table.copy()
    generator = np.random.default_rng(0)
    changed["amount"] = changed["amount"].mask(held, 1e12 * generator.normal(size=len(table)))
    changed["visits"] = changed["visits"].mask(held)
    changed["member"] = changed["member"].astype(object).mask(held, None)
    changed["since"] = changed["since"].mask(held, pd.Timestamp("2099-01-01"))
    changed["noise"] = changed["noise"].astype(object).mask(held, TELLTALE)
    changed["channel"] = changed["channel"].mask(held, TELLTALE)
    changed["shop"] = changed["shop"].astype(object).mask(held, 7.5)
    target = of.data.target
    if of.data.task != "regression":
        changed[target] = changed[target].astype(object).mask(held, "a third class")
    else:
        changed[target] = changed[target].mask(held, -1e9)
    return changed


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return orders(420)


@pytest.fixture(scope="module")
def trained(table: pd.DataFrame) -> Callable[[str], Trained]:
    """The candidate of each family on the honest table, made once."""
    made: dict[str, Trained] = {}

    def of(family: str) -> Trained:
        if family not in made:
            made[family] = train(table, settings(family))
        return made[family]

    return of


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_in_the_holdout_reaches_the_model_its_decisions_or_its_records(
    family: str, table: pd.DataFrame, trained: Callable[[str], Trained]
) -> None:
    """No fit, encoder, threshold, calibration, early stopping, importance, sample or reference row."""
    honest = trained(family)
    assert honest.record.calibration is not None
    assert honest.record.tuning_rows > 0
    assert same(train(rewritten(table, settings(family)), settings(family)), honest)
    assert TELLTALE not in written(honest)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_twin_one_training_row_changes_the_model(
    family: str, table: pd.DataFrame, trained: Callable[[str], Trained]
) -> None:
    row = training_rows(table, settings(family))[3]
    turned = table.copy()
    turned.loc[row, "bought"] = 1 - turned.loc[row, "bought"]
    found = train(turned, settings(family))
    assert found.model != trained(family).model
    assert found.signature.onnx_sha256 != trained(family).signature.onnx_sha256


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_other_tasks_keep_the_holdout_out_as_well(task: str, table: pd.DataFrame) -> None:
    of = settings("random_forest", task)
    honest = train(table, of)
    assert same(train(rewritten(table, of), of), honest)
    row = training_rows(table, of)[3]
    moved = table.copy()
    moved.loc[row, "kind"] = "low" if table.loc[row, "kind"] != "low" else "top"
    moved.loc[row, "price"] = 0.0
    assert not same(train(moved, of), honest)


def test_the_twin_a_tell_tale_in_a_training_row_is_found_again(table: pd.DataFrame) -> None:
    of = settings()
    rows = table.astype({"shop": object})
    rows.loc[training_rows(rows, of)[0], "shop"] = TELLTALE
    assert TELLTALE in written(train(rows, of))


def test_the_twin_the_tuning_rows_decide_the_threshold_and_the_calibration(table: pd.DataFrame) -> None:
    """Without the second fit they change nothing else: the trees stay as they were."""
    of = settings("random_forest", refit=False)
    newest = training_rows(table, of)[-20:]
    changed = table.copy()
    changed.loc[newest, "bought"] = 1 - changed.loc[newest, "bought"]
    before, after = train(table, of), train(changed, of)
    assert after.record.threshold != before.record.threshold
    assert after.record.calibration != before.record.calibration
    matrix = np.zeros((1, 7), dtype=np.float32)
    assert_allclose(after.fitted.predict(matrix), before.fitted.predict(matrix))


def test_without_a_time_the_rows_of_the_hash_are_kept_out_as_well(table: pd.DataFrame) -> None:
    of = params(data={"time": None, "holdout": {"share": 0.2}})
    assert same(train(rewritten(table, of), of), train(table, of))
    assert train(table, of).record.first_time is None


# ---- The same twice --------------------------------------------------------------------------------------------------


def fingerprint_of(family: str) -> tuple[str, str]:
    """The hashes of a model's bytes and of its records."""
    made = train(orders(300), params(train={"family": family, "threshold": "f1", "calibration": "sigmoid"}))
    record = json.dumps(made.record.as_dict()) + made.signature.to_json() + made.reference.to_csv()
    record += made.profile.to_json()
    return hashlib.sha256(made.model).hexdigest(), hashlib.sha256(record.encode()).hexdigest()


MAKE = """
import json, sys
from test_train import fingerprint_of
print(json.dumps({family: fingerprint_of(family) for family in sys.argv[1:]}), hash("a"))
"""


def test_two_processes_make_the_same_bytes_and_the_same_records() -> None:
    """With other hash seeds, so that no order of a set gets into the bytes."""
    ran = subprocess.run(
        [sys.executable, "-c", MAKE, *FAMILIES],
        env={**os.environ, "PYTHONHASHSEED": "2", "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    theirs, seeded = ran.stdout.rsplit(maxsplit=1)
    assert int(seeded) != hash("a")
    assert json.loads(theirs) == {family: list(fingerprint_of(family)) for family in FAMILIES}


def test_the_twin_another_seed_makes_other_bytes(table: pd.DataFrame, trained: Callable[[str], Trained]) -> None:
    assert train(table, settings("random_forest", seed=4)).model != trained("random_forest").model


# ---- Parity ----------------------------------------------------------------------------------------------------------


def test_a_wrong_onnx_is_refused_and_nothing_comes_back(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted where it would happen: the converter gives the graph of another model."""
    honest = scikit_learn.FittedPipeline.to_onnx
    made: list[bytes] = []

    def of_the_first_model(self: scikit_learn.FittedPipeline) -> onnx.ModelProto:
        made.append(honest(self).SerializeToString())
        return onnx.load_from_string(made[0])

    monkeypatch.setattr(scikit_learn.FittedPipeline, "to_onnx", of_the_first_model)
    train(table, settings("random_forest"))
    with pytest.raises(VerificationError, match="the ONNX model differs from the native one") as caught:
        train(table, settings("random_forest", seed=4))
    assert caught.value.exit_code == 6


def test_the_record_tells_the_difference_and_the_signature_names_the_bytes(candidate: Trained) -> None:
    assert 0 < candidate.record.parity_difference <= 1e-5
    assert candidate.signature.onnx_sha256 == hashlib.sha256(candidate.model).hexdigest()


# ---- What it leaves --------------------------------------------------------------------------------------------------


def test_the_record_says_how_the_model_came_about(candidate: Trained) -> None:
    record = candidate.record
    assert (record.family, record.seed, record.rounds) == ("hist_gradient_boosting", 3, 15)
    assert record.settings["leaves"] == 7
    assert record.training_rows == 360
    assert record.tuning_rows == record.unlabelled_rows == 0
    assert record.first_time == "2024-01-01T00:00:00"
    assert record.last_time == "2024-01-15T23:00:00"
    assert record.importance[0].feature in ("amount", "shop")
    assert {each.feature for each in record.importance} == set(params().data.features)
    json.dumps(record.as_dict(), allow_nan=False)


def test_the_signature_describes_a_row_and_an_answer(candidate: Trained) -> None:
    signature = candidate.signature
    assert signature.classes == ("0", "1")
    assert signature.threshold == 0.5
    assert [each.kind for each in signature.features[:4]] == [Kind.NUMBER, Kind.NUMBER, Kind.BOOLEAN, Kind.DATETIME]
    assert [sample.row["since"][:2] for sample in signature.samples] == ["20"] * 5
    assert len({tuple(sample.row.items()) for sample in signature.samples}) == 5


def test_the_signature_names_what_a_server_must_not_keep(table: pd.DataFrame) -> None:
    assert train(table, params(data={"personal": ["shop"]})).signature.personal == ("shop",)


def test_the_reference_is_training_rows_with_the_scores_of_the_served_model(
    candidate: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, of = orders(), params()
    inside = table.iloc[training_rows(table, of)][list(of.data.features)].reset_index(drop=True)
    assert_frame_equal(candidate.reference[list(of.data.features)], inside)
    scores = Scorer(candidate.model, candidate.signature).score(inside)
    assert_allclose(candidate.reference["score"], scores[:, 1])
    monkeypatch.setattr(stage, "REFERENCE_ROWS", 50)
    fewer = train(table, of).reference
    assert len(fewer) == 50
    assert_frame_equal(fewer, train(table, of).reference)


@pytest.mark.parametrize("task", TARGETS)
def test_the_reference_of_every_task_has_one_score_a_row(task: str, table: pd.DataFrame) -> None:
    made = train(table, params(task))
    scores = Scorer(made.model, made.signature).score(made.reference)
    expected = {"binary": scores[:, -1], "multiclass": scores.max(axis=1), "regression": scores[:, 0]}
    assert_allclose(made.reference["score"], expected[task])
    assert made.record.threshold == (0.5 if task == "binary" else None)


def test_the_profile_counts_all_training_rows_where_the_reference_is_a_sample(
    table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoded and scored by the served model again, the training rows have the profile that training left."""
    of = settings("random_forest")
    monkeypatch.setattr(stage, "REFERENCE_ROWS", 50)
    made = train(table, of)
    inside = table.iloc[training_rows(table, of)]
    scorer = Scorer(made.model, made.signature)
    matrix = encode(inside, made.signature.features)
    labels = CategoryCounts(0, 0, {name: int((inside["bought"] == int(name)).sum()) for name in ("0", "1")})
    again = profile_of(matrix, made.signature.features, scorer.score_matrix(matrix)[:, 1], labels)
    assert made.profile.rows == len(inside) > len(made.reference) == 50
    assert made.profile.to_json() == again.to_json()
    assert made.profile.numbers["amount"].missing == int(inside["amount"].isna().sum()) > 0


def test_the_twin_the_tuning_rows_are_in_the_profile_too(table: pd.DataFrame) -> None:
    of = settings("random_forest", refit=False)
    changed = table.copy()
    changed.loc[training_rows(table, of)[-1], "amount"] = 1e6
    assert train(table, of).profile.numbers["amount"].quantiles(1.0) < 1000
    assert train(changed, of).profile.numbers["amount"].quantiles(1.0) > 999_000


@pytest.mark.parametrize("task", TARGETS)
def test_the_profile_of_every_task_has_the_scores_of_its_reference_and_its_labels(
    task: str, table: pd.DataFrame
) -> None:
    made = train(table, params(task))
    assert made.profile.score.as_dict() == NumberSketch.of(made.reference["score"].to_numpy()).as_dict()
    labels = table.iloc[training_rows(table, params(task))][TARGETS[task]]
    if task == "regression":
        assert isinstance(made.profile.labels, NumberSketch)
        assert made.profile.labels.as_dict() == NumberSketch.of(labels.to_numpy()).as_dict()
    else:
        counts = {str(name): int(count) for name, count in labels.value_counts().items()}
        assert made.profile.labels == CategoryCounts(0, 0, counts)


def test_rows_without_a_target_are_counted_and_left_out(table: pd.DataFrame) -> None:
    gaps = table.assign(bought=table["bought"].mask(table.index % 4 == 1))
    made = train(gaps, params())
    assert made.record.unlabelled_rows == 105
    without = train(gaps.dropna(subset=["bought"]).reset_index(drop=True), params())
    assert made.model == without.model


def test_with_refit_the_model_learns_from_the_tuning_rows_too_without_it_does_not(table: pd.DataFrame) -> None:
    refitted, once = (train(table, settings("random_forest", refit=refit)) for refit in (True, False))
    assert refitted.model != once.model
    assert refitted.record.threshold == once.record.threshold
    assert refitted.record.calibration == once.record.calibration
    assert refitted.record.training_rows == once.record.training_rows == 250


def test_a_refit_is_as_long_as_the_first_fit_was_best(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int | None, int, bool]] = []
    honest = scikit_learn.fit

    def listening(fitting: Any) -> Any:
        fitted = honest(fitting)
        seen.append((fitting.rounds, fitted.rounds, fitting.tuning is not None))
        return fitted

    monkeypatch.setattr(scikit_learn, "fit", listening)
    made = train(table, settings())
    (asked, best, tuned), (again, length, _) = seen
    assert (asked, tuned) == (None, True)
    assert again == length == best == made.record.rounds < 25


def test_progress_is_told_in_steps(table: pd.DataFrame) -> None:
    told: list[str] = []
    train(table, params(), told.append)
    assert told == ["encoding", "fitting", "exporting", "weighing features"]


# ---- The threshold ---------------------------------------------------------------------------------------------------


def f1(scores: Any, target: Any, threshold: float) -> float:
    called = np.asarray(scores) >= threshold
    hits = float(np.sum(called & (np.asarray(target) == 1)))
    return 2 * hits / (called.sum() + np.sum(target)) if hits else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_has_a_higher_f1(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = np.round(generator.random(60), 1)
    target = (generator.random(60) < scores).astype(float)
    chosen = best_f1_threshold(scores, target)
    assert f1(scores, target, chosen) == pytest.approx(max(f1(scores, target, each) for each in np.unique(scores)))


@pytest.mark.parametrize(
    ("scores", "target", "threshold"),
    [
        pytest.param([0.2, 0.6, 0.6, 0.9], [0, 1, 1, 1], 0.4, id="halfway between two scores"),
        pytest.param([0.2, 0.6], [1, 1], 0.1, id="below the lowest: halfway to zero"),
        pytest.param([0.0, 0.6], [1, 1], 0.0, id="zero where the lowest is zero"),
        pytest.param([0.5, 0.5, 0.5], [1, 0, 0], 0.25, id="equal scores are not parted"),
    ],
)
def test_the_threshold_by_hand(scores: list[float], target: list[float], threshold: float) -> None:
    assert best_f1_threshold(np.array(scores), np.array(target, dtype=float)) == pytest.approx(threshold)


@pytest.mark.parametrize("family", ["random_forest", "hist_gradient_boosting"])
def test_the_served_scores_fall_on_the_sides_that_the_threshold_was_chosen_by(family: str, table: pd.DataFrame) -> None:
    """A float32 score a hair below its native self would fall off a threshold that is a score itself."""
    of = settings(family, refit=False)
    made = train(table, of)
    tuning = table.iloc[training_rows(table, of)[-62:]]
    scorer = Scorer(made.model, made.signature)
    served = scorer.score(tuning)[:, 1]
    assert made.record.threshold is not None
    assert np.abs(served - made.record.threshold).min() > 1e-7
    best = max(f1(served, tuning["bought"], each) for each in np.unique(served))
    assert f1(served, tuning["bought"], made.record.threshold) == pytest.approx(best)


# ---- What cannot be trained on ---------------------------------------------------------------------------------------


def test_tuning_rows_of_one_class_decide_nothing(table: pd.DataFrame) -> None:
    changed = table.copy()
    changed.loc[training_rows(table, settings())[-62:], "bought"] = 0
    for decision, off in (("calibration", {"threshold": 0.5}), ("threshold", {"calibration": "none"})):
        with pytest.raises(DataError, match=rf"train\.{decision}: the 62 tuning rows are all of one class"):
            train(changed, settings("random_forest", **off))
    assert train(changed, settings("random_forest", threshold=0.5, calibration="none")).record.tuning_rows == 0


def test_a_class_that_only_the_tuning_rows_have_cannot_be_learnt(table: pd.DataFrame) -> None:
    of = settings("hist_gradient_boosting", "multiclass", **{k: ALL_DECISIONS[k] for k in ("hist_gradient_boosting",)})
    rows = table.copy()
    rows.loc[training_rows(table, of)[-1], "kind"] = "rare"
    with pytest.raises(DataError, match=r"data\.target: no row to fit on has the class 'rare'; \d+ rows left"):
        train(rows, of)


def test_a_target_of_one_class_before_the_holdout_is_refused_whatever_the_holdout_holds(table: pd.DataFrame) -> None:
    rows = table.assign(bought=np.where(holdout_mask(table, params()), table["bought"], 1))
    with pytest.raises(DataError, match=r"expected two values in 'bought', found 1 \(1\)"):
        train(rows, params())


def test_many_classes_need_no_tuning_rows_for_a_threshold(table: pd.DataFrame) -> None:
    rows = table.assign(kind=np.where(table["kind"] == "low", "low", "top"))
    assert train(rows, params("multiclass", train={"threshold": "f1"})).record.tuning_rows == 0


def test_text_for_a_number_names_its_column(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"^noise: expected numbers"):
        train(table.assign(noise="loud"), params())


def test_words_without_a_positive_class_are_a_question_of_settings(table: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match=r"data\.positive"):
        train(table.assign(bought=table["bought"].map({0: "no", 1: "yes"})), params())


def test_importance_of_a_large_table_takes_a_sample(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "MAX_ROWS", 100)
    assert train(table, params()).record.importance == train(table, params()).record.importance


def test_a_category_of_dates_is_kept_as_json_can_have_it(table: pd.DataFrame) -> None:
    """Parquet may give them as Python's dates, which JSON does not know."""
    rows = table.assign(shop=table["since"].dt.date)
    made = train(rows, params())
    assert made.signature.samples[0].row["shop"] == rows["shop"].iloc[0].isoformat()
    scorer = Scorer(made.model, made.signature)
    for sample in made.signature.samples:
        assert_allclose(scorer.score(pd.DataFrame([sample.row]))[0], sample.scores, atol=1e-6)
