"""What the base branch says: the champion, the policy, the releases, the receipt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tables import raw_params
from test_git import commit, git
from test_receipt import RECEIPT
from test_receipt import TEXT as RECEIPT_TEXT

from mergeline import pipeline
from mergeline.base import expected, live_before, receipt, release, staged, standing, unchanged
from mergeline.errors import ConfigurationError, VerificationError
from mergeline.layout import PRODUCTION, STAGING
from mergeline.params import GateParams, Params, parse
from mergeline.params.gates import ImprovementGate
from mergeline.release.champion import BaseModel, Champion, Served, Without
from mergeline.release.manifests import NO_RELEASE, Release, format_release

SERVED = Release("1" * 64, "s3://models", "2" * 64, None)
CANDIDATE = replace(SERVED, model_sha256="3" * 64)
GATES = {"improvement": {"margin": 0.25}}
STRICT = GateParams(improvement=ImprovementGate(margin=0.25))
PRODUCED, STAGED = PRODUCTION.as_posix(), STAGING.as_posix()


def text(raw: Mapping[str, Any]) -> str:
    return json.dumps(raw, indent=1)  # which is YAML as well


def based_on(root: Path, raw: Mapping[str, Any] | str | None, production: Release | str | None = SERVED) -> Path:
    """A repository whose main holds these settings and this release, and the lock of a run."""
    files: dict[str, str | bytes | None] = {"dvc.lock": "main\n"}
    if raw is not None:
        files["params.yaml"] = raw if isinstance(raw, str) else text(raw)
    if production is not None:
        files[PRODUCED] = production if isinstance(production, str) else format_release(production)
    git(root, "init", "-q", "-b", "main")
    commit(root, files)
    git(root, "checkout", "-q", "-b", "branch")
    return root


def settings(task: str = "binary", **sections: Mapping[str, Any]) -> Params:
    return parse(raw_params(task, **sections))


# ---- The champion ----------------------------------------------------------------------------------------------------


def test_the_model_in_production_is_the_champion_and_the_base_judges_by_its_gates_and_slices(tmp_path: Path) -> None:
    based_on(tmp_path, {**raw_params(evaluate={"slices": ["shop", "channel"]}), "gates": GATES})
    found = standing(tmp_path, "main", settings(evaluate={"slices": []}))
    served = Served("1" * 64, "s3://models")
    assert found == Champion(served, None, None, "base", STRICT, ("shop", "channel"))


def test_a_branch_that_loosens_gates_and_moves_production_changes_neither_policy_nor_champion(tmp_path: Path) -> None:
    based_on(tmp_path, {**raw_params(), "gates": GATES})
    commit(tmp_path, {PRODUCED: format_release(CANDIDATE), "params.yaml": text(raw_params())})
    found = standing(tmp_path, "main", settings())
    assert found.served == Served("1" * 64, "s3://models")
    assert found.gates == STRICT


@pytest.mark.parametrize(
    ("base", "production", "reason"),
    [
        pytest.param(None, SERVED, Without.NO_BASE, id="no base"),
        pytest.param("main", None, Without.NO_RELEASE, id="no release.yaml"),
        pytest.param("main", NO_RELEASE, Without.NO_RELEASE, id="a release.yaml of nothing"),
        pytest.param(
            "main",
            Release(None, None, None, "server@sha256:" + "5" * 64),
            Without.NO_RELEASE,
            id="an image without a model",
        ),
    ],
)
def test_without_a_champion_the_branch_judges_itself_and_the_reason_is_kept(
    tmp_path: Path, base: str | None, production: Release | None, reason: Without
) -> None:
    based_on(tmp_path, {**raw_params(), "gates": GATES}, production)
    mine = settings(evaluate={"slices": ["shop"]})
    assert standing(tmp_path, base, mine) == Champion(None, reason, None, "branch", GateParams(), ("shop",))


OTHERS: list[Any] = [
    pytest.param(raw_params(data={"task": "multiclass"}), id="task"),
    pytest.param(raw_params(data={"target": "kind"}), id="target"),
    pytest.param(raw_params(data={"positive": 0}), id="positive class"),
    pytest.param(raw_params(evaluate={"primary": "log_loss"}), id="primary metric"),
    pytest.param({"data": {"task": "no such task", "target": "bought"}}, id="a task that this code does not know"),
    pytest.param({}, id="an empty file"),
    pytest.param("- a list\n", id="a list"),
    pytest.param({"data": ["a", "list"], "evaluate": "a text"}, id="sections that are none"),
    pytest.param({"data": None, "evaluate": None}, id="sections without a value"),
    pytest.param(None, id="no params.yaml"),
]


@pytest.mark.parametrize("raw", OTHERS)
def test_the_model_of_another_problem_is_no_champion(tmp_path: Path, raw: Mapping[str, Any] | str | None) -> None:
    based_on(tmp_path, raw)
    found = standing(tmp_path, "main", settings())
    assert (found.served, found.without, found.policy) == (None, Without.OTHER_PROBLEM, "branch")


def test_the_primary_metric_that_is_written_out_is_the_same_problem_as_the_default(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params())
    assert standing(tmp_path, "main", settings(evaluate={"primary": "roc_auc"})).without is None


def test_another_feature_and_another_holdout_are_the_same_problem(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params())
    mine = settings(data={"numeric": ["amount"], "holdout": {"share": 0.3}, "time": None})
    assert standing(tmp_path, "main", mine).without is None


def test_settings_that_are_older_than_gates_and_slices_judge_by_the_default_gates(tmp_path: Path) -> None:
    data = raw_params()["data"]
    based_on(tmp_path, {"data": data, "compare": {"margin": 0.5}})
    found = standing(tmp_path, "main", settings(evaluate={"slices": ["shop"]}))
    assert (found.policy, found.gates, found.slices) == ("base", GateParams(), ())


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param("data: [1\n", r"^main:params\.yaml:2:1: not valid YAML: ", id="no YAML"),
        pytest.param(b"data: \x00".decode(), r"^main:params\.yaml: not valid YAML: ", id="unreadable characters"),
        pytest.param(
            {**raw_params(), "gates": {"improvment": {}}},
            r"^main:params\.yaml: gates: improvment: unknown key; did you mean 'improvement'\?$",
            id="an unknown gate",
        ),
        pytest.param(
            {**raw_params(), "gates": ["improvement"]},
            r"^main:params\.yaml: gates: expected a mapping, found \['improvement'\]$",
            id="gates that are no mapping",
        ),
    ],
)
def test_a_policy_that_cannot_be_read_is_an_error_that_names_the_base(
    tmp_path: Path, raw: Mapping[str, Any] | str, said: str
) -> None:
    based_on(tmp_path, raw)
    with pytest.raises(ConfigurationError, match=said) as caught:
        standing(tmp_path, "main", settings())
    assert "\n" not in str(caught.value)


def test_a_release_of_production_that_cannot_be_read_is_no_missing_one(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params(), "kind: Pod\n")
    with pytest.raises(VerificationError, match=r"release\.yaml"):
        standing(tmp_path, "main", settings())


def test_the_bases_own_model_is_named_by_its_receipt_with_and_without_a_champion(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params())
    git(tmp_path, "checkout", "-q", "main")
    commit(tmp_path, {"models/manifest.json": RECEIPT_TEXT})
    model = BaseModel(RECEIPT.model.sha256, "b" * 64)
    assert standing(tmp_path, "main", settings()).base == model
    assert standing(tmp_path, "main", settings(data={"target": "kind"})).base == model
    assert standing(tmp_path, None, settings()).base is None
    assert receipt(tmp_path, "main") == RECEIPT
    assert receipt(tmp_path, "main~1") is None


# ---- What models/champion.json has to say ----------------------------------------------------------------------------


def recorded(root: Path, champion: Champion | str | bytes) -> Champion:
    """Put it into models/champion.json."""
    path = root / "models/champion.json"
    path.parent.mkdir(exist_ok=True)
    content = champion.to_json() if isinstance(champion, Champion) else champion
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return champion if isinstance(champion, Champion) else standing(root, "main", settings())


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage's records belong to its inputs."""
    monkeypatch.setattr(pipeline, "stale", lambda root: {})


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A branch that compared with a model that production does not serve any more."""
    based_on(tmp_path, raw_params())
    recorded(tmp_path, Champion(Served("9" * 64, "s3://models"), None, None, "base", GateParams(), ()))
    return tmp_path


@pytest.mark.usefixtures("clean")
def test_a_branch_without_results_of_its_own_keeps_what_it_was_compared_with(moved: Path) -> None:
    assert expected(moved, "main", settings()).served == Served("9" * 64, "s3://models")


@pytest.mark.usefixtures("clean")
def test_a_branch_with_results_of_its_own_is_compared_with_what_production_serves_now(moved: Path) -> None:
    (moved / "dvc.lock").write_text("mine\n")
    assert expected(moved, "main", settings()).served == Served("1" * 64, "s3://models")


def test_a_branch_whose_inputs_changed_is_compared_with_what_production_serves_now(
    moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "stale", lambda root: {"train": "params.yaml changed"})
    assert expected(moved, "main", settings()).served == Served("1" * 64, "s3://models")


@pytest.mark.usefixtures("clean")
def test_a_branch_keeps_the_file_but_for_a_policy_of_its_own(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params(), NO_RELEASE)
    old = recorded(tmp_path, Champion(None, Without.NO_BASE, None, "branch", GateParams(), ()))
    mine = parse({**raw_params(evaluate={"slices": ["shop"]}), "gates": GATES})
    assert expected(tmp_path, "main", mine) == replace(old, gates=STRICT, slices=("shop",))


@pytest.mark.usefixtures("clean")
def test_a_branch_keeps_the_policy_that_was_the_bases_when_it_was_judged(tmp_path: Path) -> None:
    based_on(tmp_path, {**raw_params(), "gates": GATES})
    old = recorded(tmp_path, Champion(Served("1" * 64, "s3://models"), None, None, "base", GateParams(), ()))
    assert expected(tmp_path, "main", settings()) == old


UNREADABLE = [
    pytest.param(b"", id="empty"),
    pytest.param(b"{}", id="without its keys"),
    pytest.param(b"\xff\xfe", id="no UTF-8"),
    pytest.param(b"[]", id="a list"),
    pytest.param(
        json.dumps(
            {"champion": None, "without": "no base branch", "base": None, "policy": "branch", "slices": []}
            | {"gates": {"a gate of another version": {}}}
        ).encode(),
        id="a gate that this code does not know",
    ),
]


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("content", UNREADABLE)
def test_a_file_that_cannot_be_read_is_made_anew(tmp_path: Path, content: bytes) -> None:
    based_on(tmp_path, raw_params())
    assert expected(tmp_path, "main", settings()) == standing(tmp_path, "main", settings())
    now = recorded(tmp_path, content)
    assert expected(tmp_path, "main", settings()) == now


def test_a_branch_is_unchanged_while_its_lock_is_the_bases_of_now_or_of_where_it_left(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params())
    assert unchanged(tmp_path, "main")
    git(tmp_path, "checkout", "-q", "main")
    commit(tmp_path, {"dvc.lock": "newer\n"})
    git(tmp_path, "checkout", "-q", "branch")
    assert unchanged(tmp_path, "main")
    (tmp_path / "dvc.lock").write_text("newer\n")
    assert unchanged(tmp_path, "main")


def test_a_lock_of_its_own_none_at_all_and_no_base_make_a_branch_another(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params())
    assert not unchanged(tmp_path, None)
    (tmp_path / "dvc.lock").write_text("main")
    assert not unchanged(tmp_path, "main")
    (tmp_path / "dvc.lock").unlink()
    assert not unchanged(tmp_path, "main")


def test_two_branches_with_nothing_in_common_have_the_bases_lock_of_now_alone(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params())
    git(tmp_path, "checkout", "-q", "--orphan", "alone")
    commit(tmp_path, {"dvc.lock": "mine\n"})
    assert not unchanged(tmp_path, "main")
    (tmp_path / "dvc.lock").write_text("main\n")
    assert unchanged(tmp_path, "main")


# ---- Releases --------------------------------------------------------------------------------------------------------


def test_a_release_is_the_bases_and_staged_is_the_branchs(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params())
    assert staged(tmp_path) == NO_RELEASE
    (tmp_path / STAGING).parent.mkdir(parents=True)
    (tmp_path / STAGING).write_text(format_release(CANDIDATE))
    (tmp_path / PRODUCTION).write_text(format_release(CANDIDATE))
    assert staged(tmp_path) == CANDIDATE
    assert release(tmp_path, "main", PRODUCTION) == SERVED
    assert release(tmp_path, "main", STAGING) == NO_RELEASE
    assert release(tmp_path, None, PRODUCTION) == NO_RELEASE


def test_what_was_live_before_is_every_release_that_the_base_had_and_can_be_read(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params(), format_release(NO_RELEASE))
    git(tmp_path, "checkout", "-q", "main")
    for content in (format_release(CANDIDATE), "kind: Pod\n", None, format_release(SERVED)):
        commit(tmp_path, {PRODUCED: content})
    assert live_before(tmp_path, "main", PRODUCTION) == {NO_RELEASE, CANDIDATE, SERVED}
    assert live_before(tmp_path, "main~1", PRODUCTION) == {NO_RELEASE, CANDIDATE}
    assert live_before(tmp_path, "main", STAGING) == set()


def test_a_release_that_stood_only_on_a_merged_branch_was_never_live(tmp_path: Path) -> None:
    """Else a branch could bring any model past the gate, in a commit that a later one takes back."""
    based_on(tmp_path, raw_params())
    never = replace(SERVED, model_sha256="f" * 64)
    commit(tmp_path, {PRODUCED: format_release(never)})
    commit(tmp_path, {PRODUCED: format_release(CANDIDATE)})
    git(tmp_path, "checkout", "-q", "main")
    git(tmp_path, "merge", "-q", "--no-ff", "--no-edit", "branch")
    assert live_before(tmp_path, "main", PRODUCTION) == {SERVED, CANDIDATE}
