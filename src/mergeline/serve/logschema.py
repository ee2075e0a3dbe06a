"""What the prediction log keeps of a scored row, and its way from the event loop's records to a Parquet file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mergeline.errors import DataError
from mergeline.schema import FIRST_CATEGORY_CODE, OTHER_CODE, Feature, Kind, Signature, Task
from mergeline.serve.columns import (
    NO_TEXT,
    NO_TIME,
    PackedText,
    boolean_column,
    coded_column,
    coded_columns,
    constant_column,
    dictionary,
    integer_column,
    joined,
    known_dictionary,
    list_column,
    no_texts,
    no_times,
    number_column,
    number_columns,
    packed,
    parquet_bytes,
    text_column,
    time_column,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA_VERSION = 1
FEATURE_PREFIX = "feature_"
MICROSECONDS_AN_HOUR = 3_600_000_000
MICROSECONDS_A_DAY = 24 * MICROSECONDS_AN_HOUR
NO_CODE = -1
# what a reader asks of a file before its rows: whether they are all of one window, model and variant
STATISTICS = ("ts", "event_time", "schema_version", "model_sha256", "variant", "sampling_rate")
LAST_MICROSECOND = 253_402_300_799_999_999  # of the year 9999, which days as float64 round up to the next one


class Entry(msgspec.Struct, frozen=True, gc=False):  # a dataclass costs the event loop four times as much
    """The rows of one request as one variant scored them.

    `ts_us` is when the request came, in microseconds since 1970-01-01 UTC, `event_times` the same of each row where the
    request says so. `values` has the shape (rows, features of the champion): numbers (NaN where missing), booleans as 0
    and 1, times in days since 1970-01-01 UTC, categories as codes; `texts` maps (row, column) to the text of a category
    that has the code 1. `scores` has the shape (rows, classes), of a regression (rows, 1), and is None where the
    variant failed. `model_sha256` is a key of the log's signatures. Nothing in it may be changed afterwards.
    """

    request_ids: Sequence[str]
    ts_us: int
    values: NDArray[np.float64]
    scores: NDArray[np.float64] | None
    latency_ms: float
    variant: str
    model_sha256: str
    status: int = 200
    texts: Mapping[tuple[int, int], str] | None = None
    event_times: Sequence[int | None] | None = None
    entity_ids: Sequence[str | None] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """What all rows of a file share: the hour since 1970-01-01 UTC, the model and the variant."""

    hour: int
    model_sha256: str
    variant: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one group, packed; columns as in `Entry`, personal features left out."""

    rows: int
    request_ids: PackedText
    ts_us: NDArray[np.int64]  # (rows,), as all but the values and the scores
    event_times: NDArray[np.int64] | None  # None where no row carries one
    entity_ids: PackedText | None
    values: NDArray[np.float64]  # (rows, logged features)
    texts: Mapping[tuple[int, int], str]  # by row of the piece and column of `values`
    scores: NDArray[np.float64]  # (rows, scores), NaN where the variant failed
    latency_ms: NDArray[np.float64]
    status: NDArray[np.int32]


class LogSchema:
    """The columns of the log of a champion with `signature`, whose variants have `signatures` by model SHA-256.

    A feature that one of them calls personal is in no file. A file holds rows of one model alone, and says in its
    metadata which task, classes and threshold that model has; decisions come from there.
    """

    def __init__(self, signature: Signature, signatures: Mapping[str, Signature], sampling_rate: float) -> None:
        personal = {name for each in (signature, *signatures.values()) for name in each.personal}
        self.signatures = dict(signatures)
        self._width = len(signature.features)
        self._logged = [at for at, feature in enumerate(signature.features) if feature.name not in personal]
        self._place = {at: place for place, at in enumerate(self._logged)}
        self._features = [signature.features[at] for at in self._logged]
        self._sampling_rate = float(sampling_rate)
        # by kind, since many columns at once cost little more than one
        kinds = [feature.kind for feature in self._features]
        self._numbers = [at for at, kind in enumerate(kinds) if kind is Kind.NUMBER]
        self._categories = [at for at, kind in enumerate(kinds) if kind is Kind.CATEGORY]
        self._others = [at for at, kind in enumerate(kinds) if kind not in (Kind.NUMBER, Kind.CATEGORY)]

    # ---- Packing ---------------------------------------------------------------------------------------------------

    def pack(self, entries: Sequence[Entry]) -> dict[Group, Piece]:
        """Return the rows of `entries` by group; raise `DataError` for rows that do not fit the signatures."""
        groups: dict[tuple[int, str, str], list[Entry]] = {}
        for each in entries:
            key = (each.ts_us // MICROSECONDS_AN_HOUR, each.model_sha256, each.variant)
            groups.setdefault(key, []).append(each)
        try:
            return {(group := Group(*key)): self._packed(group, found) for key, found in groups.items()}
        except (KeyError, TypeError, ValueError) as err:
            raise DataError(f"log: rows that do not fit the signatures ({type(err).__name__}: {err})") from err

    def _packed(self, group: Group, entries: Sequence[Entry]) -> Piece:
        # the fields in their order; one pass over the entries, which lie all over the memory
        (request_ids, ts_us, values, scores, latency_ms, _, _, status, texts, event_times, entity_ids) = zip(
            *map(msgspec.structs.astuple, entries), strict=True
        )
        sizes = list(map(len, request_ids))
        rows = sum(sizes)
        counts = None if rows == len(entries) else np.array(sizes)
        piece = Piece(
            rows=rows,
            request_ids=packed(list(chain.from_iterable(request_ids))),
            ts_us=_spread(ts_us, np.int64, counts),
            event_times=_event_times(event_times, sizes),
            entity_ids=_entity_ids(entity_ids, sizes),
            values=_end_to_end(values, self._width),
            texts=self._texts(texts, sizes),
            scores=self._scores(group, scores, sizes),
            latency_ms=_spread(latency_ms, np.float64, counts),
            status=_spread(status, np.int32, counts),
        )
        times = rows if piece.event_times is None else len(piece.event_times)
        entities = rows if piece.entity_ids is None else len(piece.entity_ids.lengths)
        found = (piece.values.shape, len(piece.scores), times, entities)
        if found != ((rows, self._width), rows, rows, rows):
            raise DataError(
                f"log: {rows} request ids, but values, scores, event times and entity ids of {found}, expected as many"
                f" and {self._width} features"
            )
        if len(self._logged) == self._width:
            return piece
        return replace(piece, values=piece.values[:, self._logged])

    def _scores(self, group: Group, parts: Sequence[Any], sizes: Sequence[int]) -> NDArray[np.float64]:
        width = max(1, len(self.signatures[group.model_sha256].classes))
        if type(None) in map(type, parts):  # not `None in parts`, which compares arrays
            sized = zip(parts, sizes, strict=True)
            parts = [np.full((size, width), np.nan) if part is None else part for part, size in sized]
        try:
            return _end_to_end(parts, width)
        except ValueError as err:
            raise DataError(f"log: scores from {group.model_sha256}: {err}") from err

    def _texts(self, parts: Sequence[Any], sizes: Sequence[int]) -> dict[tuple[int, int], str]:
        found: dict[tuple[int, int], str] = {}
        if not any(parts):
            return found
        start = 0
        for part, size in zip(parts, sizes, strict=True):
            for (row, column), text in (part or {}).items():
                if column in self._place:
                    found[start + row, self._place[column]] = text
            start += size
        return found

    # ---- Parquet ---------------------------------------------------------------------------------------------------

    def parquet(self, group: Group, pieces: Sequence[Piece]) -> bytes:
        """Return a file of all the rows of a group's pieces."""
        signature = self.signatures[group.model_sha256]
        rows = sum(piece.rows for piece in pieces)
        columns: dict[str, Any] = {
            "schema_version": constant_column(SCHEMA_VERSION, rows),
            "request_id": text_column([piece.request_ids for piece in pieces]),
            "ts": time_column(joined([piece.ts_us for piece in pieces])),
            "event_time": _event_time_column(pieces, rows),
            "entity_id": _entity_id_column(pieces, rows),
            "model_sha256": constant_column(group.model_sha256, rows),
            "variant": constant_column(group.variant, rows),
            **self._feature_columns(pieces, rows),
            **_score_columns(signature, joined([piece.scores for piece in pieces])),
            "latency_ms": number_column(joined([piece.latency_ms for piece in pieces])),
            "status": integer_column(joined([piece.status for piece in pieces])),
            "sampling_rate": constant_column(self._sampling_rate, rows),
        }
        metadata = {
            "mergeline.task": str(signature.task),
            "mergeline.classes": json.dumps(signature.classes, ensure_ascii=False),
            "mergeline.threshold": "" if signature.threshold is None else repr(signature.threshold),
        }
        return parquet_bytes(columns, metadata, statistics=STATISTICS)

    def _feature_columns(self, pieces: Sequence[Piece], rows: int) -> dict[str, Any]:
        values = np.empty((len(self._features), rows))  # a column is contiguous
        unseen: dict[int, list[tuple[int, str]]] = {}
        start = 0
        for piece in pieces:
            values[:, start : start + piece.rows] = piece.values.T
            for (row, column), text in piece.texts.items():
                unseen.setdefault(column, []).append((start + row, text))
            start += piece.rows
        made = dict(zip(self._numbers, number_columns(values[self._numbers]), strict=True))
        coded = [self._features[at] for at in self._categories]
        texts = [unseen.get(at, ()) for at in self._categories]
        made |= zip(self._categories, _category_columns(coded, values[self._categories], texts), strict=True)
        for at in self._others:
            made[at] = _flags_or_times(self._features[at].kind, values[at])
        return {FEATURE_PREFIX + feature.name: made[at] for at, feature in enumerate(self._features)}


def _end_to_end(parts: Sequence[Any], width: int) -> NDArray[np.float64]:
    """Arrays of shape (rows, width), one after the other; numpy would let go of the GIL for each larger one."""
    arrays = [np.ascontiguousarray(part, np.float64) for part in parts]
    shapes = {each.shape[1:] for each in arrays} - {(width,)}
    if shapes:
        raise ValueError(f"expected rows of {width}, found shapes {sorted(shapes)}")
    return np.frombuffer(b"".join([each.data for each in arrays])).reshape(sum(map(len, arrays)), width)


def _spread(values: Sequence[Any], kind: Any, counts: NDArray[np.int64] | None) -> NDArray[Any]:
    """One value an entry as one a row; `counts` is None where every entry has one row."""
    column = np.array(values, kind)
    return column if counts is None else np.repeat(column, counts)


def _event_times(parts: Sequence[Any], sizes: Sequence[int]) -> NDArray[np.int64] | None:
    if not any(parts):
        return None
    return np.array([NO_TIME if time is None else time for time in _row_by_row(parts, sizes)], np.int64)


def _entity_ids(parts: Sequence[Any], sizes: Sequence[int]) -> PackedText | None:
    if not any(parts):
        return None
    return packed(list(_row_by_row(parts, sizes)))


def _row_by_row(parts: Sequence[Any], sizes: Sequence[int]) -> Iterator[Any]:
    """The values of lists, one an entry; None in place of one is None for each row."""
    return chain.from_iterable(part or [None] * size for part, size in zip(parts, sizes, strict=True))


def _event_time_column(pieces: Sequence[Piece], rows: int) -> Any:
    if all(piece.event_times is None for piece in pieces):
        return no_times(rows)
    times = [np.full(each.rows, NO_TIME) if each.event_times is None else each.event_times for each in pieces]
    return time_column(joined(times))


def _entity_id_column(pieces: Sequence[Piece], rows: int) -> Any:
    if all(piece.entity_ids is None for piece in pieces):
        return no_texts(rows)
    return text_column([each.entity_ids or PackedText(b"", np.full(each.rows, NO_TEXT, np.int32)) for each in pieces])


def _flags_or_times(kind: Kind, values: NDArray[np.float64]) -> Any:
    if kind is Kind.BOOLEAN:
        return boolean_column(values)
    there = np.isfinite(values)
    microseconds = np.rint(np.where(there, values, 0.0) * MICROSECONDS_A_DAY).astype(np.int64)
    return time_column(np.where(there, np.minimum(microseconds, LAST_MICROSECOND), NO_TIME))


def _category_columns(
    features: Sequence[Feature], values: NDArray[np.float64], unseen: Sequence[Sequence[tuple[int, str]]]
) -> list[Any]:
    """Categories by their codes, and behind them the texts of those that training did not keep, as they came.

    `values` has the shape (features, rows), `unseen` the row and the text of each such value, by feature.
    """
    known = np.array([len(feature.categories) for feature in features])[:, np.newaxis]
    positions = values - FIRST_CATEGORY_CODE  # negative for what is missing and for what training did not keep
    codes = np.where(positions < known, positions, NO_CODE).astype(np.int32)
    texts = []
    for at, feature in enumerate(features):
        numbers: dict[str, int] = {}
        for row, text in unseen[at]:
            if values[at, row] == OTHER_CODE:
                codes[at, row] = len(feature.categories) + numbers.setdefault(text, len(numbers))
        known_texts = tuple(feature.categories)
        texts.append(dictionary((*known_texts, *numbers)) if numbers else known_dictionary(known_texts))
    return coded_columns(codes, texts)


def _score_columns(signature: Signature, scores: NDArray[np.float64]) -> dict[str, Any]:
    """The columns score, scores (multiclass only) and decision, from scores of shape (rows, classes)."""
    if signature.task is Task.REGRESSION:
        score, codes = scores[:, 0], _undecided(scores)
    elif signature.task is Task.MULTICLASS:
        score, codes = scores.max(axis=1), scores.argmax(axis=1).astype(np.int32)
    else:
        score, threshold = scores[:, 1], signature.threshold
        codes = _undecided(scores) if threshold is None else (score >= threshold).astype(np.int32)
    failed = np.isnan(scores)
    if failed.any():
        score = np.where(failed.any(axis=1), np.nan, score)
        codes[failed.any(axis=1)] = NO_CODE
    columns = {"score": number_column(score)}
    if signature.task is Task.MULTICLASS:
        columns["scores"] = list_column(scores)
    return {**columns, "decision": coded_column(codes, known_dictionary(tuple(signature.classes)))}


def _undecided(scores: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.full(len(scores), NO_CODE, np.int32)
