"""Where the training table comes from: files, web addresses and queries, joined and cut into monthly partitions."""

from __future__ import annotations

from mergeline.sources.declaration import Join, Source, Sources
from mergeline.sources.http import Patience
from mergeline.sources.join import join_tables
from mergeline.sources.partition import IngestRecord, partition, write_partitions
from mergeline.sources.source import read, read_joined

__all__ = [
    "IngestRecord",
    "Join",
    "Patience",
    "Source",
    "Sources",
    "join_tables",
    "partition",
    "read",
    "read_joined",
    "write_partitions",
]
