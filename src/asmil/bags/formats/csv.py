"""CSV files with a row per tile and numbered columns (DSMIL), and `x`, `y` columns where tiles have a place."""

from pathlib import Path

import numpy as np
import pandas as pd

from asmil.bags.reading.entry import Array, Entry, number
from asmil.bags.reading.source import stated_facts
from asmil.bags.tables import slide_name
from asmil.errors import FeatureError


class _Csv:
    suffixes = (".csv",)

    def sniff(self, source: Path) -> bool:
        """Only numbered columns are features; every other table is something else, and no fault."""
        with source.open(encoding="utf-8", errors="replace") as file:
            columns = _feature_columns(file.readline().rstrip("\r\n").replace('"', "").split(","))
        return len(columns) > 1

    def slides(self, source: Path) -> dict[str, Array | None]:
        return {slide_name(source.stem): None}

    def entry(self, source: Path, key: str) -> Entry:
        try:
            table = pd.read_csv(source, dtype=np.float32)
        except ValueError as error:
            fix = "the file is damaged or holds other things than numbers"
            raise FeatureError(f"{source.name} cannot be read", found=error, fix=fix) from error
        stated = stated_facts(source)
        coords = pd.read_csv(source, usecols=["x", "y"])[["x", "y"]] if {"x", "y"} <= set(table.columns) else None
        return Entry(
            features=table[_feature_columns(list(table.columns))].to_numpy(),
            coords=None if coords is None else coords.to_numpy(),
            tile_level0_px=number(stated, "tile_level0_px"),
            mpp=number(stated, "mpp"),
            encoder=stated.get("encoder"),
            provenance=lambda: stated,
        )


def _feature_columns(columns: list[str]) -> list[str]:
    """The columns but x and y, if they are 0, 1, 2, ... behind the same word or none; else nothing."""
    features = [name for name in columns if name not in ("x", "y")]
    word = features[0].rstrip("0123456789") if features else ""
    first = features[0].removeprefix(word) if features else ""
    if not first.isdigit():
        return []
    return features if features == [f"{word}{int(first) + step}" for step in range(len(features))] else []


FORMAT = _Csv()
