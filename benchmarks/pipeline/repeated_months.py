"""Write the first months of the sample again and again, each time a year later.

The copy of year k has its times moved by 365 k days and the year at the start of its ids replaced, so that no id comes
twice and every partition keeps its rows; all else is as it was. Nothing is drawn at random.
Usage: repeated_months.py SAMPLE MONTHS YEARS FOLDER
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FIRST_YEAR = 2013
TIME, ID = "scheduled_departure", "flight_id"


def later(table: pa.Table, years: int) -> pa.Table:
    """The rows, so many years later."""
    time, name = table.schema.field(TIME), table.schema.field(ID)
    moved = pc.add(table[TIME], pa.scalar(dt.timedelta(days=365 * years), pa.duration(time.type.unit)))
    named = pc.binary_replace_slice(table[ID], 0, 4, str(FIRST_YEAR + years))
    table = table.set_column(table.schema.get_field_index(TIME), time, moved.cast(time.type))
    return table.set_column(table.schema.get_field_index(ID), name, named.cast(name.type))


def main(sample: Path, months: int, years: int, folder: Path) -> None:
    """Write a partition for each month of each year."""
    for year in range(years):
        for path in sorted(sample.glob("*.parquet"))[:months]:
            month = path.stem.partition("-")[2]
            rows = later(pq.read_table(path), year)
            pq.write_table(rows, folder / f"{FIRST_YEAR + year}-{month}.parquet", compression="zstd")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
