"""The AnalysisTemplate of a canary: its metrics, read from the manifest that a cluster gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergeline.canary.conditions import Condition, ConditionError, parse_condition
from mergeline.canary.promql import Node, QueryError, parse_query, seconds_of, windows_of
from mergeline.errors import ConfigurationError

NAME = "mergeline-canary"
TEMPLATE = Path("k8s/components/canary/analysistemplates.yaml")
# the label by which a cluster tells stable and candidate pods apart
HASH_LABEL = "rollouts_pod_template_hash"
STABLE = "stable"
CANDIDATE = "candidate"
ARGUMENTS = {"stable-hash": STABLE, "canary-hash": CANDIDATE}

_ARGUMENT = re.compile(r"\{\{\s*args\.([A-Za-z0-9_-]+)\s*\}\}")
_REQUIRED = ("name", "interval", "count", "successCondition", "failureCondition", "provider")
_KNOWN = (*_REQUIRED, "initialDelay", "failureLimit", "inconclusiveLimit")


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured `count` times, `interval_s` seconds apart, first after `delay_s`, and when it is good or bad.

    A measurement that meets neither condition is inconclusive. More than `failure_limit` failures, or more than
    `inconclusive_limit` inconclusive measurements, end it.
    """

    name: str
    text: str
    query: Node
    success: Condition
    failure: Condition
    interval_s: float
    delay_s: float
    count: int
    failure_limit: int
    inconclusive_limit: int


@dataclass(frozen=True, slots=True)
class Template:
    """All metrics of a canary, and where they stand."""

    path: Path
    metrics: tuple[Metric, ...]

    @property
    def interval_s(self) -> float:
        """The shortest time between two measurements of a metric."""
        return min(metric.interval_s for metric in self.metrics)

    @property
    def longest_window_s(self) -> float:
        """How far back a query looks."""
        return max((seconds for metric in self.metrics for seconds in windows_of(metric.query)), default=0.0)


def read_template(path: Path, arguments: Mapping[str, str] = ARGUMENTS) -> Template:
    """Return the template of a manifest with values in the place of its arguments.

    Raises `ConfigurationError` where there is none, and where a query or a condition is more than is read here.
    """
    found = [each for each in _documents(path) if _is_template(each)]
    if len(found) != 1:
        raise ConfigurationError(f"{path}: expected one AnalysisTemplate {NAME}, found {len(found)}")
    spec = found[0].get("spec")
    metrics = spec.get("metrics") if isinstance(spec, dict) else None
    if not isinstance(metrics, list) or not metrics:
        raise ConfigurationError(f"{path}: spec.metrics: expected a list of metrics, found none")
    values = {**_defaults(path, spec.get("args") or []), **arguments}
    return Template(path, tuple(_metric(path, number, each, values) for number, each in enumerate(metrics)))


def _documents(path: Path) -> list[Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return list(YAML(typ="safe").load_all(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigurationError(f"{path}: no AnalysisTemplate that can be read ({err}); name one") from err
    except YAMLError as err:
        raise ConfigurationError(f"{path}: not YAML ({' '.join(str(err).split())[:200]})") from err


def _is_template(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and document.get("kind") == "AnalysisTemplate"
        and isinstance(document.get("metadata"), dict)
        and document["metadata"].get("name") == NAME
    )


def _defaults(path: Path, declared: Any) -> dict[str, str]:
    if not isinstance(declared, list) or not all(isinstance(each, dict) and "name" in each for each in declared):
        raise ConfigurationError(f"{path}: spec.args: expected a list of names, found something else")
    return {str(each["name"]): str(each["value"]) for each in declared if "value" in each}


def _metric(path: Path, number: int, raw: Any, values: Mapping[str, str]) -> Metric:
    where = f"{path}: spec.metrics[{number}]"
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{where}: expected a metric, found {type(raw).__name__}")
    where = f"{where} ({raw.get('name')})"
    missing = [key for key in _REQUIRED if key not in raw]
    unknown = [str(key) for key in raw if key not in _KNOWN]
    if missing or unknown:
        said = f"no {missing[0]}" if missing else f"{unknown[0]}, which is not read here"
        raise ConfigurationError(f"{where}: expected {', '.join(_KNOWN)}; found {said}")
    text = _filled(where, _query(where, raw["provider"]), values)
    metric = Metric(
        name=str(raw["name"]),
        text=text,
        query=_parsed(f"{where}: query", text, parse_query),
        success=_parsed(f"{where}: successCondition", raw["successCondition"], parse_condition),
        failure=_parsed(f"{where}: failureCondition", raw["failureCondition"], parse_condition),
        interval_s=_parsed(f"{where}: interval", raw["interval"], seconds_of),
        delay_s=_parsed(f"{where}: initialDelay", raw.get("initialDelay", "0s"), seconds_of),
        count=_whole(where, "count", raw["count"], 1),
        failure_limit=_whole(where, "failureLimit", raw.get("failureLimit", 0), 0),
        inconclusive_limit=_whole(where, "inconclusiveLimit", raw.get("inconclusiveLimit", 0), 0),
    )
    if metric.failure_limit + metric.inconclusive_limit >= metric.count:
        raise ConfigurationError(
            f"{where}: expected failureLimit and inconclusiveLimit together below count, found {metric.failure_limit}"
            f" + {metric.inconclusive_limit} of {metric.count}: it would pass without a measurement that did"
        )
    return metric


def _query(where: str, provider: Any) -> str:
    prometheus = provider.get("prometheus") if isinstance(provider, dict) else None
    query = prometheus.get("query") if isinstance(prometheus, dict) else None
    if not isinstance(query, str):
        raise ConfigurationError(f"{where}: expected provider.prometheus.query; other providers are not asked here")
    return query


def _filled(where: str, text: str, values: Mapping[str, str]) -> str:
    unknown = [name for name in _ARGUMENT.findall(text) if name not in values]
    if unknown:
        raise ConfigurationError(f"{where}: args.{unknown[0]}: no value; expected {', '.join(sorted(values))}")
    return _ARGUMENT.sub(lambda match: values[match[1]], text)


def _parsed(where: str, text: Any, parse: Any) -> Any:
    try:
        return parse(str(text))
    except (QueryError, ConditionError) as err:
        raise ConfigurationError(f"{where}: {err}; it says: {' '.join(str(text).split())}") from err


def _whole(where: str, name: str, raw: Any, least: int) -> int:
    try:
        value = int(str(raw))  # a manifest may write it as text
    except ValueError:
        value = least - 1
    if value < least:
        raise ConfigurationError(f"{where}: {name}: expected a whole number from {least} on, found {raw!r}")
    return value
