"""Predictions and the labels that came for them later, as one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

KEY: Final = ["request_id", "variant"]  # what a prediction is counted once by
# the later line wins: by when it was so, by when it came, by its text
RANK: Final = ["label_ts", "received_ts", "label"]


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Every prediction once, with the label that holds for it; a prediction without a label is no negative.

    `rows` has the columns of the predictions, then `label` and `label_ts`, both missing where no label is there yet,
    in the order of request id and variant. `repeated`: rows of the log that say once more what another one says.
    `corrected`: requests whose label was later given otherwise. `unmatched`: labelled requests of which these
    predictions know nothing.
    """

    rows: pd.DataFrame
    repeated: int
    corrected: int
    unmatched: int

    @property
    def labelled(self) -> int:
        """The predictions that have a label."""
        return int(self.rows["label"].notna().sum())

    @property
    def coverage(self) -> float | None:
        """The share of predictions that have a label; None of no prediction."""
        return self.labelled / len(self.rows) if len(self.rows) else None


def join(predictions: pd.DataFrame, labels: pd.DataFrame) -> Joined:
    """Join labels to predictions by request id, from the left; order and repetitions on either side change nothing.

    predictions: `request_id`, `variant`, `ts` and whatever else is to be kept. labels: `request_id`, `label` (text),
    `label_ts`, `received_ts`. Of a request's labels the one with the latest `label_ts` holds, of those the one that
    came last, of those the greatest text. A missing label is none. A champion and its shadow share their label.

    >>> import pandas as pd
    >>> times = pd.to_datetime(["2024-01-02", "2024-01-05"], utc=True)
    >>> asked = pd.DataFrame({"request_id": ["a", "b"], "variant": "champion", "ts": times[0]})
    >>> came = {"request_id": ["a", "a"], "label": ["no", "yes"], "label_ts": times[::-1], "received_ts": times}
    >>> join(asked, pd.DataFrame(came)).rows["label"].tolist()
    ['no', nan]
    """
    once, held = _once(predictions), _latest(labels)
    rows = once.merge(held, how="left", on="request_id", validate="many_to_one")
    corrected = rows.pop("corrected")
    requests = rows["request_id"][rows["label"].notna()].drop_duplicates()
    unmatched = len(held) - len(requests)
    changed = int(corrected[requests.index].astype(bool).sum())
    return Joined(rows, len(predictions) - len(once), changed, unmatched)


def _latest(labels: pd.DataFrame) -> pd.DataFrame:
    """The label that holds for each request, and whether another one was given too."""
    import pandas as pd

    given = labels.dropna(subset=["label"])
    again = given.duplicated("request_id", keep=False)
    several = given[again]
    texts = several.groupby("request_id")["label"].nunique()
    latest = several.sort_values(RANK, kind="stable").drop_duplicates("request_id", keep="last")
    latest = latest.assign(corrected=(texts.loc[latest["request_id"]] > 1).to_numpy())
    found = pd.concat([given[~again].assign(corrected=False), latest])
    return found[["request_id", "label", "label_ts", "corrected"]]


def _once(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row a request and variant; of rows that contradict each other the least, so that the order plays no part."""
    import pandas as pd

    rows = predictions.reset_index(drop=True)
    again = rows.duplicated(KEY, keep=False)
    if again.any():
        several = rows[again]
        lists = [str(name) for name in several if several[name].dtype == object]  # pandas knows no order of them
        ranked = several.assign(**{name: several[name].map(str) for name in lists})
        ranked = ranked.sort_values([*KEY, *ranked.columns.difference(KEY)], kind="stable")
        rows = pd.concat([rows[~again], several.loc[ranked.drop_duplicates(KEY).index]])
    return rows.sort_values(KEY, kind="stable", ignore_index=True)
