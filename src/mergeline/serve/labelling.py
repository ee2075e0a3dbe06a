"""`POST /labels`: what turned out, checked against the classes of the model, and put on the shelf."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Annotated

import msgspec

from mergeline.errors import DataError
from mergeline.serve.labels import Label, LabelIntake, checked_label
from mergeline.serve.problems import Problem
from mergeline.serve.requesttype import LONGEST_TEXT, invalid
from mergeline.serve.rows import microseconds

if TYPE_CHECKING:
    from mergeline.schema import Signature

MOST_LABELS = 10_000

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Source = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]


class LabelRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What turned out for one prediction: `label_ts` is when it was known (default: now), `source` who says so."""

    request_id: Id
    label: str | int | float | bool
    label_ts: dt.datetime | None = None
    source: Source | None = None


class LabelsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The labels of predictions that were made before; one that comes again replaces the earlier one."""

    labels: Annotated[list[LabelRow], msgspec.Meta(min_length=1, extra_json_schema={"maxItems": MOST_LABELS})]


class LabelsAnswer(msgspec.Struct, frozen=True):
    """How many labels lie on the shelf now."""

    accepted: int


class Labelling:
    """Takes labels for the models of one signature; raises `Problem` for a body that holds others."""

    def __init__(self, intake: LabelIntake, signature: Signature) -> None:
        self._intake = intake
        self._signature = signature
        self._decoder = msgspec.json.Decoder(LabelsRequest)

    async def take(self, body: bytes) -> int:
        """Put a body's labels on the shelf, all or none; return their number. Raises `ServiceError` where it fails."""
        try:
            rows = self._decoder.decode(body).labels
        except msgspec.ValidationError as err:
            raise invalid(str(err)) from err
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            raise Problem(400, f"expected JSON, found something else: {err}") from err
        if len(rows) > MOST_LABELS:
            raise Problem(
                413, f"expected at most {MOST_LABELS} labels, found {len(rows)}; send them in parts", "labels"
            )
        now = time.time_ns() // 1_000
        await self._intake.add([self._label(number, row, now) for number, row in enumerate(rows)])
        return len(rows)

    def _label(self, number: int, row: LabelRow, now: int) -> Label:
        where = f"labels[{number}]"
        try:
            text = checked_label(row.label, self._signature)
        except DataError as err:
            raise Problem(422, f"{where}.{err}", f"{where}.label") from err
        try:
            moment = now if row.label_ts is None else microseconds(row.label_ts)
        except ValueError as err:
            raise Problem(422, f"{where}.label_ts: {err}", f"{where}.label_ts") from err
        return Label(row.request_id, text, moment, row.source)
