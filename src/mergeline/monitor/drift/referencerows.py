"""Training rows that travel with a release, as the drift check's sample has its rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mergeline.errors import VerificationError
from mergeline.monitor.drift import column, logfile
from mergeline.schema import Feature, Kind

SEED = 0


def reference_rows(body: bytes, features: Sequence[Feature], size: int) -> NDArray[np.float64]:
    """Return so many rows of a `reference.parquet`, drawn at random and always the same, coded as in `tally.Sample`.

    A feature that it does not hold is missing in all rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [each.name for each in features if each.kind is Kind.CATEGORY]
    try:
        with pq.ParquetFile(pa.BufferReader(body), read_dictionary=texts) as file:
            rows = file.metadata.num_rows
            chosen = np.sort(np.random.default_rng(SEED).permutation(rows)[:size])
            found = np.full((len(chosen), len(features)), np.nan)
            for place, feature in enumerate(features):
                if feature.name in file.schema_arrow.names:
                    chunks = file.read(columns=[feature.name], use_threads=False).column(0).chunks
                    found[:, place] = _coded(feature, chunks, chosen)
    except (pa.ArrowException, OSError) as err:
        raise VerificationError(f"reference.parquet: cannot be read ({err}); train the model anew") from err
    order = np.random.default_rng(SEED).permutation(len(found))
    shuffled: NDArray[np.float64] = found[order]
    return shuffled


def _coded(feature: Feature, chunks: Sequence[object], rows: NDArray[np.intp]) -> NDArray[np.float64]:
    if feature.kind is not Kind.CATEGORY:
        return np.asarray(logfile.one(chunks, column.numbers).taken(rows).filled(np.nan), dtype=np.float64)
    found = logfile.one(chunks, column.texts).taken(rows)
    places = {text: at for at, text in enumerate(feature.categories)}
    codes = np.array([*(places.get(text, len(places)) for text in found.texts), 0], dtype=np.float64)
    coded: NDArray[np.float64] = codes[found.values]
    return coded if found.known is None else np.where(found.known, coded, -1.0)
