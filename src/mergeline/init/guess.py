"""The guess: the settings for a table, and the reasons behind them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mergeline.errors import ConfigurationError, DataError
from mergeline.holdout import labelled, split
from mergeline.init.column import Column
from mergeline.init.features import LEAK, LeftOut, choose_features
from mergeline.init.roles import Wishes, find_id, find_time, refuse_unkept
from mergeline.init.settings import HOLDOUT_SHARE, evaluation, training, validation
from mergeline.init.task import find_positive, find_task
from mergeline.init.values import SHOWN
from mergeline.params import DataParams, Holdout, Params
from mergeline.schema import Task
from mergeline.target import classes, encode_target

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FAIR_HOLDOUT = 0.1, 0.3  # what a hash of distinct rows makes of that share


@dataclass(frozen=True, slots=True)
class Guess:
    """The settings for a table, and the reasons behind them, by role: task, positive, time, id and holdout."""

    params: Params
    reasons: Mapping[str, str]
    left_out: tuple[LeftOut, ...]

    @property
    def leaks(self) -> tuple[str, ...]:
        """The columns that were left out because they say the same as the target."""
        return tuple(each.name for each in self.left_out if each.reason == LEAK)


def guess(table: pd.DataFrame, wishes: Wishes) -> Guess:
    """Return the settings for a typed table (see `typed`) by the rules at the top of this package.

    Raises `ConfigurationError` for a wish that names no column or one of the wrong kind, and `DataError` for a table
    that no model could be made from: a constant target, no feature, a class that only the holdout has.
    """
    for name in (wishes.target, wishes.time, wishes.id):
        _refuse_unknown(name, table)
    columns = {str(name): Column.of(values) for name, values in table.items()}
    target = columns.pop(wishes.target)
    refuse_unkept(target.name)
    known = target.values.notna().to_numpy()
    found = find_task(target, wishes.task)
    time = find_time(columns, wishes, known)
    identity = find_id(columns, wishes, time.name)
    others = [column for name, column in columns.items() if name not in (time.name, identity.name)]
    if not others:
        roles = {"time": time, "id": identity}
        taken = [f"{each.name!r} is the {role} ({each.reason})" for role, each in roles.items() if each.name]
        raise DataError(
            f"init: no column is left to learn from: {'; '.join(taken) or 'the table holds the target alone'};"
            " add columns that say something of it"
        )
    features = choose_features(others, target, known, found.task)
    used, rows = features.used, int(known.sum())
    positive = find_positive(target) if found.task is Task.BINARY else None
    params = Params(
        data=DataParams(
            task=found.task,
            target=target.name,
            positive=positive.value if positive else None,
            time=time.name,
            id=identity.name,
            as_of=_newest_day(columns, time.name),
            numeric=tuple(column.name for column in used if not column.is_category),
            categorical=tuple(column.name for column in used if column.is_category),
            holdout=Holdout(share=HOLDOUT_SHARE),
        ),
        validate=validation([target, *used], found.task, _months(columns, time.name)),
        train=training(found.task, rows),
        evaluate=evaluation(used, rows),
    )
    reasons = {"task": found.reason, "time": time.reason, "id": identity.reason, "holdout": _holdout(table, params)}
    return Guess(params, reasons | ({"positive": positive.reason} if positive else {}), features.left_out)


def _refuse_unknown(name: str | None, table: pd.DataFrame) -> None:
    if name is None or name in table.columns:
        return
    shown = ", ".join(map(repr, table.columns[:SHOWN])) + (", ..." if len(table.columns) > SHOWN else "")
    names = {str(column).strip().lower(): str(column) for column in table.columns}
    close = difflib.get_close_matches(name.strip().lower(), names, n=1)
    meant = f"; do you mean {names[close[0]]!r}?" if close else ""
    raise ConfigurationError(f"init: no column {name!r} in the table; it has {shown}{meant}")


def _holdout(table: pd.DataFrame, params: Params) -> str:
    """Divide the rows as the stages will, and say what comes of it; a class that only the holdout has stops them."""
    rows = labelled(table, params.data)
    names = classes(rows, params.data)
    try:
        parts = split(rows, params.data)
    except DataError as err:
        raise DataError(f"init: {len(rows)} rows are too few or too alike to be parted; add rows, or an id") from err
    found = set(encode_target(rows.iloc[parts.training], params.data, names).tolist())
    absent = [name for number, name in enumerate(names) if number not in found]
    if absent:
        raise DataError(
            f"init: {params.data.target!r} is {absent[0]!r} in the holdout alone, which no model is fitted on;"
            " join it with another value, or drop its rows"
        )
    said = f"{len(parts.holdout)} of {len(rows)} rows, " + ("the newest" if params.data.time else "by their hash")
    poor = not FAIR_HOLDOUT[0] <= len(parts.holdout) / len(rows) <= FAIR_HOLDOUT[1]
    return said + (
        "; many rows are alike, an id column would part them better" if poor and not params.data.time else ""
    )


def _newest_day(columns: Mapping[str, Column], time: str | None) -> Any:
    """The newest day of the table, as the text that params.yaml takes."""
    return None if time is None else columns[time].values.max().date().isoformat()


def _months(columns: Mapping[str, Column], time: str | None) -> NDArray[Any] | None:
    """The partition of each row."""
    return None if time is None else columns[time].values.dt.strftime("%Y-%m").to_numpy(dtype=object)
