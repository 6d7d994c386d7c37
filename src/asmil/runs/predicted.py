"""A folder of predictions of new slides: tables, attention, and where features and slides of them lie."""

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from asmil.errors import FeatureError, RunError
from asmil.extraction import sole
from asmil.files import Facts, new_hdf5, safe_name, write_json, write_text
from asmil.runs import layout
from asmil.runs.reading import open_h5, read_json, read_table, vector

if TYPE_CHECKING:
    from asmil.bags import FeatureStore
    from asmil.progress import Listener

AGAIN = "predict into this folder again: asmil predict RUN --out FOLDER"


class PredictedFolder:
    """What `asmil predict` writes, read and written here alone.

    Raises:
        RunError: when something is read that is missing, damaged, or not of predictions.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    @property
    def there(self) -> bool:
        """Whether a folder holds predictions of new slides, and is no run, and none of its cells."""
        return layout.is_predictions(self.folder)

    def held(self, hear: "Listener") -> AbstractContextManager[None]:
        """A block in which no other process predicts into it: each would write the tables, and remove figures, as if
        the other's slides were gone.

        Raises:
            RunError: another does; it is named.
        """
        return sole(self.folder, within=layout.MAKING, what="predicting", hear=hear)

    def write(self, rows: Sequence[Facts], attention: Iterable[tuple[str, np.ndarray]]) -> None:
        """Write predictions.csv, and attention.h5 (a float32 dataset (tiles,) per slide)."""
        table = pd.DataFrame(rows)
        write_text(self.folder / layout.PREDICTIONS, table.to_csv(index=False) if len(table) else "slide\n")
        with new_hdf5(self.folder / layout.ATTENTION) as file:
            for slide, values in attention:
                file.create_dataset(safe_name(slide), data=values)

    def drop_figures(self, current: Collection[str]) -> list[str]:
        """Remove the figures of slides that were predicted here once, but those of `current`; which had any.

        Slides are named as their files are.
        """
        dropped, figures = [], self.folder / layout.FIGURES
        settled = {file.stem for file in (self.folder / layout.SETTLED).glob("*.h5")}
        for name in sorted(settled.difference(current)):
            files = [figures / f"{name}{suffix}" for suffix in layout.FIGURE_SUFFIXES]
            if there := [file for file in files if file.exists()]:
                dropped.append(name)
            for file in there:
                file.unlink()
        return dropped

    def note(self, run: Path | None, *, models: str, store: "FeatureStore", slides: Path | None) -> None:
        """Note where run, features and slides are, and a digest of the models; what is of no run or slides is None."""
        places = {"run": run, "features": store.path, "slides": slides}
        said = {name: self._said(path) for name, path in places.items()}
        write_json(self.folder / layout.MADE_OF, said | {"features_encoder": store.encoder, "models": models})

    def _said(self, path: Path | None) -> str | None:
        """A place as it is written down: what lies within, or around, the folder is found again when all is moved."""
        if path is None:
            return None
        here, place = self.folder.resolve(), path.resolve()
        near = place.is_relative_to(here) or here.is_relative_to(place)
        return os.path.relpath(place, here) if near else str(place)

    @cached_property
    def _made_of(self) -> Facts:
        path = self.folder / layout.MADE_OF
        fix = "delete it: then features, slides and run are not found by themselves"
        return read_json(path, fix=fix) if path.is_file() else {}

    def _place(self, name: str) -> Path | None:
        said = self._made_of.get(name)
        return self.folder.resolve() / said if isinstance(said, str) and said else None

    @property
    def run(self) -> Path | None:
        """The folder of the run whose models predicted, None where that is not known or not at hand."""
        place = self._place("run")
        return place if place is not None and place.is_dir() else None

    @property
    def models(self) -> str:
        """The digest of the models that predicted, empty where it is not known."""
        return str(self._made_of.get("models") or "")

    @property
    def slides_folder(self) -> Path | None:
        """Where the slides were, None where no slide was at hand."""
        return self._place("slides")

    @property
    def features(self) -> Path:
        """Where the features were; of folders that do not say it, those that were made in them."""
        return self._place("features") or self.folder / layout.FEATURES

    @cached_property
    def store(self) -> "FeatureStore | None":
        """The features that it was predicted from, None where they are not at hand."""
        from asmil.bags import open_features

        try:
            return open_features(self.features, encoder=self._made_of.get("features_encoder"))
        except FeatureError:
            return None

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row per slide: slide, prob_<class>..., prediction, threshold and called (where the run had an operating
        point), std, entropy, warnings ...

        Raises:
            RunError: nothing was predicted, or it was not classes.
        """
        path = self.folder / layout.PREDICTIONS
        table = read_table(path, columns=("slide",), fix=AGAIN)
        if not len(table):
            raise RunError(f"{self.folder} holds no prediction", found=f"no row in {path.name}", fix=AGAIN)
        classes = [str(name) for name in table if str(name).startswith("prob_")]
        if not classes or "prediction" not in table:
            raise RunError(
                "these predictions are not of classes",
                found=f"columns {', '.join(map(str, table))} in {path}",
                fix=f"read {path.name}; pictures of the slides: asmil predict RUN --heatmaps",
            )
        of_numbers = (*classes, "std", "threshold")
        numbers = {name: pd.to_numeric(table[name], errors="coerce") for name in of_numbers if name in table}
        if wrong := [name for name in classes if not np.isfinite(numbers[name]).all()]:
            raise RunError(f"{path} holds no number in column {wrong[0]}", found="a gap or a word", fix=AGAIN)
        words = {name: table[name].astype(str) for name in ("prediction", "called") if name in table}
        return table.assign(**numbers, **words)

    @property
    def classes(self) -> list[str]:
        """The names of the classes in the order of the probabilities."""
        return [str(name).removeprefix("prob_") for name in self.table if str(name).startswith("prob_")]

    @property
    def slides(self) -> list[str]:
        """The slides that have a row, whatever is predicted; none where there is no table that can be read."""
        try:
            return read_table(self.folder / layout.PREDICTIONS, columns=("slide",), fix=AGAIN)["slide"].tolist()
        except RunError:
            return []

    @property
    def written_at(self) -> int:
        """When the predictions were written, in nanoseconds."""
        return (self.folder / layout.PREDICTIONS).stat().st_mtime_ns

    @property
    def lost(self) -> list[str]:
        """The slides that could not be predicted."""
        path = self.folder / layout.FAILURES
        table = read_table(path, columns=("name",), fix="delete it") if path.is_file() else pd.DataFrame()
        return table["name"][table["result"].isin(["failed", "skipped"])].tolist() if "result" in table else []

    def attention(self, slide: str) -> np.ndarray | None:
        """The mean attention of the models, float32 (tiles,); None of a slide that has none."""
        with open_h5(self.folder / layout.ATTENTION, fix=AGAIN) as file:
            return vector(file[safe_name(slide)]) if safe_name(slide) in file else None

    def thumbnail_file(self, slide: str) -> Path:
        """The thumbnail of a slide, if it has one."""
        return layout.thumbnail_file(self.folder, self.features, slide)
