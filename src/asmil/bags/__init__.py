"""Vectors and labels become training data: feature files, the cohort table, patient-wise splits, bags.

Names are loaded when used: the tables and splits need no torch.
"""

from typing import Any

from asmil._lazy import load

_HOME = {
    "Bag": "bag",
    "BagContent": "content",
    "BagBatch": "bag",
    "Cohort": "cohort",
    "FEATURE_FORMATS": "formats",
    "FeatureInfo": "formats._entry",
    "FeatureStore": "store",
    "Fold": "splits",
    "LAYOUTS": "export",
    "Problem": "problem",
    "SlideNames": "names",
    "Splits": "splits",
    "StreamedBag": "streamed",
    "listed": "problem",
    "load_bags": "loading",
    "make_bags": "synthetic",
    "make_splits": "splits",
    "open_features": "store",
    "read_cohort": "cohort",
    "read_slide": "export._tiles",
    "read_splits": "split_files",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME, name)
