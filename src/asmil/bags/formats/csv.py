"""CSV files with a row per tile and numbered columns (DSMIL), and `x`, `y` columns where tiles have a place."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from asmil.bags.reading.entry import Array, Entry, number
from asmil.bags.reading.source import stated_facts
from asmil.bags.tables import listed, slide_name
from asmil.errors import FeatureError, blaming


class _Csv:
    suffixes = (".csv",)

    def sniff(self, source: Path) -> bool:
        """Only numbered columns are features; every other table is something else, and no fault."""
        columns = _columns(source)
        return len(_feature_columns(columns)) > 1 or _nearly(columns)

    def slides(self, source: Path) -> dict[str, Array | None]:
        if not _feature_columns(columns := _columns(source)):
            fix = "the header is damaged, or separated otherwise than by commas: write the file again"
            if columns[0] in ("", "index"):
                fix = "its first column numbers the rows: write it without (of pandas: to_csv(..., index=False))"
            raise FeatureError(f"{source.name} has columns out of order", found=listed(columns), fix=fix)
        return {slide_name(source.stem): None}

    def entry(self, source: Path, key: str) -> Entry:
        fix = "the file is damaged or holds other things than numbers"
        with blaming(FeatureError, f"{source.name} cannot be read", fix=fix):
            table = pd.read_csv(source, dtype=np.float32, index_col=False)
            coords = pd.read_csv(source, usecols=["x", "y"], index_col=False) if {"x", "y"} <= set(table) else None
        stated = stated_facts(source)
        return Entry(
            features=table[_feature_columns(list(table.columns))].to_numpy(),
            coords=None if coords is None else coords[["x", "y"]].to_numpy(),
            tile_level0_px=number(stated, "tile_level0_px"),
            mpp=number(stated, "mpp"),
            encoder=stated.get("encoder"),
            provenance=lambda: stated,
        )


def _columns(source: Path) -> list[str]:
    with source.open(encoding="utf-8", errors="replace", newline="\n") as file:
        line = file.readline(1 << 22)
    # lines end by a carriage return alone where no other end is; within a line it is damage
    line = line.rstrip("\r\n") if line.endswith("\n") else line.partition("\r")[0]
    return line.replace('"', "").split(",")


def _nearly(columns: list[str]) -> bool:
    """Whether most columns are numbered, or more than seven in a row, or that many are numbers, as where the header is
    lost: features with a damaged header, and no other table."""
    cells = re.split(r"[,;\t| ]", ",".join(columns))
    steps = sum(last.isdigit() and after == str(int(last) + 1) for last, after in pairwise(map(_end, cells)))
    numbers = sum(re.fullmatch(r"-?\d+\.\d+", cell) is not None for cell in cells)
    return sum(cell[-1:].isdigit() for cell in cells) > max(7, len(cells) // 2) or max(steps, numbers) > 7


def _end(cell: str) -> str:
    """The number that a name ends with, or nothing."""
    return re.search("[0-9]{0,9}$", cell)[0]  # type: ignore[index]


def _feature_columns(columns: list[str]) -> list[str]:
    """The columns but x and y, if they are 0, 1, 2, ... behind the same word or none; else nothing."""
    features = [name for name in columns if name not in ("x", "y")]
    word = features[0].rstrip("0123456789") if features else ""
    first = features[0].removeprefix(word) if features else ""
    if not first.isdigit():
        return []
    return features if features == [f"{word}{int(first) + step}" for step in range(len(features))] else []


FORMAT = _Csv()
