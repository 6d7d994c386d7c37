"""Needle of IDC: real breast tiles without carcinoma; positive bags hold a few tiles of invasive carcinoma."""

from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from asmil.bags.datasets import Dataset
from asmil.bags.slide_sets import Needles, load_needles

COVERAGE = 0.5
"""Share of a tile that polygons of carcinoma cover for it to count as carcinoma; a tile they touch is not negative."""


def load_needle_idc(
    root: Path | None = None,
    *,
    features_encoder: str | None = None,
    annotations: str | Path | None = None,
    tiles_per_bag: int = 20,
    witness_rate: float = 0.05,
    seed: int = 0,
) -> Dataset:
    """Bags of tiles that no polygon of carcinoma touches; the tiles put in are carcinoma of other patients.

    `root` is the folder of features that `asmil embed` made of the slides of `idc`, `annotations` that of their
    polygons (default: of the `idc` that `ASMIL_DATA` names). See docs/datasets.md for how bags are made.

    Raises:
        DatasetError: no features, no annotations, too few tiles for one group of bags, or impossible numbers.
        FeatureError, AnnotationError: files that cannot be read.
    """
    needles = Needles("needle_idc", "idc", "IDC", tiles_per_bag, witness_rate, seed)
    source = "Cruz-Roa et al. 2014, doi:10.1117/12.2043872 (IDC_regular_ps50); tiles put in by asmil"
    return load_needles(
        root, annotations, needles, features_encoder=features_encoder, truth=truth_of_tiles, source=source
    )


def truth_of_tiles(xy: np.ndarray, side: float, drawn: BaseGeometry) -> np.ndarray:
    """1 from `COVERAGE` on, 0 where nothing is covered, else -1; int8 (tiles,)."""
    boxes = shapely.box(*xy.T, *(xy + side).T)
    covered = shapely.area(shapely.intersection(boxes, drawn)) / side**2
    # cutting moves corners by a rounding error
    return np.where(covered >= COVERAGE - 1e-9, 1, np.where(covered < 1e-9, 0, -1)).astype(np.int8)


DATASET = load_needle_idc
