"""A run on disk: a folder of plain files that another tool, or a person, can read."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from asmil.errors import RunError
from asmil.files import safe_name, write_json, written_beside
from asmil.tasks import Task, create_task

_TEXT = {"slide": str, "case": str, "label": str}  # a slide may be called "NA" or "007"
_PACKAGES = (
    "asmil",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "h5py",
    "openslide-python",
    "openslide-bin",
    "timm",
)


@dataclass(frozen=True)
class Cell:
    """One trained model of a cross-validation: its fold, its seed and its folder."""

    fold: int
    seed: int
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether its predictions are written, which happens last."""
        return (self.folder / "predictions.csv").exists()

    def predictions(self) -> pd.DataFrame:
        """Validation and test rows: slide, case, label, part, prob_<class>..., fold, seed.

        Of a task: the stratum is the label, and there are target_<name>... and the values instead of probabilities.
        """
        table = pd.read_csv(self.folder / "predictions.csv", dtype=_TEXT, na_filter=False)
        return table.assign(fold=self.fold, seed=self.seed)

    def log(self) -> pd.DataFrame:
        """One row per epoch."""
        return pd.read_csv(self.folder / "log.csv")

    def attention(self) -> dict[str, np.ndarray]:
        """The attention (tiles,) of every test and validation slide, rows as in the feature file."""
        slide_of = {safe_name(slide): slide for slide in self.predictions().slide}
        with h5py.File(self.folder / "attention.h5") as file:
            return {slide_of.get(name, name): file[name][:] for name in file}


class Run:
    """A run folder. `Run.open` reads one; `Run.create` starts one or continues one made with the same settings."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """Open a finished or running run.

        Raises:
            RunError: the folder is not a run.
        """
        run = cls(folder)
        if not (run.folder / "identity.json").exists():
            raise RunError(
                f"{folder} is not a run",
                found="no identity.json",
                fix="give a folder that `asmil run` or `asmil crossval` made",
            )
        return run

    @classmethod
    def create(cls, folder: str | Path, *, identity: dict[str, Any]) -> "Run":
        """Start a run, or continue one. `identity` is every setting that decides the results.

        Raises:
            RunError: the folder holds a run of other settings; the differing ones are named.
        """
        run = cls(folder)
        identity = json.loads(json.dumps(identity, default=str))
        path = run.folder / "identity.json"
        if path.exists():
            before = json.loads(path.read_text())
            changed = [k for k in sorted({*before, *identity}) if before.get(k) != identity.get(k)]
            if changed:
                found = "; ".join(f"{k} was {before.get(k)!r}, is {identity.get(k)!r}" for k in changed[:8])
                raise RunError(
                    f"{folder} holds a run made with other settings",
                    found=found,
                    fix="choose another --out, or delete the folder",
                )
        write_json(path, identity)
        write_json(run.folder / "environment.json", environment())
        return run

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that decided the results."""
        return json.loads((self.folder / "identity.json").read_text())

    @property
    def features(self) -> Path:
        """The folder of the features that the run extracted; several kinds may lie beside each other."""
        path = self.folder / "features" / "run.json"
        return self.folder / "features" / (json.loads(path.read_text())["store"] if path.exists() else "")

    def set_features(self, store: Path) -> None:
        """Note which folder under `features/` is the one that the run learns from."""
        write_json(self.folder / "features" / "run.json", {"store": store.name})

    @property
    def task(self) -> Task | None:
        """What the run predicts, as it was read off the table of labels; None for classification."""
        path = self.folder / "task.json"
        if not path.exists():
            return None
        said = json.loads(path.read_text())
        return create_task(said["name"], **said["options"])

    def set_task(self, task: Task) -> None:
        """Note what the run predicts.

        Raises:
            RunError: it was begun with another task, or the table said something else of it then.
        """
        path, said = self.folder / "task.json", json.loads(json.dumps({"name": task.name, "options": task.options()}))
        before = json.loads(path.read_text()) if path.exists() else said
        if before != said:
            raise RunError(
                "the task is not the one this run was started with", found=f"{said}, was {before}",
                fix="choose another --out, or delete its folds/ and task.json to train anew",
            )  # fmt: skip
        write_json(path, said)

    def cell(self, fold: int, seed: int) -> Cell:
        """The cell of a fold and a seed, finished or not."""
        return Cell(fold, seed, self.folder / "folds" / str(fold) / f"seed_{seed}")

    def cells(self) -> list[Cell]:
        """All finished cells, by fold and seed."""
        found = [
            self.cell(int(path.parents[1].name), int(path.parent.name.removeprefix("seed_")))
            for path in self.folder.glob("folds/*/seed_*/predictions.csv")
        ]
        return sorted(found, key=lambda c: (c.fold, c.seed))

    def predictions(self) -> pd.DataFrame:
        """The rows of all finished cells.

        Raises:
            RunError: no cell is finished.
        """
        tables = [cell.predictions() for cell in self.cells()]
        if not tables:
            raise RunError(f"{self.folder} has no finished fold", fix="let `asmil crossval` or `asmil run` finish")
        return pd.concat(tables, ignore_index=True)

    def test_attention(self) -> dict[str, np.ndarray]:
        """Attention of every slide while it was a test slide, mean over seeds: float32 (tiles,).

        A map sums to 1, those of a patient's slides together where bags are patients.
        """
        maps: dict[str, list[np.ndarray]] = {}
        for cell in self.cells():
            table = cell.predictions()
            test = set(table.slide[table.part == "test"])
            for slide, attention in cell.attention().items():
                if slide in test:
                    maps.setdefault(slide, []).append(attention)
        return {slide: np.mean(several, axis=0) for slide, several in maps.items()}

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json.

        Raises:
            RunError: the run was not evaluated.
        """
        path = self.folder / "metrics.json"
        if not path.exists():
            raise RunError(f"{self.folder} was not evaluated yet", fix=f"asmil evaluate {self.folder}")
        return json.loads(path.read_text())

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall time of a block to `seconds.json` (and metrics.json), over all starts of the run."""
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = self.seconds
            seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - started, 2)
            write_json(self.folder / "seconds.json", seconds)
            metrics = self.folder / "metrics.json"
            if metrics.exists():
                write_json(metrics, json.loads(metrics.read_text()) | {"seconds": seconds})

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by stage, in seconds."""
        path = self.folder / "seconds.json"
        return json.loads(path.read_text()) if path.exists() else {}


def write_attention(path: Path, maps: dict[str, np.ndarray]) -> None:
    """Write one float32 dataset (tiles,) per slide, atomically."""
    with written_beside(path) as partial, h5py.File(partial, "w") as file:
        for slide, attention in maps.items():
            file.create_dataset(safe_name(slide), data=np.asarray(attention, dtype=np.float32))


def environment() -> dict[str, Any]:
    """Versions, device, processors and the commit of the code: what another person needs to repeat the run."""
    import torch

    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": versions,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpus": os.cpu_count(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit asmil runs from, when it runs from a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
