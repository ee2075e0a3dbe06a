"""The page of plots: one file that loads nothing, reads well in both themes, on a phone and without eyes."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
import report_records as made

from mergeline.report import curves, forest, histograms, svg
from mergeline.report.charts import ForestRow
from mergeline.report.context import Records
from mergeline.report.document import POLICY
from mergeline.report.html import html
from mergeline.report.style import STYLE
from mergeline.report.wording import OUTCOMES, figure

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
VOID = {"meta", "line", "path", "rect", "circle"}
LOADING = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "style", "background"}


class Page(HTMLParser):
    """What a browser finds in a page: elements with their attributes, and the text in each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def tags(self, *names: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in names]

    def said(self, *tags: str) -> str:
        return " ".join(data for tag, data in self.texts if not tags or tag in tags)


def loads(text: str) -> list[str]:
    """What a page would fetch or run."""
    page = Page(text)
    by_tag = [
        tag for tag, _ in page.elements if tag in {"script", "img", "link", "iframe", "object", "embed", "use", "image"}
    ]
    by_name = [
        name for _, attributes in page.elements for name in attributes if name in LOADING or name.startswith("on")
    ]
    by_style = re.findall(r"url\(|@import|expression\(", page.said("style"))
    return [*by_tag, *by_name, *by_style]


# ---- A file of its own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ALL, "hostile"])
def test_the_page_loads_nothing_and_runs_nothing(name: str) -> None:
    assert loads(html(ALL.get(name) or made.hostile())) == []


def test_a_page_that_would_load_or_run_something_is_found() -> None:
    text = html(ALL["promote"])
    for planted in (
        "<script>1</script>",
        '<img src="https://example.org/a.png">',
        '<p onclick="x()">',
        '<a href="https://example.org">',
        '<link rel="stylesheet">',
    ):
        assert loads(text.replace("<main>", f"<main>{planted}"))
    assert loads(text.replace("</style>", "a { background: url(x) }</style>"))


def test_the_browser_is_forbidden_to_load_anything() -> None:
    (policy,) = [each for each in Page(html(ALL["promote"])).tags("meta") if "http-equiv" in each]
    assert policy == {"http-equiv": "Content-Security-Policy", "content": POLICY}
    assert POLICY == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@pytest.mark.parametrize("name", [*ALL, "hostile"])
def test_every_element_is_closed_where_it_was_opened(name: str) -> None:
    page = Page(html(ALL.get(name) or made.hostile()))
    assert page.wrong == []
    assert page.open == []


@pytest.mark.parametrize(
    "text", [made.HOSTILE, "\"'><script>alert(1)</script>", "</style></svg><img src=x onerror=a()>"]
)
def test_text_from_data_is_text(text: str) -> None:
    hostile, harmless = Page(html(made.hostile(text))), Page(html(made.hostile("harmless")))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in harmless.elements]
    assert hostile.said().count(text) > 20
    assert [sorted(attributes) for _, attributes in hostile.elements] == [sorted(each) for _, each in harmless.elements]


def test_hidden_characters_of_the_data_are_dropped() -> None:
    assert not re.search("[\u200b\u202e\x00\x1b]", html(made.hostile("a\u202eb\u200bc\x00\x1b[0m")))


@pytest.mark.parametrize("name", ALL)
def test_the_same_records_give_the_same_bytes_and_stay_as_they_are(name: str) -> None:
    before = copy.deepcopy(ALL[name])
    assert html(ALL[name]) == html(copy.deepcopy(ALL[name]))
    assert ALL[name] == before


def test_a_page_stays_small_and_a_huge_one_is_cut_and_says_so() -> None:
    assert len(html(ALL["reject"])) < 100_000
    text = html(made.huge())
    assert len(text) < 12_000_000
    assert "… 7,500 more rows are not shown here; the records in reports/ and git diff hold them all." in text


# ---- What it says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_headings_go_down_one_level_at_a_time_and_there_is_one_first(name: str) -> None:
    levels = [int(tag[1]) for tag, _ in Page(html(ALL[name])).elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_the_verdict_its_sentence_and_its_notes_stand_on_top() -> None:
    top = Page(html(ALL["baseline"]).split("<main>")[0])
    said = top.said("span", "h1", "p")
    assert "✓ promote Promote: the candidate beats the baseline" in said
    assert said.index("no model is in production yet") < said.index("Better by 0.031")


@pytest.mark.parametrize("name", ["promote", "reject", "refused"])
def test_every_gate_stands_in_its_table_with_outcome_evidence_and_numbers(name: str) -> None:
    text = html(ALL[name]).split("<h2>Gates</h2>")[1].split("</table>")[0]
    rows = {Page(row).said("th"): Page(row).said("td") for row in text.split("<tr>")[2:]}
    assert list(rows)[: len([1 for gate in ALL[name].comparison["gates"] if gate["outcome"] == "failed"])] == [
        gate["name"] for gate in ALL[name].comparison["gates"] if gate["outcome"] == "failed"
    ]
    for gate in ALL[name].comparison["gates"]:
        said = rows[gate["name"]]
        for expected in (OUTCOMES[gate["outcome"]], gate["evidence"], figure(gate["value"]), figure(gate["threshold"])):
            assert expected in said


def test_every_metric_and_every_slice_stands_in_a_table_with_its_interval() -> None:
    said = Page(html(ALL["reject"])).said("td", "th", "small")
    for model in ("candidate", "champion"):
        for metric in ALL["reject"].comparison[model]["metrics"]:
            assert f"{figure(metric['low'])} to {figure(metric['high'])}" in said
    for each in ALL["reject"].comparison["slices"]:
        assert f"{each['column']} = {each['value']}" in said


def test_the_page_has_every_section_of_the_comment() -> None:
    heads = re.findall(r"<h2>(.*?)</h2>", html(ALL["promote"]))
    expected = ["Champion and candidate", "Gates", "How the models rank and predict", "Slices", "Data then and now"]
    assert heads == [*expected, "Data quality", "What changed", "The holdout", "How to reproduce"]


def test_a_worn_holdout_is_warned_of_on_top() -> None:
    worn = html(made.records(holdout_uses=21, holdout_budget=20)).split("<main>")[0]
    assert "flatters the one that it chose" in worn
    assert "flatters" not in html(ALL["promote"])


def test_nothing_changed_is_said_plainly() -> None:
    assert "Nothing changed against origin/main" in html(made.records(params=(), data=(), code=()))
    assert "Nothing changed" not in html(ALL["promote"])


def test_the_full_hashes_and_the_commands_are_there() -> None:
    said = Page(html(ALL["promote"])).said("code", "pre")
    for expected in (made.CANDIDATE, made.CHAMPION, "make repro"):
        assert expected in said


@pytest.mark.parametrize("name", ALL)
def test_a_page_has_no_empty_box_and_shows_no_python(name: str) -> None:
    text = html(ALL[name])
    body = text.split("</style>")[1]
    assert not re.search(r"<(figure|div|section|ul|p|tbody|table|dd|svg)[^>]*></\1>", text)
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b|[{}]|\[\]", body)


# ---- Plots -----------------------------------------------------------------------------------------------------------


def plots(records: Records) -> list[str]:
    return [each["aria-label"] for each in Page(html(records)).tags("svg")]


def starting(labels: list[str], word: str) -> int:
    return sum(label.startswith(word) for label in labels)


def test_the_plots_of_a_binary_task() -> None:
    labels = plots(ALL["promote"])
    wanted = ("ROC", "Precision", "Calibration", "Difference of each metric", "Difference of ROC AUC in slices")
    assert [starting(labels, word) for word in wanted] == [1, 1, 1, 1, 1]
    assert starting(labels, "Distribution of") == len(made.distributions())


@pytest.mark.parametrize(
    ("records", "missing"),
    [
        (made.records("regression"), ("ROC", "Precision")),
        (made.records("multiclass"), ("ROC", "Precision", "Calibration")),
        (made.refused(), ("Difference",)),
    ],
    ids=["regression", "multiclass", "refused"],
)
def test_plots_that_there_is_nothing_for_are_left_out(records: Records, missing: tuple[str, ...]) -> None:
    assert [starting(plots(records), word) for word in missing] == [0] * len(missing)
    assert plots(records)


def test_without_curves_the_sections_of_plots_are_left_out() -> None:
    bare = html(replace(ALL["promote"], curves={"candidate": {}, "champion": {}, "distributions": []}))
    assert "How the models rank" not in bare
    assert "Data then and now" not in bare


@pytest.mark.parametrize("name", ALL)
def test_every_plot_is_an_image_that_says_in_words_what_it_shows(name: str) -> None:
    for each in Page(html(ALL[name])).tags("svg"):
        assert each["role"] == "img"
        assert len(each["aria-label"].split()) > 8


def test_the_words_of_a_plot_hold_its_findings() -> None:
    labels = " ".join(plots(ALL["reject"]))
    assert "carrier = AA worse -0.0861 (99.69 % -0.104 to -0.0681)" in labels
    assert "candidate 0.7111 (95 % 0.7048 to 0.7174), champion 0.7281" in labels
    assert "widest apart where" in labels
    assert "missing 11 % then, 8.4 % now" in labels


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_drawn_outside_of_its_plot(name: str) -> None:
    for drawing in re.findall(r"<svg.*?</svg>", html(ALL[name])):
        inside = Page(drawing)
        width, height = (float(value) for value in inside.tags("svg")[0]["viewbox"].split()[2:])
        for axis, most in (("x", width), ("y", height)):
            names = (axis, f"{axis}1", f"{axis}2", f"c{axis}")
            values = [float(each[name]) for _, each in inside.elements for name in names if name in each]
            assert 0 <= min(values) <= max(values) <= most


def test_models_differ_by_more_than_colour() -> None:
    text = curves.calibration(made.curves())
    assert text.count('<circle class="dot candidate"') == text.count('<rect class="dot champion"') == 11
    assert re.search(r"path\.champion \{[^}]*stroke-dasharray", STYLE)


def test_a_side_of_zero_differs_by_more_than_colour() -> None:
    signs = []
    for middle in (0.5, -0.5, 0.0):
        row = ForestRow("a", made.interval(middle, 0.2))
        text = forest.forest([row], "x", common_scale=True)
        signs.append((text.count('class="solid good"'), text.count('class="solid bad"'), text.count("<circle")))
    assert signs == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_one_huge_interval_does_not_squeeze_the_others() -> None:
    rows = [ForestRow(str(number), made.interval(0.0, 0.01)) for number in range(9)]
    text = forest.forest([*rows, ForestRow("wild", made.interval(0.0, 5.0))], "x", common_scale=True)
    widths = [
        float(b) - float(a)
        for a, b in re.findall(r'class="interval open" x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)"', text)
    ]
    assert max(widths) / min(width for width in widths if width) < 5
    assert text.count('<path class="interval open"') == 2


def test_missing_values_are_drawn_only_where_there_are_some() -> None:
    by_name = {each["feature"]: histograms.histogram(each) for each in made.distributions()}
    assert ">missing<" in by_name["pressure_hpa"]
    assert ">missing<" not in by_name["departure_minute"]
    assert ">missing<" in by_name["weekday"]
    assert ">missing<" not in by_name["carrier"]


def test_categories_beyond_the_room_are_added_up() -> None:
    many: dict[str, Any] = {
        "feature": "shop",
        "kind": "category",
        "labels": [f"s{number}" for number in range(40)],
        "edges": [],
        "then": [1 / 40] * 40,
        "now": [1 / 40] * 40,
        "missing_then": 0.0,
        "missing_now": 0.0,
    }
    text = histograms.histogram(many)
    assert ">30 more<" in text
    assert text.count(">75 %<") == 2


def test_the_share_of_rows_that_moved() -> None:
    still = {"then": [0.5, 0.5], "now": [0.5, 0.5], "missing_then": 0.0, "missing_now": 0.0}
    assert histograms.moved(still) == 0.0
    assert histograms.moved({**still, "now": [0.2, 0.5], "missing_now": 0.3}) == pytest.approx(0.3)


def test_a_scale_keeps_to_its_ends_and_survives_a_range_of_no_width() -> None:
    scale = svg.Scale(0, 10, 100, 200)
    assert [scale(value) for value in (-5, 0, 5, 10, 50)] == [100, 100, 150, 200, 200]
    assert svg.Scale(1, 1, 100, 200)(1) == 150
    assert svg.ticks(3, 3) == [3]


# ---- Themes and screens ----------------------------------------------------------------------------------------------


def colours(block: str) -> dict[str, tuple[int, int, int]]:
    found = re.findall(r"--([\w-]+): #([0-9a-f]{6})\b", block)
    return {name: (int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)) for name, code in found}


def luminance(colour: tuple[int, int, int]) -> float:
    parts = [value / 255 for value in colour]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """WCAG 2.2, relative luminance and contrast ratio."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


LIGHT, DARK = (colours(part) for part in STYLE.split("@media print")[0].split("@media (prefers-color-scheme: dark)"))
PAIRS = [
    *(
        (text, ground, 4.5)
        for text in ("ink", "soft", "candidate", "champion", "good", "bad", "open")
        for ground in ("ground", "sheet")
    ),
    *((text, f"{text}-ground", 4.5) for text in ("good", "bad", "hold")),
    ("ink", "hold-ground", 4.5),
    ("bar", "ground", 3.0),
]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground", "least"), PAIRS)
def test_contrast_is_enough_in_both_themes(
    theme: dict[str, tuple[int, int, int]], text: str, ground: str, least: float
) -> None:
    assert contrast(theme[text], theme[ground]) >= least


def test_contrast_is_measured_as_the_standard_does() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


def test_colours_are_named_in_the_themes_alone() -> None:
    rules = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3,6}\b", rules)
    assert set(LIGHT) == set(DARK)
    assert "fill=" not in html(ALL["promote"])
    assert "stroke=" not in html(ALL["promote"])


def test_every_class_of_the_page_is_in_the_style_sheet() -> None:
    used = {
        name
        for text in map(html, ALL.values())
        for each in re.findall(r'class="([^"]*)"', text)
        for name in each.split()
    }
    assert used - set(re.findall(r"\.([a-z-]+)", STYLE)) == set()


@pytest.mark.parametrize("name", ALL)
def test_every_table_scrolls_in_a_box_that_the_keyboard_reaches(name: str) -> None:
    text = html(ALL[name])
    assert text.count("<table") == len(
        re.findall(r'<div class="scroll" role="region" tabindex="0" aria-label="[^"]+"><table', text)
    )
    assert ".scroll, pre { overflow-x: auto;" in STYLE


def test_text_in_plots_stays_readable_on_a_phone() -> None:
    size = re.search(r"svg text \{ font-size: (\d+)px", STYLE)
    assert size is not None
    assert float(size[1]) * (360 - 2 * 12) / svg.WIDTH >= 11
    assert "width=device-width" in html(ALL["promote"])


def test_paper_is_thought_of() -> None:
    assert "@media print" in STYLE
