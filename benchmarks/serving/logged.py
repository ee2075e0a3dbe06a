"""Count the rows of a prediction log, and those of different requests; print JSON. Usage: logged.py LOG"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(log: Path) -> None:
    """Read the ids of every file."""
    from pyarrow import parquet

    rows, ids, files = 0, set(), 0
    for path in log.glob("predictions/*/*/*.parquet"):
        found = parquet.ParquetFile(path).read(columns=["request_id"]).column("request_id").to_pylist()
        rows, files = rows + len(found), files + 1
        ids.update(found)
    print(json.dumps({"rows": rows, "distinct": len(ids), "files": files}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
