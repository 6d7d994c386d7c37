"""Colon: 100 H&E images of colorectal adenocarcinoma as slides; is there any epithelial nucleus (points as truth)."""

from pathlib import Path

from asmil.bags.datasets import Dataset
from asmil.bags.slide_sets import load_slides


def load_colon(root: Path | None = None, *, features: str | Path | None = None) -> Dataset:
    """51 positive and 49 negative images of 500 x 500 px at .55 um/px; each counts as its own patient.

    Raises:
        DatasetError: no data at `root`, or no `features` (a folder that asmil made of the slides).
    """
    source = "Sirinukunwattana et al. 2016, CRCHistoPhenotypes, doi:10.1109/TMI.2016.2525803; label as in Ilse 2018"
    return load_slides(
        root, features, name="colon", positive="epithelial", source=source, licence="none stated; research use"
    )


DATASET = load_colon
