"""The section `release`: where the bytes lie that are served."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mergeline.params.section import Section


class ReleaseParams(Section):
    """`store` is the write-once model store: a folder, relative to the repository, or `s3://bucket/prefix`."""

    store: Annotated[str, Field(min_length=1)] = ".mergeline/store"
