"""The pages' HTML: every feature can be filled in, what a team named is text, and nothing comes from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from mergeline.schema import Feature, Kind, KnownSample, Signature, Task
from mergeline.serve import form, pages, reference
from mergeline.serve.openapi import describe
from mergeline.serve.rows import RequestModel

SHA256 = "ab" * 32
FEATURES = (
    Feature("amount", Kind.NUMBER),
    Feature("member", Kind.BOOLEAN),
    Feature("since", Kind.DATETIME),
    Feature("channel", Kind.CATEGORY, ("app", "web", "")),
    Feature("code", Kind.CATEGORY, ("1", "2.5", "true")),
)
ROW = {"amount": 39.02000045776367, "member": True, "since": "2020-03-01T02:00:00+02:00", "channel": "web", "code": 1}
GAPS = dict.fromkeys(ROW)
HARMLESS = "harmless"
NASTY = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\" autofocus onfocus=alert(1) x='",
    "'; alert(1); '",
    "Grüße 🌊 東京",
    "\u202eturned\u200b\x07",
    "x" * 200,
    "__proto__",
    "${constructor} $target &amp; {{7*7}}",
    "a.b[0] `c` \\",
)
METRICS = [
    {
        "name": "log_loss",
        "greater_is_better": False,
        "rows": 900,
        "estimate": 0.5,
        "low": 0.4,
        "high": 0.6,
        "confidence": 0.95,
    },
    {
        "name": "roc_auc",
        "greater_is_better": True,
        "rows": 900,
        "estimate": 0.75912,
        "low": 0.7528,
        "high": 0.7653,
        "confidence": 0.95,
    },
]


def signature(task: Task = Task.BINARY, features: tuple[Feature, ...] = FEATURES, **changes: Any) -> Signature:
    """A signature with two known samples, the second of which knows nothing."""
    classes = {Task.BINARY: ("no", "yes"), Task.MULTICLASS: ("low", "mid", "top"), Task.REGRESSION: ()}[task]
    row = {feature.name: ROW.get(feature.name) for feature in features}
    scores = tuple(1 / len(classes) for _ in classes) or (12.5,)
    values: dict[str, Any] = {
        "threshold": 0.25 if task is Task.BINARY else None,
        "samples": (KnownSample(row, scores), KnownSample(dict.fromkeys(row), scores)),
    }
    return Signature(task, "bought", features, classes, **{**values, **changes})


def described(asked: Signature, *, guarded: bool = False) -> dict[str, Any]:
    return describe(RequestModel(asked, 100), SHA256, guarded=guarded)


def status(asked: Signature, **release: Any) -> dict[str, Any]:
    """What a server of this model says of itself before its first request."""
    return {
        "release": {
            "environment": "production",
            "model_sha256": SHA256,
            "task": str(asked.task),
            "target": asked.target,
            "classes": list(asked.classes),
            "threshold": asked.threshold,
            "training": {
                "family": "boosting",
                "training_rows": 1234,
                "first_time": "2024-01-01T00:00:00",
                "last_time": "2024-02-01T00:00:00",
                "importance": None,
            },
            "training_commit": "c" * 40,
            "data": {"data": "d" * 32},
            "evaluation": {
                "primary": "roc_auc",
                "rows": 900,
                "first_time": None,
                "last_time": None,
                "metrics": METRICS,
            },
            **release,
        },
        "variants": [
            {"variant": "champion", "model_sha256": SHA256, "share": 0.9},
            {"variant": "challenger", "model_sha256": "ef" * 32, "share": 0.1},
        ],
        "workers": 1,
        "predictions": {},
        "labels": 0,
        "answered": {},
        "latency": {"requests": 0, "p50_ms": None, "p95_ms": None, "p99_ms": None},
        "log": None,
        "drift": {},
    }


def home(asked: Signature | None = None, **release: Any) -> str:
    asked = asked or signature()
    return pages.home(status(asked, **release), described(asked)).decode()


def renamed(found: Any, name: str) -> Any:
    """The same record with another name wherever `harmless` stands, as a key or as a value."""
    return json.loads(json.dumps(found).replace(HARMLESS, json.dumps(name)[1:-1]))


# ---- Reading a page --------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The tags of a page in their order with the names of their attributes, the attributes, the text of elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.structure: list[tuple[str, ...]] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[tuple[str, str]] = []
        self.seen = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.structure.append((tag, *(name for name, _ in attrs)))
        self.attributes.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.structure.append((f"/{tag}",))
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.inline.append((self._inside, data))
        else:
            self.seen += data

    @property
    def data(self) -> dict[str, Any]:
        """The records that the page's scripts read: what the form asks, and the status."""
        asked, status = (json.loads(text) for _, text in self.inline if text.startswith("{"))
        return {**asked, "status": status}

    @property
    def code(self) -> list[str]:
        """The styles and scripts that a browser runs."""
        return [text for _, text in self.inline if not text.startswith("{")]


def unlabelled(text: str) -> list[str]:
    """The controls that have no name: no label for their id, no aria-label."""
    found = Page(text).attributes
    named = {attributes["for"] for tag, attributes in found if tag == "label"}
    controls = [attributes for tag, attributes in found if tag in ("input", "select", "textarea")]
    return [str(each["id"]) for each in controls if each["id"] not in named and "aria-label" not in each]


def foreign(text: str) -> list[str]:
    """Addresses outside of the server that a page would load or lead to, and markup that its policy refuses."""
    page = Page(text)
    links = [
        value
        for _, attributes in page.attributes
        for name, value in attributes.items()
        if name in ("href", "src", "action", "srcset", "data", "poster") and value
    ]
    away = [link for link in links if re.match(r"[a-z]+:|//", link) and not link.startswith("data:,")]
    away += [each for code in page.code for each in re.findall(r"https?://[^\s\"'`]*|@import|url\(", code)]
    return away + [name for _, names in page.attributes for name in names if name == "style" or name.startswith("on")]


# ---- The form --------------------------------------------------------------------------------------------------------


def test_every_feature_has_a_labelled_field_of_its_kind() -> None:
    features = tuple(
        Feature(f"feature {number}", kind, ("a", "b") if kind is Kind.CATEGORY else ())
        for number, kind in enumerate([*Kind] * 10)
    )
    text = home(signature(features=features))
    labels = re.findall(r'<label for="f(\d+)">(.*?) <small>', text)
    assert labels == [(str(number), feature.name) for number, feature in enumerate(features)]
    assert unlabelled(text) == []
    tags = {
        attributes["id"]: (tag, attributes.get("type"))
        for tag, attributes in Page(text).attributes
        if "id" in attributes
    }
    assert [tags[f"f{number}"] for number in range(4)] == [
        ("input", "number"),
        ("select", None),
        ("input", "datetime-local"),
        ("select", None),
    ]


def test_the_twin_a_field_without_its_label_is_found() -> None:
    assert unlabelled(home().replace('<label for="f2">', '<label for="f22">')) == ["f2"]


def test_a_sample_stands_in_the_form_as_a_person_writes_it_and_is_sent_as_it_was() -> None:
    asked = form.fields(described(signature()))
    assert {field.name: field.kind for field in asked} == {feature.name: feature.kind for feature in FEATURES}
    assert [field.shown for field in asked] == [
        *[(39.02, None), (True, None)],
        *[("2020-03-01T00:00:00", None), ("web", None), ("1", None)],
    ]
    assert [field.exact[0] for field in asked] == [*[39.02000045776367, True], "2020-03-01T02:00:00+02:00", "web", "1"]


@pytest.mark.parametrize("value", [0.1, 16777217.0, 123456.789, 1 / 3, -0.0, 3.4028234663852886e38, 1e300, 2**60])
def test_a_number_is_shortened_only_so_far_that_the_model_reads_the_same(value: float) -> None:
    sample = KnownSample({"amount": value}, (0.5, 0.5))
    asked = form.fields(described(signature(features=FEATURES[:1], samples=(sample,))))
    with np.errstate(over="ignore"):
        assert np.float32(asked[0].shown[0]) == np.float32(value)
    assert asked[0].exact == (value,)


def test_what_is_personal_stands_in_no_page() -> None:
    asked = signature(personal=("channel", "amount"))
    assert [field.shown[0] for field in form.fields(described(asked))][::3] == [None, None]
    for text in (home(asked), pages.docs(described(asked)).decode()):
        assert "39.02" not in text
    assert "39.02" in home()


def test_of_many_categories_the_described_ones_are_offered_and_any_other_can_be_typed() -> None:
    values = tuple(f"{'long ' * 40}{number:03}" for number in range(300))
    page = Page(home(signature(features=(Feature("shop", Kind.CATEGORY, values),))))
    offered = page.data["fields"][0]["values"]
    assert offered == list(values[: len(offered)])
    assert len(offered) >= 50
    assert [attributes.get("value") for tag, attributes in page.attributes if tag == "option"] == [
        *["", *map(str, range(len(offered)))],
        "other",
    ]
    assert "f0-other" in {attributes.get("id") for _, attributes in page.attributes}


@pytest.mark.parametrize(("guarded", "fields"), [(True, 1), (False, 0)])
def test_the_key_is_asked_for_where_the_description_declares_one(guarded: bool, fields: int) -> None:
    asked = signature()
    text = pages.home(status(asked), described(asked, guarded=guarded)).decode()
    assert [attributes.get("type") for _, attributes in Page(text).attributes].count("password") == fields
    assert ("YOUR-KEY" in pages.docs(described(asked, guarded=guarded)).decode()) is guarded


# ---- The release -----------------------------------------------------------------------------------------------------


def test_the_release_stands_there_without_scripts() -> None:
    seen = Page(home()).seen
    for fact in (
        *("production", SHA256[:12], "bought", "boosting", "1,234 rows, 2024-01-01 00:00 to 2024-02-01 00:00"),
        *("ROC AUC", "0.7591", "0.7528 to 0.7653 (95 % interval)", "log loss", "c" * 28, "d" * 32, "0.25"),
        *("answers 90 % of the keys", "answers 10 % of the keys, the same ones every time", "efefefefefef"),
    ):
        assert fact in seen, fact
    assert seen.index("ROC AUC", seen.index("On the holdout")) < seen.index("log loss")


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Task.BINARY, "the probability that bought is yes; from 0.25 on it decides yes, below it no."),
        (Task.MULTICLASS, "which of 3 classes bought is: the likeliest of low, mid, top."),
        (Task.REGRESSION, "Predicts the number bought, in its own unit."),
    ],
)
def test_the_page_says_what_the_model_tells(task: Task, said: str) -> None:
    assert said in Page(home(signature(task))).seen


def test_errors_of_a_regression_are_in_the_unit_of_the_target() -> None:
    found = [{**METRICS[0], "name": "rmse"}, {**METRICS[0], "name": "r2"}]
    seen = Page(home(signature(Task.REGRESSION), evaluation={"rows": 9, "metrics": found})).seen
    assert "0.5 (unit of bought)" in seen
    assert seen.count("0.5 (unit of bought)") == 1


def test_what_is_not_known_of_a_release_is_left_out() -> None:
    nothing = dict.fromkeys(("family", "training_rows", "first_time", "last_time", "importance"))
    seen = Page(home(evaluation=None, training=nothing, training_commit=None, data={})).seen
    assert "Nothing is recorded of how the model did on its holdout." in seen
    assert "None" not in seen


# ---- Names are text --------------------------------------------------------------------------------------------------


def planted(name: str) -> Iterator[str]:
    """Both pages of a model whose target, features, categories, classes, environment and data carry a name."""
    features = (
        Feature(HARMLESS, Kind.NUMBER),
        Feature(f"{HARMLESS} category", Kind.CATEGORY, ("a", HARMLESS)),
        *FEATURES,
    )
    asked = signature(features=features)
    said = status(asked, target=HARMLESS, classes=["no", HARMLESS], environment=HARMLESS, data={HARMLESS: HARMLESS})
    said["drift"] = {HARMLESS: {"psi": None, "expected": None, "bound": None, "groups": 1, "rows": 0}}
    api = described(asked)
    yield pages.home(renamed(said, name), renamed(api, name)).decode()
    yield pages.docs(renamed(api, name)).decode()


@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_text_whatever_it_holds(name: str) -> None:
    """The pages have the tags and attributes that they have with a harmless name; their data has the name itself."""
    for plain, found in zip(planted(HARMLESS), planted(name), strict=True):
        assert Page(found).structure == Page(plain).structure
        assert Page(found).code == Page(plain).code
    asked = next(iter(planted(name)))
    assert Page(asked).data["fields"][0]["name"] == name
    assert Page(asked).data["fields"][1]["values"] == ["a", name]
    assert Page(asked).data["status"]["release"]["target"] == name


@pytest.mark.parametrize("module", [form, pages, reference])
def test_the_twin_a_name_that_goes_in_as_it_is_changes_the_page(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [Page(text).structure for text in planted(NASTY[0])]
    monkeypatch.setattr(module, "page", lambda text, limit=300: str(text))
    assert [Page(text).structure for text in planted(NASTY[0])] != before


def test_the_twin_data_that_ends_its_script_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [Page(text).structure for text in planted(NASTY[1])]
    monkeypatch.setattr(pages, "_inline", json.dumps)
    assert [Page(text).structure for text in planted(NASTY[1])] != before


# ---- Nothing from elsewhere ------------------------------------------------------------------------------------------


def test_the_pages_load_nothing_from_elsewhere_and_carry_no_style_or_handler_in_a_tag() -> None:
    for text in planted(HARMLESS):
        assert foreign(text) == []


@pytest.mark.parametrize(
    "more",
    [
        '<link rel="stylesheet" href="https://cdn.example.org/x.css">',
        '<img src="//example.org/x.png">',
        '<p style="color: red">',
        '<p onclick="x()">',
        "<script>fetch('https://example.org')</script>",
        "<style>@import 'x.css';</style>",
    ],
)
def test_the_twin_what_comes_from_elsewhere_is_found(more: str) -> None:
    assert foreign(home().replace("</main>", f"{more}</main>"))


def allowed(code: str, policy: str) -> bool:
    """Whether a policy lets this inline style or script run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'" in policy


def test_the_policy_names_the_pages_own_style_and_scripts_and_nothing_else() -> None:
    policy = pages.content_security_policy()
    own = [code for text in planted(HARMLESS) for code in Page(text).code]
    assert len(own) == 5
    assert all(allowed(code, policy) for code in own)
    assert not re.search(r"unsafe|https?:|\*", policy)


def test_the_twin_another_script_is_not_allowed() -> None:
    assert not allowed(Page(home()).code[-1] + " ", pages.content_security_policy())


# ---- The reference ---------------------------------------------------------------------------------------------------


def test_the_reference_has_every_operation_every_feature_and_every_status() -> None:
    api = described(signature())
    seen = Page(pages.docs(api).decode()).seen
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()} {path}" in seen
            assert operation["summary"] in seen
            assert all(status in seen for status in operation["responses"])
    for feature in FEATURES:
        assert f"rows[].features.{feature.name}" in seen
    for fact in (
        "1 to 100 items",
        "1 to 256 characters",
        '"app", "web"',
        "predictions[].decision",
        "labels[].label_ts",
    ):
        assert fact in seen, fact


def test_a_member_has_its_type_and_whether_it_is_required() -> None:
    api = described(signature(Task.MULTICLASS))
    post = api["paths"]["/predict"]["post"]
    found = {
        member.place: member
        for content in (post["requestBody"]["content"], post["responses"]["200"]["content"])
        for member in reference.members(content["application/json"]["schema"], api["components"]["schemas"])
    }
    assert found["rows[].features.amount"].types == "number or null"
    assert found["rows[].features.amount"].is_required
    assert not found["rows[].entity_id"].is_required
    assert found["rows[].features.since"].said == "ISO 8601; UTC where no offset is given"
    assert found["predictions[].scores.*"].types == "number"


@pytest.mark.parametrize("name", [*NASTY, "it's"])
def test_a_command_reaches_a_shell_as_the_example_that_it_shows(name: str) -> None:
    api = renamed(described(signature(features=(Feature(HARMLESS, Kind.NUMBER), *FEATURES))), name)
    text = re.search(r'id="predict-command">(.*?)</pre>', pages.docs(api).decode(), re.DOTALL)
    assert text
    words = shlex.split(Page(text[1]).seen)
    examples = api["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert words[:3] == ["curl", "-sS", "http://localhost:8080/predict"]
    assert json.loads(words[words.index("-d") + 1]) == next(iter(examples.values()))["value"]


# ---- Colours ---------------------------------------------------------------------------------------------------------

TEXT = [
    *[(ink, ground) for ink in ("ink", "soft", "accent", "bad") for ground in ("ground", "sheet")],
    *[("accent", "track"), ("ink", "track"), ("on-accent", "accent"), ("look", "look-ground"), ("ink", "look-ground")],
]
SHAPES = [
    ("edge", "sheet"),
    ("edge", "ground"),
    ("bar", "track"),
    ("look", "track"),
    ("accent", "track"),
    ("bad", "sheet"),
]


def palettes(style: str) -> list[dict[str, str]]:
    """The colours of each scheme, light and dark."""
    return [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.2, 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def faint(style: str) -> list[tuple[str, str]]:
    """The pairs of colours that are too much alike: text below 4.5 to 1, shapes below 3 to 1."""
    return [
        pair
        for colours in palettes(style)
        for pairs, least in ((TEXT, 4.5), (SHAPES, 3.0))
        for pair in pairs
        if contrast(colours[pair[0]], colours[pair[1]]) < least
    ]


def test_text_and_shapes_stand_out_by_day_and_by_night() -> None:
    style = Page(home()).code[0]
    assert len(palettes(style)) == 2
    assert faint(style) == []


def test_the_twin_a_faint_colour_is_found() -> None:
    style = Page(home()).code[0]
    assert ("soft", "ground") in faint(style.replace(palettes(style)[0]["soft"], "#b0b0b0"))


def test_a_server_without_a_log_describes_no_labels() -> None:
    asked = signature(Task.BINARY)
    model = RequestModel(asked, 100)
    without, with_log = (describe(model, SHA256, guarded=False, logged=logged) for logged in (False, True))
    assert with_log["paths"].keys() - without["paths"].keys() == {"/labels"}
    assert b"/labels" in pages.docs(with_log)
    assert b"POST /labels" not in pages.docs(without)
    pages.Home(without)
