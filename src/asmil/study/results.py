"""The results of a study, read back: its cells, which of them were tested on the same slides, and their histories."""

from pathlib import Path
from typing import Any

import pandas as pd

from asmil.errors import RunError

ARM, CELL = ["dataset", "model", "stabilizer"], ["dataset", "model", "fold", "seed"]


def read_results(folder: str | Path) -> pd.DataFrame:
    """The results.csv of a study, with a column `split`: equal where cells of a dataset test the same slides.

    Raises:
        RunError: there is no results.csv.
    """
    path = Path(folder) / "results.csv"
    if not path.is_file():
        raise RunError(f"{folder} has no results of a study", found="no results.csv", fix="run `asmil study` first")
    cells = pd.read_csv(path, dtype=dict.fromkeys(ARM, str), keep_default_na=False, na_values=["", "nan", "NaN"])
    return with_splits(cells, Path(folder))


def with_splits(cells: pd.DataFrame, folder: Path | None = None) -> pd.DataFrame:
    """The cells with their `split`; without predictions under `folder`, every fold and seed is one of its own.

    Raises:
        RunError: no rows, a column is missing that names the cell, or a cell occurs twice.
    """
    missing = [column for column in (*ARM, "fold", "seed") if column not in cells]
    if missing or cells.empty:
        found = f"no column {', '.join(missing)}" if missing else "no rows"
        raise RunError("the table of results cannot be analysed", found=found, fix="use the results.csv of a study")
    if twice := int(cells.duplicated([*ARM, "fold", "seed"]).sum()):
        raise RunError("cells occur more than once in the table of results", found=f"{twice} repeated rows")
    if "split" in cells:
        return cells
    known: dict[tuple, str] = {}
    for arm, own in cells.groupby(ARM, sort=False) if folder else ():
        if not {(arm[0], f, s) for f, s in zip(own["fold"], own["seed"], strict=True)} <= known.keys():
            known |= _tested(_arm_folder(folder, arm) / "predictions.csv", arm[0])
    places = zip(cells["dataset"], cells["fold"], cells["seed"], strict=True)
    return cells.assign(split=[known.get(place, f"fold {place[1]} of seed {place[2]}") for place in places])


def read_history(folder: Path, arm: tuple[str, str, str]) -> pd.DataFrame:
    """The history.csv of an arm (fold, seed, epoch, val_loss ...); empty where there is none."""
    path = _arm_folder(folder, arm) / "history.csv"
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def _arm_folder(folder: Any, arm: Any) -> Path:
    return folder / "arms" / "--".join(arm)


def _tested(path: Path, dataset: Any) -> dict[tuple, str]:
    """A name for the set of test slides of every (dataset, fold, seed); equal sets have equal names."""
    if not path.is_file():
        return {}
    table = pd.read_csv(path, usecols=["fold", "seed", "slide"], dtype={"slide": str})
    groups = table.groupby(["fold", "seed"])["slide"]
    return {(dataset, *key): str(hash(frozenset(slides))) for key, slides in groups}
