"""What a run folder holds, read when asked for; what is absent is empty or None, what is broken an error."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import yaml
from PIL import Image

from asmil.bags import FeatureStore, open_features
from asmil.errors import FeatureError, RunError
from asmil.files import safe_name
from asmil.slides import scan_slides
from asmil.training.runs import Run

CLASSIFICATION = "classification"
_TEXT = {"slide": str, "name": str, "case": str, "label": str, "predicted": str, "part": str, "site": str}
_FACTS = {"fold", "tiles", "attention_share", "entropy", "effective_tiles", "top1_mass", "tile_auroc", "tile_ap"}
"""Columns of predictions.csv that hold numbers but no prediction."""


@dataclass(frozen=True)
class SlideTiles:
    """Where the tiles of a slide are: corners (tiles, 2), side and slide size in level-0 pixels, its mpp."""

    level0_xy: np.ndarray
    tile_level0_px: float
    slide_size: tuple[int, int]
    slide_mpp: float | None


@dataclass(frozen=True)
class Cell:
    """One trained model of the run: its fold, its seed and its folder."""

    fold: int
    seed: int
    folder: Path


class RunFiles:
    """The files of one run folder.

    Raises:
        RunError: the folder has no predictions.csv, without which there is nothing to report.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "predictions.csv").is_file():
            raise RunError(
                f"{self.folder} has no out-of-fold predictions",
                found="no predictions.csv",
                fix=f"run `asmil evaluate {self.folder}` first",
            )

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per slide: slide, case, label, fold, predicted, prob_<class>..., entropy, tile_ap ...

        A run of another task has its own columns of values in the place of `predicted` and `prob_<class>`.
        """
        table = self._table("predictions.csv")
        missing = [c for c in ("slide", "label") if c not in table] or [
            f"prob_{c}" for c in self.classes if f"prob_{c}" not in table
        ]
        if missing:
            raise RunError(f"{self.folder / 'predictions.csv'} lacks columns", found=f"no {', '.join(missing)}")
        if "case" not in table:
            table["case"] = table["slide"]
        if self.classes and "predicted" not in table:
            table["predicted"] = np.array(self.classes)[self.probabilities(table).argmax(axis=1)]
        return table

    @cached_property
    def task(self) -> str:
        """What was predicted: "classification", or the name of another task."""
        return str(self.metrics.get("task") or CLASSIFICATION)

    @cached_property
    def classes(self) -> list[str]:
        """Class names in the order of the probabilities; none where the task is not classification."""
        if self.task != CLASSIFICATION:
            return []
        if self.metrics.get("classes"):
            return [str(c) for c in self.metrics["classes"]]
        header = pd.read_csv(self.folder / "predictions.csv", nrows=0).columns
        return [c.removeprefix("prob_") for c in header if c.startswith("prob_")]

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        """(slides, classes) predicted probabilities of the rows of a table."""
        return table[[f"prob_{c}" for c in self.classes]].to_numpy(dtype=np.float64)

    @cached_property
    def values(self) -> list[str]:
        """The columns of predictions.csv that hold what was predicted."""
        if self.classes:
            return [f"prob_{c}" for c in self.classes]
        table = self.predictions
        known = _FACTS | {c for c in table if str(c).startswith("target_")}
        return [str(c) for c in table if c not in known and pd.api.types.is_numeric_dtype(table[c])]

    @property
    def unit(self) -> str:
        """The column that names what one prediction was made for: "slide", or "case" where bags are patients."""
        return "case" if self.config.get("bag") == "patient" else "slide"

    @cached_property
    def cell_rows(self) -> pd.DataFrame:
        """The predictions of all trained models, with fold and seed; part is "test" where it is not said."""
        tables = [
            _read_table(cell.folder / "predictions.csv").assign(fold=cell.fold, seed=cell.seed) for cell in self.cells
        ]
        rows = (
            pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["slide", "part", "fold", "seed"])
        )
        return rows if "part" in rows else rows.assign(part="test")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Content of metrics.json."""
        return self._json("metrics.json")

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Content of environment.json."""
        return self._json("environment.json")

    @cached_property
    def config(self) -> dict[str, Any]:
        """Resolved settings: config.yaml."""
        path = self.folder / "config.yaml"
        return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}

    @cached_property
    def cohort(self) -> pd.DataFrame:
        """slide, case, label."""
        return self._table("cohort.csv")

    @cached_property
    def splits(self) -> pd.DataFrame:
        """slide, case, label, fold, part."""
        return self._table("splits.csv")

    @cached_property
    def failures(self) -> pd.DataFrame:
        """name, result (skipped, failed), stage, reason."""
        return self._table("failures.csv")

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Wall time by stage, without the report: its own time is known only when it is written."""
        known = {**(self.metrics.get("seconds") or {}), **self._json("seconds.json")}
        return {str(stage): float(seconds) for stage, seconds in known.items() if stage != "report"}

    @cached_property
    def cells(self) -> list[Cell]:
        """The trained models, by fold and seed."""
        found = [
            Cell(int(path.parents[1].name), int(path.parent.name.removeprefix("seed_")), path.parent)
            for path in self.folder.glob("folds/*/seed_*/predictions.csv")
        ]
        return sorted(found, key=lambda cell: (cell.fold, cell.seed))

    @cached_property
    def logs(self) -> list[pd.DataFrame]:
        """One table per training, one row per epoch, in the order of `cells`."""
        return [pd.read_csv(cell.folder / "log.csv") for cell in self.cells if (cell.folder / "log.csv").is_file()]

    def logged(self, column: str) -> list[np.ndarray]:
        """A column of every log that has it, as float (epochs,) with NaN where blank."""
        found = [pd.to_numeric(log[column], errors="coerce").to_numpy(float) for log in self.logs if column in log]
        return [values for values in found if np.isfinite(values).any()]

    def weight_samples(self) -> dict[str, np.ndarray]:
        """Weight times tiles of softmax and NSF, pooled over trainings; empty where none were kept."""
        pooled: dict[str, list[np.ndarray]] = {}
        for cell in self.cells:
            if (cell.folder / "scores.h5").is_file():
                with h5py.File(cell.folder / "scores.h5") as file:
                    for name in ("softmax", "nsf"):
                        if name in file:
                            pooled.setdefault(name, []).append(np.ravel(file[name][()]))
        return {name: np.concatenate(parts) for name, parts in pooled.items()}

    def attention(self, slide: str) -> np.ndarray | None:
        """Attention (tiles,) by models that did not train on the slide, mean over seeds; None if not kept."""
        maps = self.attention_maps(slide)
        return np.mean(maps, axis=0) if maps else None

    def attention_maps(self, slide: str) -> list[np.ndarray]:
        """The attention (tiles,) of each model that did not train on the slide."""
        maps = []
        for cell in self.cells:
            if slide in self._test_slides[cell.folder] and (cell.folder / "attention.h5").is_file():
                with h5py.File(cell.folder / "attention.h5") as file:
                    if safe_name(slide) in file:
                        maps.append(file[safe_name(slide)][()].astype(np.float64))
        return maps

    @cached_property
    def _test_slides(self) -> dict[Path, set[str]]:
        test = self.cell_rows[self.cell_rows["part"] == "test"]
        of_cell = {key: set(rows["slide"]) for key, rows in test.groupby(["fold", "seed"])}
        return {cell.folder: of_cell.get((cell.fold, cell.seed), set()) for cell in self.cells}

    @cached_property
    def store(self) -> FeatureStore | None:
        """The run's features, None where they are not at hand."""
        try:
            return open_features(self.config.get("features") or Run(self.folder).features)
        except FeatureError:
            return None

    def stated_mpp(self, slide: str) -> float | None:
        """The um per level-0 pixel that the feature file, the cohort or the settings say."""
        stated: Any = self.store.info(slide).slide_mpp if self.store is not None and slide in self.store else None
        if stated is None and "mpp" in self.cohort:
            stated = (
                pd.to_numeric(self.cohort.loc[self.cohort["slide"] == slide, "mpp"], errors="coerce").dropna().min()
            )
        stated = self.config.get("slide_mpp") if stated is None else stated
        return float(stated) if stated is not None and math.isfinite(float(stated)) else None

    def tiles(self, slide: str) -> SlideTiles | None:
        """Geometry of a slide's tiles from its feature file; None without file or level-0 coordinates."""
        if self.store is None or slide not in self.store:
            return None
        mpp = self.stated_mpp(slide)
        bag = self.store.stream(slide, slide_mpp=mpp)
        corners = bag.level0_xy
        if corners is None:
            return None
        level0_xy = corners.numpy().astype(np.float64)
        side = float(bag.tile_level0_px or _spacing(level0_xy))
        said = self.store.info(slide).provenance
        size = [said.get(f"level0_{name}") for name in ("width", "height")]
        if None in size:
            size = list(level0_xy.max(axis=0) + side)
        width, height = (int(float(length)) for length in size if length is not None)
        return SlideTiles(level0_xy, side, (width, height), mpp)

    @cached_property
    def slide_paths(self) -> dict[str, Path]:
        """The slide files of the run by name, where their folder is at hand."""
        folder = self.config.get("slides")
        return {path.stem: path for path in scan_slides(folder)} if folder and Path(folder).is_dir() else {}

    def thumbnail(self, slide: str) -> np.ndarray | None:
        """The slide's thumbnail uint8 (h, w, 3), or None."""
        path = self.folder / "thumbnails" / (safe_name(slide) + ".jpg")
        if not path.is_file():
            return None
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))

    def figure_files(self, slide: str) -> Iterator[str]:
        """Links, relative to the folder, to the stored heatmap and tile scores of a slide."""
        for suffix in (".png", ".geojson"):
            if (self.folder / "figures" / (safe_name(slide) + suffix)).is_file():
                yield f"figures/{safe_name(slide)}{suffix}"

    def _table(self, name: str) -> pd.DataFrame:
        path = self.folder / name
        present = path.is_file() and path.read_text(encoding="utf-8").strip()
        return _read_table(path) if present else pd.DataFrame()

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _read_table(path: Path) -> pd.DataFrame:
    # a slide or class called "NA" or "nan" is a name, not a gap
    return pd.read_csv(path, dtype=_TEXT, keep_default_na=False, na_values=[])


def _spacing(level0_xy: np.ndarray) -> float:
    """Smallest distance of tile columns or rows: the tile side of foreign files that do not say it."""
    steps = [np.diff(np.unique(axis)) for axis in level0_xy.T]
    smallest = [step.min() for step in steps if len(step)]
    return float(min(smallest, default=256.0))
