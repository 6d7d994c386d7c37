"""Vectors and labels become training data: feature files, the cohort table, patient-wise splits, bags.

Names are loaded when used: the tables and splits need no torch.
"""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.bags.bag import Bag, BagBatch, StreamedBag, make_bags
    from asmil.bags.cohort import Cohort, targets_of
    from asmil.bags.columns import sorted_classes, spelled_alike, told_alike
    from asmil.bags.datasets import DATASETS, Dataset, DatasetError, list_datasets, load_dataset
    from asmil.bags.export import LAYOUTS
    from asmil.bags.formats import FEATURE_FORMATS
    from asmil.bags.labels import TableOptions, read_cohort
    from asmil.bags.loading import (
        available_memory,
        by_slide,
        load_bags,
        patient_bags,
        require_one_answer,
    )
    from asmil.bags.reading.entry import FeatureInfo, require_one_encoder, several_scales
    from asmil.bags.reading.slide_tiles import check_slide_tiles, read_slide, write_slide_vector
    from asmil.bags.reading.stored_slide import require_unlike
    from asmil.bags.reading.twins import (
        FEWEST,
        OTHER_SIZE,
        Fingerprint,
        Twin,
        find_twins,
        fingerprint,
        flat_tiles,
        landmark_scales,
        landmarks,
        odd_tiles,
        require_one_size,
        twins_of,
    )
    from asmil.bags.split_files import read_splits
    from asmil.bags.splits import PARTS, Fold, Splits, make_splits, require_apart
    from asmil.bags.store import BagContent, FeatureStore, open_features, seen_in_training
    from asmil.bags.tables import Problem, SlideNames, listed, read_table, slide_name, table_file
else:
    __all__, __getattr__ = door(__name__)
