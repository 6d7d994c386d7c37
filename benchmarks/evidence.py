"""Take what is worth committing of a study: its cells without constant columns, and its tables."""

import argparse
import shutil
from pathlib import Path

import pandas as pd

CELL = ["dataset", "model", "stabilizer", "seed", "fold"]


def slim(results: pd.DataFrame) -> pd.DataFrame:
    """The columns that vary, and no more digits than mean something."""
    vary = [name for name in results if name in CELL or results[name].nunique(dropna=False) > 1]
    return results[vary].sort_values(CELL)


def main() -> None:
    """Copy from a study's folder to a folder of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = slim(pd.read_csv(arguments.study / "results.csv"))
    results.to_csv(arguments.out / "cells.csv", index=False, float_format="%.4g")
    for table in ("arms", "differences", "protocols", "choices", "correlations", "ranks", "overall"):
        source = arguments.study / "tables" / f"{table}.csv"
        if source.exists():
            pd.read_csv(source).to_csv(arguments.out / f"{table}.csv", index=False, float_format="%.4g")
    shutil.copy(arguments.study / "environment.json", arguments.out)
    print(
        f"{len(results)} cells of {results.groupby(['dataset', 'model', 'stabilizer']).ngroups} arms in {arguments.out}"
    )


if __name__ == "__main__":
    main()
