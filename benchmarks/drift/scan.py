"""The limit: read the twenty columns of the log, a row group at a time with one thread, and do nothing with them.

Usage: scan.py LOG
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy  # noqa: F401  what every check needs
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.drift.population import CATEGORIES, NUMBERS, SCORE

COLUMNS = [*(f"feature_{name}" for name in (*NUMBERS, *CATEGORIES)), SCORE]

if __name__ == "__main__":
    pa.set_cpu_count(1)
    rows = 0
    for path in sorted(Path(sys.argv[1]).glob("predictions/*/*/*.parquet")):
        with pq.ParquetFile(path, read_dictionary=[f"feature_{name}" for name in CATEGORIES]) as file:
            for group in range(file.num_row_groups):
                rows += file.read_row_group(group, columns=COLUMNS, use_threads=False).num_rows
    print(rows)
