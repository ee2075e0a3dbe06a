"""The comment on a pull request: in the order in which it is needed, for any data, within GitHub's limit."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
import report_records as made
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mergeline.report import charts
from mergeline.report.content import WORN
from mergeline.report.context import CodeChange, Context, ParameterChange, PartitionChange, Records
from mergeline.report.escape import clean, code, plain, prose
from mergeline.report.markdown import LIMIT, SHOWN_SLICES, markdown

ALL = {
    "promote": made.records(),
    "hold": made.records(verdict="hold"),
    "reject": made.records(verdict="reject"),
    "multiclass": made.records("multiclass"),
    "regression": made.records("regression"),
    "refused": made.refused(),
    "refused regression": made.refused("regression"),
    "baseline": made.baseline(),
    "rejected baseline": made.baseline(verdict="reject"),
}
GITHUB = MarkdownIt("gfm-like", {"html": True, "linkify": False})


def tokens(text: str) -> list[Token]:
    """The blocks of a text, and the parts of their lines, as a renderer reads them."""
    return [part for block in GITHUB.parse(text) for part in (block, *(block.children or ()))]


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, its head first."""
    lines = text.split(f"### {heading}\n")[1].split("\n### ", maxsplit=1)[0].splitlines()
    lines = lines[next(number for number, line in enumerate(lines) if line.startswith("|")) :]
    lines = lines[: next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    found = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")]
    return [found[0], *found[2:]]


def unfolded(text: str) -> str:
    """The text without what stands in a `<details>`."""
    return re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)


# ---- What it says, in which order ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("promote", "## ✅ Promote: the candidate beats the model in production"),
        ("hold", "## ⏸️ Hold: the model in production stays as it is"),
        ("reject", "## ⛔ Reject: the candidate must not replace the model in production"),
        ("baseline", "## ✅ Promote: the candidate beats the baseline and may be the first model to run"),
        ("rejected baseline", "## ⛔ Reject: the candidate must not be released"),
    ],
)
def test_the_heading_is_the_verdict_in_words_that_need_no_glossary(name: str, expected: str) -> None:
    text = markdown(ALL[name])
    assert text.splitlines()[0] == expected
    assert f"**{prose(ALL[name].comparison['sentence'])}**" in text.split("\n### ")[0]


def test_what_has_to_be_known_first_stands_before_the_sentence() -> None:
    text = markdown(ALL["baseline"])
    assert text.index("no model is in production yet") < text.index("**better by 0.031")
    assert "[!NOTE]" not in markdown(ALL["promote"])


def test_a_rejection_names_the_gates_that_failed() -> None:
    assert "Failed: <code>improvement</code>, <code>slices</code>." in markdown(ALL["reject"])
    assert "Failed:" not in markdown(ALL["promote"])


def test_the_sections_stand_in_their_order() -> None:
    heads = [line for line in markdown(ALL["reject"]).splitlines() if line.startswith("### ")]
    names = ["Champion and candidate", "Gates", "Slices", "Charts", "Data quality", "What changed", "The holdout"]
    assert heads == [f"### {name}" for name in [*names, "How to reproduce"]]


def test_the_primary_metric_stands_first_and_bold_and_each_has_both_models_and_the_difference() -> None:
    head, first, *others = rows(markdown(ALL["promote"]), "Champion and candidate")
    assert head == ["metric", "champion", "candidate", "difference", "better?"]
    assert first[0] == "**ROC AUC**"
    assert first[1:3] == ["**0.7281 (95 % 0.7218 to 0.7344)**", "**0.7591 (95 % 0.7528 to 0.7654)**"]
    assert first[3:] == ["**+0.031 (95 % +0.0253 to +0.0367)**", "**better**"]
    assert len(others) == len(made.METRICS["binary"]) - 1
    assert not any(cell.startswith("**") for row in others for cell in row)


def test_a_primary_metric_that_is_recorded_last_stands_first_all_the_same() -> None:
    found = copy.deepcopy(ALL["promote"].comparison)
    for model in ("candidate", "champion"):
        found[model]["metrics"].reverse()
    text = markdown(made.with_comparison(ALL["promote"], candidate=found["candidate"], champion=found["champion"]))
    assert rows(text, "Champion and candidate")[1][0] == "**ROC AUC**"


def test_an_error_that_falls_is_better_and_one_that_rises_is_worse() -> None:
    words = {row[0]: row[-1] for row in rows(markdown(ALL["promote"]), "Champion and candidate")}
    assert (words["log loss"], words["expected calibration error"]) == ("better", "no clear difference")
    assert words["predicted positive share"] == "neither way"
    words = {row[0]: row[-1] for row in rows(markdown(ALL["reject"]), "Champion and candidate")}
    assert words["log loss"] == "worse"


def test_failed_gates_stand_first_and_every_outcome_is_a_word() -> None:
    found = rows(markdown(ALL["reject"]), "Gates")[1:]
    assert [row[0] for row in found[:2]] == ["<code>improvement</code>", "<code>slices</code>"]
    assert [row[1] for row in found[:3]] == ["**✗ failed**", "**✗ failed**", "✓ passed"]
    assert found[-1][1] == "– not applicable"
    assert len(found) == len(made.GATES)
    for gate in ALL["reject"].comparison["gates"]:
        assert prose(gate["evidence"]) in {row[2] for row in found}


def test_the_reader_is_told_whose_gates_judged() -> None:
    assert "The gates of the base branch judged" in markdown(ALL["promote"])
    assert "The gates of this branch judged" in markdown(ALL["baseline"])


def test_failed_slices_stand_first_and_only_fifteen_are_unfolded() -> None:
    text = markdown(ALL["reject"])
    shown = rows(unfolded(text), "Slices")[1:]
    assert len(shown) == SHOWN_SLICES == 15
    assert [row[-1] for row in shown[:3]] == ["**✗ failed**", "**✗ failed**", "✓ passed"]
    assert "<code>carrier</code> = <code>YV</code>" not in unfolded(text)
    assert "<code>carrier</code> = <code>YV</code>" in text
    assert "<summary>The other slices (1)</summary>" in text


def test_the_state_of_the_data_is_told_with_what_failed() -> None:
    text = markdown(ALL["promote"])
    assert "- rows: 166,158 in 6 partitions\n- expectations: 1 of 2 hold" in text
    assert "| at most 30 % missing | warn | 8,921 of 28,243 in 2013-06, such as a missing value |" in text
    assert "| <code>2013-06</code> | 28,243 |" in text
    held = [each for each in made.validation()["expectations"] if each["passed"]]
    clear = markdown(replace(ALL["promote"], validation={**made.validation(), "expectations": held}))
    assert "at most 30 %" not in clear


def test_changes_of_data_parameters_and_code_are_listed() -> None:
    text = markdown(ALL["promote"])
    assert "| <code>2013-06</code> | new, 28,243 rows |" in text
    assert "| <code>2013-05</code> | other content, 28,796 rows as before |" in text
    assert (
        "| <code>train.hist&#95;gradient&#95;boosting.iterations</code> | <code>100</code> | <code>150</code> |" in text
    )
    assert "| <code>data.as&#95;of</code> | <code>not set</code> | <code>2013-07-01</code> |" in text
    assert "| <code>src/mergeline/models/scikit&#95;learn.py</code> | +12 −4 |" in text


def test_nothing_changed_is_said_plainly_and_an_unknown_base_is_not_called_no_change() -> None:
    none: dict[str, Any] = {"params": (), "data": (), "code": ()}
    assert "Nothing changed against origin/main: the same data" in markdown(made.records(**none))
    unknown = markdown(made.records(base=None, **none))
    assert "no base branch to compare with" in unknown
    assert "Nothing changed" not in unknown
    assert "Against origin/main. No change of data or code." in markdown(made.records(data=(), code=()))


def test_the_uses_of_the_holdout_are_told_and_past_the_budget_warned_of_with_the_reason() -> None:
    within = markdown(made.records(holdout_uses=20, holdout_budget=20))
    assert "This holdout has judged 20 different candidates, this one included (budget: 20)." in within
    assert "[!WARNING]" not in within
    past = markdown(made.records(holdout_uses=21, holdout_budget=20))
    assert WORN in past.split("### ")[0]
    assert "[!WARNING]" in past
    assert "[!WARNING]" not in markdown(made.records(holdout_uses=500, holdout_budget=None))


def test_the_commands_and_the_hashes_are_there_to_reproduce_it() -> None:
    text = markdown(ALL["promote"])
    assert "```sh\ngit checkout 9d3c2a1f\nmake setup\nmake repro\n```" in text
    assert f"Model <code>{made.CANDIDATE[:12]}</code>, champion <code>{made.CHAMPION[:12]}</code>." in text
    for full in (made.CANDIDATE, made.CHAMPION, made.HOLDOUT, made.LOCK):
        assert f"<code>{full}</code>" in text


def test_the_latency_of_this_machine_is_told_where_it_was_measured() -> None:
    assert "scoring takes 1.08 times as long" in markdown(ALL["promote"])
    assert "scoring takes" not in markdown(made.records(latency_ratio=None))


# ---- Every kind of record --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_report_has_no_empty_part_and_shows_no_python(name: str) -> None:
    text = markdown(ALL[name])
    assert not re.search(r"\bNone\b|\bnan\b|[{}]|\[\]", text)
    assert "\n\n\n" not in text
    assert "```text\n```" not in text
    assert text.endswith("</details>\n")


def test_a_refused_comparison_shows_the_candidate_alone() -> None:
    text = markdown(ALL["refused"])
    first = rows(text, "Champion and candidate")[1]
    assert first[1] == "**–**"
    assert first[3:] == ["**–**", "**not compared**"]
    assert "### Slices" not in text
    assert "about zero" not in text
    assert "holdout contains" in text.split("### ")[0]


def test_charts_that_a_task_does_not_have_are_left_out() -> None:
    assert "Calibration of the candidate" in markdown(ALL["promote"])
    assert "Calibration of the candidate" not in markdown(ALL["multiclass"])
    bare = replace(ALL["promote"], curves={"candidate": {}, "champion": {}, "distributions": []})
    assert "Scores: then" not in markdown(bare)


def test_a_baseline_is_called_one_and_has_no_hash() -> None:
    text = markdown(ALL["baseline"])
    assert "- champion: a baseline that learns nothing from the features" in text
    assert "champion <code>–</code>" in text


@pytest.mark.parametrize("name", ALL)
def test_the_same_records_give_the_same_text_and_stay_as_they_are(name: str) -> None:
    before = copy.deepcopy(ALL[name])
    assert markdown(ALL[name]) == markdown(copy.deepcopy(ALL[name]))
    assert ALL[name] == before


# ---- Charts ----------------------------------------------------------------------------------------------------------


def drawn(low: float, estimate: float, high: float) -> str:
    difference = {"estimate": estimate, "low": low, "high": high, "confidence": 0.95, "method": ""}
    return charts.forest([charts.ForestRow("a", difference)], common_scale=True)[1][3 : 3 + charts.WIDTH]


def test_an_interval_stands_on_its_side_of_zero_or_across_it() -> None:
    middle = charts.WIDTH // 2
    assert drawn(0.1, 0.2, 0.3).index("├") > middle
    assert drawn(0.1, 0.2, 0.3)[middle] == "│"
    assert drawn(-0.3, -0.2, -0.1).rindex("┤") < middle
    across = drawn(-0.1, 0.1, 0.3)
    assert across.index("├") < middle < across.index("●") < across.index("┤")
    assert drawn(0.0, 0.0, 0.0)[middle] == "●"


def test_on_a_common_scale_a_wider_interval_is_drawn_wider_and_on_its_own_it_is_not() -> None:
    wide, narrow = (
        charts.ForestRow(name, {"estimate": 0.0, "low": -half, "high": half, "confidence": 0.95})
        for name, half in (("wide", 1.0), ("slim", 0.1))
    )
    together = charts.forest([wide, narrow], common_scale=True)[1:]
    assert together[0].count("─") > 5 * max(1, together[1].count("─"))
    apart = charts.forest([wide, narrow], common_scale=False)[1:]
    assert apart[0].count("─") == apart[1].count("─")


def test_a_failed_slice_is_called_so_in_the_chart() -> None:
    text = markdown(ALL["reject"])
    lines = [line for line in text.splitlines() if line.startswith(("carrier=", "origin=", "weekday="))]
    assert [line.endswith("FAILED") for line in lines[:3]] == [True, True, False]


def test_calibration_shows_a_prediction_beside_what_came() -> None:
    observed = {"estimate": 0.9, "low": 0.8, "high": 1.0}
    line = charts.calibration([{"mean_prediction": 0.1, "observed": observed, "rows": 1234}])[1]
    assert line.index("○") < line.index("├") < line.index("●") < line.index("┤")
    assert line.endswith("1,234")


def test_bars_of_a_distribution_have_their_shares_then_and_now() -> None:
    lines = charts.distribution(
        {"kind": "category", "labels": ["a", "b"], "edges": [], "then": [0.5, 0.4], "now": [1.0, 0.0]}
        | {"missing_then": 0.1, "missing_now": 0.0}
    )
    assert [line.count("░") for line in lines[1:]] == [6, 5, 1]
    assert [line.count("█") for line in lines[1:]] == [12, 0, 0]
    assert lines[3].startswith("missing  ░ 10 %")


# ---- Text from data can do nothing -----------------------------------------------------------------------------------

ATTACKS = (
    made.HOSTILE,
    "<script>alert(1)</script>",
    "![x](https://example.org/x.png)",
    "[click](https://example.org)",
    "# heading",
    "see #123, GH-7 and owner/name#5 or @team/all",
    "https://example.org www.example.org me@example.org",
    "```\n# heading\n- item\n> quote\n---",
    "</details></code><details open>",
    "a\u202eb\u200bc\x00d\u2028e",
    "**bold** __x__ ~~y~~ $z$ \\| &lt;b&gt;",
    "| --- | --- |",
)


def test_what_is_escaped_here_would_do_harm_as_it_is() -> None:
    raw = [token for attack in ATTACKS for token in tokens(attack)]
    assert {"image", "link_open", "html_inline", "strong_open", "heading_open"} <= {token.type for token in raw}


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_from_data_is_no_link_image_heading_or_markup(attack: str) -> None:
    text = markdown(made.hostile(attack))
    found, harmless = tokens(text), tokens(markdown(made.hostile("harmless")))
    for kind in {token.type for token in found} - {"text", "text_special", "softbreak", "inline"}:
        assert sum(token.type == kind for token in found) == sum(token.type == kind for token in harmless), kind
    assert not {"image", "link_open"} & {token.type for token in found}
    tags = {token.content for token in found if token.type.startswith("html")}
    assert all(re.fullmatch(r"</?code>|</details>\n?|<details><summary>[\w (),:;]+</summary>\n?", tag) for tag in tags)


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_from_data_mentions_nobody_and_no_issue(attack: str) -> None:
    in_code = 0
    for token in tokens(markdown(made.hostile(attack))):
        in_code += {"<code>": 1, "</code>": -1}.get(token.content, 0) if token.type == "html_inline" else 0
        if token.type.startswith("text") and not in_code:
            assert not re.search(r"@\w|#\w|GH-\d|://|www\.|[\u202a-\u202e\x00]", token.content), token.content


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_table_keeps_its_columns_whatever_stands_in_it(attack: str) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", markdown(made.hostile(attack)), flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_a_category_reads_as_it_is() -> None:
    shown = "".join(token.content for token in tokens(code(made.HOSTILE)) if token.type.startswith("text"))
    assert shown == made.HOSTILE


def test_a_fenced_block_is_closed_by_nothing_in_it() -> None:
    assert "```" not in plain("a```b") + plain("~~~")
    text = markdown(made.hostile("```"))
    assert len(re.findall(r"^```", text, flags=re.MULTILINE)) % 2 == 0


def test_hidden_characters_and_line_breaks_are_dropped_and_long_text_is_cut() -> None:
    assert clean("a\u200bb\u202ec\r\n  d\x1b[0m\ufeff") == "abc d[0m"
    assert clean("x" * 10, 5) == "xxxx…"
    assert clean("x" * 5, 5) == "xxxxx"
    assert len(prose("@x" * 1000, 100)) <= 200


# ---- GitHub's limit --------------------------------------------------------------------------------------------------


def test_the_most_that_a_run_can_hold_fits_into_a_comment_and_says_what_was_cut() -> None:
    text = markdown(made.huge())
    assert LIMIT * 0.9 < len(text) <= LIMIT == 60_000
    assert re.search(r"\n\n… [\d,]+ more are not shown here; [^\n]+\n\n</details>", text)
    assert text.count("<details>") == text.count("</details>")
    assert "### How to reproduce" in text


@pytest.mark.parametrize("attack", ["@x", "|", "x", "東", "`", "- ", "#1 "])
def test_long_names_of_any_characters_fit(attack: str) -> None:
    assert len(markdown(made.hostile(attack * 4000))) <= LIMIT


def test_a_small_report_is_not_cut() -> None:
    assert "not shown here" not in markdown(ALL["reject"])
    assert len(markdown(ALL["reject"])) < 15_000


def test_many_slices_are_cut_inside_the_fold() -> None:
    many = made.with_comparison(ALL["reject"], slices=ALL["reject"].comparison["slices"] * 100)
    text = markdown(many)
    assert len(text) <= LIMIT
    assert "more are not shown here" not in unfolded(text)
    listed = (
        text.count("| <code>carrier</code>")
        + text.count("| <code>origin</code>")
        + text.count("| <code>weekday</code>")
    )
    cut = re.search(r"… ([\d,]+) more", text)
    assert cut is not None
    assert listed + int(cut[1].replace(",", "")) == 1600


# ---- The records -----------------------------------------------------------------------------------------------------


def test_a_context_knows_that_nothing_changed_only_where_there_is_a_base() -> None:
    assert Context(base="main").nothing_changed
    assert not Context().nothing_changed
    for change in (
        Context("main", params=(ParameterChange("a", "1", "2"),)),
        Context("main", data=(PartitionChange("a", 1, None),)),
        Context("main", code=(CodeChange("a", 1, 0),)),
    ):
        assert not change.nothing_changed


def test_records_cannot_be_changed_by_a_report() -> None:
    with pytest.raises(AttributeError):
        Records({}, {}, {}, {}, {}, {}, Context()).comparison = {}  # type: ignore[misc]
