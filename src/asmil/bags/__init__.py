"""Vectors and labels become training data: feature files, the cohort table, patient-wise splits, bags.

Names are loaded when used: the tables and splits need no torch.
"""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.bags.bag import Bag, BagBatch, StreamedBag, make_bags
    from asmil.bags.cohort import Cohort, read_cohort, targets_of
    from asmil.bags.datasets import DATASETS, Dataset, DatasetError, list_datasets, load_dataset
    from asmil.bags.export import LAYOUTS
    from asmil.bags.formats import FEATURE_FORMATS
    from asmil.bags.loading import (
        available_memory,
        by_slide,
        load_bags,
        patient_bags,
        require_one_answer,
    )
    from asmil.bags.reading.entry import FeatureInfo
    from asmil.bags.reading.slide_tiles import read_slide
    from asmil.bags.split_files import read_splits
    from asmil.bags.splits import PARTS, Fold, Splits, make_splits
    from asmil.bags.store import BagContent, FeatureStore, open_features
    from asmil.bags.tables import Problem, SlideNames, listed, read_table, slide_name

_HOMES = {
    "bag": ("Bag", "BagBatch", "StreamedBag", "make_bags"),
    "cohort": ("Cohort", "read_cohort", "targets_of"),
    "datasets": ("DATASETS", "Dataset", "DatasetError", "list_datasets", "load_dataset"),
    "export": ("LAYOUTS",),
    "formats": ("FEATURE_FORMATS",),
    "loading": ("available_memory", "by_slide", "load_bags", "patient_bags", "require_one_answer"),
    "reading.entry": ("FeatureInfo",),
    "reading.slide_tiles": ("read_slide",),
    "split_files": ("read_splits",),
    "splits": ("PARTS", "Fold", "Splits", "make_splits"),
    "store": ("BagContent", "FeatureStore", "open_features"),
    "tables": ("Problem", "SlideNames", "listed", "read_table", "slide_name"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
