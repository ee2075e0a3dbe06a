"""What all sections of `params.yaml` share: frozen records, strict types, the kinds of value that stand in them."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import reprlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

# the keys of params.yaml, as `whole.Params` has them
SECTIONS = (
    *("data", "sources", "validate", "train", "evaluate", "gates", "release", "tune", "drift", "engine", "decide"),
    *("weekly", "performance", "collect"),
)


class Section(BaseModel):
    """A mapping of `params.yaml`: frozen, no unknown key, no silent conversion of types, no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _day(value: Any) -> dt.date:
    """A date written in quotes: DVC, which reads the same file, takes no bare one."""
    if isinstance(value, dt.date):
        # a ValueError, not a TypeError: of those alone pydantic makes one of its problems
        raise ValueError(f"expected a date in quotes (DVC takes no bare one), found {value}")  # noqa: TRY004
    try:
        return dt.date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f'expected a date such as "2013-07-01", found {value!r}') from None


def _limit(value: Any) -> float | dt.date:
    """A number, or a date for a column of time stamps."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _day(value)
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, found {value}")
    return value


def _scalar(value: Any) -> bool | int | float | str:
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"expected a number, a text, true or false, found {reprlib.repr(value)}")


def _threshold(value: Any) -> float | Literal["f1"]:
    if value == "f1":
        return "f1"
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ValueError(f"expected f1 or a number between 0 and 1, found {reprlib.repr(value)}")


Day = Annotated[dt.date, BeforeValidator(_day)]
Limit = Annotated[float | dt.date, PlainValidator(_limit)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Scalar = Annotated[bool | int | float | str, PlainValidator(_scalar)]
Threshold = Annotated[float | Literal["f1"], PlainValidator(_threshold)]
Severity = Literal["error", "warn"]


def refuse(problems: Sequence[str]) -> None:
    """Raise one `ValueError` that names all problems, if there are any; pydantic makes one of its own of it."""
    if problems:
        raise ValueError("; ".join(problems))


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a question that names the closest known name, or nothing where none is close.

    >>> suggestion("orgin", ["origin", "late"])
    "; did you mean 'origin'?"
    """
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
