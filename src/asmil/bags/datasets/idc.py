"""IDC: 140 breast patients as slides of 50-px tiles; is much of it invasive carcinoma (tiles as truth)."""

from pathlib import Path

from asmil.bags.datasets import Dataset
from asmil.bags.slide_sets import load_slides


def load_idc(root: Path | None = None, *, features: str | Path | None = None) -> Dataset:
    """70 patients with at least 30 % tiles of invasive ductal carcinoma and 70 with fewer, at about 4 um/px.

    Raises:
        DatasetError: no data at `root`, or no `features` (a folder that asmil made of the slides).
    """
    source = "Cruz-Roa et al. 2014, doi:10.1117/12.2043872 (IDC_regular_ps50)"
    return load_slides(root, features, name="idc", positive="IDC", source=source, licence="none stated; research use")


DATASET = load_idc
