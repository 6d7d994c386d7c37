"""Rows of predictions: the tested ones, checked for contradictions, averaged over seeds, and in parts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from asmil.errors import MetricError


def tested_rows(table: pd.DataFrame, columns: Sequence[str], *, constant: Sequence[str]) -> pd.DataFrame:
    """The rows whose `part` is "test" (all, where there is no such column), with a column `seed`.

    Raises:
        MetricError: `columns` are missing, a slide has several values of a `constant` column or several rows of one
            fold and seed, or lacks the rows of a seed.
    """
    missing = [name for name in ("slide", "case", "fold", *columns) if name not in table.columns]
    if missing:
        raise MetricError("the predictions lack columns", found=f"no {', '.join(missing)}")
    if "part" in table.columns:
        table = table[table["part"] == "test"]
    table = table.assign(seed=table["seed"] if "seed" in table.columns else 0)
    twice = table.duplicated(["slide", "fold", "seed"])
    if twice.any():
        raise MetricError(
            "a slide has several predictions of the same fold and seed",
            found=f"slide {table.loc[twice, 'slide'].iloc[0]}",
            fix="tell the runs apart in a column `seed`",
        )
    for column in constant:
        several = table.groupby("slide")[column].nunique() > 1
        if several.any():
            raise MetricError(f"a slide has several values of {column}", found=f"slide {several.idxmax()}")
    seeds = table.groupby(["slide", "fold"])["seed"].nunique()
    if seeds.nunique() > 1:
        raise MetricError(
            "some slides lack the predictions of a seed",
            found=f"slide and fold {seeds.idxmin()}: {seeds.min()} seeds, others {seeds.max()}",
            fix="finish the run, or leave that seed out",
        )
    return table


def averaged(table: pd.DataFrame, keys: list[str], *, first: Sequence[str], mean: Sequence[str]) -> pd.DataFrame:
    """One row per combination of `keys`, sorted: the `first` value of some columns, the `mean` of others."""
    rows = table.groupby(keys, sort=True).agg(dict.fromkeys(first, "first") | dict.fromkeys(mean, "mean"))
    return rows.reset_index()


def parts(table: pd.DataFrame, key: str) -> list[tuple[object, pd.DataFrame]]:
    """The rows of each value of a column, the value as a plain type."""
    return [(value.item() if hasattr(value, "item") else value, part) for value, part in table.groupby(key)]


def or_none(value: float) -> float | None:
    """A number for JSON: None where it is not defined."""
    return float(value) if np.isfinite(value) else None
