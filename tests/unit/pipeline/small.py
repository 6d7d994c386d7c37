"""A cohort of a few small bags, settings of a run of it that takes a second, and who listens to it."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from asmil.progress import Listener, Outcome

PATIENTS = 10
SMALL = {
    "model": "abmil",
    "model_options": {"dim": 8},
    "folds": 2,
    "seeds": 1,
    "epochs": 2,
    "batch_size": 2,
    "workers": 1,
    "device": "cpu",
    "bootstrap": 10,
    "heatmaps": 1,
}
"""Settings of every run here; `dim` is the width within the model."""


class Deaf(Listener):
    """Hears nothing and warns of nothing; what was set aside is in `outcome`."""

    outcome: Outcome
    notes: list[str]

    def __init__(self):
        self.notes = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def closing(self, outcome: Outcome) -> None:
        self.outcome = outcome


def write_bag(path: Path, *, seed: int, shift: float = 0.0, tiles: int = 20, width: int = 6) -> None:
    """A feature file of CLAM's layout, its values decided by `seed` and moved by `shift`."""
    with h5py.File(path, "w") as file:
        values = np.random.default_rng(seed).normal(shift, 1, (tiles, width))
        file["features"] = values.astype(np.float32)
        file["coords"] = np.array([(i % 5 * 256, i // 5 * 256) for i in range(tiles)])


def draw(folder: Path) -> dict:
    """Write `features/` and `labels.csv` into a folder; returns the settings of a run there, with relative paths."""
    (folder / "features").mkdir()
    rows = ["slide_id,case_id,label"]
    for number in range(PATIENTS):
        write_bag(folder / f"features/s{number}.h5", seed=number, shift=number % 2)
        rows.append(f"s{number},P{number},{'ab'[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return {"features": "features", "labels": "labels.csv", "out": "run", **SMALL}


@contextmanager
def blank_figures() -> Iterator[pytest.MonkeyPatch]:
    """Drawing takes most of the time, and has tests of its own."""

    def save(_figure, file, **_options):
        text = '<svg viewBox="0 0 1 1"></svg>'
        if isinstance(file, str | Path):
            Path(file).write_text(text)
        else:
            file.write(text if isinstance(file, io.TextIOBase) else text.encode())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("matplotlib.figure.Figure.savefig", save)
        yield patched
