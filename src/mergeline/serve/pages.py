"""The pages of a server for a person: one file of HTML each, which loads nothing from elsewhere."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from mergeline.report.escape import page
from mergeline.report.wording import bounds, count, figure, metric_label, period, share, short
from mergeline.schema import Task
from mergeline.serve import form, reference
from mergeline.serve.drift import MIN_ROWS, WINDOW_ROWS

SCRIPTS = ("element.js", "form.js", "live.js")  # of the page at `/`, in the order in which they run
FEATURES = "rows[0].features."  # where a problem of the form's one row says that a feature lies
KEY_FIELD = (
    '<div class="field"><label for="api-key">API key <small>text, required</small></label>'
    '<div class="control"><input id="api-key" type="password" autocomplete="off"></div>'
    '<p class="wrong" id="api-key-wrong" hidden></p></div>'
)
ROLES = {
    "champion": "answers {share} of the keys",
    "challenger": "answers {share} of the keys, the same ones every time",
    "shadow": "scores and is logged, answers nothing",
}
DIRECTIONS: Mapping[bool | None, str] = {True: "higher is better", False: "lower is better"}

Json = Mapping[str, Any]


class Home:
    """The page at `/` of one description: the release, a form that predicts, live figures and drift.

    `described` is the OpenAPI description; what follows from it is made once. The release stands there without scripts.
    """

    def __init__(self, described: dict[str, Any]) -> None:
        asked = form.fields(described)
        self._template = _template("page.html")
        self._parts = {
            "fields": form.form(asked),
            "key": KEY_FIELD if "securitySchemes" in described["components"] else "",
            "window": count(WINDOW_ROWS),
            "style": _read("page.css"),
            "copy": _read("copy.js"),
            "script": _script(),
            "asked": _inline(
                {
                    "fields": [field.as_dict() for field in asked],
                    "samples": len(asked[0].shown) if asked else 0,
                    "minRows": MIN_ROWS,
                    "place": FEATURES,
                }
            ),
        }

    def html(self, status: dict[str, Any]) -> bytes:
        """Return the page as it is now; `status` is what `/status` answers."""
        release = status["release"]
        made = self._template.substitute(
            self._parts,
            environment=page(release["environment"]),
            target=page(release["target"]),
            meaning=_meaning(release),
            cards=_cards(release),
            facts=_facts(release),
            variants=_variants(status["variants"]),
            holdout=_holdout(release),
            status=_inline(status),
        )
        return made.encode()


def home(status: dict[str, Any], described: dict[str, Any]) -> bytes:
    """Return the page at `/`; where it is asked for more than once, keep a `Home`."""
    return Home(described).html(status)


def docs(described: dict[str, Any]) -> bytes:
    """Return the page at `/docs`: what `described`, the OpenAPI description, says, for a person who writes a client."""
    guarded = "securitySchemes" in described["components"]
    key = (
        " Requests that bring work need the API key, as <code>X-API-Key</code> or as a bearer token." if guarded else ""
    )
    made = _template("docs.html").substitute(
        title=page(described["info"]["title"]),
        said=page(described["info"]["description"]),
        openapi=page(described["openapi"]),
        key=key,
        contents=reference.contents(described),
        operations=reference.operations(described),
        style=_read("page.css"),
        copy=_read("copy.js"),
    )
    return made.encode()


def content_security_policy() -> str:
    """Return the policy under which both pages work: their own style and scripts, this server, nothing else."""
    scripts = " ".join(map(_source, (_read("copy.js"), _script())))
    return (
        f"default-src 'none'; style-src {_source(_read('page.css'))}; script-src {scripts}; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    )


# ---- Parts -----------------------------------------------------------------------------------------------------------


@functools.cache
def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _script() -> str:
    return "".join(map(_read, SCRIPTS))


def _template(name: str) -> Template:
    return Template(_read(name))


def _source(text: str) -> str:
    """How a policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _inline(data: Any) -> str:
    """JSON for a script element, which no text in it can end."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# ---- The release -----------------------------------------------------------------------------------------------------


def _meaning(release: Json) -> str:
    target, classes = page(release["target"]), [page(name) for name in release["classes"]]
    if release["task"] == Task.REGRESSION:
        return f"Predicts the number <b>{target}</b>, in its own unit."
    if release["task"] == Task.MULTICLASS:
        return f"Tells which of {len(classes)} classes <b>{target}</b> is: the likeliest of {_listed(classes)}."
    start = f"Gives the probability that <b>{target}</b> is <b>{classes[1]}</b>"
    if release["threshold"] is None:
        return f"{start}, and decides nothing."
    return f"{start}; from {figure(release['threshold'])} on it decides {classes[1]}, below it {classes[0]}."


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


def _cards(release: Json) -> str:
    training, metrics = release["training"], _metrics(release["evaluation"])
    cards = []
    if metrics:
        first = metrics[0]
        more = f"{_interval(first)}{_unit(first, release)}"
        cards.append((f"{metric_label(first['name'])} on the holdout", figure(first["estimate"]), more))
    if release["threshold"] is not None:
        cards.append(("decision threshold", figure(release["threshold"]), "of the score, a probability from 0 to 1"))
    if training["training_rows"] is not None:
        cards.append(("trained on", f"{count(training['training_rows'])} rows", period(training)))
    made = ", ".join(filter(None, [training["family"], release["task"]]))
    cards.append(("model", short(release["model_sha256"]), made))
    return "".join(_card(*card) for card in cards)


def _card(name: str, value: str, more: str) -> str:
    return f"<div><dt>{page(name)}</dt><dd>{page(value)} <small>{page(more)}</small></dd></div>"


def _facts(release: Json) -> str:
    training, evaluation = release["training"], release["evaluation"]
    facts = [
        ("environment", page(release["environment"])),
        ("model, SHA-256", _hash("model", release["model_sha256"])),
        ("task", page(release["task"])),
        ("target", page(release["target"])),
        ("classes", _listed([page(name) for name in release["classes"]])),
        ("family", page(training["family"] or "")),
        ("trained on", _rows(training["training_rows"], training)),
        ("measured on", _rows(evaluation.get("rows"), evaluation) if evaluation else ""),
        ("decision threshold", "none" if release["threshold"] is None else figure(release["threshold"])),
        ("training commit", _hash("commit", release["training_commit"]) if release["training_commit"] else ""),
        *((f"hash of {name}", f"<code>{page(digest)}</code>") for name, digest in release["data"].items()),
    ]
    return "\n".join(f"<dt>{page(name)}</dt><dd>{value}</dd>" for name, value in facts if value)


def _rows(rows: int | None, times: Json) -> str:
    if rows is None:
        return ""
    return page(", ".join(filter(None, [f"{count(rows)} rows", period(dict(times))])))


def _hash(key: str, text: str) -> str:
    """The whole of it, to be copied; the first digits stand out."""
    start = short(text)
    return (
        f'<code id="{key}"><b>{page(start)}</b>{page(text[len(start) :])}</code>'
        f' <button type="button" class="copy" data-copies="{key}" aria-label="Copy the {key}" hidden>Copy</button>'
    )


def _variants(variants: list[dict[str, Any]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{page(each["variant"])}</th><td>'
        f"{page(ROLES[each['variant']].format(share=share(each['share'])))}</td>"
        f'<td><code title="{html.escape(each["model_sha256"])}">{page(short(each["model_sha256"]))}</code></td></tr>'
        for each in variants
    )
    return _table(("variant", "what it does", "model"), rows)


def _metrics(evaluation: Json | None) -> list[dict[str, Any]]:
    """The figures of the holdout, the primary one first."""
    found = list((evaluation or {}).get("metrics") or ())
    primary = (evaluation or {}).get("primary")
    return sorted(found, key=lambda metric: metric["name"] != primary)


def _holdout(release: Json) -> str:
    metrics = _metrics(release["evaluation"])
    if not metrics:
        return '<p class="note">Nothing is recorded of how the model did on its holdout.</p>'
    rows = "".join(_figure(metric, _unit(metric, release), is_first=metric is metrics[0]) for metric in metrics)
    return _table(("figure", "value", "interval", "of", "direction"), rows)


def _unit(metric: Json, release: Json) -> str:
    """Errors of a regression are in the target's unit; all else has none."""
    has_one = release["task"] == Task.REGRESSION and metric["name"] != "r2"
    return f" (unit of {release['target']})" if has_one else ""


def _figure(metric: Json, unit: str, *, is_first: bool) -> str:
    cells = (
        ("", f"{figure(metric['estimate'])}{unit}"),
        ("interval", _interval(metric)),
        ("of", f"{count(metric.get('rows'))} rows"),
        ("", DIRECTIONS.get(metric.get("greater_is_better"), "")),
    )
    row = "".join(
        f"<td{f' data-column={name!r}' if name else ''}>{page(text)}</td>" if text else '<td class="empty"></td>'
        for name, text in cells
    )
    kind = ' class="primary"' if is_first else ""
    return f'<tr{kind}><th scope="row">{page(metric_label(metric["name"]))}</th>{row}</tr>'


def _interval(metric: Json) -> str:
    if metric.get("low") is None or metric.get("confidence") is None:
        return "without an interval"
    return f"{bounds(dict(metric))} ({metric['confidence'] * 100:.4g} % interval)"


def _table(columns: tuple[str, ...], rows: str) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return (
        f'<div class="scroll"><table class="stacked"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
