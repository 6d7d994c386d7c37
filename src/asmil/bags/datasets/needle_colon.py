"""Needle of colon: real tiles without epithelium; positive bags hold a few tiles with epithelial nuclei."""

from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from asmil.bags.datasets import Dataset
from asmil.bags.slide_sets import Needles, load_needles

NUCLEI = 2
"""Epithelial nuclei from which a tile counts as epithelium: one may lie on its edge."""


def load_needle_colon(
    root: Path | None = None,
    *,
    features_encoder: str | None = None,
    annotations: str | Path | None = None,
    tiles_per_bag: int = 50,
    witness_rate: float = 0.06,
    seed: int = 0,
) -> Dataset:
    """Bags of images without any epithelial nucleus; the tiles put in have two or more and are of other images.

    `root` is the folder of features that `asmil embed` made of the slides of `colon`, `annotations` that of their
    points (default: of the `colon` that `ASMIL_DATA` names). See docs/datasets.md for how bags are made.

    Raises:
        DatasetError: no features, no annotations, too few tiles for one group of bags, or impossible numbers.
        FeatureError, AnnotationError: files that cannot be read.
    """
    needles = Needles("needle_colon", "colon", "epithelial", tiles_per_bag, witness_rate, seed)
    source = "Sirinukunwattana et al. 2016, CRCHistoPhenotypes, doi:10.1109/TMI.2016.2525803; tiles put in by asmil"
    return load_needles(
        root, annotations, needles, features_encoder=features_encoder, truth=truth_of_tiles, source=source
    )


def truth_of_tiles(xy: np.ndarray, side: float, drawn: BaseGeometry) -> np.ndarray:
    """1 from `NUCLEI` points in a tile on, 0 for all tiles of an image without points, else -1; int8 (tiles,)."""
    points = shapely.get_coordinates(drawn)
    if not len(points):
        return np.zeros(len(xy), np.int8)
    offset = points[None] - xy[:, None]
    count = ((offset >= 0) & (offset < side)).all(axis=-1).sum(axis=1)
    return np.where(count >= NUCLEI, 1, -1).astype(np.int8)


DATASET = load_needle_colon
