"""What the base branch says: the champion, the policy, the releases, the receipt."""

from __future__ import annotations

import hashlib
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
from mergeline.layout import RECEIPT as RECEIPT_FILE
from mergeline.params import GateParams, Params, parse
from mergeline.params.gates import ImprovementGate
from mergeline.release.champion import BaseModel, Champion, Served, Without
from mergeline.release.manifests import NO_RELEASE, Release, format_release
from mergeline.release.model import Model, ModelFile
from mergeline.release.receipt import Receipt, format_receipt

SERVED = Release("1" * 64, "s3://models", "2" * 64, None)
CANDIDATE = replace(SERVED, model_sha256="3" * 64)
GATES = {"improvement": {"margin": 0.25}}
STRICT = GateParams(improvement=ImprovementGate(margin=0.25))
HOLDOUT = {"days": 5}
IMAGE_ALONE = Release(None, None, None, "server@sha256:" + "5" * 64)
PRODUCED, RECEIVED = PRODUCTION.as_posix(), RECEIPT_FILE.as_posix()


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
    assert found == Champion(served, None, None, "base", STRICT, ("shop", "channel"), HOLDOUT)


def test_a_branch_that_loosens_gates_and_moves_production_changes_neither_policy_nor_champion(tmp_path: Path) -> None:
    based_on(tmp_path, {**raw_params(), "gates": GATES})
    commit(tmp_path, {PRODUCED: format_release(CANDIDATE), "params.yaml": text(raw_params())})
    found = standing(tmp_path, "main", settings())
    assert found.served == Served("1" * 64, "s3://models")
    assert found.gates == STRICT


NOTHING_RUNS = [
    pytest.param(None, id="no release.yaml"),
    pytest.param(NO_RELEASE, id="a release.yaml of nothing"),
    pytest.param(IMAGE_ALONE, id="an image without a model"),
]


@pytest.mark.parametrize("production", NOTHING_RUNS)
def test_where_nothing_runs_yet_the_base_judges_all_the_same_and_the_reason_is_kept(
    tmp_path: Path, production: Release | None
) -> None:
    """Else the first branch, or the first one after production was emptied, could loosen its own gates."""
    based_on(tmp_path, {**raw_params(evaluate={"slices": ["channel"]}), "gates": GATES}, production)
    found = standing(tmp_path, "main", settings(evaluate={"slices": ["shop"]}, data={"holdout": {"days": 1}}))
    assert found == Champion(None, Without.NO_RELEASE, None, "base", STRICT, ("channel",), HOLDOUT)


def test_without_a_base_the_branch_judges_itself_and_keeps_no_holdout(tmp_path: Path) -> None:
    based_on(tmp_path, {**raw_params(), "gates": GATES})
    mine = settings(evaluate={"slices": ["shop"]})
    assert standing(tmp_path, None, mine) == Champion(None, Without.NO_BASE, None, "branch", GateParams(), ("shop",))


@pytest.mark.parametrize("production", NOTHING_RUNS)
def test_another_problem_is_judged_by_the_branch_where_nothing_runs_either(
    tmp_path: Path, production: Release | None
) -> None:
    based_on(tmp_path, {**raw_params(data={"target": "kind"}), "gates": GATES}, production)
    mine = settings(evaluate={"slices": ["shop"]})
    assert standing(tmp_path, "main", mine) == Champion(
        None, Without.NO_RELEASE, None, "branch", GateParams(), ("shop",)
    )


@pytest.mark.parametrize(
    ("data", "holdout"),
    [
        pytest.param({"holdout": {"share": 0.25}}, {"share": 0.25}, id="a share"),
        pytest.param({"holdout": {"days": 9, "share": None}}, {"days": 9}, id="what is not set is left out"),
        pytest.param({"holdout": {}}, None, id="an empty one"),
        pytest.param({"holdout": None}, None, id="none"),
        pytest.param({"holdout": [5]}, None, id="what is no mapping"),
    ],
)
def test_the_holdout_to_keep_is_the_bases_and_not_the_branchs(
    tmp_path: Path, data: Mapping[str, Any], holdout: Mapping[str, Any] | None
) -> None:
    based_on(tmp_path, raw_params(data=data))
    assert standing(tmp_path, "main", settings(data={"holdout": {"days": 1}})).holdout == holdout


OTHERS: list[Any] = [
    pytest.param(raw_params(data={"task": "multiclass"}), id="task"),
    pytest.param(raw_params(data={"target": "kind"}), id="target"),
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
    assert (found.served, found.without) == (None, Without.OTHER_PROBLEM)
    assert (found.policy, found.holdout) == ("branch", None)


def test_the_primary_metric_that_is_written_out_is_the_same_problem_as_the_default(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params())
    assert standing(tmp_path, "main", settings(evaluate={"primary": "roc_auc"})).without is None


def test_another_feature_and_another_holdout_are_the_same_problem(tmp_path: Path) -> None:
    based_on(tmp_path, raw_params())
    mine = settings(data={"numeric": ["amount"], "holdout": {"share": 0.3}, "time": None})
    assert standing(tmp_path, "main", mine).without is None


@pytest.mark.parametrize(("theirs", "mine"), [(1, 0), (None, 0), (0, None)])
def test_the_other_class_as_the_positive_one_is_the_same_problem(
    tmp_path: Path, theirs: int | None, mine: int | None
) -> None:
    """Else a branch that swaps the classes would have no champion to defend and gates of its own."""
    based_on(tmp_path, {**raw_params(data={"positive": theirs}), "gates": GATES})
    found = standing(tmp_path, "main", settings(data={"positive": mine}))
    assert (found.served, found.without) == (Served("1" * 64, "s3://models"), None)
    assert (found.policy, found.gates) == ("base", STRICT)


def test_settings_that_are_older_than_gates_and_slices_judge_by_the_default_gates(tmp_path: Path) -> None:
    data = raw_params()["data"]
    based_on(tmp_path, {"data": data, "compare": {"margin": 0.5}})
    found = standing(tmp_path, "main", settings(evaluate={"slices": ["shop"]}))
    assert (found.policy, found.gates, found.slices) == ("base", GateParams(), ())


JUDGES = r"; the base branch's gates judge: merge it \(`mergeline resync`\)$"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param("data: [1\n", r"^main:params\.yaml:2:1: not valid YAML: ", id="no YAML"),
        pytest.param(b"data: \x00".decode(), r"^main:params\.yaml: not valid YAML: ", id="unreadable characters"),
        pytest.param(
            {**raw_params(), "gates": {"improvment": {}}},
            r"^main:params\.yaml: gates: improvment: unknown key; did you mean 'improvement'\?" + JUDGES,
            id="an unknown gate",
        ),
        pytest.param(
            {**raw_params(), "gates": ["improvement"]},
            r"^main:params\.yaml: gates: expected a mapping, found \['improvement'\]" + JUDGES,
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


def test_a_policy_that_cannot_be_read_is_an_error_where_nothing_runs_and_none_where_it_does_not_judge(
    tmp_path: Path,
) -> None:
    raw = {**raw_params(), "gates": {"improvment": {}}}
    based_on(tmp_path, raw, NO_RELEASE)
    with pytest.raises(ConfigurationError, match=JUDGES):
        standing(tmp_path, "main", settings())
    assert standing(tmp_path, None, settings()).policy == "branch"
    assert standing(tmp_path, "main", settings(data={"target": "kind"})).policy == "branch"


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
    based_on(tmp_path, raw_params(data={"target": "kind"}))
    old = recorded(tmp_path, Champion(None, Without.NO_BASE, None, "branch", GateParams(), ()))
    mine = parse({**raw_params(evaluate={"slices": ["shop"]}), "gates": GATES})
    assert expected(tmp_path, "main", mine) == replace(old, gates=STRICT, slices=("shop",))


@pytest.mark.usefixtures("clean")
def test_a_branch_of_before_the_base_judged_keeps_the_policy_that_was_its_own(tmp_path: Path) -> None:
    """It was the first one, which had no base: merged as it is, it is not to be compared again."""
    based_on(tmp_path, {**raw_params(), "gates": GATES}, NO_RELEASE)
    old = recorded(tmp_path, Champion(None, Without.NO_BASE, None, "branch", GateParams(), ()))
    assert expected(tmp_path, "main", settings(evaluate={"slices": ["shop"]})) == old
    (tmp_path / "dvc.lock").write_text("mine\n")
    now = Champion(None, Without.NO_RELEASE, None, "base", STRICT, (), HOLDOUT)
    assert expected(tmp_path, "main", settings(evaluate={"slices": ["shop"]})) == now


@pytest.mark.usefixtures("clean")
def test_a_branch_keeps_the_policy_that_was_the_bases_when_it_was_judged(tmp_path: Path) -> None:
    based_on(tmp_path, {**raw_params(), "gates": GATES})
    old = recorded(tmp_path, Champion(Served("1" * 64, "s3://models"), None, None, "base", GateParams(), ()))
    assert expected(tmp_path, "main", settings()) == old


UNREADABLE_RECORDS = [
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
@pytest.mark.parametrize("content", UNREADABLE_RECORDS)
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


def receipt_of(model: str) -> Receipt:
    """What a verdict leaves of a model whose weights have this hash."""
    return replace(RECEIPT, model=Model.of([ModelFile("model.onnx", model * 64, 7)]))


def released(found: Receipt) -> Release:
    """The release that a verdict makes of it."""
    receipt_sha256 = hashlib.sha256(format_receipt(found).encode()).hexdigest()
    return Release(found.model.sha256, "s3://models", receipt_sha256, None)


ONE, TWO = receipt_of("1"), receipt_of("2")


def merged(model: Receipt) -> dict[str, str | bytes | None]:
    """What a merge of a promoted model brings to the base, production's release of it included."""
    return {RECEIVED: format_receipt(model), PRODUCED: format_release(released(model))}


@pytest.fixture
def on_main(tmp_path: Path) -> Path:
    """Main, with nothing in production."""
    based_on(tmp_path, raw_params(), NO_RELEASE)
    git(tmp_path, "checkout", "-q", "main")
    return tmp_path


def test_what_was_live_before_is_every_release_that_a_verdict_made_and_that_can_be_read(on_main: Path) -> None:
    commit(on_main, merged(ONE))
    for content in ("kind: Pod\n", None):
        commit(on_main, {PRODUCED: content})
    commit(on_main, merged(TWO))
    assert live_before(on_main, "main", PRODUCTION) == {released(ONE), released(TWO)}
    assert live_before(on_main, "main", STAGING) == set()


@pytest.mark.parametrize(
    "release",
    [
        pytest.param(SERVED, id="a receipt that the base never had"),
        pytest.param(replace(released(TWO), receipt_sha256=released(ONE).receipt_sha256), id="another model's receipt"),
        pytest.param(replace(released(ONE), receipt_sha256="2" * 64), id="a judged model with no receipt of it"),
    ],
)
def test_a_release_that_no_receipt_of_the_base_names_was_never_judged(on_main: Path, release: Release) -> None:
    """Somebody pushed it to the base by hand: going back to it would be the first time that it passes a gate."""
    commit(on_main, merged(ONE))
    commit(on_main, {PRODUCED: format_release(release)})
    commit(on_main, merged(TWO))
    assert live_before(on_main, "main", PRODUCTION) == {released(ONE), released(TWO)}


def test_the_image_and_the_store_of_a_judged_release_may_have_been_others(on_main: Path) -> None:
    elsewhere = replace(released(ONE), store="s3://elsewhere", image=IMAGE_ALONE.image)
    commit(on_main, merged(ONE))
    commit(on_main, {PRODUCED: format_release(elsewhere)})
    assert live_before(on_main, "main", PRODUCTION) == {released(ONE), elsewhere}


def test_a_receipt_that_stood_only_on_a_merged_branch_or_cannot_be_read_judges_nothing(on_main: Path) -> None:
    git(on_main, "checkout", "-q", "branch")
    commit(on_main, {RECEIVED: format_receipt(TWO)})
    commit(on_main, {RECEIVED: format_receipt(ONE)})
    git(on_main, "checkout", "-q", "main")
    git(on_main, "merge", "-q", "--no-ff", "--no-edit", "branch")
    broken = format_receipt(receipt_of("3"))[:-3]
    forged = replace(released(receipt_of("3")), receipt_sha256=hashlib.sha256(broken.encode()).hexdigest())
    commit(on_main, {RECEIVED: broken})
    for each in (released(ONE), released(TWO), forged):
        commit(on_main, {PRODUCED: format_release(each)})
    assert live_before(on_main, "main", PRODUCTION) == {released(ONE), NO_RELEASE}


@pytest.mark.parametrize("nothing", [NO_RELEASE, IMAGE_ALONE])
def test_no_release_was_live_before_as_long_as_one_model_was(on_main: Path, nothing: Release) -> None:
    """The first promotion can be taken back; later on there is an older model to go back to."""
    commit(on_main, {PRODUCED: format_release(nothing), "README.md": "begun"})
    assert nothing in live_before(on_main, "main", PRODUCTION)
    commit(on_main, merged(ONE))
    assert live_before(on_main, "main", PRODUCTION) == {released(ONE), NO_RELEASE, nothing}
    commit(on_main, {PRODUCED: format_release(SERVED)})
    assert nothing in live_before(on_main, "main", PRODUCTION)
    commit(on_main, merged(TWO))
    assert live_before(on_main, "main", PRODUCTION) == {released(ONE), released(TWO)}


def test_a_release_that_stood_only_on_a_merged_branch_was_never_live(on_main: Path) -> None:
    """Else a branch could bring any model past the gate, in a commit that a later one takes back."""
    commit(on_main, merged(ONE))
    git(on_main, "checkout", "-q", "-B", "branch")
    never = replace(released(ONE), store="s3://elsewhere")
    commit(on_main, {PRODUCED: format_release(never)})
    commit(on_main, merged(TWO))
    git(on_main, "checkout", "-q", "main")
    git(on_main, "merge", "-q", "--no-ff", "--no-edit", "branch")
    assert live_before(on_main, "main", PRODUCTION) == {released(ONE), released(TWO)}
    assert never in live_before(on_main, "branch", PRODUCTION)
