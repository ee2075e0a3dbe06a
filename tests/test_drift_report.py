"""What is said of drift: in a sentence, as Markdown, as a page that loads nothing and trusts no name."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from numpy.typing import NDArray

from mergeline.monitor.drift.judge import Reference, Rules, judge, sentence
from mergeline.monitor.drift.markdown import markdown
from mergeline.monitor.drift.page import html
from mergeline.monitor.drift.record import (
    Apart,
    Classifier,
    DriftRecord,
    FeatureDrift,
    OtherRelease,
    Outcome,
    Sampling,
    Severity,
    Shape,
)
from mergeline.monitor.drift.tally import Counted, Sample, Tally
from mergeline.monitor.drift.timeline import timeline
from mergeline.monitor.profile import Profile, profile_of
from mergeline.monitor.windows import Window
from mergeline.schema import Feature, Kind

START = dt.datetime(2024, 5, 6, tzinfo=dt.UTC)
EVIL = '<script>alert("@all")</script>|`x`'


def column(name: str, effect: float, *, matters: bool = True, drifted: bool = False) -> FeatureDrift:
    return FeatureDrift(
        name=name,
        kind="number",
        importance=None if name == "score" else 0.5 if matters else 0.001,
        matters=matters,
        rows=1000,
        missing_then=0.01,
        missing_now=0.02,
        psi=0.2,
        js=0.1,
        kl=0.1,
        ks=effect,
        ks_error=0.0004,
        wasserstein=2.5,
        wasserstein_error=0.01,
        chi_squared=None,
        degrees=None,
        effect=effect,
        p=1e-9 if drifted else 0.4,
        p_corrected=1e-8 if drifted else 0.4,
        drifted=drifted,
        severity=Severity.MAJOR if drifted else Severity.NONE,
        windows_drifted=3 if drifted else 0,
        sustained=drifted,
        shape=Shape((), (0.0, 1.0, 2.0), (0.5, 0.49), (0.2, 0.78)),
    )


def record(number: int = 0, *features: FeatureDrift, outcome: Outcome = Outcome.NONE) -> DriftRecord:
    made = DriftRecord(
        window=Window(START + dt.timedelta(days=7 * number), START + dt.timedelta(days=7 * (number + 1))),
        model_sha256="c" * 64,
        outcome=outcome,
        severity=Severity.MAJOR if outcome is Outcome.DRIFT else Severity.NONE,
        sustained=outcome is Outcome.DRIFT,
        sentence="",
        rows=1000,
        reference_rows=20_000,
        unscored=0,
        importance_known=True,
        weighted=0.5 if outcome is Outcome.DRIFT else 0.0,
        moved=0.1,
        features=features or (column("score", 0.02), column("amount", 0.03)),
        sampling=(Sampling(1.0, 1000),),
        classifier=Classifier(0.61, 0.53, 2000),
        settings={"minor": 0.05, "major": 0.15, "min_rows": 500},
    )
    return replace(made, sentence=sentence(made))


DRIFTED = record(
    3,
    column("score", 0.04),
    column("calm", 0.01),
    column("amount", 0.4, drifted=True),
    column("unused", 0.6, matters=False, drifted=True),
    outcome=Outcome.DRIFT,
)


class Page(HTMLParser):
    """The tags of a page, its images' labels and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.labels: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "line", "rect", "circle", "path"):
            self.open.append(tag)
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]
        assert not [name for name, _ in attrs if name in ("src", "href", "onclick")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "line", "rect", "circle", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_drifted_and_matters_stands_first_and_what_the_model_hardly_uses_is_no_alarm() -> None:
    lines = [line for line in markdown(DRIFTED).splitlines() if line.startswith("| <code>")]
    assert [re.findall(r"<code>(\w+)", line)[0] for line in lines] == ["amount", "unused", "score", "calm"]
    assert (
        "Major drift in 2024-05-27--2024-06-03, sustained: amount (40%) moved, of 3 columns that matter,"
        in DRIFTED.sentence
    )
    assert "unused" not in DRIFTED.sentence
    assert "(sustained)" in lines[0]


BLIND = replace(column("longitude", 0.0), resolved=False)


@pytest.mark.parametrize("outcome", [Outcome.NONE, Outcome.DRIFT])
def test_a_column_that_could_not_be_judged_is_named_and_so_is_what_sees_it(outcome: Outcome) -> None:
    moved = column("amount", 0.4, drifted=outcome is Outcome.DRIFT)
    made = record(0, column("score", 0.02), moved, BLIND, outcome=outcome)
    assert made.sentence.endswith(
        "; 1 column could not be judged: longitude, and all columns together can be told from training rows."
    )
    calm = replace(made, classifier=Classifier(0.51, 0.53, 2000))
    assert sentence(calm).endswith("; 1 column could not be judged: longitude.")
    rows = [line for line in markdown(made).splitlines() if line.startswith("| <code>longitude")]
    assert [line.split(" | ")[1] for line in rows] == ["not resolved"]
    page = Page(html([made])).text
    assert "not resolved" in page
    assert "longitude is not resolved" in markdown(made)
    read = DriftRecord.from_json(made.to_json())
    assert (read, [each.name for each in read.unresolved]) == (made, ["longitude"])


def test_nothing_is_said_of_columns_that_are_resolved_or_that_the_model_hardly_uses() -> None:
    seen = record(0, column("score", 0.02), column("longitude", 0.0))
    assert "judged" not in seen.sentence
    assert "not resolved" not in markdown(seen) + html([seen])
    hardly = record(0, column("score", 0.02), replace(column("longitude", 0.0, matters=False), resolved=False))
    assert "judged" not in hardly.sentence
    assert "not resolved" in markdown(hardly)
    many = record(0, *(replace(BLIND, name=f"c{number}") for number in range(5)))
    assert "5 columns could not be judged: c0, c1, c2 and 2 more" in many.sentence


def test_a_record_from_before_columns_were_marked_is_read() -> None:
    raw = json.loads(record().to_json())
    for each in raw["features"]:
        del each["resolved"]
    assert DriftRecord.from_json(json.dumps(raw)) == record()


COLUMN = (Feature("amount", Kind.NUMBER),)


def narrow(seed: int, rows: int, moved: float, offset: float) -> tuple[Profile, NDArray[np.float64]]:
    """A column of spread 1 so far from zero, and scores."""
    generator = np.random.default_rng(seed)
    values = generator.normal(offset + moved, 1, (rows, 1)).astype(np.float32)
    return profile_of(values, COLUMN, generator.beta(2, 5, rows)), values.astype(np.float64)


@pytest.mark.parametrize(("offset", "outcome", "marked"), [(1e6, Outcome.NONE, True), (0.0, Outcome.DRIFT, False)])
def test_drift_within_a_key_is_no_drift_that_is_seen_and_is_not_passed_over(
    offset: float, outcome: Outcome, marked: bool
) -> None:
    """The classifier, which looks at values and not at counts, sees it either way."""
    (then, trained), (now, asked) = narrow(1, 4000, 0.0, offset), narrow(2, 2000, 1.0, offset)
    sample = Sample(1000, np.arange(1000, dtype=np.uint64), asked[:1000])
    reference = Reference("a" * 64, COLUMN, then, rows=trained[:1000])
    counted = Counted(tallies={(0, 1.0): Tally(now, sample)})
    made = judge(Window(START, START + dt.timedelta(days=7)), 0, counted, reference, Rules(), [])
    assert (made.outcome, [each.resolved for each in made.features]) == (outcome, [True, not marked])
    assert ("1 column could not be judged: amount, and all columns together can be told" in made.sentence) is marked


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome.NONE, "No drift that matters"),
        (Outcome.TOO_FEW_ROWS, "Too few rows"),
        (Outcome.NO_DATA, "No traffic"),
    ],
)
def test_every_outcome_has_its_own_words(outcome: Outcome, said: str) -> None:
    made = record(0, outcome=outcome)
    assert said in made.sentence
    assert markdown(made).startswith(f"## {said}")
    assert said in Page(html([made])).text


def test_what_the_figures_leave_out_is_said() -> None:
    made = replace(
        record(),
        unscored=11,
        schema_changes=("amount: expected a number, found no column",),
        other_releases=(OtherRelease("d" * 64, 1234, "2024-05-06T00:00:00+00:00", "2024-05-07T00:00:00+00:00"),),
        sampling=(Sampling(0.1, 600), Sampling(1.0, 400)),
        apart=Apart(21, 1, 22, 23, 24),
        classifier=Classifier(reason="not available: because"),
    )
    for text in (Page(markdown(made)).text, Page(html([made])).text):
        for said in ("11 rows", "21 rows", "22 rows", "23 rows", "24 rows", "1,234 rows", "600 at 0.1", "because"):
            assert said in text
        assert "Schema change: amount" in text
    plain = markdown(record())
    assert "Schema change" not in plain
    assert "clocks" not in plain


def test_the_page_loads_nothing_and_closes_what_it_opens() -> None:
    page = Page(html([record(0), record(1), record(2), DRIFTED]))
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "default-src 'none'" in html([DRIFTED])
    assert page.text.count("Then and now") == 1


def test_the_plots_say_in_words_what_they_show() -> None:
    labels = Page(html([record(0), record(1), DRIFTED])).labels
    assert any(label.startswith("Distribution of amount: most rows 0 to 1 then, 1 to 2 now") for label in labels)
    assert any(
        label == "Share of rows of amount that lie elsewhere, over 3 windows: 3.0 % at first, 40 % at last; it drifted"
        " in 1."
        for label in labels
    )


def test_a_timeline_needs_two_windows_that_were_judged() -> None:
    empty = replace(record(1, outcome=Outcome.NO_DATA), features=())
    assert timeline([DRIFTED], "amount") == ""
    assert timeline([empty, DRIFTED], "amount") == ""
    drawn = timeline([record(0), record(1), empty, DRIFTED], "amount")
    assert drawn.count("<circle") == 3
    assert drawn.count("curve candidate") == 1  # the line breaks where nothing is known


@pytest.mark.parametrize("write", [markdown, lambda made: html([made, made])], ids=["Markdown", "HTML"])
def test_names_from_data_are_text_and_nothing_else(write: object) -> None:
    made = record(0, column("score", 0.01), column(EVIL, 0.4, drifted=True), outcome=Outcome.DRIFT)
    made = replace(made, schema_changes=(f"{EVIL}: a column",))
    text = write(made)  # type: ignore[operator]
    assert "<script" not in text
    assert "@all" not in text or "html" in text[:20]


def test_the_same_records_give_the_same_page() -> None:
    assert html([record(0), DRIFTED]) == html([record(0), DRIFTED])
    assert html([record(0), DRIFTED]) != html([DRIFTED])
