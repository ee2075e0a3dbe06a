"""What is wrong with a request, as RFC 9457 has it: a status, a title, a sentence, the field."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

MEDIA_TYPE = b"application/problem+json"
LONGEST_DETAIL = 400
LONGEST_FIELD = 300


class Problem(Exception):
    """A request that is not answered as asked.

    `status` is the HTTP status, `detail` says expected, found and what to do, `field` is the dotted place in the body
    (None where no field is to blame), `headers` go with the answer.
    """

    def __init__(
        self, status: int, detail: str, where: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail if len(detail) <= LONGEST_DETAIL else f"{detail[: LONGEST_DETAIL - 3]}..."
        self.field = where if where is None or len(where) <= LONGEST_FIELD else f"{where[: LONGEST_FIELD - 3]}..."
        self.headers = dict(headers or {})

    def body(self, request_id: str) -> bytes:
        """Return the answer's JSON."""
        title = HTTPStatus(self.status).phrase
        return msgspec.json.encode(
            ProblemRecord("about:blank", title, self.status, self.detail, self.field, request_id)
        )


class ProblemRecord(msgspec.Struct, frozen=True):
    """The members of an `application/problem+json` document."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None
    request_id: str


class Answer(msgspec.Struct, frozen=True, gc=False):  # made for every request: a dataclass costs four times as much
    """What goes back: a status, the body with its media type, further headers."""

    body: bytes
    media_type: bytes = b"application/json"
    status: int = 200
    headers: dict[str, str] = {}
