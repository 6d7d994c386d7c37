"""Slide cohorts with a labels.csv and annotations, trained on tile features the user has made of the slides."""

from pathlib import Path

from asmil.bags.cohort import read_cohort
from asmil.bags.datasets import Dataset, DatasetError
from asmil.bags.datasets._files import data_folder
from asmil.bags.loading import load_bags
from asmil.bags.store import FeatureStore, open_features


def open_made_features(features: str | Path | None, *, name: str, slides: str) -> FeatureStore:
    """The features of a dataset, which the user makes.

    Raises:
        DatasetError: none given, or none there; the message has the command that makes them of `slides`.
        FeatureError: the path holds no tile features.
    """
    if features is not None and Path(features).expanduser().exists():
        return open_features(Path(features).expanduser())
    fix = f"run 'asmil embed --slides {slides} --out runs/{name}', then give features=runs/{name}/features"
    found = "no features option" if features is None else f"no folder {features}"
    raise DatasetError(f"{name} needs tile features of its slides", found=found, fix=fix)


def load_slides(
    root: Path | None, features: str | Path | None, *, name: str, positive: str, source: str, licence: str
) -> Dataset:
    """A folder with `labels.csv` (slide_id, case_id, label), `slides/` and `annotations/`, or the folder above it.

    Slides without features are set aside and named in the cohort's problems.

    Raises:
        DatasetError: no such folder, or no features.
    """
    top = root or data_folder()
    places = [] if top is None else [top, top / name]
    folder = next((place for place in places if (place / "labels.csv").is_file()), None)
    if folder is None:
        fix = f"give root=FOLDER with labels.csv, slides/ and annotations/, or set ASMIL_DATA to a folder with {name}/"
        raise DatasetError(f"the data of {name} are not found", found=top or "no root option, no ASMIL_DATA", fix=fix)
    store = open_made_features(features, name=name, slides=str(folder / "slides"))
    cohort = read_cohort(folder / "labels.csv", features=store)
    annotations = folder / "annotations"
    return Dataset(
        name,
        load_bags(store, cohort),
        cohort,
        annotations=annotations if annotations.is_dir() else None,
        positive=(positive,),
        source=source,
        licence=licence,
    )
