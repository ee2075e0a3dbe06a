"""The kinds of pull request, each on a real Git repository with an origin, each to its documented end (R3, R4, R19)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from promoted import PRODUCTION, STAGING, Promoted, better
from repositories import Repository

from mergeline.release.manifests import NO_RELEASE, format_release, parse_release
from mergeline.release.receipt import parse_receipt

RECEIPT = "models/manifest.json"
IMAGE = "registry.example/server@sha256:" + "5" * 64


def ran(here: Repository, *arguments: str, code: int = 0) -> str:
    """Run a command that ends with this code and return all that it said."""
    done = here.run(*arguments)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def worse(here: Promoted) -> None:
    here.change_params({"train.hist_gradient_boosting": {"iterations": 1, "leaves": 2}})
    here.commit("A smaller model")


def tie(here: Promoted) -> None:
    """A model that scores in other last digits."""
    here.change_params({"train.hist_gradient_boosting": {"iterations": 2, "leaves": 3, "learning_rate": 0.061}})
    here.commit("A slightly larger step")


def withdraw(here: Promoted) -> None:
    """Production serves nothing any more."""
    (here.root / PRODUCTION).write_text(format_release(NO_RELEASE))


def release(here: Promoted, path: Path) -> str | None:
    """The model that an environment serves."""
    return parse_release((here.root / path).read_text()).model_sha256


def recorded(here: Promoted) -> set[str]:
    """The files of the last commit."""
    return set(here.git("show", "--name-only", "--format=", "HEAD").split())


# ---- The fixed point -------------------------------------------------------------------------------------------------


def test_r7_a_second_repro_and_record_change_nothing(promoted: Promoted) -> None:
    promoted.branch("better")
    better(promoted)
    ran(promoted, "repro")
    assert "recorded: better by" in ran(promoted, "record")
    head = promoted.git("rev-parse", "HEAD")
    said = ran(promoted, "repro")
    assert "nothing: everything is up to date" in said
    assert ran(promoted, "record") == "nothing to record: Git has these results already\n"
    assert promoted.git("rev-parse", "HEAD") == head
    assert promoted.git("status", "--porcelain") == ""


def test_the_record_commit_holds_generated_files_alone_and_says_what_they_are(promoted: Promoted) -> None:
    promoted.branch("better")
    better(promoted)
    inputs = promoted.git("rev-parse", "HEAD").strip()
    ran(promoted, "repro")
    (promoted.root / "notes.txt").write_text("a person's own file")
    ran(promoted, "record")
    receipt = parse_receipt((promoted.root / RECEIPT).read_text())
    assert recorded(promoted) <= {
        "dvc.lock", "reports/validation.json", "reports/evaluation.json", "reports/metrics.json",
        "reports/comparison.json", "models/champion.json", RECEIPT, str(STAGING),
    }  # fmt: skip
    message = promoted.git("log", "-1", "--format=%B")
    assert message.startswith("Record promote: ROC AUC 0.")
    assert f"Model-SHA256: {receipt.model.sha256}" in message
    assert f"Trained-From: {inputs}" in message
    assert f"Champion-SHA256: {release(promoted, PRODUCTION)}" in message


def test_results_of_inputs_that_are_not_committed_are_not_recorded(promoted: Promoted) -> None:
    promoted.branch("better")
    promoted.change_params({"train.hist_gradient_boosting": {"iterations": 40, "leaves": 16}})
    ran(promoted, "repro")
    assert "params.yaml changed and are not committed" in ran(promoted, "record", code=2)


def test_stale_records_are_neither_reported_nor_recorded(promoted: Promoted) -> None:
    promoted.branch("stale")
    better(promoted)
    assert "the records of train (params.yaml changed)" in ran(promoted, "report", code=3)
    assert "the records of train (params.yaml changed)" in ran(promoted, "record", code=3)


def test_a_record_that_was_edited_by_hand_is_found(promoted: Promoted) -> None:
    promoted.branch("forged")
    worse(promoted)
    ran(promoted, "repro")
    path = promoted.root / "reports/comparison.json"
    path.write_text(path.read_text().replace('"verdict": "reject"', '"verdict": "promote"'))
    assert "compare (reports/comparison.json is not what the stage wrote)" in ran(promoted, "record", code=3)
    assert "REFUSED  fresh" in ran(promoted, "gate", code=4)


# ---- The ten kinds (R19) ---------------------------------------------------------------------------------------------


def test_r19_a_better_model_is_promoted_and_its_gate_is_green(reviewed: Promoted) -> None:
    receipt = parse_receipt((reviewed.root / RECEIPT).read_text())
    assert release(reviewed, STAGING) == receipt.model.sha256 != release(reviewed, PRODUCTION)
    assert reviewed.comparison()["difference"]["low"] > 0
    said = ran(reviewed, "gate", "--rerun")
    assert "REFUSED" not in said
    assert "reports/comparison.json comes out as it is recorded" in said


def test_a_worse_model_turns_the_gate_red_and_staging_stays_the_bases(promoted: Promoted) -> None:
    promoted.branch("worse")
    worse(promoted)
    ran(promoted, "repro")
    ran(promoted, "record")
    assert str(STAGING) not in recorded(promoted)
    assert "REFUSED  verdict: worse by" in ran(promoted, "gate", code=4)


def test_r19_a_tie_is_recorded_and_held(promoted: Promoted) -> None:
    promoted.branch("tie")
    tie(promoted)
    before = release(promoted, STAGING)
    ran(promoted, "repro")
    ran(promoted, "record")
    assert promoted.comparison()["verdict"] == "hold"
    assert release(promoted, STAGING) == before
    assert "a tie, the release stays as it is" in ran(promoted, "gate")


def test_a_promotion_that_became_a_tie_gives_staging_back_to_the_base(reviewed: Promoted) -> None:
    tie(reviewed)
    ran(reviewed, "repro")
    assert f"REFUSED  staging release: {STAGING} is not as the verdict has it" in ran(reviewed, "gate", code=4)
    ran(reviewed, "record")
    assert release(reviewed, STAGING) == release(reviewed, PRODUCTION)
    ran(reviewed, "gate")


def test_r19_documentation_is_not_judged_even_after_production_has_moved(reviewed: Promoted) -> None:
    reviewed.merge("better")
    reviewed.promote()
    reviewed.branch("docs")
    (reviewed.root / "README.md").write_text("# What it is for\n")
    reviewed.commit("Say what it is for")
    assert "ran      nothing" in ran(reviewed, "repro")
    assert "nothing to record" in ran(reviewed, "record")
    assert reviewed.git("status", "--porcelain") == ""
    assert "this branch brings no result of its own" in ran(reviewed, "gate")


def test_r19_a_refactoring_that_gives_the_same_model_is_held(promoted: Promoted) -> None:
    promoted.branch("refactoring")
    promoted.change_params({"train.random_forest": {"trees": 50}})  # a setting of a family that is not in use
    promoted.commit("Settings for another day")
    assert "ran      train" in ran(promoted, "repro")
    ran(promoted, "record")
    assert promoted.comparison()["verdict"] == "hold"
    assert {gate["outcome"] for gate in promoted.comparison()["gates"]} == {"not applicable"}
    assert "the candidate is the model that production serves" in ran(promoted, "gate")


def test_r19_an_image_bump_changes_staging_and_no_model(promoted: Promoted) -> None:
    promoted.branch("image")
    bumped = (promoted.root / STAGING).read_text().replace('image: "none"', f'image: "{IMAGE}"')
    (promoted.root / STAGING).write_text(bumped)
    promoted.commit("A new server")
    assert "nothing to record" in ran(promoted, "record")
    assert "the base branch's model in another image" in ran(promoted, "gate")


def test_r19_a_promotion_is_green_and_one_of_another_model_is_not(reviewed: Promoted) -> None:
    reviewed.merge("better")
    reviewed.branch("promote/production")
    shutil.copy(reviewed.root / STAGING, reviewed.root / PRODUCTION)
    reviewed.commit("release(production)")
    assert "what staging serves: a promotion" in ran(reviewed, "gate")
    forged = parse_release((reviewed.root / PRODUCTION).read_text())
    text = (reviewed.root / PRODUCTION).read_text().replace(str(forged.model_sha256), "f" * 64)
    (reviewed.root / PRODUCTION).write_text(text)
    reviewed.commit("Another model")
    assert "names a release that no verdict made" in ran(reviewed, "gate", code=4)
    (reviewed.root / PRODUCTION).write_text(text + "    replicas: 9\n")
    assert "REFUSED  production release" in ran(reviewed, "gate", code=4)


def test_r6_a_revert_of_a_promotion_is_green_and_trains_nothing(reviewed: Promoted) -> None:
    reviewed.merge("better")
    before = (reviewed.root / PRODUCTION).read_bytes()
    reviewed.promote()
    reviewed.branch("rollback")
    reviewed.git("revert", "--no-edit", "HEAD")
    assert (reviewed.root / PRODUCTION).read_bytes() == before
    assert "it was live before: a rollback, nothing is trained" in ran(reviewed, "gate")
    assert "nothing to record" in ran(reviewed, "record")


def test_r19_a_change_of_policy_judges_nothing_and_holds_from_its_merge_on(promoted: Promoted) -> None:
    promoted.branch("policy")
    promoted.change_params({"gates.improvement": {"margin": 0.5}})
    promoted.commit("Ask for more")
    assert "ran      nothing" in ran(promoted, "repro")
    assert promoted.git("status", "--porcelain") == ""
    ran(promoted, "gate")
    promoted.merge("policy")
    promoted.branch("better")
    better(promoted)
    ran(promoted, "repro")
    assert promoted.comparison()["verdict"] == "hold"


def test_a_branch_cannot_loosen_the_gate_that_judges_it(promoted: Promoted) -> None:
    promoted.branch("loosened")
    promoted.change_params({"gates.improvement": {"margin": 0.9, "non_inferiority": True}, "evaluate.slices": []})
    worse(promoted)
    ran(promoted, "repro")
    assert promoted.comparison()["policy"] == "base"
    assert promoted.comparison()["verdict"] == "reject"
    assert promoted.comparison()["slices"] != []
    ran(promoted, "record")
    ran(promoted, "gate", code=4)


def test_r19_another_problem_is_judged_against_a_baseline_and_says_so_first(
    promoted: Promoted,
) -> None:
    promoted.branch("problem")
    promoted.change_params({"evaluate.primary": "average_precision"})
    promoted.commit("Another figure counts")
    ran(promoted, "repro")
    ran(promoted, "record")
    comparison = promoted.comparison()
    assert comparison["champion"]["kind"] == "baseline"
    assert comparison["policy"] == "branch"
    assert comparison["notes"][0].startswith("this is another problem than the base branch's")
    ran(promoted, "gate")
    assert comparison["notes"][0].partition(":")[0] in (promoted.root / "reports/report.md").read_text()


def test_r19_a_fork_that_changes_inputs_is_red_with_instructions(promoted: Promoted) -> None:
    """A fork has no credentials: its branch comes without results."""
    promoted.branch("fork")
    better(promoted)
    for folder in ("data", "models/candidate", "reports/evaluate", ".dvc/cache", ".mergeline"):
        shutil.rmtree(promoted.root / folder)
    (promoted.root / ".mergeline").mkdir()
    said = ran(promoted, "gate", code=4)
    assert "REFUSED  fresh: the branch holds no result of its inputs (train: params.yaml changed" in said
    assert "on a fork, a maintainer pushes the branch to this repository first" in said


def test_the_gate_needs_no_data_and_no_model(reviewed: Promoted) -> None:
    for folder in ("data", "models/candidate", "reports/compare", "reports/evaluate", ".dvc/cache", ".mergeline"):
        shutil.rmtree(reviewed.root / folder)
    (reviewed.root / ".mergeline").mkdir()
    ran(reviewed, "gate")
    assert "nothing to record" in ran(reviewed, "record")


# ---- Nothing is trained after the merge (R2) -------------------------------------------------------------------------


@pytest.fixture
def no_training(tmp_path: Path) -> dict[str, str]:
    """The environment of a `mergeline` whose train ends with 1."""
    folder = tmp_path / "without-training"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nif sys.orig_argv[-1] == 'train':\n    sys.exit(1)\n")
    return {"PYTHONPATH": str(folder)}


def test_r2_merge_promotion_and_rollback_train_nothing(reviewed: Promoted, no_training: dict[str, str]) -> None:
    """The whole way of a release by its own verbs: record, merge, propose, merge, verify, roll back, merge, verify."""

    def good(*arguments: str) -> str:
        done = reviewed.run(*arguments, **no_training)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def reviewed_branch(name: str) -> None:
        """What the workflow does on the branch's pull request; then it is merged."""
        reviewed.git("fetch", "-q", "origin")
        reviewed.git("checkout", "-q", "-b", name, f"origin/{name}")
        for verb in ("repro", "record", "gate"):
            good(verb)
        reviewed.merge(name)

    first, second = release(reviewed, PRODUCTION), release(reviewed, STAGING)
    before = (reviewed.root / PRODUCTION).read_bytes()
    reviewed.merge("better")
    for verb in ("repro", "record", "gate"):
        good(verb)
    good("propose", "production")
    reviewed_branch("promote/production")
    assert release(reviewed, PRODUCTION) == second != first
    assert f"held     receipt: commit {reviewed.git('rev-parse', 'HEAD~1')[:12]}" in good("verify")
    good("rollback")
    reviewed_branch("rollback/production")
    assert (reviewed.root / PRODUCTION).read_bytes() == before
    assert "held     environment: its verdict was promote, and staging served it first" in good("verify")
    assert reviewed.git("status", "--porcelain") == ""


def test_r2_twin_a_change_that_needs_training_does_not_run_there(
    reviewed: Promoted, no_training: dict[str, str]
) -> None:
    worse(reviewed)
    assert reviewed.run("repro", **no_training).returncode == 1


# ---- A champion that has moved (R4) ----------------------------------------------------------------------------------


def test_r4_a_comparison_with_an_outdated_champion_does_not_pass(reviewed: Promoted) -> None:
    ran(reviewed, "gate")
    old = release(reviewed, PRODUCTION)
    reviewed.on_main(withdraw, "Withdrawn")
    reviewed.git("checkout", "-q", "better")
    said = ran(reviewed, "gate", code=4)
    assert f"production serves no model now, the comparison is with {str(old)[:12]}" in said


def test_r4_a_policy_that_became_stricter_is_asked_for_again(promoted: Promoted) -> None:
    promoted.branch("better")
    better(promoted)
    ran(promoted, "repro")
    ran(promoted, "record")
    promoted.policy({"improvement": {"margin": 0.5}})
    promoted.git("checkout", "-q", "better")
    assert "REFUSED  champion: the policy has changed since the comparison" in ran(promoted, "gate", code=4)
    ran(promoted, "repro")
    ran(promoted, "record")
    assert promoted.comparison()["verdict"] == "hold"
    ran(promoted, "gate")


# ---- Two green pull requests (R3) ------------------------------------------------------------------------------------


def two_branches(here: Promoted, *, receipts: bool) -> None:
    """Two branches with results of their own that Git can merge line by line, but for the receipt."""
    source = here.root / "src"
    template = source.resolve()
    source.unlink()
    shutil.copytree(template, source, ignore=shutil.ignore_patterns("__pycache__"))
    here.git("checkout", "-q", "main")
    if not receipts:
        layout = source / "mergeline/layout.py"
        layout.write_text(layout.read_text().replace("COMPARISON, CHAMPION, RECEIPT)", "COMPARISON, CHAMPION)"))
        here.git("rm", "-q", "--cached", RECEIPT)
        (here.root / ".gitignore").write_text((here.root / ".gitignore").read_text() + f"/{RECEIPT}\n")
    here.commit("Code of our own")
    here.git("push", "-q", "origin", "main")
    here.branch("settled")  # from here on main holds a comparison with the model that runs
    here.change_params({"train.random_forest": {"trees": 50}})
    here.commit("Settings for another day")
    own_code(here, "repro")
    own_code(here, "record")
    here.merge("settled")
    here.branch("code")
    path = source / "mergeline/target.py"
    text = path.read_text()
    # a change of the code that shows on a model of many leaves alone
    planted = text.replace(
        "    return numbers.astype(np.float64)\n",
        "    if params_say_16_leaves():\n        numbers = 1 - numbers\n    return numbers.astype(np.float64)\n",
    ).replace(
        "def _positive(",
        "def params_say_16_leaves() -> bool:\n    import pathlib\n\n"
        "    import sys\n\n    judging = sys.argv[-1] != 'train'\n"
        "    return judging and 'leaves: 16' in pathlib.Path('params.yaml').read_text()\n\n\ndef _positive(",
    )
    assert planted.count("params_say_16_leaves") == 2
    path.write_text(planted)
    here.commit("Code")
    own_code(here, "repro")
    own_code(here, "record")
    here.branch("params")
    better(here)
    own_code(here, "repro")
    own_code(here, "record")


def own_code(here: Promoted, *arguments: str, code: int = 0) -> str:
    """Run the repository's own copy of the package."""
    done = here.run(*arguments, PYTHONPATH=str(here.root / "src"))
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def test_r3_two_green_branches_conflict_in_git_itself_on_the_receipt(promoted: Promoted) -> None:
    two_branches(promoted, receipts=True)
    promoted.merge("code")
    promoted.git("checkout", "-q", "params")
    assert promoted.tool("git", "merge", "origin/main").returncode != 0
    conflicts = promoted.git("diff", "--name-only", "--diff-filter=U").split()
    assert RECEIPT in conflicts
    promoted.git("merge", "--abort")
    said = own_code(promoted, "resync")
    assert promoted.git("status", "--porcelain") == ""
    assert "recorded: " in said
    own_code(promoted, "gate", "--rerun", code=4)  # the planted code turns its labels round: this model is worse
    assert promoted.comparison()["verdict"] == "reject"


def test_r3_twin_without_the_receipt_the_merge_is_silent_and_the_forced_run_finds_it(promoted: Promoted) -> None:
    two_branches(promoted, receipts=False)
    own_code(promoted, "gate", "--rerun")
    promoted.merge("code")
    promoted.git("checkout", "-q", "params")
    promoted.git("merge", "-q", "--no-edit", "origin/main")
    said = own_code(promoted, "gate", "--rerun", code=4)
    assert "REFUSED  evaluate again: reports/evaluation.json is not what `evaluate` gives" in said


def test_resync_leaves_a_persons_conflict_to_the_person(promoted: Promoted) -> None:
    promoted.branch("mine")
    promoted.change_params({"train.hist_gradient_boosting": {"iterations": 2, "leaves": 3, "learning_rate": 0.061}})
    promoted.commit("Mine")
    theirs = {"iterations": 2, "leaves": 3, "learning_rate": 0.062}
    promoted.on_main(lambda here: here.change_params({"train.hist_gradient_boosting": theirs}), "Theirs")
    promoted.git("checkout", "-q", "mine")
    assert "params.yaml conflict; resolve them" in ran(promoted, "resync", code=2)
    promoted.git("checkout", "--ours", "params.yaml")
    promoted.git("add", "params.yaml")
    assert "ran      train" in ran(promoted, "resync")
    assert promoted.git("status", "--porcelain") == ""
    ran(promoted, "gate")


def test_the_records_name_no_clock_no_path_and_no_run(promoted: Promoted) -> None:
    records = [*promoted.root.glob("reports/*.json"), *promoted.root.glob("models/*.json")]
    text = "".join(path.read_text() for path in records)
    assert str(promoted.root) not in text
    assert json.loads((promoted.root / RECEIPT).read_text())["serving_contract"] == 1
