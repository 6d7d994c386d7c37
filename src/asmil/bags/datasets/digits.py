"""Digits: bags of real handwritten 8 x 8 digits (scikit-learn); positive bags hold some of one digit."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from asmil.bags.bag import Bag
from asmil.bags.cohort import Cohort
from asmil.bags.datasets import Dataset, DatasetError

CLASSES = ("negative", "positive")


def load_digits(
    root: Path | None = None,
    *,
    bags: int = 100,
    tiles_per_bag: int = 16,
    positive_share: float = 0.06,
    target: int = 9,
    seed: int = 0,
) -> Dataset:
    """Draw bags from the 1797 images without replacement, so that no image is in two bags and none can leak.

    Every other bag is positive: `round(positive_share * tiles_per_bag)` of its tiles, at least one, show the digit
    `target`; no tile of a negative bag does. Features are the 64 pixels, 0 to 1. The truth of every tile is known. The
    defaults use 1600 images: 50 positive bags with 1 target among 16 tiles, 50 negative ones. `root` is not used:
    scikit-learn brings the images.

    Raises:
        DatasetError: more images asked for than there are; impossible numbers.
    """
    from sklearn.datasets import load_digits as images  # slow to import

    if bags < 2 or tiles_per_bag < 1 or not 0 < positive_share <= 1 or target not in range(10):
        found = f"bags={bags}, tiles_per_bag={tiles_per_bag}, positive_share={positive_share}, target={target}"
        raise DatasetError("bags of digits need 2 bags, 1 tile, a share in (0, 1] and a digit", found=found)
    pixels, digit = images(return_X_y=True)
    rng = np.random.default_rng(seed)
    targets, others = (rng.permutation(np.flatnonzero((digit == target) == is_target)) for is_target in (True, False))
    hits = max(1, round(positive_share * tiles_per_bag))
    wanted = [hits if bag % 2 == 0 else 0 for bag in range(bags)]
    if sum(wanted) > len(targets) or bags * tiles_per_bag - sum(wanted) > len(others):
        found = f"{sum(wanted)} of digit {target} and {bags * tiles_per_bag - sum(wanted)} others are asked for"
        fix = f"there are {len(targets)} and {len(others)}, each used once: use fewer bags or tiles per bag"
        raise DatasetError("there are not enough digits", found=found, fix=fix)
    made, truth = [], {}
    for number, count in enumerate(wanted):
        drawn = np.concatenate([targets[:count], others[: tiles_per_bag - count]])
        targets, others = targets[count:], others[tiles_per_bag - count :]
        rows = rng.permutation(drawn)
        name = f"digits_{number:03d}"
        made.append(Bag(torch.from_numpy(pixels[rows] / 16).float(), None, name, name, int(count > 0)))
        truth[name] = (digit[rows] == target).astype(np.int8)
    names = list(truth)
    labels = [CLASSES[count > 0] for count in wanted]
    cohort = Cohort(pd.DataFrame({"slide": names, "case": names, "label": labels}), CLASSES)
    source = "Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits (UCI), through scikit-learn"
    return Dataset("digits", made, cohort, tile_labels=truth, source=source, licence="CC BY 4.0")


DATASET = load_digits
