"""The section `collect`: how the prediction log becomes the next partition of the table."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mergeline.params.section import Section


class CollectParams(Section):
    """What of the log is the table's id, and how many of a partition's predictions must have a label.

    `id` is what `data.id` means in requests; a partition is mature as a window of `performance` is. Below the share
    `coverage` nothing is collected: the labels that come first are seldom like those that come last.
    """

    id: Literal["entity_id", "request_id"] = "entity_id"
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.9
