"""Where everything lies in a run folder: every file name of a run stands here, or in the room above that writes it."""

import os
from contextlib import suppress
from pathlib import Path

from asmil import extraction, progress
from asmil.errors import as_typed
from asmil.files import safe_name, suffix_of

# Of the whole run, in the order in which they are written.
CONFIG = "config.yaml"  # all settings, defaults included
IDENTITY = "identity.json"  # what decides the results: it has to be the same to go on
ENVIRONMENT = "environment.json"  # versions, device, commit
COHORT = "cohort.csv"  # slide, case, label, and where known site, mpp, fold, target_<name>
SPLITS = "splits.csv"  # slide, case, label, fold, part
TASK = "task.json"  # what is predicted, where it is no classification
SECONDS = "seconds.json"  # wall time by stage
FAILURES = progress.FAILURES  # slides that were skipped or failed: name, result, stage, reason
METRICS = "metrics.json"
PREDICTIONS = "predictions.csv"  # out of fold, one row per slide; of a cell: val and test rows
PATIENT_PREDICTIONS = "predictions_patients.csv"  # of another task than classification
RESULTS = (PREDICTIONS, METRICS, FAILURES, PATIENT_PREDICTIONS)  # the tables that a page is made of
FINDINGS = "findings.csv"  # every detection of FROC
PROFILE = "profile.json"  # what its slides are like, measured when it is first put to use
REPORT, BUNDLE = "report.html", "report.zip"  # the page; the page with pictures and tables
CARD, ONNX = "card.md", "model.onnx"  # what `export` writes, where no other place is named
MADE_OF = "made_of.json"  # of a folder of predictions: where run, features and slides were
VERDICTS = "verdicts.csv"  # what a person said of the slides, in the viewer: a table of labels

STUDY = "study.json"  # no file of a run: by it a study is known, which has no models to open

# Folders beside them; `extraction` fills features and thumbnails.
FEATURES, FEATURES_NOTE = extraction.FEATURES, "run.json"  # the note says which kind of features the run learns from
THUMBNAILS = extraction.THUMBNAILS
FIGURES, FIGURE_SUFFIXES = "figures", (".png", ".geojson", ".geojson.gz")
SETTLED = ".predicted"  # of predictions: a file of each slide, of which tables are made; none is predicted twice
QUPATH = "qupath.groovy"  # loads figures, tissue and outlines into QuPath
OUTLINES = "outlines"  # drawn in the viewer: <slide>.geojson
PREDICTED = "predictions"  # of new slides, where no other folder is named
TRACKED = "tracked"  # what TensorBoard, wandb and MLflow keep, and sent.json: what they were told
CHECKPOINTS = "checkpoints"  # of trainings that go on
MAKING = ".making"  # the lock of the process that makes the run

# Of a cell, in its own folder. The seal is written last, and says what the others have to be.
MODEL, ANCHOR = "model.safetensors", "anchor.safetensors"
LOG = "log.csv"  # a row per epoch of the training that selected the epoch
DYNAMICS = "dynamics.h5"  # attention and embeddings by epoch
SCORES = "scores.h5"  # weights of softmax and NSF
ATTENTION = "attention.h5"  # float32 (tiles,) by slide
SEAL = "sealed.json"  # bytes and sha256 of the others
NEEDED = (MODEL, LOG, DYNAMICS, ATTENTION, PREDICTIONS)
"""What every cell has; anchor and scores are of stabilised models only."""

_CELLS, _SEED = "folds", "seed_"


OF_TORCH = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
"""Suffixes of files that may be a model of the authors' script."""
DEEPEST = 4
"""Folders from a run to the deepest that asmil makes in it: what lies deeper is of somebody else."""


def is_predictions(folder: Path) -> bool:
    """Whether a folder holds predictions, and is no run, whose own are out of fold, and none of its cells."""
    others = (IDENTITY, SEAL, MODEL)
    return all((folder / name).is_file() for name in (PREDICTIONS, ATTENTION)) and not any(
        (folder / name).exists() for name in others
    )


def found_instead(path: Path) -> tuple[str, str]:
    """What is found at a path that is no run, and what to do with it: the one answer of all that take a run."""
    fix = "give a folder that `asmil run` or `asmil crossval` made"
    if not path.exists():
        return "no such file or folder", fix
    around = [path.absolute(), *path.absolute().parents[:DEEPEST]]
    shown = [place if path.is_absolute() else Path(os.path.relpath(place)) for place in around]

    def part_of(kind: str, place: Path) -> str:
        return kind if place == shown[0] else f"a part of {kind}, {place}"

    for place in filter(is_predictions, shown):
        maps = "pictures of them: asmil predict RUN --heatmaps, with the run that predicted"
        look = as_typed("asmil", "view", place)
        return part_of("predictions of new slides", place), f"{look}, or asmil qupath, take them; {maps}"
    for place in shown:
        if (place / IDENTITY).is_file():
            return part_of("a run", place), f"give the run: {as_typed(place)}"
    for place in shown:
        if (place / STUDY).is_file():
            page = f"its page is {place / REPORT}; it keeps tables and no models"
            return part_of("a study", place), f"{page}: asmil crossval trains one arm as a run"
    with suppress(OSError):
        if path.is_dir() and (runs := sorted(own.name for own in path.iterdir() if (own / IDENTITY).is_file())):
            more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
            return f"a folder of runs: {', '.join(runs[:3])}{more}", f"give one of them: {as_typed(path / runs[0])}"
        stores = [*path.glob(f"{FEATURES}/*/{extraction.STORE}"), *path.glob(f"*/{extraction.STORE}")]
        if stores or any((place / extraction.STORE).is_file() for place in shown):
            train = as_typed("asmil", "crossval", "--features", shown[0], "--labels")
            return "features, and no models", f"train some: {train} TABLE --out RUN"
    if path.is_file():
        if suffix_of(path) in OF_TORCH:
            fix += "; `asmil predict --published FILE` takes a model of the authors' script"
        return f"a file, {path.name}", fix
    return f"no {IDENTITY}", fix


def cell_folder(run: Path, fold: int, seed: int) -> Path:
    """The folder of the model of a fold and a seed."""
    return run / _CELLS / str(fold) / f"{_SEED}{seed}"


def cell_folders(run: Path) -> list[tuple[Path, tuple[int, int] | None]]:
    """What lies where cells lie, with the fold and the seed that it is named by; None where its name is of neither."""
    found: list[tuple[Path, tuple[int, int] | None]] = []
    for folder in sorted(run.glob(f"{_CELLS}/*/{_SEED}*")):
        texts = folder.parent.name, folder.name.removeprefix(_SEED)
        numbers = [int(text) for text in texts if text.isascii() and text.isdecimal()]
        named = len(numbers) == 2 and cell_folder(run, *numbers) == folder  # "00" is no fold of ours
        found.append((folder, (numbers[0], numbers[1]) if named else None))
    return found


def verdicts_file(folder: Path) -> Path:
    """The table of verdicts; of a run, or of predictions of new slides."""
    return folder / VERDICTS


def qupath_script(folder: Path) -> Path:
    """The script for QuPath; of a run, or of predictions of new slides."""
    return folder / QUPATH


def outlines_file(folder: Path, slide: str) -> Path:
    """The outlines that were drawn on a slide; of a run, or of predictions of new slides."""
    return folder / OUTLINES / f"{safe_name(slide)}.geojson"


def thumbnail_file(folder: Path, features: Path | None, slide: str) -> Path:
    """The thumbnail of a slide, if it has one: in a run or predictions, or where features from elsewhere were made."""
    near = () if features is None else features.resolve().parents[:2]
    places = [place / THUMBNAILS for place in (folder, *near)]
    found = (place / f"{safe_name(slide)}.jpg" for place in places)
    return next((file for file in found if file.is_file()), places[0] / f"{safe_name(slide)}.jpg")


def comparison(other: str) -> str:
    """The page of the paired differences to another run, by the file name of that."""
    return f"comparison_with_{other}.html"


def figure_file(folder: Path, name: str, suffix: str = "") -> Path:
    """A picture of a slide, or a figure of the paper; of a run, or of predictions of new slides."""
    return folder / FIGURES / f"{safe_name(name)}{suffix}"
