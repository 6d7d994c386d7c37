"""Write a small run folder as the pipeline leaves it: random, but structured like a real one."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import shapely
import yaml
from PIL import Image, ImageDraw
from safetensors.numpy import save_file
from shapely import contains_xy
from shapely.geometry import Point as ShapelyPoint
from shapely.geometry import Polygon, mapping

from asmil.evaluation import against_the_rest, operating_point

SIDE = 448  # tile side in level-0 pixels
FROC = {"score": 0.55, "score_ci95": [0.41, 0.7], "n_slides": 12, "n_lesions": 9,
        "sensitivity": {"0.25": 0.2, "0.5": 0.4, "1": 0.5, "2": 0.6, "4": 0.8, "8": 0.8},
        "curve": {"false_positives_per_slide": [0, 0.3, 3.0], "sensitivity": [0.1, 0.3, 0.8]}}  # fmt: skip
METRICS = {"auroc": 0.9, "average_precision": 0.88, "balanced_accuracy": 0.81, "brier": 0.13, "ece": 0.08}


def write_fake_run(
    folder: Path,
    *,
    slides: int = 30,
    folds: int = 3,
    seeds: int = 2,
    epochs: int = 25,
    classes=("benign", "tumour"),
) -> Path:
    """A run of `slides` slides of half as many patients, with every optional part present."""
    random = np.random.default_rng(7)
    names = [f"case-{i // 2:03d}_{'ab'[i % 2]}" for i in range(slides)]
    table = pd.DataFrame({"slide": names, "case": [n[:8] for n in names]})
    number = (np.arange(slides) // 2) % len(classes)
    table["label"] = np.array(classes)[number]
    fold_of = (np.arange(slides) // 2) % folds
    folder.mkdir(parents=True, exist_ok=True)
    site = np.where(np.arange(slides) // 2 % 3 == 0, "north", "south")
    table.assign(site=site).to_csv(folder / "cohort.csv", index=False)
    _write_splits(folder, table, fold_of=fold_of, folds=folds)
    truth = {
        name: _write_slide(folder, name, positive=label > 0, random=random)
        for name, label in zip(names, number, strict=True)
    }
    logits = random.normal(size=(slides, len(classes))) + 1.8 * np.eye(len(classes))[number]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for fold in range(folds):
        for seed in range(seeds):
            cell = folder / "folds" / str(fold) / f"seed_{seed}"
            cell.mkdir(parents=True)
            test, val = fold_of == fold, fold_of == (fold + 1) % folds
            rows = table.assign(part=np.where(test, "test", "val"))
            blurred = (probability + 0.2 * seed) / (1 + 0.2 * seed * len(classes))
            for i, name in enumerate(classes):
                rows[f"prob_{name}"] = blurred[:, i]
            rows[test | val].to_csv(cell / "predictions.csv", index=False)
            _write_cell(cell, list(rows["slide"][test]), truth=truth, epochs=epochs, random=random)
    _write_root(folder, table, probability=probability, fold_of=fold_of, classes=classes, seeds=seeds)
    _write_decisions(folder, classes)
    return folder


def _write_decisions(folder: Path, classes: tuple[str, ...]) -> None:
    """The operating point, or the rates of each class, as `evaluate` notes them."""
    paths = folder.glob("folds/*/seed_*/predictions.csv")
    cells = {path: (int(path.parts[-3]), int(path.parts[-2].removeprefix("seed_"))) for path in paths}
    rows = pd.concat([pd.read_csv(path).assign(fold=fold, seed=seed) for path, (fold, seed) in cells.items()])
    coded = rows.assign(label=[classes.index(str(label)) for label in rows["label"]])
    metrics, table = json.loads((folder / "metrics.json").read_text()), pd.read_csv(folder / "predictions.csv")
    if len(classes) == 2:
        metrics["operating_point"] = point = operating_point(coded, classes, n_boot=50)
        table["threshold"] = table["fold"].map({one["fold"]: one["threshold"] for one in point["thresholds"]})
        table.to_csv(folder / "predictions.csv", index=False)
    else:
        metrics["each_class"] = against_the_rest(coded[coded["part"] == "test"], classes, n_boot=50)
    (folder / "metrics.json").write_text(json.dumps(metrics))


def _write_splits(folder: Path, table: pd.DataFrame, *, fold_of: np.ndarray, folds: int) -> None:
    parts = []
    for fold in range(folds):
        part = np.where(fold_of == fold, "test", np.where(fold_of == (fold + 1) % folds, "val", "train"))
        parts.append(table.assign(fold=fold, part=part))
    pd.concat(parts).to_csv(folder / "splits.csv", index=False)


def _write_slide(folder: Path, name: str, *, positive: bool, random: np.random.Generator) -> np.ndarray:
    """Thumbnail, features, tissue, annotation of a slide; returns how much each tile is tumour, 0 to 1."""
    size = (int(random.integers(18, 34)) * SIDE, int(random.integers(14, 26)) * SIDE)
    width = 240
    per_px = width / size[0]
    picture = Image.new("RGB", (width, round(size[1] * per_px)), (244, 242, 244))
    draw = ImageDraw.Draw(picture)
    centre = np.array(size) * random.uniform(0.42, 0.58, 2)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = min(size) * (0.36 + 0.06 * np.sin(3 * angles + random.uniform(0, 6)) + 0.03 * np.cos(7 * angles))
    tissue = Polygon(centre + radius[:, None] * np.stack([1.2 * np.cos(angles), np.sin(angles)], axis=1))
    draw.polygon([tuple(np.array(xy) * per_px) for xy in tissue.exterior.coords], fill=(226, 182, 208))
    tumour = ShapelyPoint(*(centre + min(size) * random.uniform(-0.15, 0.15, 2))).buffer(min(size) * 0.13)
    if positive:
        draw.polygon([tuple(np.array(xy) * per_px) for xy in tumour.exterior.coords], fill=(150, 96, 165))
    nuclei = random.uniform(0, 1, (500, 2)) * picture.size
    for x, y in nuclei[contains_xy(tissue, *(nuclei / per_px).T)]:
        draw.ellipse([x - 1, y - 1, x + 1, y + 1], fill=(118, 72, 142))
    (folder / "thumbnails").mkdir(exist_ok=True)
    picture.save(folder / "thumbnails" / f"{name}.jpg", quality=88)
    columns, rows = size[0] // SIDE, size[1] // SIDE
    corners = np.array([(x * SIDE, y * SIDE) for y in range(rows) for x in range(columns)])
    level0_xy = corners[contains_xy(tissue, *(corners + SIDE / 2).T)]
    (folder / "features").mkdir(exist_ok=True)
    with h5py.File(folder / "features" / f"{name}.h5", "w") as file:
        file["features"] = random.normal(size=(len(level0_xy), 4)).astype(np.float16)
        file["coords"] = level0_xy
        file.attrs.update(format="asmil", patch_size_level0=SIDE, slide_mpp=0.5, mpp=1.0)
        file.attrs.update(level0_width=size[0], level0_height=size[1])
    _write_geojson(folder / "tissue" / f"{name}.geojson", tissue, name="Tissue")
    if positive:
        _write_geojson(folder / "annotations" / f"{name}.geojson", tumour, name="tumour")
    distance = shapely.distance(tumour, shapely.points(level0_xy + SIDE / 2))
    return np.exp(-distance / (0.6 * SIDE)) * (1.0 if positive else 0.25)


def _write_geojson(path: Path, geometry, *, name: str) -> None:
    path.parent.mkdir(exist_ok=True)
    properties = {"objectType": "annotation", "classification": {"name": name}}
    feature = {"type": "Feature", "geometry": mapping(geometry), "properties": properties}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


def _write_cell(cell: Path, slides: list[str], *, truth: dict, epochs: int, random: np.random.Generator) -> None:
    with h5py.File(cell / "attention.h5", "w") as file:
        for slide in slides:
            score = 3.5 * truth[slide] + random.normal(scale=0.7, size=len(truth[slide]))
            file[slide] = (np.exp(score) / np.exp(score).sum()).astype(np.float32)
    epoch = np.arange(epochs - int(random.integers(0, 5)))
    noise = lambda scale: random.normal(scale=scale, size=len(epoch))  # noqa: E731
    log = pd.DataFrame(
        {
            "epoch": epoch,
            "train_loss": 0.7 * np.exp(-epoch / 8) + 0.05 + noise(0.01),
            "val_loss": 0.55 + 0.2 * np.exp(-epoch / 4) + 0.004 * epoch + noise(0.03),
            "val_auroc": 0.9 - 0.4 * np.exp(-epoch / 5),
            "jsd": 0.2 * np.exp(-epoch / 5) * np.exp(noise(0.2)) + 1e-4,
            "entropy": 0.95 - 0.2 * (1 - np.exp(-epoch / 6)) + noise(0.01),
            "effective_tiles": 60 + 200 * np.exp(-epoch / 6) + noise(4),
            "seconds": 1.0,
        }
    )
    log.loc[0, "jsd"] = np.nan
    log.to_csv(cell / "log.csv", index=False)
    h5py.File(cell / "dynamics.h5", "w").close()
    save_file({"mean": np.zeros(4, np.float32)}, cell / "model.safetensors", metadata={"asmil": "{}"})
    with h5py.File(cell / "scores.h5", "w") as file:
        score = random.normal(scale=2.2, size=3000)
        for name, weight in (("softmax", np.exp(score)), ("nsf", 1 / (1 + np.exp(-score)))):
            file[name] = (weight / weight.mean()).astype(np.float32)


def _write_root(
    folder: Path,
    table: pd.DataFrame,
    *,
    probability: np.ndarray,
    fold_of: np.ndarray,
    classes: tuple[str, ...],
    seeds: int,
) -> None:
    random = np.random.default_rng(1)
    predicted = np.array(classes)[probability.argmax(axis=1)]
    root = table.assign(fold=fold_of, predicted=predicted)
    for i, name in enumerate(classes):
        root[f"prob_{name}"] = probability[:, i]
    root["entropy"] = random.uniform(0.6, 0.9, len(root))
    known = root["label"] != classes[0]
    for column in ("tile_auroc", "tile_ap"):
        root[column] = np.where(known, random.uniform(0.6, 0.98, len(root)), np.nan)
    root.to_csv(folder / "predictions.csv", index=False)
    confusion = [[int(((table.label == a) & (predicted == b)).sum()) for b in classes] for a in classes]
    metrics = {
        "task": "classification",
        "protocol": {"grouped_by": "patient", "test_used": "once, after training", "stabilized": True},
        "folds": np.unique(fold_of).tolist(),
        "seeds": [0, 1],
        "test_is": "mean_of_folds",
        "pooled": {m: {"value": v - 0.02, "ci95": [v - 0.09, v + 0.03]} for m, v in METRICS.items()},
        "per_seed": {
            "values": [{"seed": 0, "auroc": 0.88}, {"seed": 1, "auroc": 0.86}],
            "spread": {"auroc": {"mean": 0.87, "sd": 0.014}},
        },
        "test": {m: {"value": v, "ci95": [v - 0.07, v + 0.05]} for m, v in METRICS.items()},
        "per_fold": [{"fold": f, "auroc": 0.9 - 0.02 * f} for f in np.unique(fold_of).tolist()],
        "confusion": confusion,
        "classes": list(classes),
        "attention": {"jsd_last10": 3.2e-06, "entropy": 0.99981, "effective_tiles": 63.2, "top1_mass": 0.12,
                      "tile_auroc": 0.88, "tile_auroc_ci95": [0.8, 0.93], "tile_ap": 0.61, "tile_ap_chance": 0.13,
                      "tile_slides": int((table["label"] != classes[0]).sum()), "dice": 0.41, "froc": FROC},
        "seconds": {"tissue": 41.0, "features": 812.5, "training": 305.0, "evaluation": 9.1},
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    config = {
        "slides": "slides", "annotations": str(folder / "annotations"), "positive": "tumour", "mpp": 1.0,
        "tile_px": 224, "encoder": "resnet50", "model": "asmil", "stabilize": True, "beta": 0.1,
        "momentum": 0.999, "folds": 3, "seeds": seeds, "epochs": 25, "select": "val_loss", "refit": False,
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "identity.json").write_text(json.dumps({"model": "asmil"}))
    (folder / "environment.json").write_text(json.dumps({"python": "3.12", "packages": {"torch": "2.9", "timm": None}}))
    pd.DataFrame(
        [
            {
                "name": "case-999_a",
                "result": "skipped",
                "stage": "tissue",
                "reason": "no tissue was found. To fix: lower the minimum area.",
            }
        ]
    ).to_csv(folder / "failures.csv", index=False)
