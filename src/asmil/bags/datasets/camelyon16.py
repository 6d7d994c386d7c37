"""CAMELYON16: lymph nodes of breast cancer patients, tumour or normal; 270 official training and 129 test slides."""

import re
from pathlib import Path

import pandas as pd

from asmil.bags.datasets import Dataset, DatasetError
from asmil.bags.slide_sets import Choices, Official, find_table, load_official
from asmil.bags.tables import listed

CLASSES = ("normal", "tumor")
# normal_086 was found to be tumorous after publication and became tumor_111.
TRAIN = [f"normal_{i:03d}" for i in range(1, 161) if i != 86] + [f"tumor_{i:03d}" for i in range(1, 112)]

_TUMOUR_GROUPS = ("_0", "_1", "Tumor", "metastases")


def load_camelyon16(
    root: Path | None = None,
    *,
    features: str | Path | None = None,
    features_encoder: str | None = None,
    annotations: str | Path | None = None,
    test_114: bool = True,
    splits: str | Path | None = None,
    val_fraction: float = 0.1,
    seed: int = 0,
    partial: bool = False,
) -> Dataset:
    """The official split, with validation slides drawn from the training part (or `splits` of others).

    `root` is `reference.csv` (slide, Normal or Tumor, type, size; no header) or a folder with it; training labels are
    in the slides' names; every patient has one slide. test_114 is officially a tumour (49 of 129) whose annotation is
    not exhaustive; some tables call it normal, some studies leave it out: `test_114=False` does that (48 of 128).
    `annotations` is a folder of ASAP XML (default: `annotations` beside the table or its folder), in which polygons of
    group `_2` are holes, or of polygon JSON.

    Raises:
        DatasetError: no table, a table of other slides, or features of official slides are missing.
        SplitError: `splits` that do not keep the official test part apart.
    """
    path = find_table(root, ["reference.csv"], name="camelyon16")
    lines = path.read_text(encoding="utf-8-sig", errors="replace").lower().splitlines()
    rows = [[cell.strip() for cell in line.split(",")[:2]] for line in lines if line.startswith("test_")]
    test = pd.DataFrame(rows, columns=["slide", "label"]).replace({"slide": r"\.tif$"}, "", regex=True)
    if len(test) != 129 or test["slide"].duplicated().any() or not test["label"].isin(CLASSES).all():
        found = f"{test['slide'].nunique()} test slides, labels {listed(test['label'].unique())}"
        raise DatasetError(f"{path} is not the reference of the 129 official test slides", found=found)
    test = test[(test["slide"] != "test_114") | test_114].assign(part="test")
    train = pd.DataFrame({"slide": TRAIN, "label": [name.split("_")[0] for name in TRAIN], "part": "train"})
    table = pd.concat([train, test], ignore_index=True)
    folder = _annotations(path, annotations)
    official = Official(
        "camelyon16",
        table.assign(case=table["slide"]),
        CLASSES,
        source="Ehteshami Bejnordi et al. 2017, doi:10.1001/jama.2017.14585; data Litjens et al. 2018",
        licence="CC0",
        annotations=folder,
        positive=() if folder is None else _positive(folder),
    )
    return load_official(official, Choices(features, features_encoder, splits, val_fraction, seed, partial))


def _positive(folder: Path) -> tuple[str, ...]:
    """The classes that mark tumour: `positive` in polygon JSON, in XML those of the known groups that are used."""
    if any(folder.glob("*.json")):
        return ("positive",)
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in sorted(folder.glob("*.xml")))
    used = {group for text in texts for group in re.findall(r'PartOfGroup="([^"]*)"', text)}
    return tuple(sorted(used & set(_TUMOUR_GROUPS)))


def _annotations(table: Path, given: str | Path | None) -> Path | None:
    if given is not None and not Path(given).expanduser().is_dir():
        raise DatasetError("there is no folder of annotations at this path", found=given)
    places = [table.parent / "annotations", table.parent.parent / "annotations"] if given is None else [given]
    return next((folder for place in places if (folder := Path(place).expanduser()).is_dir()), None)


DATASET = load_camelyon16
