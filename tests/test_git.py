"""What Git says: the commit, the base, what changed against it, and what stood in earlier versions."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mergeline.errors import ConfigurationError
from mergeline.git import (
    LineChange,
    base_branch,
    changed_files,
    commit_of,
    conflicts,
    do,
    fork_point,
    head_commit,
    line_changes,
    merging,
    read,
    tracked,
    untracked,
    versions,
)

ODD = (" leading blank", "trailing blank ", "two\nlines", "größer.py", 'a"quote', "a\ttab", "-dash")
PARAMS = Path("params.yaml")


def git(root: Path, *arguments: str) -> str:
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(root), *author, *arguments], check=True, capture_output=True)
    return done.stdout.decode().strip()


def commit(root: Path, changes: dict[str, str | bytes | None], message: str = "next") -> str:
    """Commit these contents, None for a file to remove, and return the commit's name."""
    for name, content in changes.items():
        path = root / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", message)
    return git(root, "rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, {"params.yaml": "seed: 1\n"}, "first")
    return tmp_path


@pytest.fixture
def conflicting(checkout: Path) -> Path:
    """A checkout in the middle of a merge that Git cannot finish."""
    git(checkout, "checkout", "-q", "-b", "theirs")
    commit(checkout, {"params.yaml": "seed: 2\n", "größer.py": "2\n"})
    git(checkout, "checkout", "-q", "main")
    commit(checkout, {"params.yaml": "seed: 3\n", "größer.py": "3\n"})
    with pytest.raises(subprocess.CalledProcessError):
        git(checkout, "merge", "-q", "theirs")
    return checkout


# ---- The commit and what differs from it -----------------------------------------------------------------------------


def test_the_commit_is_its_full_name_and_files_that_git_does_not_track_leave_it_clean(checkout: Path) -> None:
    (checkout / "scratch.txt").write_text("untracked")
    assert re.fullmatch(r"[0-9a-f]{40}", head_commit(checkout) or "")
    assert changed_files(checkout) == ()


def test_a_changed_file_makes_the_commit_dirty(checkout: Path) -> None:
    clean = head_commit(checkout)
    (checkout / "params.yaml").write_text("seed: 2\n")
    assert head_commit(checkout) == f"{clean}-dirty"


def test_a_changed_file_that_is_to_be_ignored_leaves_the_commit_clean_and_no_other(checkout: Path) -> None:
    clean = commit(checkout, {"reports/metrics.json": "{}", "metrics.json": "{}"})
    (checkout / "reports/metrics.json").write_text("{1}")
    assert head_commit(checkout, ignoring=[Path("reports/metrics.json")]) == clean
    (checkout / "metrics.json").write_text("{1}")
    assert head_commit(checkout, ignoring=[Path("reports/metrics.json")]) == f"{clean}-dirty"


def test_there_is_no_commit_outside_a_repository_before_the_first_one_and_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert head_commit(tmp_path) is None
    git(tmp_path, "init")
    assert head_commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert head_commit(tmp_path) is None


def test_staged_unstaged_new_removed_and_renamed_files_are_all_changed(checkout: Path) -> None:
    commit(checkout, {name: f"{name}\n" for name in ("staged", "unstaged", "removed", "old")})
    (checkout / "staged").write_text("other")
    (checkout / "new").write_text("new")
    git(checkout, "add", "staged", "new")
    git(checkout, "mv", "old", "renamed")
    (checkout / "unstaged").write_text("other")
    (checkout / "removed").unlink()
    assert set(changed_files(checkout)) == {"staged", "new", "old", "renamed", "unstaged", "removed"}


@pytest.mark.parametrize("name", ODD)
def test_a_changed_file_is_called_by_its_whole_name_and_ignored_by_it(checkout: Path, name: str) -> None:
    commit(checkout, {name: "1\n"})
    (checkout / name).write_text("2\n")
    assert changed_files(checkout) == (name,)
    assert changed_files(checkout, ignoring=[Path(name)]) == ()


# ---- The base --------------------------------------------------------------------------------------------------------


def of_origin(root: Path, *branches: str, default: str | None = None) -> None:
    """Let these be what was last fetched from origin."""
    for branch in branches:
        git(root, "update-ref", f"refs/remotes/origin/{branch}", "HEAD")
    if default is not None:
        git(root, "symbolic-ref", "refs/remotes/origin/HEAD", f"refs/remotes/origin/{default}")


@pytest.mark.parametrize(
    ("branches", "default", "expected"),
    [
        pytest.param((), None, None, id="no origin"),
        pytest.param(("master",), None, "origin/master", id="master"),
        pytest.param(("main", "master"), None, "origin/main", id="main before master"),
        pytest.param(("main", "develop"), "develop", "origin/develop", id="origin's default before main"),
        pytest.param(("main",), "gone", "origin/main", id="a default that was never fetched"),
    ],
)
def test_the_base_is_origins_default_then_main_then_master(
    checkout: Path, branches: tuple[str, ...], default: str | None, expected: str | None
) -> None:
    of_origin(checkout, *branches, default=default)
    assert base_branch(checkout) == expected


@pytest.mark.parametrize("default", [None, "gone"])
def test_where_origins_default_is_not_known_a_base_has_to_be_named(checkout: Path, default: str | None) -> None:
    """To judge by no base then would be to judge by the branch's own gates."""
    of_origin(checkout, "develop", default=default)
    with pytest.raises(ConfigurationError) as caught:
        base_branch(checkout)
    assert str(caught.value).startswith("--base: origin's default branch is not known here; name it")
    assert "`git remote set-head origin --auto`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert base_branch(checkout, "origin/develop") == "origin/develop"
    git(checkout, "remote", "add", "origin", "nowhere")
    git(checkout, "remote", "set-head", "origin", "develop")
    assert base_branch(checkout) == "origin/develop"


def test_the_branches_of_another_remote_are_not_origins(checkout: Path) -> None:
    git(checkout, "update-ref", "refs/remotes/upstream/main", "HEAD")
    git(checkout, "update-ref", "refs/remotes/origins/main", "HEAD")
    assert base_branch(checkout) is None


@pytest.mark.parametrize("default", [None, "main"])
@pytest.mark.parametrize("kind", ["tag", "branch"])
@pytest.mark.parametrize("name", ["origin/main", "origin/HEAD"])
def test_a_tag_or_branch_that_is_called_like_origins_main_does_not_become_the_base(
    checkout: Path, kind: str, name: str, default: str | None
) -> None:
    of_origin(checkout, "main", default=default)
    fetched = commit_of(checkout, "HEAD")
    commit(checkout, {"params.yaml": "seed: 9\n"})
    git(checkout, "update-ref", f"refs/{'tags' if kind == 'tag' else 'heads'}/{name}", "HEAD")
    base = base_branch(checkout)
    assert base is not None
    assert commit_of(checkout, base) == fetched
    assert read(checkout, base, PARAMS) == b"seed: 1\n"


def test_a_base_may_be_named_by_branch_tag_or_commit_whatever_origin_has(checkout: Path) -> None:
    git(checkout, "tag", "v1")
    of_origin(checkout, "main")
    for name in ("main", "v1", head_commit(checkout)):
        assert base_branch(checkout, name) == name


@pytest.mark.parametrize("name", ["nowhere", "", "--help", "-x", "HEAD:params.yaml", "^main", "main..main", "0" * 40])
def test_a_named_base_that_is_no_commit_is_refused_and_not_replaced_by_another(checkout: Path, name: str) -> None:
    of_origin(checkout, "main")
    with pytest.raises(ConfigurationError, match="is no branch or commit here; fetch it, or name another") as caught:
        base_branch(checkout, name)
    assert repr(name) in str(caught.value)


def test_a_branch_whose_name_begins_with_a_dash_is_read_like_any_other(checkout: Path) -> None:
    git(checkout, "update-ref", "refs/heads/-x", "HEAD")
    first = commit_of(checkout, "HEAD")
    commit(checkout, {"params.yaml": "seed: 2\n"})
    assert base_branch(checkout, "-x") == "-x"
    assert read(checkout, "-x", PARAMS) == b"seed: 1\n"
    assert versions(checkout, "-x", PARAMS) == (b"seed: 1\n",)
    assert fork_point(checkout, "-x") == first


# ---- What stands at a commit -----------------------------------------------------------------------------------------


def test_a_file_is_read_byte_for_byte_as_it_was_at_a_commit(checkout: Path) -> None:
    content = b"\r\n \xff\x00 \n\n"
    then = commit(checkout, {"größer.bin": content})
    commit(checkout, {"größer.bin": b"other"})
    assert read(checkout, then, Path("größer.bin")) == content


def test_a_file_that_was_not_there_a_folder_and_an_unknown_commit_have_no_content(checkout: Path) -> None:
    commit(checkout, {"reports/metrics.json": "{}"})
    assert read(checkout, "HEAD~1", Path("reports/metrics.json")) is None
    assert read(checkout, "HEAD", Path("reports")) is None
    assert read(checkout, "nowhere", PARAMS) is None


def test_versions_come_newest_first_and_the_time_without_the_file_is_none(checkout: Path) -> None:
    commit(checkout, {"params.yaml": "seed: 2\n"})
    commit(checkout, {"params.yaml": None})
    commit(checkout, {"other": "of no interest"})
    commit(checkout, {"params.yaml": "seed: 1\n"})
    assert versions(checkout, "HEAD", PARAMS) == (b"seed: 1\n", b"seed: 2\n", b"seed: 1\n")
    assert versions(checkout, "HEAD~4", PARAMS) == (b"seed: 1\n",)
    assert versions(checkout, "HEAD", Path("nothing")) == ()


def test_versions_of_a_merged_branch_count_or_not_as_asked(checkout: Path) -> None:
    """Git's own shortened history keeps one side of a merge: here the wrong one for either question."""
    git(checkout, "checkout", "-q", "-b", "side")
    commit(checkout, {"params.yaml": "seed: 2\n"})
    commit(checkout, {"params.yaml": "seed: 3\n"})
    git(checkout, "checkout", "-q", "main")
    git(checkout, "merge", "-q", "--no-ff", "--no-edit", "side")
    assert versions(checkout, "HEAD", PARAMS, merged=False) == (b"seed: 3\n", b"seed: 1\n")
    git(checkout, "checkout", "-q", "-b", "taken-back", "side")
    commit(checkout, {"params.yaml": "seed: 4\n"})
    git(checkout, "merge", "-q", "--no-ff", "--no-commit", "main")
    git(checkout, "checkout", "-q", "main", "--", "params.yaml")
    git(checkout, "commit", "-q", "--no-edit")
    assert b"seed: 4\n" in versions(checkout, "HEAD", PARAMS)
    assert b"seed: 2\n" in versions(checkout, "HEAD", PARAMS)


# ---- What changed since the branch left the base ---------------------------------------------------------------------


def test_the_fork_point_stays_when_the_base_moves_on(checkout: Path) -> None:
    start = commit_of(checkout, "HEAD")
    git(checkout, "checkout", "-q", "-b", "branch")
    commit(checkout, {"mine": "1\n"})
    git(checkout, "checkout", "-q", "main")
    commit(checkout, {"theirs": "1\n"})
    git(checkout, "checkout", "-q", "branch")
    assert fork_point(checkout, "main") == start
    assert line_changes(checkout, "main", ["mine", "theirs"]) == (LineChange("mine", 1, 0),)


def test_branches_with_nothing_in_common_have_no_fork_point_and_no_changes(checkout: Path) -> None:
    git(checkout, "checkout", "-q", "--orphan", "alone")
    commit(checkout, {"mine": "1\n"})
    assert fork_point(checkout, "main") is None
    assert line_changes(checkout, "main", ["mine"]) == ()
    assert fork_point(checkout, "nowhere") is None


def test_line_changes_count_what_is_committed_and_what_is_not_yet(checkout: Path) -> None:
    commit(checkout, {"src/kept.py": "1\n2\n", "src/gone.py": "1\n", "docs/guide.md": "1\n"})
    git(checkout, "checkout", "-q", "-b", "branch")
    commit(checkout, {"src/kept.py": "1\n2\n3\n", "src/gone.py": None, "docs/guide.md": "2\n"})
    (checkout / "src/kept.py").write_text("1\n3\n4\n")
    assert line_changes(checkout, "main", ["src", "dvc.yaml"]) == (
        LineChange("src/gone.py", 0, 1),
        LineChange("src/kept.py", 2, 1),
    )


def test_a_binary_file_changed_by_no_line_and_an_odd_name_is_whole(checkout: Path) -> None:
    git(checkout, "checkout", "-q", "-b", "branch")
    commit(checkout, {"src/model.onnx": b"\x00\x01\n\xff", **{f"src/{name}": "1\n" for name in ODD}})
    found = line_changes(checkout, "main", ["src"])
    assert LineChange("src/model.onnx", 0, 0) in found
    assert {each.path for each in found} == {"src/model.onnx", *(f"src/{name}" for name in ODD)}


# ---- A project in a folder of the repository -------------------------------------------------------------------------


@pytest.fixture
def project(checkout: Path) -> Path:
    """A project below the top, beside another one whose files have the same names."""
    commit(checkout, {"ours/params.yaml": "seed: 5\n", "theirs/params.yaml": "seed: 6\n", "ours/src/a.py": "1\n"})
    return checkout / "ours"


def test_a_project_in_a_folder_reads_its_own_files_and_not_those_of_the_top(project: Path) -> None:
    commit(project.parent, {"ours/params.yaml": "seed: 7\n", "params.yaml": "seed: 8\n"})
    assert read(project, "HEAD", PARAMS) == b"seed: 7\n"
    assert read(project, "HEAD~1", PARAMS) == b"seed: 5\n"
    assert versions(project, "HEAD", PARAMS) == (b"seed: 7\n", b"seed: 5\n")
    assert read(project, "HEAD", Path("ours/params.yaml")) is None
    assert read(project.parent, "HEAD", PARAMS) == b"seed: 8\n"


def test_a_project_in_a_folder_calls_its_changes_by_its_own_names_and_leaves_out_the_others(project: Path) -> None:
    git(project, "checkout", "-q", "-b", "branch")
    (project.parent / "theirs/params.yaml").write_text("seed: 9\n")
    assert changed_files(project) == ()
    assert line_changes(project, "main", ["."]) == ()
    (project / "params.yaml").write_text("seed: 7\nmore: 1\n")
    assert changed_files(project) == ("params.yaml",)
    assert changed_files(project, ignoring=[PARAMS]) == ()
    assert line_changes(project, "main", ["params.yaml", "src"]) == (LineChange("params.yaml", 2, 1),)
    assert set(changed_files(project.parent)) == {"ours/params.yaml", "theirs/params.yaml"}


def test_a_project_in_a_folder_has_its_own_conflicts_alone(project: Path) -> None:
    root = project.parent
    git(root, "checkout", "-q", "-b", "side")
    commit(root, {"ours/params.yaml": "1\n", "theirs/params.yaml": "1\n"})
    git(root, "checkout", "-q", "main")
    commit(root, {"ours/params.yaml": "2\n", "theirs/params.yaml": "2\n"})
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "merge", "-q", "side")
    assert conflicts(project) == ("params.yaml",)
    assert set(conflicts(root)) == {"ours/params.yaml", "theirs/params.yaml"}


# ---- Merges, and commands that change something ----------------------------------------------------------------------


def test_a_merge_under_way_names_its_conflicts(conflicting: Path) -> None:
    assert merging(conflicting)
    assert set(conflicts(conflicting)) == {"params.yaml", "größer.py"}
    assert tracked(conflicting, PARAMS)
    git(conflicting, "checkout", "--ours", "params.yaml")
    git(conflicting, "add", "params.yaml")
    assert conflicts(conflicting) == ("größer.py",)
    git(conflicting, "merge", "--abort")
    assert not merging(conflicting)
    assert conflicts(conflicting) == ()


def test_a_file_is_tracked_once_git_knows_it(checkout: Path) -> None:
    (checkout / "new").write_text("1")
    assert not tracked(checkout, Path("new"))
    git(checkout, "add", "new")
    assert tracked(checkout, Path("new"))
    assert not tracked(checkout, Path("nowhere"))


def test_files_under_these_paths_that_git_neither_knows_nor_ignores_are_untracked(checkout: Path) -> None:
    commit(checkout, {".gitignore": "*.pyc\n", "src/known.py": "1\n"})
    for name in ("src/new.py", "src/staged.py", "src/new.pyc", "scratch.txt", "dvc.yaml"):
        (checkout / name).write_text("1")
    git(checkout, "add", "src/staged.py")
    assert set(untracked(checkout, ["src", "dvc.yaml", "nowhere"])) == {"src/new.py", "dvc.yaml"}
    assert untracked(checkout, ["params.yaml", "src/known.py"]) == ()


@pytest.mark.parametrize("name", ODD)
def test_an_untracked_file_is_called_by_its_whole_name_from_the_projects_folder(checkout: Path, name: str) -> None:
    (checkout / "ours/src").mkdir(parents=True)
    (checkout / "ours/src" / name).write_text("1")
    (checkout / "src").mkdir()
    (checkout / "src/beside.py").write_text("1")
    assert untracked(checkout / "ours", ["src"]) == (f"src/{name}",)


def test_a_command_gives_its_output(checkout: Path) -> None:
    assert do(checkout, "rev-parse", "HEAD").strip() == head_commit(checkout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("checkout", "nowhere"), "git checkout: error: pathspec 'nowhere' did not match any file"),
        (("commit", "--message", "nothing"), "git commit: On branch main nothing to commit"),
        (("no-such-verb",), "git no-such-verb: git: 'no-such-verb' is not a git command"),
    ],
)
def test_a_command_that_fails_is_an_error_in_one_line_of_gits_own_words(
    checkout: Path, arguments: tuple[str, ...], said: str
) -> None:
    git(checkout, "config", "user.name", "A")
    git(checkout, "config", "user.email", "a@example.org")
    with pytest.raises(ConfigurationError) as caught:
        do(checkout, *arguments)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


ASKED: dict[str, tuple[Callable[[Path], object], object]] = {
    "base": (base_branch, None),
    "commit": (lambda root: commit_of(root, "HEAD"), None),
    "changed": (changed_files, ()),
    "fork": (lambda root: fork_point(root, "main"), None),
    "read": (lambda root: read(root, "HEAD", PARAMS), None),
    "versions": (lambda root: versions(root, "HEAD", PARAMS), ()),
    "lines": (lambda root: line_changes(root, "main", ["src"]), ()),
    "conflicts": (conflicts, ()),
    "tracked": (lambda root: tracked(root, PARAMS), False),
    "untracked": (lambda root: untracked(root, ["src"]), ()),
    "merging": (merging, False),
}


@pytest.mark.parametrize("asked", ASKED)
def test_outside_a_repository_and_without_git_there_is_nothing_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    ask, nothing = ASKED[asked]
    assert ask(tmp_path) == nothing
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask(tmp_path) == nothing


def test_outside_a_repository_and_without_git_a_command_and_a_named_base_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="not a git repository"):
        do(tmp_path, "add", "--all")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="git: not installed"):
        do(tmp_path, "add", "--all")
    with pytest.raises(ConfigurationError, match="is no branch or commit here"):
        base_branch(tmp_path, "main")
