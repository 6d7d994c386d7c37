"""Fixtures for the tests of bags."""

from pathlib import Path

import h5py
import numpy as np
import pytest


@pytest.fixture(scope="session")
def write_slides():
    """A function that writes small features of named slides into one file of a folder and returns the folder."""

    def write(folder: Path, slides, *, file: str = "features.h5") -> Path:
        folder.mkdir(exist_ok=True)
        with h5py.File(folder / file, "w") as out:
            for slide in slides:
                out[f"{slide}/feat"] = np.arange(6, dtype=np.float16).reshape(2, 3)
        return folder

    return write
