"""Promotions and rollbacks on a bare origin, in real Git: they converge (R5), go back (R6), overwrite nobody (R8)."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mergeline.commands.promotion import PROMOTION, ROLLBACK, propose_production, rollback
from mergeline.errors import ConfigurationError, ServiceError, VerificationError
from mergeline.release.manifests import NO_RELEASE, Release, format_release, parse_release

STAGING = Path("k8s/overlays/staging/release.yaml")
PRODUCTION = Path("k8s/overlays/production/release.yaml")
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
    **{
        f"GIT_{who}_{what}": text
        for who in ("AUTHOR", "COMMITTER")
        for what, text in (("NAME", "t"), ("EMAIL", "t@example.org"))
    },
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def release_of(number: int) -> Release:
    """A release of its own for each number; 0 is none."""
    return Release(sha(number), "s3://models", sha(-number), None) if number else NO_RELEASE


@dataclass(frozen=True, slots=True)
class Clone:
    """A clone of a bare origin."""

    root: Path

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", self.root, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def write(self, files: dict[Path, str], message: str, branch: str = "main") -> None:
        """Commit files on top of the origin's branch and push them there."""
        self.git("fetch", "-q", "--prune", "origin")
        self.git("checkout", "-q", "-B", branch, f"origin/{branch}")
        for path, text in files.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "origin", branch)

    def stage(self, number: int) -> None:
        """Merge a pull request that brought staging this release."""
        self.write({STAGING: format_release(release_of(number))}, f"Model {number}")

    def merge(self, branch: str) -> bool:
        """Merge a branch of the origin as its pull request would, squashed under the title of its commit."""
        self.git("fetch", "-q", "--prune", "origin")
        if not self.has(branch):
            return False
        self.git("checkout", "-q", "-B", "main", "origin/main")
        done = subprocess.run(
            ["git", "-C", self.root, "merge", "-q", "--squash", f"origin/{branch}"],
            env=ENVIRONMENT,
            capture_output=True,
            check=False,
        )
        if done.returncode:  # a conflict, which no pull request can be merged with
            self.git("reset", "-q", "--hard")
            return False
        self.git("commit", "-q", "--allow-empty", "-m", self.git("log", "-1", "--format=%B", f"origin/{branch}"))
        self.git("push", "-q", "origin", "main", f":refs/heads/{branch}")
        return True

    def at_origin(self, *arguments: str) -> str:
        """Ask the origin itself, which lies beside the clone."""
        return self.git("--git-dir", str(self.root.parent / "origin.git"), *arguments)

    def has(self, branch: str) -> bool:
        return bool(self.at_origin("for-each-ref", f"refs/heads/{branch}"))

    def tip(self, branch: str) -> str:
        return self.at_origin("rev-parse", "--verify", f"refs/heads/{branch}")

    def at(self, branch: str, path: Path) -> Release:
        return parse_release(self.at_origin("show", f"refs/heads/{branch}:{path}") + "\n")

    @property
    def serves(self) -> Release:
        return self.at("main", PRODUCTION)


def clone(origin: Path, place: Path) -> Clone:
    subprocess.run(["git", "clone", "-q", origin, place], env=ENVIRONMENT, check=True, capture_output=True)
    here = Clone(place)
    here.git("config", "user.name", "tests")
    here.git("config", "user.email", "tests@example.org")
    return here


def make(place: Path) -> Clone:
    """A clone of an origin in which no environment has a release yet."""
    place.mkdir(parents=True, exist_ok=True)
    origin = place / "origin.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", origin], env=ENVIRONMENT, check=True)
    here = clone(origin, place / "clone")
    here.git("checkout", "-q", "-b", "main")
    for path in (STAGING, PRODUCTION):
        (here.root / path).parent.mkdir(parents=True)
        (here.root / path).write_text(format_release(NO_RELEASE))
    here.git("add", "--all")
    here.git("commit", "-q", "-m", "The template")
    here.git("push", "-q", "-u", "origin", "main")
    return here


@pytest.fixture
def here(tmp_path: Path) -> Clone:
    return make(tmp_path)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")


def propose(here: Clone) -> str:
    return propose_production(here.root, "origin")


# ---- To production ---------------------------------------------------------------------------------------------------


def test_a_proposal_is_one_commit_of_one_file_and_leaves_the_checkout_alone(here: Clone) -> None:
    here.stage(1)
    (here.root / "notes.txt").write_text("a person's own")
    head = here.git("rev-parse", "HEAD")
    said = propose(here)
    assert said == f"proposed on {PROMOTION}; merge it into main: production to model {sha(1)[:12]}"
    assert here.git("rev-parse", "HEAD") == head
    assert here.git("status", "--porcelain") == "?? notes.txt"
    here.git("fetch", "-q", "origin")
    assert here.git("diff", "--name-only", "origin/main", f"origin/{PROMOTION}") == str(PRODUCTION)
    assert here.git("rev-list", "--count", f"origin/main..origin/{PROMOTION}") == "1"
    assert here.at(PROMOTION, PRODUCTION) == release_of(1)
    message = here.git("log", "-1", "--format=%B", f"origin/{PROMOTION}")
    assert message.startswith(f"Promote model {sha(1)[:12]} to production\n")
    assert f"Model-SHA256: {sha(1)}" in message
    assert f"Receipt-SHA256: {sha(-1)}" in message


def test_there_is_nothing_to_propose_without_a_release(here: Clone) -> None:
    assert propose(here) == "main has it already: staging serves no release"
    assert not here.has(PROMOTION)


def test_what_production_serves_already_is_not_proposed_and_an_old_proposal_goes(here: Clone) -> None:
    here.stage(1)
    propose(here)
    here.write({PRODUCTION: format_release(release_of(1))}, "By hand")
    assert propose(here).startswith(f"main has it already, {PROMOTION} is removed")
    assert not here.has(PROMOTION)
    assert propose(here).startswith("main has it already:")


def test_r5_the_second_of_two_runs_makes_no_commit_even_after_other_merges(here: Clone) -> None:
    here.stage(1)
    propose(here)
    tip = here.tip(PROMOTION)
    assert propose(here).startswith(f"{PROMOTION} proposes it already")
    here.write({Path("README.md"): "# Docs\n"}, "Docs")
    assert propose(here).startswith(f"{PROMOTION} proposes it already")
    assert here.tip(PROMOTION) == tip


def test_r5_a_newer_release_takes_the_place_of_the_proposed_one(here: Clone) -> None:
    here.stage(1)
    propose(here)
    here.stage(2)
    assert "in place of an older proposal" in propose(here)
    assert here.at(PROMOTION, PRODUCTION) == release_of(2)
    here.git("fetch", "-q", "origin")
    assert here.git("rev-list", "--count", f"origin/main..origin/{PROMOTION}") == "1"
    assert here.merge(PROMOTION)
    assert here.serves == release_of(2)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_r5_runs_in_any_order_and_number_end_in_one_branch_and_one_tree(order: tuple[int, ...], tmp_path: Path) -> None:
    """Three runners, started after different merges, each looking at what is there when it runs."""
    here = make(tmp_path)
    runners = [clone(tmp_path / "origin.git", tmp_path / f"runner-{number}") for number in range(3)]
    for number in range(3):
        here.stage(number + 1)
        propose(runners[order[number]])
    for runner in (*runners, *reversed(runners)):
        propose(runner)
    assert here.git("ls-remote", "--heads", "origin").count("refs/heads/") == 2
    assert here.at(PROMOTION, PRODUCTION) == release_of(3)


def test_r5_twin_a_bot_that_does_not_look_commits_at_every_run(here: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    from mergeline.release import proposals

    here.stage(1)
    propose(here)
    tip = here.tip(PROMOTION)
    monkeypatch.setattr(proposals, "_stands", lambda *_: False)
    here.write({Path("README.md"): "# Docs\n"}, "Docs")
    propose(here)
    assert here.tip(PROMOTION) != tip


# ---- Nobody is overwritten (R8) --------------------------------------------------------------------------------------


def test_r8_a_branch_with_a_commit_of_a_person_is_not_touched(here: Clone) -> None:
    here.stage(1)
    propose(here)
    here.write({Path("note.md"): "wait for Monday\n"}, "A note", branch=PROMOTION)
    tip = here.tip(PROMOTION)
    here.stage(2)
    with pytest.raises(VerificationError, match="which is somebody's own; merge it or delete the branch"):
        propose(here)
    assert here.tip(PROMOTION) == tip


def amended(here: Clone, change: dict[Path, str]) -> str:
    """A person amends the proposal, whose message and trailer stay, and pushes it; return its commit."""
    here.git("fetch", "-q", "origin")
    here.git("checkout", "-q", "-B", PROMOTION, f"origin/{PROMOTION}")
    for path, text in change.items():
        (here.root / path).write_text(text)
    here.git("add", "--all")
    here.git("commit", "-q", "--amend", "--no-edit")
    here.git("push", "-q", "--force", "origin", PROMOTION)
    return here.git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    "change",
    [{Path("note.md"): "wait\n"}, {PRODUCTION: format_release(release_of(9))}],
    ids=["another file", "another release"],
)
def test_r8_a_proposal_that_a_person_amended_is_the_persons(change: dict[Path, str], here: Clone) -> None:
    here.stage(1)
    propose(here)
    tip = amended(here, change)
    here.stage(2)
    with pytest.raises(VerificationError, match="somebody's own"):
        propose(here)
    assert here.tip(PROMOTION) == tip


def merged_base(here: Clone, change: dict[Path, str]) -> str:
    """Somebody merges main into the proposal, with an edit or without one, and pushes it; return its commit."""
    here.write({Path("README.md"): "# Docs\n"}, "Docs")
    here.git("checkout", "-q", "-B", PROMOTION, f"origin/{PROMOTION}")
    here.git("merge", "-q", "--no-ff", "--no-commit", "origin/main")
    for path, text in change.items():
        (here.root / path).write_text(text)
    here.git("add", "--all")
    here.git("commit", "-q", "-m", "Merge main")
    here.git("push", "-q", "origin", PROMOTION)
    return here.git("rev-parse", "HEAD")


def test_r8_a_merge_of_the_base_that_holds_an_edit_is_the_persons(here: Clone) -> None:
    here.stage(1)
    propose(here)
    tip = merged_base(here, {Path("note.md"): "wait\n"})
    here.stage(2)
    with pytest.raises(VerificationError, match="somebody's own"):
        propose(here)
    assert here.tip(PROMOTION) == tip


def test_a_merge_of_the_base_alone_leaves_the_proposal_what_it_is(here: Clone) -> None:
    here.stage(1)
    propose(here)
    tip = merged_base(here, {})
    assert propose(here).startswith(f"{PROMOTION} proposes it already")
    assert here.tip(PROMOTION) == tip
    here.stage(2)
    assert "in place of an older proposal" in propose(here)


def test_r5_a_late_run_ends_as_the_newest(here: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base moves, and another run proposes from it, after the late one has looked."""
    from mergeline.release import proposals

    here.stage(1)
    fetch = proposals.fetch_base
    looked: list[proposals.Base] = []

    def late(root: Path, remote: str) -> proposals.Base:
        found = fetch(root, remote)
        if not looked:
            looked.append(found)
            here.stage(2)
            propose(here)
        return found

    monkeypatch.setattr(proposals, "fetch_base", late)
    propose(here)
    assert here.at(PROMOTION, PRODUCTION) == release_of(2)


def test_a_proposal_from_a_folder_of_a_larger_repository_changes_that_folder(here: Clone) -> None:
    text = format_release(release_of(1))
    here.write({Path("ml") / STAGING: text, Path("ml") / PRODUCTION: format_release(NO_RELEASE)}, "A larger one")
    assert propose_production(here.root / "ml", "origin").startswith(f"proposed on {PROMOTION}")
    here.git("fetch", "-q", "origin")
    assert here.git("diff", "--name-only", "origin/main", f"origin/{PROMOTION}") == f"ml/{PRODUCTION}"
    assert propose_production(here.root / "ml", "origin").startswith(f"{PROMOTION} proposes it already")


def test_r8_a_commit_that_comes_between_look_and_push_stands(
    here: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person pushes after the branch was looked at, and before the bot's own push."""
    from mergeline.release import proposals

    person = clone(tmp_path / "origin.git", tmp_path / "person")
    here.stage(1)
    propose(here)
    here.stage(2)
    make_commit = proposals._commit

    def interleaved(*arguments: object) -> str:
        made = make_commit(*arguments)  # type: ignore[arg-type]
        person.write({Path("note.md"): "wait for Monday\n"}, "A note", branch=PROMOTION)
        return made

    monkeypatch.setattr(proposals, "_commit", interleaved)
    with pytest.raises(VerificationError, match="somebody's own"):
        propose(here)
    assert here.git("ls-remote", "origin", f"refs/heads/{PROMOTION}").split()[0] == person.git("rev-parse", "HEAD")


def test_r8_twin_a_push_without_comparing_overwrites_the_person(here: Clone, tmp_path: Path) -> None:
    person = clone(tmp_path / "origin.git", tmp_path / "person")
    here.stage(1)
    propose(here)
    own = here.tip(PROMOTION)
    person.write({Path("note.md"): "wait for Monday\n"}, "A note", branch=PROMOTION)
    here.git("push", "-q", "--force", "origin", f"{own}:refs/heads/{PROMOTION}")
    assert here.tip(PROMOTION) != person.git("rev-parse", "HEAD")


def test_two_runs_at_the_same_moment_make_one_branch(tmp_path: Path) -> None:
    here = make(tmp_path)
    here.stage(1)
    runners = [clone(tmp_path / "origin.git", tmp_path / f"runner-{number}") for number in range(4)]
    command = [sys.executable, "-m", "mergeline"]
    started = [
        subprocess.Popen([*command, "--root", str(each.root), "propose", "production"], env=ENVIRONMENT)
        for each in runners
    ]
    assert [each.wait(60) for each in started] == [0, 0, 0, 0]
    assert here.at(PROMOTION, PRODUCTION) == release_of(1)
    here.git("fetch", "-q", "origin")
    assert here.git("rev-list", "--count", f"origin/main..origin/{PROMOTION}") == "1"


# ---- Back (R6) -------------------------------------------------------------------------------------------------------


def served(here: Clone, *numbers: int) -> None:
    """Promote these releases one after the other."""
    for number in numbers:
        here.stage(number)
        propose(here)
        assert here.merge(PROMOTION)


def test_r6_a_rollback_brings_the_file_of_before_back_byte_for_byte(here: Clone) -> None:
    served(here, 1)
    before = (here.root / PRODUCTION).read_bytes()
    served(here, 2)
    said = rollback(here.root, "origin", None)
    assert said.endswith(f"production from model {sha(2)[:12]} back to {sha(1)[:12]}")
    message = here.git("log", "-1", "--format=%B", here.git("ls-remote", "origin", ROLLBACK).split()[0])
    assert message.startswith(f'Revert "Promote model {sha(2)[:12]} to production"\n\nThis reverts commit ')
    assert f"This reverts commit {here.tip('main')}." in message
    assert here.merge(ROLLBACK)
    assert (here.root / PRODUCTION).read_bytes() == before


def test_r6_a_rollback_makes_the_tree_that_git_revert_makes(here: Clone) -> None:
    served(here, 1, 2)
    rollback(here.root, "origin", None)
    here.git("fetch", "-q", "origin")
    here.git("revert", "--no-edit", "HEAD")
    assert here.git("rev-parse", "HEAD^{tree}") == here.git("rev-parse", f"origin/{ROLLBACK}^{{tree}}")


def test_r6_a_file_that_a_person_had_edited_comes_back_as_the_person_left_it(here: Clone) -> None:
    """The twin: the same release, written anew, is another file."""
    served(here, 1)
    own = (here.root / PRODUCTION).read_text().replace("spec:\n  template:", "spec:\n  # ours\n  template:", 1)
    here.write({PRODUCTION: own}, "A note")
    served(here, 2)
    rollback(here.root, "origin", None)
    assert here.merge(ROLLBACK)
    assert (here.root / PRODUCTION).read_text() == own != format_release(release_of(1))


def test_a_second_rollback_goes_one_further_back_and_not_to_what_was_left(here: Clone) -> None:
    served(here, 1, 2, 3)
    for number in (2, 1):
        rollback(here.root, "origin", None)
        assert here.merge(ROLLBACK)
        assert here.serves == release_of(number)
    with pytest.raises(ConfigurationError, match="no other release before"):
        rollback(here.root, "origin", None)


def test_a_rollback_goes_to_the_release_that_is_named(here: Clone) -> None:
    served(here, 1, 2, 3)
    rollback(here.root, "origin", sha(1)[:8])
    assert here.merge(ROLLBACK)
    assert here.serves == release_of(1)
    assert rollback(here.root, "origin", sha(1)).startswith("nothing to roll back")
    with pytest.raises(ConfigurationError, match="no release of production; it served"):
        rollback(here.root, "origin", "ffff")


@pytest.mark.parametrize("broken", ["replicas: 9\n", None], ids=["unreadable", "deleted"])
def test_a_production_without_a_readable_file_goes_back_to_what_it_had(broken: str | None, here: Clone) -> None:
    served(here, 1, 2)
    if broken is None:
        here.git("fetch", "-q", "origin")
        here.git("checkout", "-q", "-B", "main", "origin/main")
        here.git("rm", "-q", str(PRODUCTION))
        here.git("commit", "-q", "-m", "Gone")
        here.git("push", "-q", "origin", "main")
    else:
        here.write({PRODUCTION: broken}, "Broken")
    assert rollback(here.root, "origin", None).endswith(f"back to {sha(2)[:12]}")
    assert here.at(ROLLBACK, PRODUCTION) == release_of(2)


def test_what_production_has_taken_back_is_not_proposed_again(here: Clone) -> None:
    served(here, 1, 2)
    rollback(here.root, "origin", None)
    assert here.merge(ROLLBACK)
    assert "production has taken model" in propose(here)
    assert not here.has(PROMOTION)
    here.stage(3)
    assert propose(here).startswith("proposed on")


@pytest.mark.parametrize("wanted", ["", "a1"])
def test_a_release_is_named_by_four_signs_at_least(wanted: str, here: Clone) -> None:
    served(here, 1, 2)
    with pytest.raises(ConfigurationError, match="expected at least 4 signs"):
        rollback(here.root, "origin", wanted)


def test_a_release_that_cannot_be_read_was_never_live(here: Clone) -> None:
    served(here, 1)
    here.write({PRODUCTION: "replicas: 9\n"}, "Broken")
    here.write({PRODUCTION: format_release(release_of(2))}, "Mended")
    rollback(here.root, "origin", None)
    assert here.at(ROLLBACK, PRODUCTION) == release_of(1)


# ---- What cannot be --------------------------------------------------------------------------------------------------


def test_a_remote_that_is_not_there_is_said(here: Clone, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="upstream: no such remote"):
        propose_production(here.root, "upstream")
    here.git("remote", "set-url", "origin", str(tmp_path / "gone.git"))
    with pytest.raises(ServiceError, match="origin: does not answer"):
        propose(here)


def test_a_push_that_the_origin_refuses_is_said(here: Clone, tmp_path: Path) -> None:
    here.stage(1)
    hook = tmp_path / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho protected >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(ServiceError, match="does not take promote/production"):
        propose(here)


def test_a_shallow_clone_is_refused(here: Clone, tmp_path: Path) -> None:
    served(here, 1, 2)
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{tmp_path}/origin.git", tmp_path / "shallow"],
        env=ENVIRONMENT,
        check=True,
    )
    with pytest.raises(ConfigurationError, match="git fetch --unshallow"):
        rollback(tmp_path / "shallow", "origin", None)


# ---- Any order (issue 5, point 5) ------------------------------------------------------------------------------------

STEPS = st.lists(
    st.sampled_from(["stage", "propose", "merge promotion", "rollback", "merge rollback", "docs"]),
    min_size=6,
    max_size=14,
)


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_r5_any_interleaving_is_one_history_without_lost_updates_or_half_states(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After each step production serves one whole release that staging had; a merge makes what its branch proposed."""
    here = make(tmp_path_factory.mktemp("any"))
    staged = [0]
    for step in ["stage", "propose", "merge promotion", *steps]:
        before = here.serves
        if step == "stage":
            staged.append(staged[-1] + 1)
            here.stage(staged[-1])
        elif step == "docs":
            here.write({Path("README.md"): f"{len(staged)} {step} {os.urandom(4).hex()}\n"}, "Docs")
        elif step == "propose":
            propose(here)
        elif step == "rollback":
            with contextlib.suppress(ConfigurationError):  # there may be none to go back to
                rollback(here.root, "origin", None)
        else:
            branch = PROMOTION if step == "merge promotion" else ROLLBACK
            proposed = here.at(branch, PRODUCTION) if here.has(branch) else None
            merged = here.merge(branch)
            assert here.serves == (proposed if merged else before)
            continue
        assert here.serves == before
        assert here.serves in {release_of(number) for number in staged}
    here.stage(staged[-1] + 1)
    staged.append(staged[-1] + 1)
    propose(here)
    if here.has(PROMOTION):
        assert here.at(PROMOTION, PRODUCTION) == release_of(staged[-1])
        assert here.merge(PROMOTION)
    assert here.serves == release_of(staged[-1])
    assert here.git("rev-list", "--merges", "--count", "origin/main") == "0"
