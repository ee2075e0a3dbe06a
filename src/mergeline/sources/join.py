"""Several tables -> one, by their keys."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mergeline.errors import DataError
from mergeline.sources.declaration import Join, Sources
from mergeline.sources.kinds import MIXTURE, kind, nullable, plain

if TYPE_CHECKING:
    import pandas

log = logging.getLogger(__name__)


def join_tables(tables: Mapping[str, pandas.DataFrame], sources: Sources) -> pandas.DataFrame:
    """Return the first source's table with the columns of the others beside it, joined in the declared order.

    Every key of a joined table is unique, so that no row is multiplied: a left join keeps the rows of the table so
    far and their order, an inner join keeps the order. A gap in a key matches nothing, as in SQL. Key columns keep
    the base's names. Raises DataError for a missing or repeated key, keys of different kinds, a column that both
    tables have, and an inner join that leaves no row.
    """
    base, *others = sources.root.items()
    joined = tables[base[0]].reset_index(drop=True)
    for name, source in others:
        if source.join is not None:
            joined = joined_to(joined, tables[name], source.join, f"sources.{name}")
    return joined


def joined_to(left: pandas.DataFrame, right: pandas.DataFrame, join: Join, where: str) -> pandas.DataFrame:
    """Return the left table with the right one's columns; see `join_tables`."""
    keys = list(join.keys)
    _refuse_missing_keys(left, keys, f"{where}.join.on", "the tables before it")
    _refuse_missing_keys(right, list(join.keys.values()), f"{where}.join.on", "the source")
    _refuse_overlap(left, right, join.keys, where)
    right = right.rename(columns={theirs: ours for ours, theirs in join.keys.items()}).dropna(subset=keys)
    _refuse_other_kinds(left, right, keys, where)
    _refuse_repeated_keys(right, keys, where)
    joined = nullable(left).merge(nullable(right), on=keys, how=join.how, validate="many_to_one")
    if joined.empty:
        raise DataError(f"{where}: expected rows after the {join.how} join, found none; check that the keys match")
    log.info("%s: %d of %d rows after the %s join", where, len(joined), len(left), join.how)
    return plain(joined)


def _refuse_missing_keys(table: pandas.DataFrame, keys: Sequence[str], where: str, owner: str) -> None:
    missing = [name for name in keys if name not in table.columns]
    if missing:
        raise DataError(
            f"{where}: expected the columns {missing} in {owner}, found {list(table.columns)}; correct `on` or `select`"
        )


def _refuse_overlap(left: pandas.DataFrame, right: pandas.DataFrame, keys: Mapping[str, str], where: str) -> None:
    overlap = [name for name in right.columns if name in left.columns and name not in keys.values()]
    if overlap:
        raise DataError(
            f"{where}: expected new columns beside the keys, found {overlap} in the tables before it too; "
            "use `rename` or `select`"
        )


def _refuse_other_kinds(left: pandas.DataFrame, right: pandas.DataFrame, keys: Sequence[str], where: str) -> None:
    for name in keys:
        ours, theirs = kind(left[name]), kind(right[name])
        if "nothing" in (ours, theirs):
            owner = "the tables before it" if ours == "nothing" else "the source"
            raise DataError(f"{where}.join.on: expected values in the key {name!r} of {owner}, found none")
        if ours != theirs or ours == MIXTURE:
            raise DataError(
                f"{where}.join.on: expected {ours} in the key {name!r} as in the base table, found {theirs}; "
                "list it under `text` or parse_dates, or convert it at its source"
            )


def _refuse_repeated_keys(right: pandas.DataFrame, keys: Sequence[str], where: str) -> None:
    repeated = right.duplicated(list(keys), keep=False)
    if repeated.any():
        first = right.loc[repeated, list(keys)].iloc[0]
        key = ", ".join(f"{name}={first[name]!s}" for name in keys)
        count = int((right[list(keys)] == first).all(axis="columns").sum())
        raise DataError(
            f"{where}: expected each key once, found {key} in {count} rows "
            f"({int(repeated.sum())} rows share a key); remove duplicates or add a column to `on`"
        )
