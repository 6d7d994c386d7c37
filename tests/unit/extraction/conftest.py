"""Slides of different content and size, cut from a real one, and encoders whose features say what they saw."""

import numpy as np
import pytest
import torch
from PIL import Image

from asmil.encoders import EncoderCard
from asmil.extraction import ExtractSettings
from asmil.slides import open_slide


class Colour:
    """Mean and spread of the colours of each tile; remembers its batches, and what each slide is like on its own."""

    device = torch.device("cpu")
    precision = "fp32"

    def __init__(self, name="colour", *, factor=1.0, dim=6):
        self.card, self.weight_hash = EncoderCard(name, dim, None, None, "-", "-"), f"{factor:g}"
        self.factor, self.batches = factor, []

    def __call__(self, tiles):
        self.batches.append(len(tiles))
        pixels = torch.as_tensor(tiles).float()
        return torch.cat([pixels.mean((1, 2)), pixels.std((1, 2))], dim=1) * self.factor


@pytest.fixture(scope="session")
def colour():
    """The class of an encoder that is told its name and a factor."""
    return Colour


@pytest.fixture(scope="session")
def pieces(cmu_slide, tmp_path_factory):
    """Six PNG slides of a real slide's tissue, 2 to 80 tiles of 32 px at 1 um/px each."""
    folder = tmp_path_factory.mktemp("pieces")
    with open_slide(cmu_slide) as slide:
        for index, (width, height) in enumerate([(320, 256), (64, 32), (96, 64), (64, 64), (256, 320), (128, 96)]):
            pixels = slide.read((300 + 40 * index, 600 + 30 * index), (width, height), mpp=1.0)
            Image.fromarray(pixels).save(folder / f"piece{index}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def settings():
    """All of a piece is tissue, at 1 um/px."""
    return ExtractSettings(mpp=1.0, tile_px=32, tissue_method="whole", slide_mpp=1.0)


@pytest.fixture(scope="session")
def features_of():
    """A function that reads features, coordinates and settings of a feature file."""
    import h5py

    def read(path):
        with h5py.File(path) as file:
            return np.asarray(file["features"]), np.asarray(file["coords"])

    return read
