"""Predictions of new slides into a folder: each slide is settled by a file of its own, then all become tables."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from asmil.bags import FeatureStore
from asmil.deploy.ensemble import Ensemble, EnsemblePrediction
from asmil.deploy.preprocessing import facts_of
from asmil.errors import AsmilError, FeatureError
from asmil.files import safe_name, write_text, written_beside
from asmil.runs import ATTENTION, PREDICTIONS, figure_file, tiles_of

SETTLED = ".predicted"
"""Folder of the files of single slides, from which the tables are made: no slide is predicted twice."""


@dataclass(frozen=True)
class Predicted:
    """What became of a slide: its `row` of predictions.csv, empty where there was an `error`, and the `file` that keeps
    it. `kept`: it was finished before."""

    slide: str
    file: Path
    row: dict[str, Any] = field(default_factory=dict)
    kept: bool = False
    error: AsmilError | OSError | None = None

    def attention(self) -> np.ndarray:
        """The mean attention of the members, float32 (tiles,)."""
        with h5py.File(self.file) as file:
            return file["attention"][()]


def predict_slides(
    ensemble: Ensemble,
    store: FeatureStore,
    folder: str | Path,
    *,
    slides: Sequence[str] | None = None,
    slide_files: Mapping[str, Path] | None = None,
    accept: Sequence[str] = (),
    progress: Callable[[Predicted], None] | None = None,
) -> list[Predicted]:
    """Predict slides and write `predictions.csv` and `attention.h5` (one float32 dataset (tiles,) per slide).

    A slide that is finished is kept as long as neither its feature file nor the models change; what is wrong with one
    slide is told, and the others go on. The tables are of these slides and written at the end, also of an interrupt.

    Args:
        slides: names in the store, all of it if None.
        slide_files: slide files by name, as far as they are at hand: for what is known by content.
        accept: settings in which the features may differ from the run's, for example `precision`.
        progress: told what became of each slide, in order.

    Raises:
        AsmilError: two slides whose names make the same file name.
    """
    folder, names = Path(folder), list(store.slides if slides is None else slides)
    places = _places(folder, names)
    told: list[Predicted] = []
    try:
        for slide in names:
            file = (slide_files or {}).get(slide)
            told.append(_settle(ensemble, store, slide, place=places[slide], slide_file=file, accept=accept))
            (progress or (lambda predicted: None))(told[-1])
    finally:
        _write_tables(folder, [predicted for predicted in told if predicted.error is None])
    return told


def _places(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    places: dict[Path, str] = {}
    for name in names:
        place = folder / SETTLED / f"{safe_name(name)}.h5"
        if places.setdefault(place, name) != name:
            raise AsmilError(
                "two slides make the same file name", found=f"{places[place]} and {name}", fix="rename one"
            )
    return {name: place for place, name in places.items()}


def _settle(
    ensemble: Ensemble,
    store: FeatureStore,
    slide: str,
    *,
    place: Path,
    slide_file: Path | None,
    accept: Sequence[str],
) -> Predicted:
    try:
        info = store.info(slide)
        accepted = ensemble.preprocessing.check(slide, facts_of(info), accept=accept)
        state = info.path.stat()
        key = f"{ensemble.digest} {slide} {state.st_size} {state.st_mtime_ns} {slide_file} {accepted}"
        if row := _read(place, key=key):
            return Predicted(slide, place, row, kept=True)
        prediction = ensemble.predict(store.load(slide), slide_file=slide_file)
        row = row_of(ensemble, prediction, tile_um=info.tile_um, accepted=accepted)
        with written_beside(place) as partial, h5py.File(partial, "w") as file:
            file["attention"] = prediction.attention.astype(np.float32)
            file.attrs.update(key=key, row=json.dumps(row))
        return Predicted(slide, place, row)
    except (AsmilError, OSError) as error:
        return Predicted(slide, place, error=error)


def _read(place: Path, *, key: str) -> dict[str, Any]:
    """The row of a slide that is finished; empty if it is not."""
    try:
        with h5py.File(place) as file:
            return json.loads(file.attrs["row"]) if file.attrs["key"] == key and "attention" in file else {}
    except (OSError, KeyError, ValueError):  # none there, or not ours
        return {}


def row_of(
    ensemble: Ensemble, prediction: EnsemblePrediction, *, tile_um: float | None = None, accepted: Sequence[str] = ()
) -> dict[str, Any]:
    """A row of predictions.csv. `tile_um` is the side of a tile, `accepted` says what was prepared otherwise."""
    found, tiles = prediction.distance, len(prediction.attention)
    return {
        "slide": prediction.slide,
        **(_of_classes(ensemble, prediction) if ensemble.task is None else _of_values(ensemble, prediction)),
        "members": len(prediction.members),
        "tiles": tiles,
        "tissue_mm2": None if tile_um is None else tiles * tile_um**2 / 1e6,
        "shift": None if found is None else found.shift,
        "clamped": None if found is None else found.clamped,
        "in_cohort_as": prediction.seen_as,
        "warnings": "; ".join([*prediction.warnings, *(f"other preprocessing: {text}" for text in accepted)]),
    }


def _of_classes(ensemble: Ensemble, prediction: EnsemblePrediction) -> dict[str, Any]:
    best = int(prediction.probabilities.argmax())
    return {
        **{f"prob_{name}": float(p) for name, p in zip(ensemble.classes, prediction.probabilities, strict=True)},
        "prediction": ensemble.classes[best],
        "std": float(prediction.std[best]),
        "entropy": prediction.entropy,
        "mutual_information": prediction.mutual_information,
    }


def _of_values(ensemble: Ensemble, prediction: EnsemblePrediction) -> dict[str, Any]:
    """The values of another task than classification, and of each the standard deviation between the members."""
    rows = zip(ensemble.classes, prediction.probabilities.tolist(), prediction.std.tolist(), strict=True)
    return {key: number for name, value, std in rows for key, number in ((name, value), (f"std_{name}", std))}


def _write_tables(folder: Path, done: Sequence[Predicted]) -> None:
    table = pd.DataFrame([predicted.row for predicted in done])
    write_text(folder / PREDICTIONS, table.to_csv(index=False) if len(table) else "slide\n")
    with written_beside(folder / ATTENTION) as partial, h5py.File(partial, "w") as file:
        for predicted in done:
            file.create_dataset(safe_name(predicted.slide), data=predicted.attention())


def write_heatmap(
    folder: str | Path, store: FeatureStore, slide: str, *, attention: np.ndarray, thumbnails: Path
) -> tuple[Path, Path]:
    """Write `figures/<slide>.png` and `figures/<slide>.geojson` into a folder of predictions.

    Args:
        attention: (tiles,), in the order of the feature file.
        thumbnails: folder of `<slide>.jpg`, where `asmil embed` puts them; the picture is grey where there is none.

    Raises:
        FeatureError: the features have no coordinates in level-0 pixels.
    """
    from asmil.report import draw_heatmap  # matplotlib, which predictions alone do not need

    tiles = tiles_of(store, slide, slide_mpp=store.info(slide).slide_mpp)
    if tiles is None:
        raise FeatureError(
            f"{slide} has no heatmap",
            found="features without coordinates in level-0 pixels",
            fix="leave --heatmaps out",
        )
    thumbnail = thumbnails / f"{safe_name(slide)}.jpg"
    return draw_heatmap(figure_file(Path(folder), slide), tiles, attention, title=slide, thumbnail=thumbnail)
