"""A branch whose code knows more than the code that judges it: what is green at once, and what takes two steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from promoted import Promoted
from repositories import Repository

from mergeline.commands.settings import load_judged, load_params
from mergeline.errors import ConfigurationError

NEW = {"evaluate.shiny": 3, "train.hist_gradient_boosting.glow": "much"}


@pytest.fixture
def newer(ran: Repository, tmp_path: Path) -> Repository:
    """A branch with code of its own and keys of its own, which its stages have read: dvc.lock has them."""
    here = Repository(tmp_path)
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy(ran.root / name, here.root / name)
    (here.root / "src").mkdir()
    record(here, NEW)
    here.change_params(NEW)
    return here


def record(here: Repository, values: dict[str, object]) -> None:
    """Put values into each section that a stage has read, as DVC does after a run."""
    lock = yaml.safe_load((here.root / "dvc.lock").read_text())
    read = [stage["params"]["params.yaml"] for stage in lock["stages"].values() if "params" in stage]
    for dotted, value in values.items():
        section, *between, last = dotted.split(".")
        for each in (each[section] for each in read if section in each):
            inner = each
            for name in between:
                inner = inner[name]
            inner[last] = value
    (here.root / "dvc.lock").write_text(yaml.safe_dump(lock))


def test_keys_that_the_stages_of_the_branch_have_read_are_left_out_and_named(
    newer: Repository, ran: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_judged(newer.root) == load_params(ran.root)
    assert "evaluate.shiny" in caplog.text
    assert "train.hist_gradient_boosting.glow" in caplog.text


def of_a_section_that_no_stage_reads(here: Repository) -> None:
    here.change_params({"gates.luck": {"max": 1}})


def with_another_value_than_was_read(here: Repository) -> None:
    here.change_params({"evaluate.shiny": 4})


def never_run(here: Repository) -> None:
    (here.root / "dvc.lock").unlink()


def with_a_lock_that_is_none(here: Repository) -> None:
    (here.root / "dvc.lock").write_text("stages: [1]\n")


def with_a_lock_that_is_no_yaml(here: Repository) -> None:
    (here.root / "dvc.lock").write_bytes(b"stages: [\xff")


def without_settings(here: Repository) -> None:
    (here.root / "params.yaml").unlink()


def beside_a_value_that_is_wrong(here: Repository) -> None:
    here.change_params({"data.task": "guess"})


def in_code_of_its_own(here: Repository) -> None:
    (here.root / "src").rmdir()
    (here.root / "src").symlink_to(Path(__file__).parents[1] / "src")


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (of_a_section_that_no_stage_reads, "gates.luck: unknown key"),
        (with_another_value_than_was_read, "evaluate.shiny: unknown key"),
        (never_run, "evaluate.shiny: unknown key"),
        (with_a_lock_that_is_none, "evaluate.shiny: unknown key"),
        (with_a_lock_that_is_no_yaml, "evaluate.shiny: unknown key"),
        (without_settings, "params.yaml: no such file"),
        (beside_a_value_that_is_wrong, "data.task: "),
    ],
)
def test_twin_any_other_key_is_an_error_of_one_line_that_says_what_to_do(
    newer: Repository, plant: Callable[[Repository], None], said: str
) -> None:
    plant(newer)
    with pytest.raises(ConfigurationError, match="merge the code first, with a default, and set it in a second") as err:
        load_judged(newer.root)
    assert said in str(err.value)
    assert "\n" not in str(err.value)


def test_twin_code_that_judges_its_own_branch_knows_no_other_key(newer: Repository) -> None:
    in_code_of_its_own(newer)
    with pytest.raises(ConfigurationError, match=r"evaluate\.shiny: unknown key") as err:
        load_judged(newer.root)
    assert "merge the code first" not in str(err.value)


def test_a_server_that_lands_first_changes_no_receipt_of_a_model_that_is_there(
    promoted: Promoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mergeline import git
    from mergeline.commands.repro import receipt_of, write_receipt
    from mergeline.layout import RECEIPT

    receipt = (promoted.root / RECEIPT).read_bytes()
    monkeypatch.setattr("mergeline.release.receipt.MODEL_CONTRACT", 2)
    assert receipt_of(promoted.root).serving_contract == 2
    assert write_receipt(promoted.root, git.base_branch(promoted.root)).serving_contract == 1
    assert (promoted.root / RECEIPT).read_bytes() == receipt
    assert write_receipt(promoted.root, None).serving_contract == 2  # the twin: a model of one's own
