"""The check `gate`: each question answered on a branch where all holds, then on one where one thing is planted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import raw_params
from test_git import commit, git

from mergeline import files, pipeline
from mergeline.admission import Finding, committed, differences, findings, release_for
from mergeline.errors import ConfigurationError, DataError
from mergeline.layout import (
    CANDIDATE,
    CHAMPION,
    COMPARISON,
    DATA_FILE,
    EVALUATION,
    LOCK,
    PRODUCTION,
    RECEIPT,
    RECORDED,
    STAGING,
)
from mergeline.params import GateParams, parse
from mergeline.release.champion import BaseModel, Champion, Served, Without
from mergeline.release.manifests import NO_RELEASE, Release, format_release
from mergeline.release.model import Model, ModelFile
from mergeline.release.receipt import SERVING_CONTRACT, Receipt, format_receipt, parse_receipt
from mergeline.release.store import model_of

SETTINGS = parse(raw_params())
IMAGE = "registry.example/server@sha256:" + "5" * 64
DATA = {"data": "d" * 32 + ".dir"}


def receipt_of(model: str) -> Receipt:
    """What an earlier verdict left on the base of a model whose weights have this hash."""
    model_files = [ModelFile("model.onnx", model * 64, 7), ModelFile("signature.json", "b" * 64, 2)]
    return Receipt(Model.of(model_files), "c" * 64, DATA, None, "e" * 64, None)


def released(receipt: Receipt) -> Release:
    """The release that a verdict made of it."""
    receipt_sha256 = hashlib.sha256(format_receipt(receipt).encode()).hexdigest()
    return Release(receipt.model.sha256, ".mergeline/store", receipt_sha256, IMAGE)


OLD, NEW = receipt_of("8"), receipt_of("1")
OLDER, SERVED = released(OLD), released(NEW)
NEVER = replace(SERVED, model_sha256="f" * 64)
CHAMPION_SHORT = NEW.model.sha256[:12]
COMPARED = Champion(
    Served(NEW.model.sha256, ".mergeline/store"),
    None,
    BaseModel(NEW.model.sha256, "b" * 64),
    "base",
    GateParams(),
    (),
    {"days": 5},
)
CHECKS = ["fresh", "receipt", "champion", "staging release", "production release", "retirement", "verdict"]

# ---- Differences -----------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text()
finite = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text()
records = st.recursive(finite, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@given(records)
def test_a_record_does_not_differ_from_itself(record: Any) -> None:
    assert list(differences(record, record)) == []


@given(scalars, scalars)
def test_two_values_differ_in_both_directions_or_in_none(old: Any, new: Any) -> None:
    assert bool(list(differences(old, new))) == bool(list(differences(new, old)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(0.7, 0.7 + 9e-7, id="a float within the tolerance"),
        pytest.param(1e6, 1e6 + 0.9, id="a large one, by its share"),
        pytest.param(-1e6, -1e6 - 0.9, id="a large negative one"),
        pytest.param(0.0, -9e-7, id="beside zero"),
        pytest.param(1, 1.0, id="a whole number as a float"),
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, id="keys in another order"),
    ],
)
def test_what_is_the_same_within_the_tolerance_is_not_named(old: Any, new: Any) -> None:
    assert list(differences(old, new)) == []


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param({"auc": 0.7}, {"auc": 0.700002}, ["auc: 0.7, now 0.700002"], id="a float"),
        pytest.param({"rmse": 1e6}, {"rmse": 1e6 + 2}, ["rmse: 1000000.0, now 1000002.0"], id="a large one"),
        pytest.param({"a": NAN}, {"a": 1.0}, ["a: nan, now 1.0"], id="NaN before"),
        pytest.param({"a": 1.0}, {"a": NAN}, ["a: 1.0, now nan"], id="NaN now"),
        pytest.param({"a": NAN}, {"a": NAN}, ["a: nan, now nan"], id="NaN twice, which no record holds"),
        pytest.param({"a": INFINITY}, {"a": 0.5}, ["a: inf, now 0.5"], id="infinity before"),
        pytest.param({"a": 0.5}, {"a": -INFINITY}, ["a: 0.5, now -inf"], id="infinity now"),
        pytest.param({"a": True}, {"a": 1}, ["a: true, now 1"], id="a switch that became a number"),
        pytest.param({"a": 0.0}, {"a": False}, ["a: 0.0, now false"], id="a number that became a switch"),
        pytest.param({"a": True}, {"a": False}, ["a: true, now false"], id="a switch"),
        pytest.param({"a": 1}, {"a": "1"}, ['a: 1, now "1"'], id="a number that became text"),
        pytest.param({"a": None}, {"a": 0}, ["a: null, now 0"], id="nothing that became zero"),
        pytest.param({"verdict": "hold"}, {"verdict": "promote"}, ['verdict: "hold", now "promote"'], id="text"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, ["a: [1, 2], now [1]"], id="a shorter list"),
        pytest.param({"a": []}, {"a": {}}, ["a: [], now {}"], id="an empty list that became a mapping"),
        pytest.param({"a": [1, 2]}, {"a": [2, 1]}, ["a.0: 1, now 2", "a.1: 2, now 1"], id="a list in another order"),
        pytest.param({"a": 1}, {}, ["a: 1, now null"], id="a key that is gone"),
        pytest.param({}, {"a": {"b": 1}}, ['a: null, now {"b": 1}'], id="a key that is new"),
        pytest.param(
            {"m": [{"low": 0.1, "high": 0.2}]},
            {"m": [{"low": 0.1, "high": 0.3}]},
            ["m.0.high: 0.2, now 0.3"],
            id="deep",
        ),
    ],
)
def test_what_differs_is_named_with_its_place(old: Any, new: Any, said: list[str]) -> None:
    assert list(differences(old, new)) == said


def test_a_long_value_is_shown_in_short() -> None:
    (said,) = differences({"a": ["x" * 500]}, {"a": ["y" * 500, 1]})
    assert len(said) < 150


# ---- A branch on which all holds -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def stale(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What `pipeline.stale` says: nothing, until a test puts something in."""
    found: dict[str, str] = {}
    monkeypatch.setattr(pipeline, "stale", lambda root: found)
    return found


def comparison(sha256: str, verdict: str = "promote", **more: Any) -> str:
    return json.dumps(
        {"verdict": verdict, "sentence": "better by 0.1", "candidate": {"sha256": sha256}, "gates": [], **more}
    )


def write_result(root: Path, compared: Champion = COMPARED) -> None:
    """A candidate, its lock, its receipt, its verdict, and staging's release of it."""
    (root / LOCK).write_text("mine\n")
    (root / CANDIDATE).mkdir(parents=True)
    for name in ("model.onnx", "signature.json"):
        (root / CANDIDATE / name).write_text(name)
    model = model_of(root / CANDIDATE)
    served = compared.served.model_sha256 if compared.served else None
    (root / EVALUATION).parent.mkdir()
    (root / EVALUATION).write_text("{}")
    receipt = Receipt(model, files.sha256(root / LOCK), DATA, None, files.sha256(root / EVALUATION), served)
    (root / RECEIPT).write_text(format_receipt(receipt))
    (root / CHAMPION).write_text(compared.to_json())
    (root / COMPARISON).write_text(comparison(model.sha256))
    (root / STAGING).write_text(format_release(release_for(root, "main", SETTINGS, {"verdict": "promote"})))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A branch at the base, on which nothing was done yet; production has had an older release, and none before it."""
    params, data = json.dumps(raw_params()), f"outs:\n- md5: {'d' * 32}.dir\n  size: 1\n  nfiles: 1\n  path: data\n"
    git(tmp_path, "init", "-q", "-b", "main")
    both = (STAGING.as_posix(), PRODUCTION.as_posix())
    begun = {name: format_release(NO_RELEASE) for name in both}
    commit(tmp_path, {"params.yaml": params, DATA_FILE.as_posix(): data, "dvc.lock": "main\n", **begun})
    for receipt in (OLD, NEW):
        serving = {name: format_release(released(receipt)) for name in both}
        commit(tmp_path, {RECEIPT.as_posix(): format_receipt(receipt), **serving})
    git(tmp_path, "checkout", "-q", "-b", "branch")
    return tmp_path


@pytest.fixture
def branch(base: Path) -> Path:
    """A branch with a better model."""
    write_result(base)
    return base


@pytest.fixture
def settled(base: Path) -> Path:
    """A branch without a result of its own, which holds the base's."""
    write_result(base)
    (base / STAGING).write_text(format_release(SERVED))
    git(base, "checkout", "-q", "main")
    commit(base, {}, "the base's result")
    git(base, "checkout", "-q", "-B", "branch")
    return base


def found(root: Path) -> dict[str, Finding]:
    return {each.name: each for each in findings(root, "main", SETTINGS)}


def refused(root: Path) -> dict[str, str]:
    """The questions that do not hold, and why."""
    return {name: each.said for name, each in found(root).items() if not each.held}


def test_r4_r19_a_better_model_with_all_its_records_answers_every_question(branch: Path) -> None:
    assert refused(branch) == {}
    assert list(found(branch)) == CHECKS
    assert (
        f"the comparison is with what production serves now: model {CHAMPION_SHORT}" in found(branch)["champion"].said
    )


def test_a_branch_without_a_result_of_its_own_answers_every_question_and_is_not_judged(settled: Path) -> None:
    (settled / "README.md").write_text("# What it is for\n")
    assert refused(settled) == {}
    assert list(found(settled)) == CHECKS
    assert "nothing is to be judged" in found(settled)["verdict"].said


FIRST = [
    Champion(None, Without.NO_BASE, None, "branch", GateParams(), ()),
    replace(COMPARED, served=None, without=Without.NO_RELEASE),
]


@pytest.mark.parametrize("first", FIRST, ids=lambda first: first.without)
def test_a_first_branch_is_compared_with_a_baseline_and_may_begin_the_releases(base: Path, first: Champion) -> None:
    git(base, "checkout", "-q", "main")
    commit(base, {path.as_posix(): format_release(NO_RELEASE) for path in (STAGING, PRODUCTION)})
    git(base, "checkout", "-q", "-B", "branch")
    write_result(base, first)
    answers = list(findings(base, None if first.without == Without.NO_BASE else "main", SETTINGS))
    assert [each for each in answers if not each.held] == []
    assert f"a baseline ({first.without})" in answers[2].said


def test_a_first_branch_that_judged_itself_is_refused_where_there_is_a_base(base: Path) -> None:
    git(base, "checkout", "-q", "main")
    commit(base, {path.as_posix(): format_release(NO_RELEASE) for path in (STAGING, PRODUCTION)})
    git(base, "checkout", "-q", "-B", "branch")
    write_result(base, replace(FIRST[1], policy="branch", holdout=None))
    assert list(refused(base)) == ["champion"]


# ---- fresh -----------------------------------------------------------------------------------------------------------


def test_stale_records_are_refused_with_the_stages_and_with_what_to_do(branch: Path, stale: dict[str, str]) -> None:
    stale |= {"train": "params.yaml changed", "compare": "data changed"}
    said = refused(branch)["fresh"]
    assert "(train: params.yaml changed; compare: data changed)" in said
    assert "`mergeline repro` and `mergeline record` bring the branch up to date" in said
    assert "on a fork, a maintainer pushes" in said


def test_a_branch_on_which_nothing_ever_ran_is_refused_as_not_fresh_and_asked_nothing_else(
    base: Path, stale: dict[str, str]
) -> None:
    stale |= {"compare": "reports/comparison.json has never been written"}
    (base / LOCK).unlink()
    assert [each.name for each in findings(base, "main", SETTINGS)] == ["fresh"]
    assert list(refused(base)) == ["fresh"]


NOT_AS_WRITTEN: dict[str, dict[str, Any]] = {
    "a verdict of its own": {"verdict": "merge"},
    "a verdict that is a list": {"verdict": ["promote"]},
    "a sentence that is a number": {"sentence": 1},
    "no candidate": {"candidate": None},
    "a candidate that is text": {"candidate": "7" * 64},
    "a candidate without its hash": {"candidate": {}},
    "a hash that is a number": {"candidate": {"sha256": 7}},
    "no gates": {"gates": None},
    "gates of strings": {"gates": ["floors"]},
    "a gate without an outcome": {"gates": [{"name": "floors"}]},
    "an unknown outcome": {"gates": [{"name": "floors", "outcome": "waived"}]},
    "an outcome that is a mapping": {"gates": [{"name": "floors", "outcome": {}}]},
    "an unknown gate without an outcome": {"gates": [{"name": "luck"}]},
    "a name that is a list": {"gates": [{"name": ["floors"], "outcome": "passed"}]},
}
MALFORMED: list[Any] = [
    pytest.param(None, id="none at all"),
    pytest.param("", id="empty"),
    pytest.param("[]", id="a list"),
    pytest.param("null", id="null"),
    pytest.param("{}", id="without its keys"),
    pytest.param('{"verdict": "promote"}', id="a verdict alone"),
    *(pytest.param(comparison("7" * 64, **more), id=what) for what, more in NOT_AS_WRITTEN.items()),
]


@pytest.mark.parametrize("content", MALFORMED)
def test_a_verdict_that_cannot_be_read_is_an_error_and_no_pass(branch: Path, content: str | None) -> None:
    (branch / COMPARISON).unlink()
    if content is not None:
        (branch / COMPARISON).write_text(content)
    with pytest.raises(DataError, match=r"comparison\.json") as caught:
        found(branch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("outcome", ["passed", "not applicable"])
def test_a_verdict_with_gates_that_did_not_fail_is_read_as_it_was_written(branch: Path, outcome: str) -> None:
    gates = [{"name": name, "outcome": outcome, "evidence": "of 480 rows"} for name in ("floors", "size")]
    (branch / COMPARISON).write_text(comparison(model_of(branch / CANDIDATE).sha256, gates=gates))
    assert refused(branch) == {}


# ---- receipt ---------------------------------------------------------------------------------------------------------


def change_receipt(root: Path, **changes: Any) -> None:
    receipt = replace(parse_receipt((root / RECEIPT).read_text()), **changes)
    (root / RECEIPT).write_text(format_receipt(receipt))
    (root / STAGING).write_text(format_release(release_for(root, "main", SETTINGS, {"verdict": "promote"})))


def of_another_lock(root: Path) -> None:
    change_receipt(root, dvc_lock_sha256="0" * 64)


def of_other_data(root: Path) -> None:
    change_receipt(root, data={"data": "e" * 32 + ".dir"})


def of_no_data(root: Path) -> None:
    change_receipt(root, data={})


def of_more_data(root: Path) -> None:
    change_receipt(root, data={**DATA, "extra": "e" * 32})


def of_a_newer_serving_contract(root: Path) -> None:
    change_receipt(root, serving_contract=SERVING_CONTRACT + 1)


def of_another_evaluation(root: Path) -> None:
    change_receipt(root, evaluation_sha256="7" * 64)


def an_evaluation_that_was_edited(root: Path) -> None:
    (root / EVALUATION).write_text('{"rows": 1}')


def of_another_champion(root: Path) -> None:
    change_receipt(root, champion_sha256="9" * 64)


def of_no_champion(root: Path) -> None:
    change_receipt(root, champion_sha256=None)


def of_other_sizes(root: Path) -> None:
    model = model_of(root / CANDIDATE)
    change_receipt(root, model=Model.of([replace(each, size=(each.size or 0) + 1) for each in model.files]))


def of_data_that_were_changed_since(root: Path) -> None:
    (root / DATA_FILE).write_text((root / DATA_FILE).read_text().replace("d" * 32, "e" * 32))


def a_comparison_of_another_model(root: Path) -> None:
    (root / COMPARISON).write_text(comparison("7" * 64))


def another_model_in_place(root: Path) -> None:
    (root / CANDIDATE / "model.onnx").write_text("other bytes")


def no_lock(root: Path) -> None:
    (root / LOCK).unlink()


RECEIPTS: dict[Callable[[Path], None], str] = {
    of_another_lock: "the receipt says 000000000000",
    of_other_data: f"the data are {'d' * 32}.dir, the receipt says {'e' * 32}.dir",
    of_no_data: f"the data are {'d' * 32}.dir, the receipt says None",
    of_more_data: "it names data called extra",
    of_a_newer_serving_contract: "its serving contract is 2, servers know 1 (see docs/verdict.md, Two pull requests)",
    of_another_evaluation: f"the receipt says {'7' * 12}",
    an_evaluation_that_was_edited: "reports/evaluation.json is ",
    of_another_champion: f"models/champion.json names {NEW.model.sha256}, the receipt {'9' * 64}",
    of_no_champion: f"models/champion.json names {NEW.model.sha256}, the receipt None",
    of_other_sizes: "or other sizes",
    of_data_that_were_changed_since: f"the data are {'e' * 32}.dir, the receipt says {'d' * 32}.dir",
    a_comparison_of_another_model: "the comparison judged model 777777777777, the receipt says ",
    another_model_in_place: "the model here is ",
    no_lock: "dvc.lock is missing, the receipt says ",
}


@pytest.mark.parametrize("plant", RECEIPTS, ids=lambda plant: plant.__name__)
def test_the_receipt_of_another_result_is_refused_alone_and_says_which(
    branch: Path, plant: Callable[[Path], None]
) -> None:
    assert refused(branch) == {}
    plant(branch)
    said = refused(branch)
    assert list(said) == ["receipt"]
    assert "models/manifest.json is another result's: " in said["receipt"]
    assert RECEIPTS[plant] in said["receipt"]


def test_a_receipt_of_data_that_are_not_named_is_an_error_and_no_pass(branch: Path) -> None:
    (branch / DATA_FILE).write_text("outs: []\n")
    with pytest.raises(ConfigurationError, match=r"^data\.dvc: names no folder; "):
        found(branch)


def test_all_that_is_wrong_with_a_receipt_is_said_at_once(branch: Path) -> None:
    change_receipt(branch, dvc_lock_sha256="0" * 64, data={})
    assert refused(branch)["receipt"].count("the receipt says") == 2


def test_a_receipt_holds_where_the_model_is_not_here(branch: Path) -> None:
    of_other_sizes(branch)
    assert list(refused(branch)) == ["receipt"]
    for path in (branch / CANDIDATE).iterdir():
        path.unlink()
    (branch / CANDIDATE).rmdir()
    assert refused(branch) == {}


UNREADABLE_RECEIPTS = [None, b"", b"{", b"{}", b"\xff\xfe", b'{"model": 1, "model": 2}']


@pytest.mark.parametrize("content", UNREADABLE_RECEIPTS)
def test_a_receipt_that_is_missing_or_malformed_is_refused(settled: Path, content: bytes | None) -> None:
    (settled / RECEIPT).unlink()
    if content is not None:
        (settled / RECEIPT).write_bytes(content)
    said = refused(settled)
    assert list(said) == ["receipt"]
    assert_says_what_to_do(said["receipt"], content)


@pytest.mark.parametrize("content", UNREADABLE_RECEIPTS)
def test_without_a_receipt_that_can_be_read_a_promotion_has_nothing_that_staging_could_serve(
    branch: Path, content: bytes | None
) -> None:
    (branch / RECEIPT).unlink()
    if content is not None:
        (branch / RECEIPT).write_bytes(content)
    said = refused(branch)
    assert list(said) == ["receipt", "staging release"]
    assert_says_what_to_do(said["receipt"], content)
    assert said["staging release"].startswith("the receipt says nothing of it (")


@pytest.mark.parametrize("content", UNREADABLE_RECEIPTS)
def test_a_receipt_that_cannot_be_read_is_no_matter_of_staging_where_nothing_is_promoted(
    branch: Path, content: bytes | None
) -> None:
    (branch / COMPARISON).write_text(comparison(model_of(branch / CANDIDATE).sha256, "hold"))
    put(branch, STAGING, SERVED)
    assert refused(branch) == {}
    (branch / RECEIPT).unlink()
    if content is not None:
        (branch / RECEIPT).write_bytes(content)
    assert list(refused(branch)) == ["receipt"]


def assert_says_what_to_do(said: str, content: bytes | None) -> None:
    assert said.startswith("there is no models/manifest.json" if content is None else "models/manifest.json")
    assert "`mergeline repro` and `mergeline record`" in said


# ---- champion --------------------------------------------------------------------------------------------------------


def on_main(root: Path, name: Path | str, content: str) -> None:
    """Change a file on main after the branch has left it."""
    git(root, "stash", "-q", "--include-untracked")
    git(root, "checkout", "-q", "main")
    commit(root, {str(name): content})
    git(root, "checkout", "-q", "branch")
    git(root, "stash", "pop", "-q")


def test_r4_twin_a_champion_that_production_does_not_serve_any_more_is_refused(branch: Path) -> None:
    on_main(branch, PRODUCTION, format_release(NEVER))
    said = refused(branch)["champion"]
    assert f"production serves ffffffffffff now, the comparison is with {CHAMPION_SHORT}" in said


def test_a_champion_of_a_production_that_was_emptied_is_refused(branch: Path) -> None:
    on_main(branch, PRODUCTION, format_release(NO_RELEASE))
    said = refused(branch)["champion"]
    assert f"production serves no model now, the comparison is with {CHAMPION_SHORT}" in said


def test_a_comparison_with_a_baseline_is_refused_where_production_serves_a_model(branch: Path) -> None:
    (branch / CHAMPION).write_text(replace(COMPARED, served=None, without=Without.NO_RELEASE).to_json())
    said = refused(branch)["champion"]
    assert f"production serves {CHAMPION_SHORT} now, the comparison is with a baseline" in said


@pytest.mark.parametrize("section", [{"gates": {"improvement": {"margin": 0.5}}}, {"evaluate": {"slices": ["shop"]}}])
def test_r4_twin_a_policy_that_changed_on_the_base_is_asked_for_again(branch: Path, section: dict[str, Any]) -> None:
    raw = raw_params()
    on_main(branch, "params.yaml", json.dumps({**raw, **section}))
    (branch / "params.yaml").write_text(json.dumps(raw))
    assert "the policy has changed since the comparison" in refused(branch)["champion"]


@pytest.mark.parametrize("holdout", [None, {"days": 1}, {"share": 0.1}])
def test_a_holdout_that_is_not_the_bases_is_refused(branch: Path, holdout: dict[str, Any] | None) -> None:
    (branch / CHAMPION).write_text(replace(COMPARED, holdout=holdout).to_json())
    assert list(refused(branch)) == ["champion"]


def test_gates_that_the_branch_wrote_into_the_file_itself_are_refused(branch: Path) -> None:
    text = (branch / CHAMPION).read_text()
    (branch / CHAMPION).write_text(text.replace('"non_inferiority": false', '"non_inferiority": true'))
    assert list(refused(branch)) == ["champion"]


def test_another_model_on_the_base_is_asked_for_again(branch: Path) -> None:
    on_main(branch, RECEIPT, format_receipt(receipt_of("6")))
    assert "the base branch's model has changed since the comparison" in refused(branch)["champion"]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"\xff", b'{"gates": {"no such gate": 1}}'])
def test_a_champion_that_cannot_be_read_is_refused(branch: Path, content: bytes | None) -> None:
    (branch / CHAMPION).unlink()
    if content is not None:
        (branch / CHAMPION).write_bytes(content)
    said = refused(branch)
    assert list(said) == ["receipt", "champion"]
    assert "models/champion.json cannot be read" in said["champion"]
    assert "models/champion.json names None, the receipt " in said["receipt"]


def with_gates(root: Path, **gates: Any) -> None:
    """Give the policy that `models/champion.json` holds other settings."""
    record = json.loads((root / CHAMPION).read_text())
    record["gates"] |= gates
    (root / CHAMPION).write_text(json.dumps(record))


def test_settings_of_gates_that_only_newer_code_knows_are_named_and_not_held_against_the_branch(branch: Path) -> None:
    with_gates(branch, luck={"max": 1}, size={"max_mib": 100.0, "packed": True})
    assert refused(branch) == {}
    said = found(branch)["champion"].said
    assert said.endswith("; settings of gates that only this branch's code knows: size.packed, luck")


@pytest.mark.parametrize(
    "gates", [{"size": {"max_mib": 1e6, "packed": True}}, {"floors": {"roc_auc": 0.1}, "luck": {}}]
)
def test_r4_twin_a_setting_that_the_base_knows_is_held_against_it_beside_one_that_it_does_not_know(
    branch: Path, gates: dict[str, Any]
) -> None:
    with_gates(branch, **gates)
    assert list(refused(branch)) == ["champion"]
    assert "the policy has changed since the comparison" in refused(branch)["champion"]


def test_a_champion_of_newer_code_that_holds_more_than_settings_is_refused(branch: Path) -> None:
    record = json.loads((branch / CHAMPION).read_text())
    record["gates"]["luck"] = {}
    (branch / CHAMPION).write_text(json.dumps(record | {"waived": True}))
    assert "unknown keys waived" in refused(branch)["champion"]


# ---- releases --------------------------------------------------------------------------------------------------------


def put(root: Path, path: Path, release: Release) -> None:
    (root / path).write_text(format_release(release))


@pytest.mark.parametrize("release", [SERVED, OLDER, NEVER, NO_RELEASE])
def test_a_promoted_model_is_what_staging_has_to_serve(branch: Path, release: Release) -> None:
    put(branch, STAGING, release)
    assert list(refused(branch)) == ["staging release"]


def test_a_promotion_may_not_bring_another_image_or_store(branch: Path) -> None:
    wanted = release_for(branch, "main", SETTINGS, {"verdict": "promote"})
    assert wanted.image == IMAGE
    for other in (replace(wanted, image=None), replace(wanted, store="s3://elsewhere")):
        put(branch, STAGING, other)
        assert list(refused(branch)) == ["staging release"]


@pytest.mark.parametrize("verdict", ["hold", "reject"])
def test_without_a_promotion_staging_stays_the_bases(branch: Path, verdict: str) -> None:
    (branch / COMPARISON).write_text(comparison(model_of(branch / CANDIDATE).sha256, verdict))
    assert "staging release" in refused(branch)
    put(branch, STAGING, SERVED)
    assert "staging release" not in refused(branch)


@pytest.mark.parametrize(
    ("path", "release", "said"),
    [
        (STAGING, SERVED, "as the base branch has it"),
        (STAGING, replace(SERVED, image=None), "the base branch's model in another image"),
        (STAGING, OLDER, "it was live before: a rollback, nothing is trained"),
        (PRODUCTION, SERVED, "as the base branch has it"),
        (PRODUCTION, OLDER, "it was live before: a rollback, nothing is trained"),
    ],
)
def test_r6_r19_without_a_result_a_release_may_go_where_a_verdict_has_been(
    settled: Path, path: Path, release: Release, said: str
) -> None:
    put(settled, path, release)
    assert refused(settled) == {}
    assert found(settled)[f"{path.parent.name} release"].said == said


@pytest.mark.parametrize(
    ("path", "release"),
    [
        (STAGING, NEVER),
        (STAGING, replace(OLDER, image=None)),
        (PRODUCTION, NEVER),
        (PRODUCTION, replace(SERVED, image=None)),
        (PRODUCTION, replace(SERVED, receipt_sha256="0" * 64)),
        (PRODUCTION, NO_RELEASE),
    ],
)
def test_r6_twin_a_release_that_no_verdict_made_is_refused(settled: Path, path: Path, release: Release) -> None:
    put(settled, path, release)
    said = refused(settled)
    assert list(said) == [f"{path.parent.name} release"]
    assert "names a release that no verdict made" in next(iter(said.values()))


@pytest.mark.parametrize("path", [STAGING, PRODUCTION])
def test_r6_twin_a_release_that_was_pushed_to_the_base_past_the_gate_is_none_to_go_back_to(
    settled: Path, path: Path
) -> None:
    git(settled, "checkout", "-q", "main")
    for release in (NEVER, OLDER, SERVED):
        commit(settled, {path.as_posix(): format_release(release)})
    git(settled, "checkout", "-q", "-B", "branch")
    put(settled, path, NEVER)
    assert list(refused(settled)) == [f"{path.parent.name} release"]
    put(settled, path, OLDER)
    assert refused(settled) == {}


def test_a_promotion_is_what_the_bases_staging_serves_and_not_what_the_branchs_does(settled: Path) -> None:
    git(settled, "checkout", "-q", "main")
    promoted = replace(SERVED, model_sha256="6" * 64)
    commit(settled, {STAGING.as_posix(): format_release(promoted)})
    git(settled, "checkout", "-q", "-B", "branch")
    put(settled, PRODUCTION, promoted)
    assert refused(settled) == {}
    assert found(settled)["production release"].said == "what staging serves: a promotion"
    for path in (STAGING, PRODUCTION):
        put(settled, path, NEVER)
    assert list(refused(settled)) == ["staging release", "production release"]


def test_a_result_does_not_let_production_move(branch: Path) -> None:
    put(branch, PRODUCTION, release_for(branch, "main", SETTINGS, {"verdict": "promote"}))
    assert list(refused(branch)) == ["production release"]


def test_a_release_file_that_is_gone_is_an_empty_release(settled: Path) -> None:
    (settled / PRODUCTION).unlink()
    assert list(refused(settled)) == ["production release"]


@pytest.mark.parametrize("content", [b"", b"kind: Pod\n", b"\xff", format_release(SERVED).encode() + b"# \xff\n"])
def test_a_release_that_cannot_be_read_is_refused(settled: Path, content: bytes) -> None:
    (settled / STAGING).write_bytes(content)
    assert list(refused(settled)) == ["staging release"]


# ---- verdict ---------------------------------------------------------------------------------------------------------


def test_r19_twin_a_rejected_candidate_is_refused_with_the_gates_that_failed(branch: Path) -> None:
    gates = [
        {"name": "slices", "outcome": "failed"},
        {"name": "size", "outcome": "passed"},
        {"name": "floors", "outcome": "failed"},
    ]
    (branch / COMPARISON).write_text(comparison(model_of(branch / CANDIDATE).sha256, "reject", gates=gates))
    put(branch, STAGING, SERVED)
    assert refused(branch) == {"verdict": "better by 0.1 (failed: slices, floors)"}


@pytest.mark.parametrize("verdict", ["promote", "hold"])
def test_a_gate_that_only_newer_code_knows_is_counted_and_refuses_where_it_failed(branch: Path, verdict: str) -> None:
    def judged(outcome: str) -> dict[str, str]:
        gates = [{"name": "size", "outcome": "passed"}, {"name": "luck", "outcome": outcome}]
        (branch / COMPARISON).write_text(comparison(model_of(branch / CANDIDATE).sha256, verdict, gates=gates))
        return refused(branch)

    if verdict == "hold":
        put(branch, STAGING, SERVED)
    for outcome in ("passed", "not applicable"):
        assert judged(outcome) == {}
        assert found(branch)["verdict"].said == "better by 0.1 (1 of 2 gates are this branch's own: luck)"
    assert judged("failed") == {"verdict": "better by 0.1 (failed: luck) (1 of 2 gates are this branch's own: luck)"}


def test_a_model_of_an_older_serving_contract_is_served_by_newer_servers(
    branch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mergeline.admission.SERVING_CONTRACT", SERVING_CONTRACT + 1)
    assert refused(branch) == {}
    of_a_newer_serving_contract(branch)  # which servers know by now
    assert refused(branch) == {}
    change_receipt(branch, serving_contract=SERVING_CONTRACT + 2)  # the twin
    assert list(refused(branch)) == ["receipt"]


def test_a_rejected_candidate_whose_lock_is_the_bases_is_not_judged_again(settled: Path) -> None:
    (settled / COMPARISON).write_text(comparison(model_of(settled / CANDIDATE).sha256, "reject"))
    assert refused(settled) == {}


# ---- committed -------------------------------------------------------------------------------------------------------

JUDGED = (*RECORDED, PRODUCTION, Path("params.yaml"), Path("dvc.yaml"), DATA_FILE)


@pytest.fixture
def clean(settled: Path) -> Path:
    """A checkout whose every judged file is committed."""
    missing = {path.as_posix(): "{}\n" for path in JUDGED if not (settled / path).exists()}
    commit(settled, {**missing, "src/code.py": "1\n", ".gitignore": "*.log\n"})
    return settled


def test_a_checkout_as_the_commit_has_it_is_held_whatever_else_lies_beside_it(clean: Path) -> None:
    (clean / "notes.txt").write_text("untracked, and nothing that is judged")
    (clean / "reports/page.html").write_text("a page")
    (clean / "run.log").write_text("ignored")
    assert committed(clean) == Finding("committed", True, "what lies here is what the commit holds")


@pytest.mark.parametrize("path", [*map(str, JUDGED), "src/code.py"])
def test_a_tracked_file_that_differs_from_the_commit_is_named(clean: Path, path: str) -> None:
    assert committed(clean).held
    (clean / path).write_text("other\n")
    for staged in (False, True):
        if staged:
            git(clean, "add", path)
        found = committed(clean)
        assert not found.held
        assert found.said == f"{path} is not as the commit has it; `mergeline record`"
    git(clean, "reset", "-q", "--hard")
    (clean / path).unlink()
    assert not committed(clean).held


@pytest.mark.parametrize("path", [str(path) for path in JUDGED])
def test_a_judged_file_that_git_does_not_know_is_named(clean: Path, path: str) -> None:
    git(clean, "rm", "-q", "--cached", path)
    git(clean, "commit", "-q", "-m", "taken out")
    found = committed(clean)
    assert not found.held
    assert found.said.startswith(f"{path} is not as the commit has it")
    (clean / path).unlink()
    assert committed(clean).held


@pytest.mark.parametrize(
    "path", [*map(str, JUDGED), "models", "reports", "k8s", "k8s/overlays", "k8s/overlays/production"]
)
def test_a_link_in_place_of_a_judged_file_or_of_a_folder_above_it_is_refused_even_if_committed(
    clean: Path, path: str
) -> None:
    (clean / "elsewhere").mkdir()
    (clean / path).rename(clean / "elsewhere/moved")
    (clean / path).symlink_to(clean / "elsewhere/moved")
    commit(clean, {})
    found = committed(clean)
    assert not found.held
    assert found.said == f"{path}: expected plain files and folders, found links"


def test_a_link_that_leads_nowhere_is_refused_and_one_beside_what_is_judged_is_not(clean: Path) -> None:
    (clean / "docs").symlink_to("src")
    commit(clean, {})
    assert committed(clean).held
    (clean / "params.yaml").unlink()
    (clean / "params.yaml").symlink_to("nowhere")
    assert "params.yaml: expected plain files" in committed(clean).said


def test_before_the_first_commit_there_is_nothing_to_differ_from(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("{}\n")
    assert committed(tmp_path).held
    git(tmp_path, "init", "-q", "-b", "main")
    assert committed(tmp_path).held
    commit(tmp_path, {"README.md": "first\n", "params.yaml": None})
    (tmp_path / "params.yaml").write_text("{}\n")
    assert not committed(tmp_path).held
