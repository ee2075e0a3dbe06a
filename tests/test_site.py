"""`mergeline site`: every part from a real history and log, a sentence where there is nothing, bad input refused."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from planted_log import PlantedLog
from promoted import Promoted, better
from rehearsal import ask
from repositories import MONTHS, TEMPLATE, Repository, flights
from test_planted_failures import CASES
from test_workflows import zizmor
from workflow_rules import least_privilege, loops

from mergeline.cli import main
from mergeline.commands import publishing as command
from mergeline.gates import GATES
from mergeline.monitor.decide import Evidence, Performance, as_record, decide
from mergeline.monitor.decide.record import key_of
from mergeline.monitor.drift.record import FeatureDrift, Severity, Shape
from mergeline.monitor.performance.record import State
from mergeline.monitor.windows import Window
from mergeline.params.decide import DecideParams
from mergeline.site import bounds as site_bounds
from mergeline.site.facts import Proofs, merge_of
from mergeline.site.gates import NO_PLANT, NO_PROMISE, NO_VERDICT, gates
from mergeline.site.page import NO_DEPLOYMENT, NO_DRIFT, NO_PAGE, NO_PERFORMANCE, NO_RELEASE, NOTHING_YET
from mergeline.site.promises import held as promises_held
from mergeline.site.promises import names_in

START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)
EVIL = "<script>alert(1)</script>"


def fill(log: PlantedLog, weeks: int = 5) -> None:
    """Weeks in which a column drifts from the third on and labels then say that the model does worse; a decision."""
    for number in range(weeks):
        window = Window(START + number * WEEK, START + (number + 1) * WEEK)
        late = number >= 2
        log.drift(window, *(["distance"] if late else []), weighted=0.4 if late else 0.0, sustained=late)
        log.performance(window, State.DEGRADED if late else State.HOLDS, measured=0.7 if late else 0.75)
    made = decide(Evidence(START + weeks * WEEK, performance=Performance("degraded", None, True)), DecideParams())
    log.store.put(key_of(START + weeks * WEEK), json.dumps(as_record(made)).encode())


@pytest.fixture
def watched(promoted: Promoted) -> Promoted:
    """A repository with a model in production, and a log with records of five weeks."""
    fill(PlantedLog.at(promoted.root / ".mergeline" / "log"))
    return promoted


def made(root: Path, *options: str) -> str:
    assert main(["--root", str(root), "site", *options]) == 0
    out = Path(options[options.index("--out") + 1]) if "--out" in options else root / ".mergeline/site"
    return (out / "index.html").read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    start = page.index(f'<section id="{name}">')
    return page[start : page.index("</section>", start)]


# ---- The whole page --------------------------------------------------------------------------------------------------


def test_a_real_history_and_a_real_log_fill_every_part(watched: Promoted) -> None:
    page = made(watched.root)
    said = re.sub(r"<[^>]+>", "", page)
    for nothing in (NOTHING_YET, NO_PAGE, NO_DRIFT, NO_PERFORMANCE, NO_RELEASE, NO_DEPLOYMENT):
        assert nothing.replace("`", "") not in said
    model = str(watched.comparison()["candidate"]["sha256"])
    assert f"model {model[:12]}" in section(page, "timeline")
    assert "promoted" in section(page, "timeline")
    assert section(page, "drift").count("<svg") == 3  # score, distance, origin
    assert section(page, "performance").count("<svg") == 1
    assert "0.69 to 0.71" in section(page, "performance")
    assert "1 verdict of this clone" in section(page, "gates")
    assert "Verdict" in section(page, "lineage")
    assert "1 deployment with a commit to measure from" in section(page, "keys")


def test_a_repository_without_facts_says_so_in_each_part_and_draws_nothing(repository: Repository) -> None:
    page = made(repository.root)
    said = re.sub(r"<[^>]+>", "", page)
    for text in (NO_DRIFT, NO_PERFORMANCE, NO_RELEASE, NO_DEPLOYMENT, NO_PLANT, NO_PROMISE):
        assert text.replace("`", "") in said
    assert "<svg" not in section(page, "drift") + section(page, "performance") + section(page, "keys")
    assert "<table" not in section(page, "drift") + section(page, "performance")


def test_the_page_loads_nothing_and_its_links_lead_to_pages_beside_it(watched: Promoted) -> None:
    page = made(watched.root)
    assert "default-src 'none'" in page
    assert "<script" not in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(links) > 9
    for link in links:
        found = f'id="{link[1:]}"' in page if link[0] == "#" else (watched.root / ".mergeline/site" / link).is_file()
        assert found, link


def test_a_second_run_of_the_same_day_changes_no_byte_and_leaves_what_it_did_not_write(watched: Promoted) -> None:
    now = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    out = watched.root / "pages"
    log = str(watched.root / ".mergeline/log")
    command.site(watched.root, out, log, None, now)
    (out / "CNAME").write_text("example.org")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    command.site(watched.root, out, log, None, now)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_report_of_a_release_is_made_from_git_alone(watched: Promoted) -> None:
    page = made(watched.root)
    (name,) = set(re.findall(r'href="(report-[0-9a-f]{12}\.html)"', page))
    whole = (watched.root / ".mergeline/site" / name).read_text(encoding="utf-8")
    assert "<svg" in whole[whole.index("How the models rank") :]  # the checkout still has the points of its curves
    (watched.root / "reports/compare/curves.json").unlink()
    made(watched.root)
    bare = (watched.root / ".mergeline/site" / name).read_text(encoding="utf-8")
    assert "How the models rank" not in bare
    assert "Gates" in bare


def test_text_of_commits_and_of_the_log_is_text_and_nothing_else(watched: Promoted) -> None:
    (watched.root / "more").write_text("more")
    watched.commit(f"{EVIL} (#7)")
    watched.git("push", "-q", "origin", "HEAD:main")
    watched.git("fetch", "-q", "origin")
    page = made(watched.root, "--ref", "HEAD")
    assert "#7 merged" in page
    assert "&lt;script&gt;alert(1)" in page
    assert EVIL not in page


def verdicts(here: Promoted) -> int:
    """How many the page counts."""
    (said,) = re.findall(r"(\d+) verdicts? of this clone", section(made(here.root), "gates"))
    return int(said)


def test_two_branches_that_are_judged_in_the_same_words_are_two_verdicts_and_a_merge_is_none_more(
    reviewed: Promoted,
) -> None:
    assert verdicts(reviewed) == 2  # with that of the first pull request
    reviewed.branch("again")
    better(reviewed)
    for verb in ("repro", "record"):
        assert reviewed.run(verb).returncode == 0
    texts = {name: reviewed.git("show", f"{name}:reports/comparison.json") for name in ("better", "again")}
    assert texts["better"] == texts["again"]
    assert verdicts(reviewed) == 3
    reviewed.merge("again")
    assert verdicts(reviewed) == 3
    reviewed.git("branch", "-D", "better")
    assert verdicts(reviewed) == 2


def test_a_branch_that_goes_on_from_another_is_judged_by_its_record_and_one_that_goes_on_from_main_is_not(
    reviewed: Promoted,
) -> None:
    reviewed.branch("looser", "better")
    for number in range(2):  # however many commits it has
        reviewed.change_params({"gates.improvement.margin": 0.5 + number})
        reviewed.commit("Looser gates")
        assert verdicts(reviewed) == 3
    reviewed.git("push", "-q", "origin", "looser~1:refs/heads/looser")  # older than here
    reviewed.git("fetch", "-q", "origin")
    reviewed.git("branch", "the-same", "looser")
    reviewed.branch("docs")
    (reviewed.root / "README.md").write_text("read me")
    reviewed.commit("Docs")
    assert verdicts(reviewed) == 3
    reviewed.merge("better")
    reviewed.git("fetch", "-q", "origin")
    assert verdicts(reviewed) == 2


SECRET = "Frau Erika Musterperson, Weg 7"


def quoted(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.html") if SECRET in path.read_text(encoding="utf-8"))


def test_a_value_of_the_table_that_broke_a_rule_is_on_no_page_unless_its_pages_are_asked_for(
    reviewed: Promoted, tmp_path: Path
) -> None:
    rows = flights(MONTHS[-1])
    rows.loc[:2, "origin"] = SECRET
    reviewed.branch("private", "better")
    reviewed.rewrite(MONTHS[-1], rows)
    reviewed.change_params({"validate.columns.origin": {"values": ["EWR", "JFK", "LGA"], "severity": "warn"}})
    assert reviewed.tool("dvc", "add", "data").returncode == 0
    reviewed.change_params({"evaluate.slices": ["weekday"]})  # whose values a report names
    reviewed.commit("A guest")
    for verb in ("repro", "record"):
        done = reviewed.run(verb)
        assert done.returncode == 0, done.stderr
    assert SECRET in (reviewed.root / "reports/report.html").read_text(encoding="utf-8")
    made(reviewed.root, "--ref", "HEAD", "--out", str(tmp_path / "public"))
    made(reviewed.root, "--ref", "HEAD", "--out", str(tmp_path / "private"), "--with-data-docs")
    assert quoted(tmp_path / "public") == []
    assert any("3 of " in path.read_text(encoding="utf-8") for path in (tmp_path / "public").glob("report-*.html"))
    assert quoted(tmp_path / "private")
    assert all(name.startswith("data-") for name in quoted(tmp_path / "private"))


# ---- Bad input -------------------------------------------------------------------------------------------------------


def test_bad_input_is_one_line_and_its_exit_code(
    watched: Promoted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    damaged = PlantedLog.at(tmp_path / "damaged")
    damaged.store.put("drift/2026-01-05--2026-01-12.json", b"{}")
    for options, code, said in (
        (["--out", str(file)], 2, "--out: expected a folder, found the file"),
        (["--out", str(file / "sub")], 2, "--out: expected a folder that can be written, found"),
        (["--out", "/dev/null/x"], 2, "found /dev/null/x ("),
        (["--ref", "nowhere"], 2, "--ref: 'nowhere' is no branch or commit here"),
        (["--log", "ftp://x"], 2, "log"),
        (["--log", str(tmp_path / "damaged")], 3, "drift/2026-01-05--2026-01-12.json"),
    ):
        assert main(["--root", str(watched.root), "site", *options]) == code
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert said in lines[0]
    (tmp_path / "empty").mkdir()
    assert main(["--root", str(tmp_path / "empty"), "site"]) == 2


# ---- The workflow of the docs ----------------------------------------------------------------------------------------


def workflow() -> str:
    """The workflow that docs/site.md has for GitHub Pages."""
    text = (TEMPLATE / "docs/site.md").read_text(encoding="utf-8")
    return text.partition("```yaml\n")[2].partition("```")[0]


def put(text: str, place: Path) -> Path:
    """The workflow where GitHub looks for it, beside the auditor's settings."""
    folder = place / ".github" / "workflows"
    folder.mkdir(parents=True)
    shutil.copy(TEMPLATE / ".github/zizmor.yml", folder.parent)
    (folder / "site.yml").write_text(text)
    return folder / "site.yml"


def test_s4_the_workflow_of_the_docs_is_one_that_githubs_parser_and_the_auditor_take(tmp_path: Path) -> None:
    text = workflow()
    file = put(text, tmp_path)
    assert ask({"workflows": [str(file)]}) == {str(file): []}
    assert zizmor(tmp_path / ".github") == (0, [])
    assert [*least_privilege(yaml.safe_load(text), text), *loops(yaml.safe_load(text), text)] == []


def test_s4_twin_one_that_is_not_pinned_or_wants_a_right_without_a_reason_is_found(tmp_path: Path) -> None:
    text = re.sub(r"deploy-pages@\S+ # \S+", "deploy-pages@v5", workflow()).replace(" # the site", "")
    put(text, tmp_path)
    code, found = zizmor(tmp_path / ".github")
    assert code != 0
    assert "unpinned-uses" in {each["ident"] for each in found}
    assert list(least_privilege(yaml.safe_load(text), text))


# ---- Counts ----------------------------------------------------------------------------------------------------------


def test_planted_failures_are_counted_as_the_tests_have_them() -> None:
    counted = command._planted(TEMPLATE / command.PLANTED)
    assert counted == {name: sum(name in each.gates for each in CASES.values()) for name in GATES}


def test_twin_a_file_without_cases_or_with_broken_text_counts_nothing(tmp_path: Path) -> None:
    assert command._planted(tmp_path / "none.py") == {}
    (tmp_path / "broken.py").write_text('case(x, "leakage"')
    assert command._planted(tmp_path / "broken.py") == {}


def test_promises_are_counted_by_number_in_the_order_of_their_numbers() -> None:
    names = ("r10_a", "r2_b", "r2_c", "s1_d", "rest")
    text = "class TestAll:\n" + "".join(f"    def test_{name}(self): ...\n" for name in names)
    assert promises_held(names_in(text)) == {"R2": 2, "R10": 1, "S1": 1}
    assert names_in("def test_r1_half(") == ()


def test_the_site_counts_the_tests_of_each_promise_as_the_book_does() -> None:
    proofs = command._proofs(TEMPLATE)
    page = (TEMPLATE / "docs/security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([RS]\d+) \|.*\| (\d+) \|$", page, re.MULTILINE)
    assert {name: int(number) for name, number in rows} == proofs.promises
    said = gates((), proofs)
    readme = (TEMPLATE / "README.md").read_text(encoding="utf-8")
    (counted,) = re.findall(r"\*\*(\d+ promises) are (held by \d+ tests)\*\*", readme)
    assert " ".join(counted) in said
    assert sum(proofs.promises.values()) > proofs.tests  # a test that holds two is one


def test_without_any_fact_the_gates_are_three_sentences_and_no_table() -> None:
    said = gates((), Proofs())
    assert said.count("<li>") == 3
    assert NO_VERDICT in said
    assert "<table" not in said


@pytest.mark.parametrize(
    ("message", "number", "title"),
    [
        ("Train on March (#12)", 12, "Train on March"),
        ("Merge pull request #7 from someone/branch\n\nTrain on April", 7, "Train on April"),
        ("Merge pull request #7 from someone/branch", 7, "Merge pull request #7 from someone/branch"),
    ],
)
def test_a_merged_pull_request_is_known_by_githubs_words(message: str, number: int, title: str) -> None:
    found = merge_of("c0ffee", START, message)
    assert found is not None
    assert (found.number, found.title) == (number, title)


@pytest.mark.parametrize("message", ["Train on March", "See #12 (#x)", "Fix (#12) at last"])
def test_twin_another_commit_is_no_pull_request(message: str) -> None:
    assert merge_of("c0ffee", START, message) is None


# ---- Intervals of drift ----------------------------------------------------------------------------------------------


def column(effect: float, rows: int, labels: int = 0) -> FeatureDrift:
    names = tuple(map(str, range(labels)))
    return FeatureDrift(
        name="x", kind="number", importance=0.5, matters=True, rows=rows, missing_then=0.0, missing_now=0.0, psi=0.1,
        js=0.1, kl=0.1, ks=effect, ks_error=0.0, wasserstein=1.0, wasserstein_error=0.0, chi_squared=None, degrees=None,
        effect=effect, p=0.1, p_corrected=0.1, drifted=False, severity=Severity.NONE, windows_drifted=0,
        sustained=False, shape=Shape(names, () if labels else (0.0, 1.0), (1.0,), (1.0,)),
    )  # fmt: skip


def test_the_interval_of_a_number_is_the_one_that_the_inequality_gives_by_hand() -> None:
    low, high = site_bounds.bounds(column(0.3, 1000), 4000)
    off = math.sqrt(math.log(160) / 2000) + math.sqrt(math.log(160) / 8000)  # a risk of 0.0125 for each sample
    assert [low, high] == pytest.approx([0.3 - off, 0.3 + off])


def test_the_interval_of_categories_grows_with_their_number() -> None:
    few, many = (site_bounds.bounds(column(0.5, 1000, labels), 4000) for labels in (3, 80))
    assert many[0] < few[0] < 0.5 < few[1] < many[1]


def held(claimed: int, rng: np.random.Generator, cases: int = 100) -> int:
    """In how many of so many samples of 400 rows, taken for `claimed`, the interval holds the true effect."""
    true = math.erf(0.15 / math.sqrt(2))  # of N(0, 1) against N(0.3, 1)
    found = 0
    for _ in range(cases):
        then, now = np.sort(rng.normal(0, 1, 4000)), np.sort(rng.normal(0.3, 1, 400))
        at = np.concatenate([then, now])
        apart = np.searchsorted(then, at, "right") / 4000 - np.searchsorted(now, at, "right") / 400
        low, high = site_bounds.bounds(column(float(np.abs(apart).max()), claimed), 4000 * claimed // 400)
        found += low <= true <= high
    return found


def test_the_interval_holds_the_true_effect_in_95_of_100_samples_and_twin_not_with_rows_that_are_not_there() -> None:
    assert held(400, np.random.default_rng(1)) >= 95
    assert held(40_000, np.random.default_rng(1)) < 60
