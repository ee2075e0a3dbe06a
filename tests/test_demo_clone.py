"""The demo's place: nothing of the user's is removed for it, and what it cannot be played with is said up front."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import played
import pytest
from sample.demo import __main__ as command
from sample.demo.clone import MARKER, make_place

from mergeline.errors import ConfigurationError


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small template, which nothing changes."""
    return played.small_template(tmp_path_factory.mktemp("clone") / "template")


def owned(folder: Path) -> Path:
    """A folder with a file that somebody needs."""
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    return folder


# ---- The folder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["own", ".mergeline/store", "k8s"])
def test_a_folder_with_files_that_no_demo_has_made_is_refused_and_stays_as_it_is(named: str, tmp_path: Path) -> None:
    template = played.small_template(tmp_path / "template")
    folder = owned(template / named) if named != "k8s" else template / named
    before = sorted(folder.rglob("*"))
    with pytest.raises(ConfigurationError, match="found files that no demo has made; name another with --folder"):
        make_place(template, folder)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("marked", [False, True], ids=["as it is", "even with a marker"])
def test_neither_the_repository_nor_a_folder_that_holds_it_is_the_demos(marked: bool, tmp_path: Path) -> None:
    template = played.small_template(tmp_path / "holds" / "template")
    for folder in (template, template.parent, template / "k8s" / ".."):
        if marked:
            (folder / MARKER).touch()
        with pytest.raises(ConfigurationError, match="found the repository itself, or a folder that it lies in"):
            make_place(template, folder)
    assert (template / "params.yaml").is_file()


def test_a_file_is_no_folder(template: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigurationError, match="found a file"):
        make_place(template, tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_a_matter_of_the_setting(template: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"expected a folder that can be made anew, found .*Not a directory"):
        make_place(template, tmp_path / "notes" / "demo")


def test_twin_an_empty_folder_an_earlier_demo_and_one_of_the_local_state_are_made_anew(tmp_path: Path) -> None:
    template = played.small_template(tmp_path / "template")
    (tmp_path / "demo").mkdir()
    for folder in (tmp_path / "demo", tmp_path / "demo", owned(template / ".mergeline/demo")):
        place = make_place(template, folder)
        assert (place.root / "params.yaml").is_file()
        assert not (folder / "thesis.tex").exists()
        assert not (folder / "left").exists()
        (folder / "left").touch()


def test_the_command_refuses_its_own_repository_with_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    template = played.small_template(tmp_path / "template")
    monkeypatch.setattr(command, "TEMPLATE", template)  # the real one would be lost where this test has to fail
    monkeypatch.chdir(template)
    assert command.main(["--folder", "."]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (template / "params.yaml").is_file()


def test_as_many_flights_are_offered_as_the_demo_is_played_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(command.TESTED) == {1, played.EVERY}
    with pytest.raises(SystemExit) as ended:
        command.main(["--every", "5"])
    assert ended.value.code == 2
    assert "invalid choice: 5" in capsys.readouterr().err


# ---- The clone -------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_commit_is_told_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Git repository with a commit"):
        make_place(tmp_path, tmp_path / "demo")


def test_a_repository_of_another_user_is_cloned_where_git_is_told_to_trust_it(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own way to play this
    settings.write_text("")
    with pytest.raises(ConfigurationError, match=r"found another user's; `git config .* safe\.directory /"):
        make_place(template, tmp_path / "refused")
    settings.write_text(f"[safe]\n\tdirectory = {template.resolve()}\n")
    status = subprocess.run(["git", "-C", str(template), "status"], check=False, env=os.environ, capture_output=True)
    assert status.returncode == 0
    assert (make_place(template, tmp_path / "demo").root / "params.yaml").is_file()


def test_a_git_hook_that_starts_the_demo_does_not_lead_it_to_its_own_index(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = played.small_template(tmp_path / "other")
    (other / "other").touch()
    played.commit(other, "Another")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    assert not (make_place(template, tmp_path / "demo").root / "other").exists()


# ---- What it is played with ------------------------------------------------------------------------------------------


def test_a_repository_of_another_table_is_told_so_before_anything_is_played(tmp_path: Path) -> None:
    template = played.small_template(tmp_path / "template")
    own = "data: {task: binary, target: churned, numeric: [tenure, seats], holdout: {share: 0.2}}\n"
    (template / "params.yaml").write_text(own)
    played.commit(template, "Our own table")
    with pytest.raises(ConfigurationError, match=r"params\.yaml: .* found 'tenure', 'churned'; .*own params\.yaml"):
        make_place(template, tmp_path / "demo")


def test_a_repository_that_runs_a_model_is_told_so_before_anything_is_played(tmp_path: Path) -> None:
    template = played.small_template(tmp_path / "template")
    path = template / "k8s/overlays/production/release.yaml"
    hashes = re.sub(r'(sha256: )"none"', rf'\1"{"ab" * 32}"', path.read_text())
    path.write_text(hashes.replace('model-store: "none"', 'model-store: ".mergeline/store"'))
    played.commit(template, "Promote")
    with pytest.raises(ConfigurationError, match=r"expected no release, found model abababababab; .*fresh clone"):
        make_place(template, tmp_path / "demo")
