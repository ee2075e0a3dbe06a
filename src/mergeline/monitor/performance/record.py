"""The record of one window: what each model that answered was worth in it, and whether that is worse than it may be."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from mergeline.errors import DataError
from mergeline.intervals import Interval
from mergeline.monitor.windows import Window

VERSION = 1
FOLDER = "performance/"  # in the log store

Made = TypeVar("Made")


class State(StrEnum):
    """What may be said of a model in a window. Of these `HOLDS` and `DEGRADED` alone judge it."""

    HOLDS = "holds"
    DEGRADED = "degraded"
    IMMATURE = "immature"  # labels are still to come
    FEW_LABELS = "too few labels"
    NO_LABELS = "no labels"  # though it is time
    NO_HOLDOUT = "no holdout figures"  # measured, with nothing to hold it against
    NO_ANSWERS = "no answers"  # all requests failed, and so no label is waited for
    NO_TRAFFIC = "no traffic"

    @property
    def judges(self) -> bool:
        """Whether it says how good the model is."""
        return self in (State.HOLDS, State.DEGRADED)


class Maturity(StrEnum):
    """Why a window is mature."""

    AGE = "age"
    COVERAGE = "coverage"


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of a model in a window, beside what it was on the holdout of its release.

    `estimate` is what all answers of the window were expected to come to by their scores alone, `error` what was
    measured less that. `difference` is positive where the window is better than the holdout, and `margin` how far below
    0 it may lie, both in the metric's own unit. What is not known, or not defined on these rows, is None.
    """

    name: str
    greater_is_better: bool | None
    rows: int
    measured: Interval | None
    holdout: Interval | None
    difference: Interval | None
    margin: float | None
    estimate: float | None

    @property
    def error(self) -> float | None:
        """What was measured less what was estimated before."""
        if self.measured is None or self.estimate is None:
            return None
        return self.measured.estimate - self.estimate

    @property
    def degraded(self) -> bool:
        """Whether the whole interval of the difference lies below what is allowed."""
        return self.difference is not None and self.margin is not None and self.difference.high < -self.margin


@dataclass(frozen=True, slots=True)
class SliceFigure:
    """The primary metric on the answers with one value in one column; confidence is that of all slices together."""

    column: str
    value: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Bias:
    """How far the scores of labelled and of unlabelled answers are apart: the largest gap of their distributions."""

    distance: float
    p_value: float
    found: bool


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model in one window, with the answers that it gave (those of a shadow are not among them).

    `failed` answers are none; `unreadable` labels are none of the task's. `reason` is a sentence without its full stop.
    """

    model_sha256: str
    answers: int
    failed: int
    labelled: int
    unreadable: int
    state: State
    reason: str
    figures: tuple[Figure, ...]
    slices: tuple[SliceFigure, ...]
    bias: Bias | None

    @property
    def coverage(self) -> float | None:
        """The share of the answers that have a label; None of no answer."""
        return self.labelled / self.answers if self.answers else None

    def figure(self, name: str) -> Figure | None:
        """Return one metric; None where nothing is known of it."""
        return next((each for each in self.figures if each.name == name), None)


@dataclass(frozen=True, slots=True)
class WindowPerformance:
    """What the labels that were known say of one window; the same log and labels give the same record.

    `models` has the champion that answered last first, whose state is that of the window. `settled`: over for so long
    that its labels are held to be in. `repeated` rows of the log say once more what another says, `corrected` requests
    were later labelled otherwise, `late` labels came after the window was mature, `early` ones say that they were known
    before the prediction. `delay_days` is the median from prediction to label.
    """

    window: Window
    primary: str
    state: State
    reason: str
    maturity: Maturity | None
    settled: bool
    models: tuple[ModelFigures, ...]
    repeated: int = 0
    corrected: int = 0
    late: int = 0
    early: int = 0
    delay_days: float | None = None
    notes: tuple[str, ...] = ()
    version: int = VERSION

    @property
    def answers(self) -> int:
        """The answers of all models."""
        return sum(each.answers for each in self.models)

    @property
    def labelled(self) -> int:
        """The answers that have a label."""
        return sum(each.labelled for each in self.models)

    @property
    def coverage(self) -> float | None:
        """The share of the answers that have a label; None of no answer."""
        return self.labelled / self.answers if self.answers else None

    @property
    def serving(self) -> ModelFigures | None:
        """The champion that answered last; None of no traffic."""
        return self.models[0] if self.models else None

    def to_json(self) -> str:
        """Return the text of the record; `from_json` reads it back to an equal one."""
        record = {
            **{name: value for name, value in asdict(self).items() if name != "window"},
            "window": self.window.as_dict(),
        }
        return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = FOLDER) -> WindowPerformance:
        """Return the record that `to_json` wrote.

        Raises `DataError`, which names the place `where` it was found, for anything else.
        """
        try:
            raw = json.loads(text)
            if raw["version"] != VERSION:
                raise DataError(
                    f"{where}: expected a record of version {VERSION}, found {raw['version']!r}; use the mergeline that"
                    " wrote it, or remove it and run `mergeline performance`"
                )
            return cls(
                **{
                    **raw,
                    "window": Window.from_dict(raw["window"]),
                    "state": State(raw["state"]),
                    "maturity": _maybe(Maturity, raw["maturity"]),
                    "models": tuple(_model(each) for each in raw["models"]),
                    "notes": tuple(raw["notes"]),
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise DataError(
                f"{where}: not as `mergeline performance` writes it ({err!r}); remove it and run that"
            ) from err


def key_of(window: Window) -> str:
    """Return where a window's record lies in the log store."""
    return f"{FOLDER}{window.name}.json"


def judged(records: Sequence[WindowPerformance], count: int) -> tuple[WindowPerformance, ...]:
    """Return the last windows that judge a model, at most so many, the oldest first."""
    return tuple(each for each in records if each.state.judges)[-count:]


def _maybe(make: Callable[[Any], Made], raw: Any) -> Made | None:
    return None if raw is None else make(raw)


def _model(raw: dict[str, Any]) -> ModelFigures:
    return ModelFigures(
        **{
            **raw,
            "state": State(raw["state"]),
            "figures": tuple(_figure(each) for each in raw["figures"]),
            "slices": tuple(SliceFigure(**{**each, "figure": _figure(each["figure"])}) for each in raw["slices"]),
            "bias": _maybe(lambda found: Bias(**found), raw["bias"]),
        }
    )


def _figure(raw: dict[str, Any]) -> Figure:
    return Figure(
        **{**raw, **{name: _maybe(lambda found: Interval(**found), raw[name]) for name in _INTERVALS}},
    )


_INTERVALS = ("measured", "holdout", "difference")
