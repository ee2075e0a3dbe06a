"""From a request's JSON to the model's matrix, by the signature alone and without pandas.

A value becomes the same float32 as in training (`mergeline.models.encoder`); a test holds the two against each other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec.structs import astuple

from mergeline.schema import FIRST_CATEGORY_CODE, MISSING_CODE, OTHER_CODE, Feature, Kind, Signature
from mergeline.serve.problems import Problem
from mergeline.serve.requesttype import INT64_MAX, invalid, is_text, request_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

SECONDS_A_DAY = 86_400.0
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


class Parsed(msgspec.Struct, frozen=True, gc=False):  # made for every request: a dataclass costs four times as much
    """A request that was decoded, before numpy: the values of each row, categories as texts, None where missing.

    `event_times` (microseconds since 1970 UTC) and `entity_ids` are None where no row carries one.
    """

    values: list[Sequence[Any]]
    event_times: Sequence[int | None] | None = None
    entity_ids: Sequence[str | None] | None = None


class Rows(msgspec.Struct, frozen=True, gc=False):
    """Rows that are scored together, of one request or of several.

    `values` is float64 (rows, features), coded as the model reads them but not yet cast to float32; `texts` holds the
    text of each category that training did not keep, by row and column; the rest is as in `Parsed`.
    """

    values: NDArray[np.float64]
    texts: Mapping[tuple[int, int], str] | None = None
    event_times: Sequence[int | None] | None = None
    entity_ids: Sequence[str | None] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def matrix(self) -> NDArray[np.float32]:
        """The values as the model reads them: float32 (rows, features)."""
        return self.values.astype(np.float32)

    def at(self, positions: Sequence[int]) -> Rows:
        """Return some of the rows, in the order given."""
        new = {old: position for position, old in enumerate(positions)}
        texts = {(new[row], column): text for (row, column), text in (self.texts or {}).items() if row in new}
        return Rows(
            self.values[list(positions)],
            texts or None,
            None if self.event_times is None else [self.event_times[each] for each in positions],
            None if self.entity_ids is None else [self.entity_ids[each] for each in positions],
        )


class RequestModel:
    """The type of a prediction request, made from a signature, and its decoder.

    Every feature has to be there, null where it is missing; nothing else may be there. A number has to be finite and
    within float32. `decode` raises `Problem` 400 for what is not JSON, 413 for too many rows, 422 for the rest, with
    the field.
    """

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self.signature = signature
        self.max_rows = max_rows
        self.features = signature.features
        self.type = request_type(signature, max_rows)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self.type)
        self._columns = [
            (position, convert)
            for position, feature in enumerate(signature.features)
            if (convert := _converter(feature)) is not None
        ]
        self._lookups = [
            (position, _codes(feature))
            for position, feature in enumerate(signature.features)
            if feature.kind is Kind.CATEGORY
        ]

    def decode(self, body: bytes) -> Parsed:
        """Return the rows of a request's body."""
        try:
            rows = self._decoder.decode(body).rows
        except msgspec.ValidationError as err:
            raise invalid(str(err)) from err
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            raise Problem(400, f"expected JSON, found something else: {_plain(str(err))}") from err
        if len(rows) > self.max_rows:
            raise Problem(413, f"expected at most {self.max_rows} rows, found {len(rows)}; send them in parts", "rows")
        values: list[Sequence[Any]] = [astuple(row.features) for row in rows]
        if self._columns:
            values = [self._converted(number, row) for number, row in enumerate(values)]
        if len(rows) == 1 and rows[0].event_time is None and rows[0].entity_id is None:  # what most requests are
            return Parsed(values)
        return Parsed(values, _event_times(rows), _entity_ids(rows))

    def together(self, requests: Sequence[Parsed]) -> Rows:
        """Return the rows of several requests, one after the other; at least one."""
        if len(requests) == 1:
            only = requests[0]
            return Rows(*self._matrix(only.values), only.event_times, only.entity_ids)
        return Rows(
            *self._matrix([row for each in requests for row in each.values]),
            _joined([each.event_times for each in requests], requests),
            _joined([each.entity_ids for each in requests], requests),
        )

    def _matrix(self, rows: Sequence[Sequence[Any]]) -> tuple[NDArray[np.float64], dict[tuple[int, int], str] | None]:
        """The values as numbers, and the texts of the categories that training did not keep; column by column.

        What JSON calls null is None, of which numpy makes NaN.
        """
        columns: list[Any] = list(zip(*rows, strict=True))
        texts: dict[tuple[int, int], str] = {}
        for position, codes in self._lookups:
            found = columns[position]
            coded = list(map(codes.__getitem__, found))
            if codes.is_missed:
                codes.is_missed = False
                texts |= {(row, position): found[row] for row, code in enumerate(coded) if code == OTHER_CODE}
            columns[position] = coded
        flat = np.fromiter(chain.from_iterable(columns), np.float64, len(rows) * len(columns))
        return np.ascontiguousarray(flat.reshape(len(columns), -1).T), texts or None

    def _converted(self, number: int, values: Sequence[Any]) -> list[Any]:
        """One row with its time stamps as days and its categories as texts."""
        converted = list(values)
        for position, convert in self._columns:
            try:
                converted[position] = convert(converted[position])
            except ValueError as err:
                where = f"rows[{number}].features.{self.features[position].name}"
                raise Problem(422, f"{where}: {err}", where) from err
        return converted


class Codes(dict[str | None, int]):
    """The codes of a feature's categories; of a text that is none of them it is that of others, which is noted."""

    is_missed = False

    def __missing__(self, text: str | None) -> int:
        self.is_missed = True
        return OTHER_CODE


# ---- Features ------------------------------------------------------------------------------------------------------


def _codes(feature: Feature) -> Codes:
    known: dict[str | None, int] = {
        name: position + FIRST_CATEGORY_CODE for position, name in enumerate(feature.categories)
    }
    return Codes({**known, None: MISSING_CODE})


def _converter(feature: Feature) -> Callable[[Any], Any] | None:
    """What a decoded value goes through before it is a number or the text of a category; None for nothing."""
    if feature.kind is Kind.DATETIME:
        return _days
    if feature.kind is Kind.CATEGORY and not is_text(feature.categories):
        return category_text
    return None


def category_text(value: Any) -> str | None:
    """Return a category as the text that training made of it (`encoder.category_text`), None where it is missing.

    >>> category_text(3), category_text(3.0), category_text(2.5), category_text(True), category_text("UA")
    ('3', '3', '2.5', 'true', 'UA')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    whole = isinstance(value, float) and value.is_integer() and abs(value) <= INT64_MAX
    return str(int(value)) if whole else str(value)


def _days(text: str | None) -> float | None:
    """A time stamp as days since 1970-01-01 UTC."""
    if text is None:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a time stamp as ISO 8601") from None
    return (_utc(found) - EPOCH).total_seconds() / SECONDS_A_DAY


def microseconds(moment: dt.datetime) -> int:
    """Return the microseconds since 1970 UTC; raise `ValueError` for a time that in UTC has no year from 1 to 9999."""
    return (_utc(moment) - EPOCH) // MICROSECOND


def _utc(moment: dt.datetime) -> dt.datetime:
    """A time in UTC, which is meant where no offset is given."""
    try:
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except OverflowError:
        raise ValueError(f"expected a time within the years 1 to 9999 in UTC, found {moment.isoformat()}") from None


# ---- Beside the features -------------------------------------------------------------------------------------------


def _event_times(rows: Sequence[Any]) -> list[int | None] | None:
    times = [row.event_time for row in rows]
    if not any(times):
        return None
    try:
        return [None if each is None else microseconds(each) for each in times]
    except ValueError as err:
        number = next(number for number, each in enumerate(times) if each is not None and not _is_in_utc(each))
        where = f"rows[{number}].event_time"
        raise Problem(422, f"{where}: {err}", where) from err


def _is_in_utc(moment: dt.datetime) -> bool:
    try:
        _utc(moment)
    except ValueError:
        return False
    return True


def _entity_ids(rows: Sequence[Any]) -> list[str | None] | None:
    ids = [row.entity_id for row in rows]
    return ids if any(ids) else None


def _joined(carried: list[Sequence[Any] | None], requests: Sequence[Parsed]) -> list[Any] | None:
    """What the rows of several requests carry, None for those of a request that carries nothing."""
    if carried.count(None) == len(carried):
        return None
    of_each = zip(carried, requests, strict=True)
    return [value for found, request in of_each for value in found or [None] * len(request.values)]


def _plain(said: str) -> str:
    return said.replace("`", "")
