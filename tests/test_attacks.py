"""What somebody might try on a branch to get another model past the gate, and that it does not go through."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from promoted import PRODUCTION, STAGING, Promoted

from mergeline.errors import VerificationError
from mergeline.models.scorer import Scorer
from mergeline.release.manifests import NO_RELEASE, Release, format_release, parse_release

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

EVIL = Release("e" * 64, "s3://elsewhere/models", "f" * 64, None)
WORSE = {"train.hist_gradient_boosting": {"iterations": 1, "leaves": 2}}


def gate(here: Promoted, *arguments: str) -> tuple[int, str]:
    done = here.run("gate", *arguments)
    return done.returncode, done.stdout + done.stderr


def judged(here: Promoted) -> None:
    """Commit what is planted, run it, record it."""
    here.commit("Planted")
    for verb in ("repro", "record"):
        done = here.run(verb)
        assert done.returncode == 0, done.stderr


# ---- Links and files -------------------------------------------------------------------------------------------------


def link_production_to_staging(here: Promoted) -> None:
    shutil.rmtree(here.root / PRODUCTION.parent)
    (here.root / PRODUCTION.parent).symlink_to("staging")


def link_the_release(here: Promoted) -> None:
    (here.root / PRODUCTION).unlink()
    (here.root / PRODUCTION).symlink_to("../staging/release.yaml")


def link_the_settings(here: Promoted) -> None:
    (here.root / "params.yaml").rename(here.root / "settings.yaml")
    (here.root / "params.yaml").symlink_to("settings.yaml")


@pytest.mark.parametrize("plant", [link_production_to_staging, link_the_release, link_the_settings])
def test_a_link_in_place_of_a_judged_file_is_refused(plant: Callable[[Promoted], None], promoted: Promoted) -> None:
    promoted.branch("links")
    plant(promoted)
    promoted.commit("Links")
    code, said = gate(promoted)
    assert code == 4
    assert "expected plain files and folders, found links" in said


def test_what_is_not_committed_does_not_count(reviewed: Promoted) -> None:
    path = reviewed.root / STAGING
    path.write_text(path.read_text() + "# mine\n")
    code, said = gate(reviewed)
    assert code == 4
    assert f"REFUSED  committed: {STAGING} is not as the commit has it" in said


def test_code_that_git_does_not_know_is_not_recorded(promoted: Promoted) -> None:
    promoted.branch("untracked")
    promoted.git("config", "core.excludesFile", "/dev/null")
    (promoted.root / "src").unlink()
    (promoted.root / "src").mkdir()
    (promoted.root / "src" / "mine.py").write_text("secret = 1\n")
    done = promoted.run("record")
    assert done.returncode == 2
    assert "src changed" in done.stderr or "Git does not know src/mine.py" in done.stderr


# ---- Releases that no verdict made -----------------------------------------------------------------------------------


def test_a_release_that_a_branch_held_on_its_way_was_never_live(promoted: Promoted) -> None:
    """Merged without squashing, its commits lie in the base's own history; no receipt there speaks for it."""
    honest = (promoted.root / PRODUCTION).read_text()
    promoted.on_main(lambda here: write(here, PRODUCTION, format_release(EVIL)), "On its way")
    promoted.on_main(lambda here: write(here, PRODUCTION, honest), "And back")
    promoted.branch("rollback")
    write(promoted, PRODUCTION, format_release(EVIL))
    promoted.commit("A rollback, it says")
    code, said = gate(promoted)
    assert code == 4
    assert "names a release that no verdict made" in said


def test_production_is_not_emptied_once_there_is_something_to_go_back_to(reviewed: Promoted) -> None:
    reviewed.merge("better")
    reviewed.promote()
    reviewed.branch("emptied")
    write(reviewed, PRODUCTION, format_release(NO_RELEASE))
    reviewed.commit("Nothing")
    assert gate(reviewed)[0] == 4
    reviewed.git("rm", "-q", str(PRODUCTION))
    reviewed.commit("Not even a file")
    assert gate(reviewed)[0] == 4


def test_the_first_promotion_can_be_reverted(promoted: Promoted) -> None:
    promoted.branch("revert")
    promoted.git("revert", "--no-edit", "HEAD")
    assert parse_release((promoted.root / PRODUCTION).read_text()) == NO_RELEASE
    code, said = gate(promoted)
    assert code == 0, said


def write(here: Promoted, path: Path, text: str) -> None:
    (here.root / path).write_text(text)


# ---- Loosening from the branch ---------------------------------------------------------------------------------------


def test_the_base_judges_by_its_gates_even_where_nothing_runs(promoted: Promoted) -> None:
    promoted.on_main(lambda here: write(here, PRODUCTION, format_release(NO_RELEASE)), "Withdrawn")
    promoted.policy({"floors": {"roc_auc": 0.9}})
    promoted.branch("loosened")
    promoted.change_params({"gates.floors": {}, **WORSE})
    judged(promoted)
    assert promoted.comparison()["policy"] == "base"
    assert "floors" in promoted.failed()
    assert gate(promoted)[0] == 4


def test_the_other_class_as_the_positive_one_is_the_same_problem(promoted: Promoted) -> None:
    promoted.branch("mirrored")
    promoted.change_params({"data.positive": False, "gates.slices.margin": 1.0, **WORSE})
    judged(promoted)
    comparison = promoted.comparison()
    assert comparison["champion"]["kind"] == "model"
    assert comparison["verdict"] == "reject"


def test_a_smaller_holdout_does_not_judge_unless_the_base_allows_it(promoted: Promoted) -> None:
    promoted.branch("smaller")
    promoted.change_params({"data.holdout.days": 2, **WORSE})
    judged(promoted)
    assert promoted.failed() == {"comparable"}
    assert "data.holdout.days is 2, the base branch judges by 30" in promoted.comparison()["sentence"]
    promoted.policy({"holdout": {"smaller": True}})
    promoted.git("checkout", "-q", "smaller")
    assert promoted.run("repro").returncode == 0
    assert "comparable" not in promoted.failed()


# ---- Forged records --------------------------------------------------------------------------------------------------


def forge(here: Promoted, name: str, change: Callable[[dict[str, object]], None]) -> None:
    """Change a record and everything that names its hash, so that all fits again."""
    path = here.root / name
    old = path.read_bytes()
    record = json.loads(old)
    change(record)
    path.write_text(json.dumps(record, indent=2) + "\n")
    lock = here.root / "dvc.lock"
    before, after = (hashlib.md5(content).hexdigest() for content in (old, path.read_bytes()))
    text = lock.read_text().replace(before, after).replace(f"size: {len(old)}", f"size: {path.stat().st_size}")
    receipt = here.root / "models/manifest.json"
    sealed = receipt.read_text().replace(digest(lock.read_bytes()), digest(text.encode()))
    staging = here.root / STAGING
    staging.write_text(staging.read_text().replace(digest(receipt.read_bytes()), digest(sealed.encode())))
    lock.write_text(text)
    receipt.write_text(sealed)
    here.commit("Forged")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def too_good(record: dict[str, object]) -> None:
    record["roc_auc"] = 0.999


def more_rows(record: dict[str, object]) -> None:
    record["rows"] = {"2013-01": 999_999}


def promoting(record: dict[str, object]) -> None:
    record["sentence"] = "better by 0.9: promoted"


@pytest.mark.parametrize(
    ("name", "change", "verb"),
    [
        ("reports/metrics.json", too_good, "evaluate"),
        ("reports/validation.json", more_rows, "validate"),
        ("reports/comparison.json", promoting, "compare"),
    ],
)
def test_a_forged_record_whose_hashes_all_fit_is_found_by_the_forced_run(
    name: str, change: Callable[[dict[str, object]], None], verb: str, reviewed: Promoted
) -> None:
    forge(reviewed, name, change)
    code, said = gate(reviewed, "--rerun")
    assert code == 4
    assert f"REFUSED  {verb} again: {name} is not what `{verb}` gives" in said


@pytest.mark.parametrize("key", ["champion_sha256", "serving_contract", "data"])
def test_a_receipt_that_says_something_else_is_refused(key: str, reviewed: Promoted) -> None:
    receipt = reviewed.root / "models/manifest.json"
    record = json.loads(receipt.read_text())
    other = {"champion_sha256": "a" * 64, "serving_contract": 999, "data": {**record["data"], "other": "b" * 32}}
    sealed = json.dumps(record | {key: other[key]}, indent=2) + "\n"
    staging = reviewed.root / STAGING
    staging.write_text(staging.read_text().replace(digest(receipt.read_bytes()), digest(sealed.encode())))
    receipt.write_text(sealed)
    reviewed.commit("Another receipt")
    code, said = gate(reviewed)
    assert code == 4
    assert "REFUSED  receipt" in said


def test_a_receipt_that_is_gone_is_a_finding(reviewed: Promoted) -> None:
    reviewed.git("rm", "-q", "models/manifest.json")
    reviewed.commit("No receipt")
    code, said = gate(reviewed)
    assert code == 4
    assert "REFUSED  receipt: there is no models/manifest.json" in said


def test_a_category_writes_no_line_of_its_own(reviewed: Promoted) -> None:
    def hostile(record: dict[str, object]) -> None:
        record["sentence"] = "slice origin=LGA\n::error::x\x00 worse"

    forge(reviewed, "reports/comparison.json", hostile)
    assert "\n::error::" not in gate(reviewed)[1]


# ---- Bytes -----------------------------------------------------------------------------------------------------------


def test_a_model_whose_bytes_are_not_stored_is_not_recorded(promoted: Promoted) -> None:
    promoted.branch("unstored")
    promoted.change_params({"train.hist_gradient_boosting": {"iterations": 40, "leaves": 16}})
    promoted.commit("A larger model")
    assert promoted.run("repro").returncode == 0
    stored = promoted.root / ".mergeline/store"
    shutil.copytree(stored, promoted.root.parent / "kept")
    receipt = json.loads((promoted.root / "models/manifest.json").read_text())
    (stored / "sha256" / receipt["model"]["sha256"]).unlink()
    done = promoted.run("record")
    assert done.returncode == 6
    assert "does not hold the model; `mergeline repro` puts it there" in done.stderr
    assert promoted.run("repro").returncode == 0
    assert promoted.run("record").returncode == 0


def test_r1_weights_outside_of_the_model_file_are_refused(
    candidate: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash of the model speaks for no other file; a file of that name in the current folder must not be read."""
    monkeypatch.chdir(tmp_path)
    features = len(candidate.signature.features)
    (tmp_path / "weights.bin").write_bytes(np.ones((features, 2), dtype=np.float32).tobytes())
    weights = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[features, 2])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["features", "weights"], ["scores"])],
        "outside",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    with pytest.raises(VerificationError):
        Scorer(model, replace(candidate.signature, onnx_sha256=digest(model)))
    inside = onnx.load_model_from_string(model)
    onnx.load_external_data_for_model(inside, str(tmp_path))
    twin = Scorer(inside.SerializeToString(), candidate.signature)  # the same weights inside are a model
    assert twin.score_matrix(np.ones((1, features), dtype=np.float32)).tolist() == [[features, features]]


# ---- The base moves on -----------------------------------------------------------------------------------------------


def test_resync_takes_the_bases_new_data_with_it(reviewed: Promoted) -> None:
    """Were the old partitions left in data/, DVC would write them into the new data.dvc."""

    def more_data(here: Promoted) -> None:
        here.change_rows(lambda month, rows: pd.concat([rows, rows.tail(1).assign(flight_id=f"{month}-new")]))

    reviewed.git("checkout", "-q", "main")
    reviewed.on_main(more_data, "More data")
    named = (reviewed.root / "data.dvc").read_text()
    reviewed.git("checkout", "-q", "better")
    done = reviewed.tool("dvc", "checkout", "data.dvc", "--force")
    assert done.returncode == 0, done.stderr
    done = reviewed.run("resync")
    assert done.returncode == 0, done.stderr
    assert (reviewed.root / "data.dvc").read_text() == named
    code, said = gate(reviewed)
    assert "REFUSED  fresh" not in said
    assert code in (0, 4)
