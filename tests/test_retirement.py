"""The end of a model: each phase on its day, a commit each, and at the end nothing serves it any more."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from promoted import Promoted
from repositories import TEMPLATE
from ruamel.yaml import YAML
from servers import release, run, serving
from test_promotion import PRODUCTION, STAGING, Clone, make, release_of, served, sha
from tools import tool

from mergeline.commands.promotion import propose_production, rollback
from mergeline.commands.retirement import DUE, announce, bring_forward
from mergeline.errors import ConfigurationError, VerificationError
from mergeline.release.manifests import NO_RELEASE, format_release
from mergeline.release.retirement import (
    ORDER,
    Phase,
    Retirement,
    format_patch,
    format_retirements,
    parse_retirements,
    plan,
    retired,
)

if TYPE_CHECKING:
    from mergeline.stages.train import Trained

DAY = dt.date(2027, 3, 1)
RETIREMENTS = Path("k8s/retirements.yaml")
PATCH = Path("k8s/overlays/production/retirement.yaml")
ENTRIES = st.builds(
    Retirement, st.integers(0, 99).map(sha), st.dates(dt.date(2000, 1, 1), dt.date(2099, 1, 1)), st.sampled_from(Phase)
)


def before(days: int) -> dt.date:
    return DAY - dt.timedelta(days)


# ---- The days --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "phase"),
    [
        (400, Phase.ANNOUNCED), (91, Phase.ANNOUNCED), (90, Phase.DEPRECATED), (31, Phase.DEPRECATED),
        (30, Phase.REDUCED), (8, Phase.REDUCED), (7, Phase.MIGRATED), (1, Phase.MIGRATED),
        (0, Phase.RETIRED), (-400, Phase.RETIRED),
    ],
)  # fmt: skip
def test_a_phase_begins_on_its_day(days: int, phase: Phase) -> None:
    assert Retirement(sha(1), DAY, Phase.ANNOUNCED).due(before(days)) is phase


@given(ENTRIES, st.dates(), st.dates())
def test_no_phase_comes_back(entry: Retirement, one: dt.date, other: dt.date) -> None:
    first, second = sorted((one, other))
    assert ORDER.index(entry.phase) <= ORDER.index(entry.due(first)) <= ORDER.index(entry.due(second))


@given(st.lists(ENTRIES, unique_by=lambda each: each.model_sha256, max_size=5))
def test_the_file_comes_back_as_it_was_written(entries: list[Retirement]) -> None:
    assert set(parse_retirements(format_retirements(entries))) == set(entries)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 7\n", "cannot be read"),
        ("- model_sha256: abc\n  on: 2027-03-01\n  phase: retired\n", "expected 64 hexadecimal digits"),
        (f"- model_sha256: '{'a' * 64}'\n  on: soon\n  phase: retired\n", "cannot be read"),
        (f"- model_sha256: '{'a' * 64}'\n  on: 2027-03-01\n  phase: gone\n", "cannot be read"),
        (f"- model_sha256: '{'a' * 64}'\n  on: 2027-03-01\n", "expected model_sha256, on and phase"),
        (f"- model_sha256: '{'a' * 64}'\n  on: 2027-03-01\n  phase: retired\n" * 2, "names a model twice"),
    ],
)
def test_a_file_of_another_kind_is_refused(text: str, said: str) -> None:
    with pytest.raises(VerificationError, match=said):
        parse_retirements(text)


# ---- What production serves ------------------------------------------------------------------------------------------


def planned(phase: Phase, *, serves: int = 1, staged: int = 2) -> Any:
    staging = release_of(staged)
    entries = [Retirement(sha(1), DAY, phase)]
    return plan(entries, before(400), release_of(serves), staging, format_release(staging).encode())


def test_clients_are_told_first_then_half_goes_to_the_successor_then_all() -> None:
    assert planned(Phase.ANNOUNCED).patch == format_patch(None, None)
    assert planned(Phase.DEPRECATED).patch == format_patch(DAY, None)
    assert planned(Phase.REDUCED).patch == format_patch(DAY, sha(2))
    for phase in (Phase.MIGRATED, Phase.RETIRED):
        assert planned(phase).production == format_release(release_of(2)).encode()
        assert planned(phase).patch == format_patch(None, None)


def test_of_a_model_that_production_does_not_serve_only_the_phase_changes() -> None:
    for phase in Phase:
        found = planned(phase, serves=3)
        assert (found.production, found.patch) == (None, format_patch(None, None))


@pytest.mark.parametrize("phase", [Phase.REDUCED, Phase.MIGRATED, Phase.RETIRED])
@pytest.mark.parametrize("staged", [0, 1])
def test_a_model_without_a_successor_is_not_taken_away(phase: Phase, staged: int) -> None:
    with pytest.raises(VerificationError, match="has no other one to take its place"):
        planned(phase, staged=staged)


# ---- In Git ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path) -> Clone:
    """Production serves 1, staging 2."""
    made = make(tmp_path)
    served(made, 1)
    made.stage(2)
    return made


def text(here: Clone, path: Path, branch: str = "main") -> str:
    here.git("fetch", "-q", "origin")
    return here.git("show", f"origin/{branch}:{path}") + "\n"


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")


def test_a_retirement_goes_from_commit_to_commit_and_each_run_twice_changes_nothing(here: Clone) -> None:
    said = announce(here.root, "origin", sha(1)[:8], DAY, before(200))
    assert "deprecated on 2026-12-01, reduced on 2027-01-30, migrated on 2027-02-22, retired on 2027-03-01" in said
    assert here.merge(f"retire/{sha(1)[:12]}")
    assert bring_forward(here.root, "origin", before(200)).startswith(
        f"proposed on {DUE}"
    )  # the patch, which says nothing
    assert here.merge(DUE)
    assert bring_forward(here.root, "origin", before(91)).startswith("main has it already")
    phases = []
    for days in (90, 30, 7, 0):
        said = bring_forward(here.root, "origin", before(days))
        assert said.startswith(f"proposed on {DUE}; merge it into main")
        assert bring_forward(here.root, "origin", before(days)).startswith(f"{DUE} proposes it already")
        assert here.merge(DUE)
        phases.append((parse_retirements(text(here, RETIREMENTS))[0].phase, text(here, PATCH), here.serves))
    assert phases == [
        (Phase.DEPRECATED, format_patch(DAY, None), release_of(1)),
        (Phase.REDUCED, format_patch(DAY, sha(2)), release_of(1)),
        (Phase.MIGRATED, format_patch(None, None), release_of(2)),
        (Phase.RETIRED, format_patch(None, None), release_of(2)),
    ]


def test_a_schedule_that_was_down_until_the_day_loses_nothing(here: Clone) -> None:
    announce(here.root, "origin", sha(1), DAY, before(200))
    assert here.merge(f"retire/{sha(1)[:12]}")
    bring_forward(here.root, "origin", before(-3))
    assert here.merge(DUE)
    assert retired(parse_retirements(text(here, RETIREMENTS))) == {sha(1)}
    assert here.serves == release_of(2)


def test_what_is_retired_is_neither_gone_back_to_nor_promoted(here: Clone) -> None:
    announce(here.root, "origin", sha(1), DAY, before(200))
    assert here.merge(f"retire/{sha(1)[:12]}")
    bring_forward(here.root, "origin", DAY)
    assert here.merge(DUE)
    with pytest.raises(ConfigurationError, match="no other release before"):
        rollback(here.root, "origin", None)
    with pytest.raises(VerificationError, match="is retired; name another release"):
        rollback(here.root, "origin", sha(1))
    here.write({STAGING: format_release(release_of(1))}, "Back on staging")
    with pytest.raises(VerificationError, match="is retired; promote another one"):
        propose_production(here.root, "origin")


def test_twin_the_day_before_it_can_still_be_gone_back_to(here: Clone) -> None:
    announce(here.root, "origin", sha(1), DAY, before(200))
    assert here.merge(f"retire/{sha(1)[:12]}")
    bring_forward(here.root, "origin", before(1))
    assert here.merge(DUE)
    rollback(here.root, "origin", None)
    assert here.at("rollback/production", PRODUCTION) == release_of(1)


def reduced(here: Clone) -> None:
    """Bring 1, which production serves, to the phase in which half goes to 2."""
    announce(here.root, "origin", sha(1), DAY, before(200))
    assert here.merge(f"retire/{sha(1)[:12]}")
    bring_forward(here.root, "origin", before(30))
    assert here.merge(DUE)
    assert text(here, PATCH) == format_patch(DAY, sha(2))


def test_a_retirement_that_is_taken_back_is_no_longer_told(here: Clone) -> None:
    reduced(here)
    here.write({RETIREMENTS: format_retirements([])}, "It stays")
    assert bring_forward(here.root, "origin", before(29)).startswith(f"proposed on {DUE}")
    assert here.merge(DUE)
    assert text(here, PATCH) == format_patch(None, None)
    assert bring_forward(here.root, "origin", before(29)).startswith("main has it already")


def test_a_promotion_meanwhile_takes_the_patch_along_and_a_rollback_brings_it_back(here: Clone) -> None:
    """A pod whose challenger is its champion does not start."""
    reduced(here)
    propose_production(here.root, "origin")
    assert here.merge("promote/production")
    assert (here.serves, text(here, PATCH)) == (release_of(2), format_patch(None, None))
    rollback(here.root, "origin", None)
    assert here.merge("rollback/production")
    assert (here.serves, text(here, PATCH)) == (release_of(1), format_patch(DAY, sha(2)))


def test_a_note_in_the_file_stays_where_no_phase_begins(here: Clone) -> None:
    reduced(here)
    noted = "# ask sales first\n" + text(here, RETIREMENTS)
    here.write({RETIREMENTS: noted}, "A note")
    assert bring_forward(here.root, "origin", before(29)).startswith("main has it already")
    assert text(here, RETIREMENTS) == noted


def test_a_successor_in_another_store_is_said(here: Clone) -> None:
    other = replace(release_of(2), store="s3://elsewhere")
    here.write({STAGING: format_release(other)}, "Another store")
    announce(here.root, "origin", sha(1), DAY, before(200))
    assert here.merge(f"retire/{sha(1)[:12]}")
    with pytest.raises(VerificationError, match="one server takes both from one store"):
        bring_forward(here.root, "origin", before(30))


@pytest.mark.parametrize("wanted", ["", sha(1)[:3]])
def test_a_model_is_named_by_four_signs_at_least(wanted: str, here: Clone) -> None:
    with pytest.raises(ConfigurationError, match="no model; served were"):
        announce(here.root, "origin", wanted, DAY, before(200))


def test_what_cannot_be_announced_is_said(here: Clone) -> None:
    with pytest.raises(ConfigurationError, match="expected a day after"):
        announce(here.root, "origin", sha(1), DAY, DAY)
    with pytest.raises(ConfigurationError, match="no model; served were"):
        announce(here.root, "origin", sha(9), DAY, before(200))
    announce(here.root, "origin", sha(1), DAY, before(200))
    assert here.merge(f"retire/{sha(1)[:12]}")
    with pytest.raises(ConfigurationError, match="already; change the day there"):
        announce(here.root, "origin", sha(1), DAY, before(200))


def test_a_production_without_a_successor_is_an_alarm(here: Clone) -> None:
    here.write({STAGING: format_release(NO_RELEASE)}, "Withdrawn")
    announce(here.root, "origin", sha(1), DAY, before(200))
    assert here.merge(f"retire/{sha(1)[:12]}")
    with pytest.raises(VerificationError, match="retrain, and promote to staging"):
        bring_forward(here.root, "origin", before(7))


def test_the_gate_refuses_a_retired_model_and_lets_others_pass(reviewed: Promoted) -> None:
    own = str(reviewed.comparison()["candidate"]["sha256"])
    (reviewed.root / RETIREMENTS).write_text(format_retirements([Retirement(own, DAY, Phase.MIGRATED)]))
    reviewed.commit("Announced")
    assert "held  retirement" in reviewed.run("gate").stdout
    (reviewed.root / RETIREMENTS).write_text(format_retirements([Retirement(own, DAY, Phase.RETIRED)]))
    reviewed.commit("Retired")
    done = reviewed.run("gate")
    assert done.returncode == 4
    assert f"REFUSED  retirement: staging serves {own[:12]}, which is retired" in done.stderr


# ---- In the manifests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("challenged", [False, True])
def test_the_pods_get_what_the_patch_says_and_no_variable_twice(challenged: bool, tmp_path: Path) -> None:
    (kubectl,) = tool("kubectl")
    shutil.copytree(TEMPLATE / "k8s", tmp_path / "k8s")
    overlay = tmp_path / "k8s/overlays/production"
    if challenged:
        file = overlay / "kustomization.yaml"
        file.write_text(
            file.read_text().replace("  # - ../../components/challenger  #", "  - ../../components/challenger  #")
        )
    plain = _variables(kubectl, overlay)
    (tmp_path / PATCH).write_text(format_patch(DAY, sha(2)))
    found = _variables(kubectl, overlay)
    told = {"MERGELINE_SUNSET": "2027-03-01", "MERGELINE_CHALLENGER": sha(2), "MERGELINE_SHARE": "0.5"}
    assert {name: found[name] for name in told} == {name: {"value": value} for name, value in told.items()}
    assert {name: each for name, each in found.items() if name not in told} == {
        name: each for name, each in plain.items() if name not in told
    }
    assert "MERGELINE_SUNSET" not in plain


def _variables(kubectl: Path, overlay: Path) -> dict[str, Any]:
    done = subprocess.run([kubectl, "kustomize", overlay], capture_output=True, text=True, check=True)
    objects = YAML(typ="safe").load_all(done.stdout)
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    names = [each["name"] for each in server["env"]]
    assert len(set(names)) == len(names)
    return {each["name"]: {key: value for key, value in each.items() if key != "name"} for each in server["env"]}


# ---- In the answers --------------------------------------------------------------------------------------------------


def test_every_answer_tells_clients_the_day_and_without_one_none_does(
    candidate: Trained, tmp_path_factory: pytest.TempPathFactory
) -> None:
    released = release(tmp_path_factory.mktemp("sunset"), candidate)
    body = {"rows": [{"features": dict(released.signature.samples[0].row)}]}
    with serving(released.root, *released.options, "--log", "none", MERGELINE_SUNSET="2027-03-01") as server:
        for reply in (server.ask("/predict", body), server.ask("/predict", b"{"), server.ask("/healthz")):
            assert reply.headers["sunset"] == "Mon, 01 Mar 2027 00:00:00 GMT"
            assert reply.headers["deprecation"] == "@1796083200"  # 90 days before
    with serving(released.root, *released.options, "--log", "none") as server:
        assert not {"sunset", "deprecation"} & server.ask("/predict", body).headers.keys()


def test_a_day_that_is_none_ends_the_start_with_2(candidate: Trained, tmp_path: Path) -> None:
    released = release(tmp_path, candidate)
    done = run(released.root, "serve", *released.options, MERGELINE_SUNSET="soon")
    assert done.returncode == 2
    assert "MERGELINE_SUNSET" in done.stderr
