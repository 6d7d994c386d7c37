"""Public datasets by name, a file or a row of `bags/dataset_rows.py` each: bags, patients, splits, true tiles."""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asmil.bags.dataset_rows import ROWS
from asmil.errors import AsmilError, require_kind
from asmil.files import Facts, path_of
from asmil.registry import FolderRegistry

if TYPE_CHECKING:
    import numpy as np

    from asmil.bags.bag import Bag
    from asmil.bags.cohort import Cohort
    from asmil.bags.splits import Splits

DATASETS = FolderRegistry("dataset", "asmil.bags.datasets", "DATASET", rows=ROWS, given=("root",))
"""Each part is a function (root, *, options) -> Dataset."""


class DatasetError(AsmilError):
    """The files of a dataset are missing, are not what they should be, or cannot be downloaded."""


@dataclass(frozen=True)
class Dataset:
    """A dataset ready to be trained on.

    `bags` are in the order of `cohort` and have labels and cases. `splits` are the official ones, None where there are
    none. `tile_labels` give per slide (tiles,) int8: 1 positive, 0 negative, -1 unknown, where the truth is known
    without geometry; elsewhere `annotations` is a folder with a file per slide, whose classes `positive` mark the
    positive tiles. `source` says who made the data and where they come from, `remarks` what there is to know of the
    features, and stops nothing.
    """

    name: str
    bags: "list[Bag]"
    cohort: "Cohort"
    splits: "Splits | None" = None
    tile_labels: "dict[str, np.ndarray] | None" = None
    annotations: Path | None = None
    positive: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    remarks: tuple[str, ...] = ()


def list_datasets() -> list[str]:
    """The names of all datasets, sorted."""
    return DATASETS.names()


def load_dataset(name: str, *, root: str | Path | None = None, **options: object) -> Dataset:
    """Load a dataset.

    `root` is the file or folder of its data (default: looked for in the folder that the environment variable
    `ASMIL_DATA` names). The options are those of the dataset's own function, see docs/datasets.md.

    Raises:
        UnknownPartError: no dataset of that name.
        ConfigError: an option that the dataset does not have, or of a kind that it cannot be.
        DatasetError: files are missing, are not what they should be, or cannot be downloaded.
        CohortError, SplitError, FeatureError: tables, splits or features cannot be used.
    """
    DATASETS.check_options(name, options)
    _require_kinds(options, DATASETS.options(name))
    return DATASETS[name](None if root is None else path_of(root, "root").expanduser(), **options)


PATHS = ("features", "annotations", "splits", "slide_table")
LISTS = ("classes", "positive")


def _require_kinds(options: Facts, defaults: Facts) -> None:
    """Refuse options of a kind that they cannot have, as a study's file may say them: 5 for a path, true for a number.

    Raises:
        ConfigError: there is one; it is named.
        DatasetError: a number that is to be whole is not, or a seed is negative.
    """
    for name, value in options.items():
        default = defaults[name]
        if value is None and default is None:
            continue
        if name in PATHS:
            path_of(value, name)
        elif isinstance(default, bool):
            require_kind(value, bool, called=name, fix="give true or false")
        elif isinstance(default, int | float):
            require_kind(value, () if isinstance(value, bool) else Real, called=name, fix="give a number")
            whole = isinstance(value, Integral) or not isinstance(default, int)
            if not whole or (name == "seed" and value < 0):
                from_on = " from 0 on" if name == "seed" else ""
                found, fix = f"{name}={value}", f"give a whole number{from_on}"
                raise DatasetError(f"{name} must be a whole number{from_on}", found=found, fix=fix)
        elif name in LISTS:
            require_kind(value, () if isinstance(value, str) else Iterable, called=name, fix="give a list of names")
