"""The section `engine`: where work runs that can be cut into parts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mergeline.params.section import Section


class EngineParams(Section):
    """This process (`local`), or workers of Ray.

    workers: parts of the work that are under way at once, and without an `address` the workers that are started on this
    machine. address: host and port of a cluster that is there; the variable RAY_ADDRESS, where it is set, comes first.
    """

    name: Literal["local", "ray"] = "local"
    workers: Annotated[int, Field(ge=1, le=1024)] = 2
    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+:[0-9]{1,5}$")] | None = None

    @model_validator(mode="after")
    def _address_is_of_ray(self) -> EngineParams:
        if self.address is not None and self.name != "ray":
            raise ValueError(f"expected no address where name is {self.name}, found {self.address!r}")
        return self
