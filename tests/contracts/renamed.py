"""What is read of a feature file, whatever the case of its suffix: for every format's own test of it."""

from pathlib import Path

import torch

from asmil.bags import open_features


def require_same_in_capitals(path: Path, folder: Path) -> None:
    """Rename a file (or folder) of features to a suffix in capitals: the store of the folder is as it was."""
    known = open_features(folder)
    slide = known.slides[0]
    features, info = known.load(slide).features, known.info(slide)
    renamed = path.rename(path.with_suffix(path.suffix.upper()))
    again = open_features(folder)
    assert (again.slides, again.formats) == (known.slides, known.formats)
    assert torch.equal(again.load(slide).features, features)
    assert again.info(slide).coordinates == info.coordinates
    assert again.info(slide).path == renamed
