"""NannyML's univariate drift: KS, Jensen-Shannon and Wasserstein; chi-squared and Jensen-Shannon. Usage: FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nannyml
import pandas as pd

if __name__ == "__main__":
    place = Path(sys.argv[1])
    now, then = (pd.read_parquet(place / f"{name}.parquet") for name in ("current", "reference"))
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=list(now),
        continuous_methods=["kolmogorov_smirnov", "jensen_shannon", "wasserstein"],
        categorical_methods=["chi2", "jensen_shannon"],
        chunk_number=10,
    )
    found = calculator.fit(then).calculate(now).to_df()
    print(json.dumps({"rows": len(found)}))
