"""A small real run for the tests of the viewer: trained here, with slides as users have them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image
from shapely.geometry import box, mapping

from asmil.bags import make_splits, open_features, read_cohort
from asmil.evaluation import evaluate
from asmil.runs import Run
from asmil.settings import Settings
from asmil.slides.synthetic import write_slide
from asmil.training import Recipe, TrainSettings, crossval

REAL, HOSTILE, UNSCALED, ABSENT, PICTURED, BROKEN = SLIDES = (
    "region",  # a real Aperio slide
    '<img src=x onerror="window.hacked=1">&\'',
    "unscaled",  # a slide that does not say its mpp
    "absent",  # no file
    "pictured",  # no file, but a thumbnail in the run
    "broken",  # a file cut short
)
FURTHER = ("plain-1", "plain-2", "plain-3", "plain-4")
CLASSES = ("<b>tumour</b>", "normal")
OPTIONS = {"tokens": 3, "heads": 2, "dim": 8, "even_start": False}  # so that there is attention to show
SIDE, SIZE = 40, (600, 480)


def make_run(folder: Path, real_slide: Path, *, seeds=(0, 1), model: str = "asmil", options=OPTIONS) -> Path:
    """Ten slides, two folds; the run is `folder / "run"`, and its settings name the folders beside it."""
    random = np.random.default_rng(3)
    names = [*SLIDES, *FURTHER]
    table = pd.DataFrame({"slide_id": names, "case_id": names, "label": [CLASSES[i % 2] for i in range(len(names))]})
    for part in ("slides", "features", "annotations", "run/thumbnails"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "labels.csv", index=False)
    _write_slides(folder, real_slide, random)
    for name, label in zip(names, table.label, strict=True):
        _write_features(
            folder / "features" / f"{name}.h5", large=name == REAL, shift=CLASSES.index(label), random=random
        )
    _write_annotations(folder / "annotations")
    cohort, store = read_cohort(folder / "labels.csv"), open_features(folder / "features")
    run = Run.create(folder / "run")
    run.write_identity({"model": model})
    paths = {part: folder / part for part in ("slides", "features", "annotations")}
    run.write_settings(Settings(**paths, model=model, model_options=options, positive="tumour", seeds=list(seeds)))
    splits = make_splits(cohort, folds=2, val_fraction=0.4)
    run.set_data(cohort, splits)
    recipe = Recipe(model=model, model_options=options, settings=TrainSettings(epochs=4, min_steps=0, patience=9))
    cells = [(fold, seed) for fold in (0, 1) for seed in seeds]
    crossval(cohort, store, splits, recipe=recipe, cells=cells, keep=run.keep, checkpoints=run.checkpoints)
    evaluate(run, bootstrap=20)
    return run.folder


def _write_slides(folder: Path, real_slide: Path, random: np.random.Generator) -> None:
    slides = folder / "slides"
    (slides / f"{REAL}.svs").symlink_to(real_slide.resolve())
    blocks = random.integers(120, 250, (SIZE[1] // SIDE, SIZE[0] // SIDE, 3)).astype(np.uint8)
    pixels = blocks.repeat(SIDE, 0).repeat(SIDE, 1)
    write_slide(slides / f"{HOSTILE}.tif", pixels, mpp=0.5)
    write_slide(slides / f"{UNSCALED}.tif", pixels, mpp=None)
    whole = (slides / f"{HOSTILE}.tif").read_bytes()
    (slides / f"{BROKEN}.tif").write_bytes(whole[: len(whole) // 3])
    Image.fromarray(pixels).resize((300, 240)).save(folder / "run" / "thumbnails" / f"{PICTURED}.jpg")


def _write_features(path: Path, *, large: bool, shift: int, random: np.random.Generator) -> None:
    side, (width, height) = (160, (2220, 2967)) if large else (SIDE, SIZE)
    corners = np.array([(x, y) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)])
    features = random.normal(size=(len(corners), 6))
    features[: len(corners) // 3, 0] += 3 * shift
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = features.astype(np.float16), corners
        file["coords"].attrs.update(patch_size_level0=side, level0_width=width, level0_height=height)


def _write_annotations(folder: Path) -> None:
    def feature(name, x0, y0, x1, y1):
        properties = {"objectType": "annotation", "classification": {"name": name}}
        return {"type": "Feature", "geometry": mapping(box(x0, y0, x1, y1)), "properties": properties}

    drawn = [feature("tumour", 320, 320, 960, 960), feature("lymphocytes", 1200, 1200, 1500, 1600)]
    (folder / f"{REAL}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": drawn}))
    (folder / f"{BROKEN}.geojson").write_text("{")
