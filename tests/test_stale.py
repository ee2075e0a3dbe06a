"""Which records do not belong to their inputs: asked of real stages, with and without the data."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import MONTHS, Repository, flights

from mergeline.errors import ConfigurationError
from mergeline.pipeline import data_md5, stale

STAGES = ("validate", "train", "evaluate", "compare")
HEAVY = ("data", "models/candidate", "reports/validate", "reports/evaluate", "reports/compare", ".dvc/cache")


def replace_in(path: Path, old: str, new: str, count: int = -1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def without_bytes(repository: Repository) -> None:
    """What a job has that only checked out: the files in Git."""
    for folder in HEAVY:
        shutil.rmtree(repository.root / folder)


def own_source(repository: Repository) -> Path:
    source = repository.root / "src"
    template = source.resolve()
    source.unlink()
    shutil.copytree(template, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return source / "mergeline"


def locked(repository: Repository, stage: str) -> tuple[Path, str]:
    """The lock, and the part of it that is one stage's."""
    path = repository.root / "dvc.lock"
    lines = path.read_text().splitlines(keepends=True)
    start = lines.index(f"  {stage}:\n")
    ends = (number for number in range(start + 1, len(lines)) if not lines[number].startswith("   "))
    return path, "".join(lines[start : next(ends, len(lines))])


# ---- What is not stale -----------------------------------------------------------------------------------------------


def test_after_a_run_nothing_is_stale_and_asking_changes_no_file(ran: Repository) -> None:
    assert stale(ran.root) == {}
    assert ran.tool("git", "status", "--porcelain").stdout == ""


def test_data_model_pages_and_cache_need_not_be_here(repository: Repository) -> None:
    without_bytes(repository)
    assert stale(repository.root) == {}


def test_a_copy_of_the_code_and_its_compiled_modules_change_nothing(repository: Repository) -> None:
    compiled = own_source(repository) / "gates/__pycache__/floors.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"compiled")
    assert stale(repository.root) == {}


def test_a_setting_that_no_stage_reads_and_a_comment_change_nothing(repository: Repository) -> None:
    repository.change_params({"release.store": "elsewhere"})
    path = repository.root / "params.yaml"
    path.write_text(f"# said otherwise\n{path.read_text()}")
    assert stale(repository.root) == {}


# ---- Planted: each names the stages that it makes stale, and no other ------------------------------------------------


def another_seed(repository: Repository) -> None:
    repository.change_params({"train.seed": 7})


def another_floor_of_rows(repository: Repository) -> None:
    repository.change_params({"validate.min_rows": 999})


def another_target_module(repository: Repository) -> None:
    path = own_source(repository) / "target.py"
    path.write_text(path.read_text() + "\n")


def a_new_module_in_a_folder_of_code(repository: Repository) -> None:
    (own_source(repository) / "gates/luck.py").write_text('"""A gate."""\n')


def a_module_that_is_gone(repository: Repository) -> None:
    (own_source(repository) / "paired.py").unlink()


def other_data(repository: Repository) -> None:
    repository.rewrite(MONTHS[-1], flights(MONTHS[-1]).iloc[:-1])


def data_that_are_named_but_not_here(repository: Repository) -> None:
    """A branch with new data was checked out; nothing has fetched them, and the old ones are still in place."""
    replace_in(repository.root / "data.dvc", "md5: ", "md5: 0000", 1)
    path = repository.root / "data.dvc"
    lines = path.read_text().splitlines()
    shorter = [line[: line.index(".dir") - 4] + ".dir" if ".dir" in line else line for line in lines]
    path.write_text("\n".join(shorter) + "\n")


def a_forged_figure(repository: Repository) -> None:
    path = repository.root / "reports/metrics.json"
    path.write_text(path.read_text().replace('"roc_auc": 0.', '"roc_auc": 0.9'))


def a_record_that_is_gone(repository: Repository) -> None:
    (repository.root / "reports/comparison.json").unlink()


def another_model(repository: Repository) -> None:
    path = repository.root / "models/candidate/model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")


def another_champion(repository: Repository) -> None:
    path = repository.root / "models/champion.json"
    path.write_text(path.read_text() + "\n")


def another_command(repository: Repository) -> None:
    replace_in(repository.root / "dvc.yaml", "cmd: mergeline evaluate", "cmd: mergeline evaluate --debug")


def a_stage_without_its_lock(repository: Repository) -> None:
    path, part = locked(repository, "compare")
    replace_in(path, part, "")


def no_lock(repository: Repository) -> None:
    (repository.root / "dvc.lock").unlink()


PLANTED: dict[Callable[[Repository], None], dict[str, str]] = {
    another_seed: {"train": "params.yaml changed", "evaluate": "params.yaml changed"},
    another_floor_of_rows: {"validate": "params.yaml changed"},
    another_target_module: dict.fromkeys(("train", "evaluate", "compare"), "src/mergeline/target.py changed"),
    a_new_module_in_a_folder_of_code: {"compare": "src/mergeline/gates changed"},
    a_module_that_is_gone: {"compare": "src/mergeline/paired.py changed"},
    other_data: dict.fromkeys(STAGES, "data changed"),
    data_that_are_named_but_not_here: dict.fromkeys(STAGES, "data changed"),
    a_forged_figure: {"evaluate": "reports/metrics.json is not what the stage wrote"},
    a_record_that_is_gone: {"compare": "reports/comparison.json is missing"},
    another_model: {
        "train": "models/candidate is not what the stage wrote",
        "evaluate": "models/candidate changed",
        "compare": "models/candidate changed",
    },
    another_champion: {"compare": "models/champion.json changed"},
    another_command: {"evaluate": "its command or its list of files changed"},
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_change_makes_the_stages_stale_that_read_or_wrote_it(
    repository: Repository, plant: Callable[[Repository], None]
) -> None:
    plant(repository)
    assert stale(repository.root) == PLANTED[plant]


@pytest.mark.parametrize(
    "plant",
    [another_seed, another_target_module, data_that_are_named_but_not_here, a_forged_figure, a_record_that_is_gone],
    ids=lambda plant: plant.__name__,
)
def test_a_change_is_found_as_well_where_the_bytes_are_not_here(
    repository: Repository, plant: Callable[[Repository], None]
) -> None:
    plant(repository)
    without_bytes(repository)
    assert stale(repository.root) == PLANTED[plant]


@pytest.mark.parametrize("bytes_are_here", [True, False])
def test_a_lock_that_git_put_together_out_of_two_is_stale(repository: Repository, *, bytes_are_here: bool) -> None:
    """The part of `train` is one branch's, that of the stages which read its model another's."""
    path, part = locked(repository, "train")
    outs = part[part.index("    outs:") :]
    md5 = outs[outs.index("md5: ") + 5 :].split(".dir")[0]
    replace_in(path, outs, outs.replace(md5, "0" * 32))
    if not bytes_are_here:
        without_bytes(repository)
    found = stale(repository.root)
    assert found["evaluate"] == found["compare"] == "models/candidate changed"
    assert ("train" in found) == bytes_are_here


@pytest.mark.parametrize("bytes_are_here", [True, False])
@pytest.mark.parametrize(("plant", "stages"), [(a_stage_without_its_lock, ("compare",)), (no_lock, STAGES)])
def test_a_stage_that_no_lock_knows_is_stale(
    repository: Repository, plant: Callable[[Repository], None], stages: tuple[str, ...], *, bytes_are_here: bool
) -> None:
    plant(repository)
    if not bytes_are_here:
        without_bytes(repository)
    assert tuple(stale(repository.root)) == stages


def test_a_pipeline_that_cannot_be_read_is_an_error_and_not_a_clean_one(repository: Repository) -> None:
    (repository.root / "dvc.yaml").write_text("stages: [1\n")
    with pytest.raises(ConfigurationError, match=r"dvc\.yaml"):
        stale(repository.root)


@pytest.mark.parametrize("gone", STAGES)
def test_a_stage_that_the_pipeline_does_not_have_is_stale(repository: Repository, gone: str) -> None:
    """Else a branch could leave out the stage that would find it out."""
    lines = (repository.root / "dvc.yaml").read_text().splitlines(keepends=True)
    start = lines.index(f"  {gone}:\n")
    ends = (number for number in range(start + 1, len(lines)) if lines[number].strip() and lines[number][:3] != "   ")
    end = next(ends, len(lines))
    (repository.root / "dvc.yaml").write_text("".join([*lines[:start], *lines[end:]]))
    assert stale(repository.root)[gone] == "dvc.yaml does not have it"
    assert stale(repository.root).keys().isdisjoint(STAGES[: STAGES.index(gone)])


def test_a_pipeline_without_any_stage_is_stale_in_all_of_them(repository: Repository) -> None:
    (repository.root / "dvc.yaml").write_text("stages: {}\n")
    assert stale(repository.root) == dict.fromkeys(STAGES, "dvc.yaml does not have it")


def test_a_stage_of_ones_own_beside_them_is_not_asked_for(repository: Repository) -> None:
    replace_in(repository.root / "dvc.yaml", "stages:\n", "stages:\n  notes:\n    cmd: echo\n", 1)
    assert stale(repository.root) == {}
    replace_in(repository.root / "dvc.yaml", "    cmd: echo\n", "    cmd: echo\n    outs: [notes.txt]\n", 1)
    assert list(stale(repository.root)) == ["notes"]


@pytest.mark.parametrize("content", ["outs: []\n", "outs:\n", "{}\n", "[]\n", "", "outs:\n- data\n"])
def test_a_data_file_that_names_no_folder_is_an_error_that_says_what_to_do(tmp_path: Path, content: str) -> None:
    path = tmp_path / "data.dvc"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"^data\.dvc: names no folder; `dvc add data` writes it anew$"):
        data_md5(tmp_path)
    path.write_text(f"outs:\n- md5: {'d' * 32}.dir\n  path: data\n")
    assert data_md5(tmp_path) == "d" * 32 + ".dir"


def test_a_folder_that_dvc_does_not_know_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a DVC repository"):
        stale(tmp_path)
