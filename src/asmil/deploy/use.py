"""A run put to use, or the authors' weights: new slides to predictions, prepared as its own were."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from asmil.bags import FeatureStore, SlideNames, listed, open_features, require_unlike
from asmil.deploy.ensemble import Ensemble, EnsemblePrediction, Published
from asmil.deploy.prepared import as_the_run
from asmil.deploy.profile import UNMEASURED, facts_of
from asmil.encoders import create_encoder, with_stain
from asmil.errors import AsmilError, FeatureError, RunError
from asmil.extraction import FEATURES
from asmil.files import Facts, new_hdf5, safe_name
from asmil.progress import FAILURES, Listener, Outcome, default_listener
from asmil.runs import SETTLED, PredictedFolder, figure_file, tiles_of
from asmil.settings import Settings, device_of, extract_folder, load_settings, lost_of, require_place
from asmil.slides import name_of, scan_slides


@dataclass(frozen=True)
class Predicted:
    """What became of a slide: its `row` of predictions.csv, empty where there was an `error`, and the `file` that keeps
    it. `kept`: it was finished before."""

    slide: str
    file: Path
    row: Facts = field(default_factory=dict)
    kept: bool = False
    error: AsmilError | OSError | None = None

    def attention(self) -> np.ndarray:
        """The mean attention of the members, float32 (tiles,)."""
        with h5py.File(self.file) as file:
            return file["attention"][()]


def predict_slides(
    ensemble: Ensemble | Published,
    store: FeatureStore,
    folder: str | Path,
    *,
    slides: Sequence[str] | None = None,
    slide_files: Mapping[str, Path] | None = None,
    accept: Sequence[str] = (),
    progress: Callable[[Predicted], None] | None = None,
) -> list[Predicted]:
    """Predict slides and write `predictions.csv` and `attention.h5` (one float32 dataset (tiles,) per slide).

    A slide that is finished is kept as long as neither its feature file nor the models change, nor what is known of the
    run's own slides; what is wrong with one is told. The tables are written at the end, also of an interrupt.

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
        done = [predicted for predicted in told if predicted.error is None]
        attention = ((predicted.slide, predicted.attention()) for predicted in done)
        PredictedFolder(folder).write([predicted.row for predicted in done], attention)
    return told


def _places(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    places: dict[Path, str] = {}
    for name in names:
        place = folder / SETTLED / f"{safe_name(name)}.h5"
        if places.setdefault(place, name) != name:
            found = f"{places[place]} and {name}"
            raise AsmilError("two slides make the same file name", found=found, fix="rename one")
    return {name: place for place, name in places.items()}


def _settle(
    ensemble: Ensemble | Published,
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
        key = f"{ensemble.knows} {slide} {state.st_size} {state.st_mtime_ns} {slide_file} {accepted}"
        if row := _read(place, key=key):
            return Predicted(slide, place, row, kept=True)
        bag = store.load(slide)
        require_unlike(bag.features.numpy(), info.path)
        prediction = ensemble.predict(bag, slide_file=slide_file)
        row = row_of(ensemble, prediction, tile_um=info.tile_um, accepted=accepted)
        with new_hdf5(place) as file:
            file["attention"] = prediction.attention.astype(np.float32)
            file.attrs.update(key=key, row=json.dumps(row))
        return Predicted(slide, place, row)
    except (AsmilError, OSError) as error:
        return Predicted(slide, place, error=error)


def _read(place: Path, *, key: str) -> Facts:
    """The row of a slide that is finished; empty if it is not."""
    try:
        with h5py.File(place) as file:
            return json.loads(file.attrs["row"]) if file.attrs["key"] == key and "attention" in file else {}
    except (OSError, KeyError, ValueError):  # none there, or not ours
        return {}


def row_of(
    ensemble: Ensemble | Published,
    prediction: EnsemblePrediction,
    *,
    tile_um: float | None = None,
    accepted: Sequence[str] = (),
) -> Facts:
    """A row of predictions.csv. `tile_um` is the side of a tile, `accepted` says what was prepared otherwise."""
    found, tiles = prediction.distance, len(prediction.attention)
    blind = (UNMEASURED,) if isinstance(ensemble, Ensemble) and ensemble.profile is None else ()
    return {
        "slide": prediction.slide,
        **(_of_classes(ensemble, prediction) if ensemble.task is None else _of_values(ensemble, prediction)),
        "members": len(prediction.members),
        "tiles": tiles,
        "tissue_mm2": None if tile_um is None else tiles * tile_um**2 / 1e6,
        "shift": None if found is None else found.shift,
        "clamped": None if found is None else found.clamped,
        "in_cohort_as": prediction.seen_as,
        "warnings": "; ".join([*prediction.warnings, *blind, *(f"other preprocessing: {text}" for text in accepted)]),
    }


def _of_classes(ensemble: Ensemble | Published, prediction: EnsemblePrediction) -> Facts:
    best = int(prediction.probabilities.argmax())
    return {
        **{f"prob_{name}": float(p) for name, p in zip(ensemble.classes, prediction.probabilities, strict=True)},
        "prediction": ensemble.classes[best],
        "threshold": prediction.threshold,
        "called": ensemble.classes[prediction.called],
        "std": float(prediction.std[best]),
        "entropy": prediction.entropy,
        "mutual_information": prediction.mutual_information,
    }


def _of_values(ensemble: Ensemble | Published, prediction: EnsemblePrediction) -> Facts:
    """The values of another task than classification, and of each the standard deviation between the members."""
    rows = zip(ensemble.classes, prediction.probabilities.tolist(), prediction.std.tolist(), strict=True)
    return {key: number for name, value, std in rows for key, number in ((name, value), (f"std_{name}", std))}


def write_heatmap(
    folder: str | Path,
    store: FeatureStore,
    slide: str,
    *,
    attention: np.ndarray,
    thumbnail: Path,
    evidence: Mapping[str, np.ndarray] | None = None,
    shown: str | None = None,
) -> tuple[Path, ...]:
    """Write `figures/<slide>.png` and `figures/<slide>.geojson` into a folder of predictions.

    Args:
        attention: (tiles,), in the order of the feature file.
        evidence, shown: evidence (tiles,) by class, and the class it is drawn for; None: no map of it.
        thumbnail: picture of the slide, as `asmil embed` makes it; where it is not there, there are the maps alone.

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
    return draw_heatmap(
        figure_file(Path(folder), slide),
        tiles,
        attention,
        title=slide,
        thumbnail=thumbnail,
        evidence=evidence,
        shown=shown,
    )


@dataclass(frozen=True)
class Predictions:
    """What became of new slides: a row per slide as in predictions.csv of the folder, and what was set aside."""

    folder: Path
    classes: tuple[str, ...]
    table: pd.DataFrame
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def warnings(self) -> dict[str, list[str]]:
        """Every sentence of warning, and the slides that it is said of."""
        found: dict[str, list[str]] = {}
        for slide, texts in zip(self.table.get("slide", ()), self.table.get("warnings", ()), strict=True):
            for text in filter(None, texts.split("; ")):
                found.setdefault(text, []).append(slide)
        return found

    def __repr__(self) -> str:
        return f"Predictions({len(self.table)} slides in {self.folder}; {self.outcome})"

    def _repr_html_(self) -> str:
        return self.table.to_html(max_rows=20)


def prepare(ensemble: Ensemble, features: Path | None, hear: Listener) -> None:
    """Measure the run's own slides where that was not done before, and say what there is to compare with."""
    measured = ensemble.profile is None
    if measured:
        with hear.stage("measure the run's slides", total=len(ensemble.slides)) as advance:
            ensemble.prepare(features, progress=advance)
    if (profile := ensemble.profile) is None:
        gone = "the features of the run are not at hand: drift and equal content cannot be seen"
        return hear.warn(gone, fix="--run-features FOLDER, once")
    if lost := [slide for slide in ensemble.slides if slide not in profile.slides]:
        text = f"features of the run's slides are not at hand, and nothing is compared with them: {listed(lost)}"
        hear.warn(text, fix="put them back, or --run-features FOLDER")
    elif measured and not (kept := ensemble.run.profile_file).exists():
        hear.note(f"{kept} cannot be written: the run's slides are measured anew each time")
    if (rate := profile.false_alarms()) is not None:
        known = f"the run's {len(profile.held_out)} own held-out slides"
        hear.note(f"warnings of drift: {rate:.1%} of {known} would raise one")


def embed_new(
    ensemble: Ensemble, settings: Settings, *, outcome: Outcome, accept: Sequence[str], hear: Listener
) -> Path:
    """The folder of the new slides' features, made as the run's were; it may not be there, where none could be made.

    Raises:
        FeatureError: this machine loads another encoder, other weights or another precision than the run's.
    """
    device, precision = device_of(settings.device), settings.encoder_precision
    encoder = create_encoder(settings.encoder, device=device, weights=settings.weights, precision=precision)
    if settings.stain != "none":
        encoder = with_stain(encoder, settings.stain, target=settings.stain_target)
    facts = {"encoder": encoder.card.name, "weight_hash": encoder.weight_hash, "precision": encoder.precision}
    ensemble.preprocessing.check("an encoder as this machine loads it", facts, accept=accept)
    files = scan_slides(settings.slides or Path())
    stores = extract_folder(files, settings.out, settings=settings, outcome=outcome, hear=hear)
    return stores[0] if stores else settings.out / FEATURES


def predict_new(
    ensemble: Ensemble,
    settings: Settings,
    *,
    outcome: Outcome,
    heatmaps: bool,
    accept: Sequence[str],
    hear: Listener,
    chosen: Sequence[str] = (),
) -> Predictions:
    """Predict all slides that `settings` name, or all of their features; a `RunError` where none can be.

    Args:
        chosen: the settings that somebody gave for these slides.
    """
    ensemble.preprocessing.require_compared(accept)
    features, table = settings.features, pd.DataFrame()
    if features is None:
        settings = as_the_run(ensemble, settings, chosen=[name for name in chosen if name not in accept])
        features = embed_new(ensemble, settings, outcome=outcome, accept=accept, hear=hear)
    if settings.features is not None or features.exists():  # else no slide could be embedded
        store = open_features(features, encoder=settings.features_encoder)
        table = _predict_stored(ensemble, store, settings, outcome=outcome, heatmaps=heatmaps, accept=accept, hear=hear)
    outcome.write(settings.out / FAILURES)
    if table.empty:
        hear.closing(outcome)
        nothing = (
            f"none in {settings.slides or features}",
            "give slide files by --slides, feature files by --features",
        )
        found, fix = next(((f"{row.name}: {row.reason}", f"see {FAILURES}") for row in outcome.set_aside), nothing)
        raise RunError("no slide could be predicted", found=found, fix=fix)
    return Predictions(settings.out, tuple(ensemble.classes), table, outcome)


def predict_published(
    weights: str | Path,
    features: str | Path,
    out: str | Path,
    *,
    features_encoder: str | None = None,
    classes: Sequence[str] = (),
    heads: int = 8,
    device: str = "auto",
    heatmaps: bool = False,
    hear: Listener | None = None,
) -> Predictions:
    """Features by weights that the authors' script trained, into the same folder as by a run; the same call goes on.

    For `weights`, `classes` and `heads` see `Published`; `features_encoder` is the setting. Nothing is known of how the
    features of the training were made but their dimension, and every row says what this prediction has not.

    Raises:
        WeightsError, ConfigError: as `Published`. FeatureError: no features there, or of another dimension.
    """
    settings = load_settings(None, {"features": features, "out": out, "device": device}, flags=False)
    require_place(settings)
    model = Published(weights, classes=classes, heads=heads, device=device_of(settings.device))
    store, outcome, hear = open_features(features, encoder=features_encoder), Outcome(), hear or default_listener()
    model.require_fit(store)
    with PredictedFolder(settings.out).held(hear):
        table = _predict_stored(model, store, settings, outcome=outcome, heatmaps=heatmaps, accept=(), hear=hear)
    hear.closing(outcome)
    outcome.write(settings.out / FAILURES)
    return Predictions(settings.out, model.classes, table, outcome)


def _predict_stored(
    ensemble: Ensemble | Published,
    store: FeatureStore,
    settings: Settings,
    *,
    outcome: Outcome,
    heatmaps: bool,
    accept: Sequence[str],
    hear: Listener,
) -> pd.DataFrame:
    """Predict the slides of a store, of which `--slides` still has the file, into `settings.out`; the rows of those
    that could be."""
    files = {name_of(path): path for path in scan_slides(settings.slides)} if settings.slides else {}
    names, lost = SlideNames(files), lost_of(store, outcome)
    stored = [slide for slide in store.slides if slide not in lost]
    slides = [slide for slide in stored if not settings.slides or names.find_or_file(slide)]
    hear.note(f"{len(slides):,} slides, by the names of their files (no table is read); {', '.join(ensemble.classes)}")
    for line in store.lines(slides):
        hear.note(line)
    for problem in store.problems:
        outcome.failed(problem.slide or str(problem.path), stage="data", reason=problem.what)
    run = ensemble.run.folder if isinstance(ensemble, Ensemble) else None
    made = PredictedFolder(settings.out)
    where = settings.slides or store.path
    gone = f"had a row of an earlier call, and has none now: it is not in {where} any more"
    for slide in sorted({*made.slides}.difference(slides, lost)):
        outcome.noted(slide, stage="predict", reason=gone)
    made.note(run, models=ensemble.digest, store=store, slides=settings.slides)
    with hear.stage("predict", total=len(slides)) as advance:

        def settled(slide: Predicted) -> None:
            advance(1)
            if slide.error is not None:
                outcome.failed(slide.slide, stage="predict", reason=str(slide.error))
                return
            outcome.ok(slide.slide)
            if heatmaps:
                with outcome.attempt(slide.slide, stage="heatmap"):
                    _draw(ensemble, slide, store, made, file=files.get(slide.slide))

        predicted = predict_slides(
            ensemble, store, settings.out, slides=slides, slide_files=files, accept=accept, progress=settled
        )
    done = [slide for slide in predicted if slide.error is None]
    current = {slide.file.stem for slide in done if heatmaps or slide.kept}
    if dropped := made.drop_figures(current):
        hear.note(f"figures of earlier predictions were removed, --heatmaps draws new ones: {listed(dropped)}")
    return pd.DataFrame([slide.row for slide in done])


def _draw(
    ensemble: Ensemble | Published, slide: Predicted, store: FeatureStore, made: PredictedFolder, *, file: Path | None
) -> None:
    by_class = ensemble.evidence(store.load(slide.slide), slide_file=file)
    shown = slide.row.get("prediction") if len(by_class) > 2 else list(by_class)[-1] if by_class else None
    name, thumbnail = slide.slide, made.thumbnail_file(slide.slide)
    write_heatmap(
        made.folder, store, name, attention=slide.attention(), thumbnail=thumbnail, evidence=by_class, shown=shown
    )
