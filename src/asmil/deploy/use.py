"""A run put to use: new slides to predictions, prepared as its own were, and its models to a file for others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from asmil.bags import FeatureStore, open_features
from asmil.deploy.card import write_card
from asmil.deploy.ensemble import Ensemble
from asmil.deploy.onnx_file import export_onnx
from asmil.deploy.slides import Predicted, predict_slides, write_heatmap
from asmil.encoders import create_encoder, with_stain
from asmil.errors import ConfigError
from asmil.progress import Listener, Outcome
from asmil.settings import ABOUT, Group, Settings, device_of, extract_folder, load_settings
from asmil.slides import scan_slides


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


def settings_for_new(own: Settings, given: Mapping[str, Any]) -> Settings:
    """The settings of a run, without what is about its own slides and its own machine, and over them what was given.

    Raises:
        ConfigError: neither slides nor features are given, or both.
    """
    typed = {name: value for name, value in given.items() if value is not None}
    if ("slides" in typed) == ("features" in typed):
        raise ConfigError("predict needs slides or features", fix="give --slides FOLDER, or --features FOLDER")
    groups = (Group.SOURCE, Group.SCALE, Group.EXTRACTION)
    left_out = {name for name, about in ABOUT.items() if about.group in groups}
    recipe = own.model_dump(exclude=left_out | {"slide_settings", "also_encoder", "device"})
    return load_settings(None, recipe | typed, flags=False)


def prepare(ensemble: Ensemble, features: Path | None, hear: Listener) -> None:
    """Measure the run's own slides where that was not done before, and say what there is to compare with."""
    if ensemble.profile is None:
        with hear.stage("measure the run's slides", total=len(ensemble.slides)) as advance:
            ensemble.prepare(features, progress=advance)
    if ensemble.profile is None:
        text = "the features of the run are not at hand: drift and equal content cannot be seen"
        hear.warn(text, fix="--run-features FOLDER, once")
    elif (rate := ensemble.profile.false_alarms()) is not None:
        slides = len(ensemble.profile.held_out)
        hear.note(f"warnings of drift: {rate:.1%} of the run's {slides} own held-out slides would raise one")


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
    return stores[0] if stores else settings.out / "features"


def predict_new(
    ensemble: Ensemble,
    settings: Settings,
    *,
    outcome: Outcome,
    heatmaps: bool,
    accept: Sequence[str],
    hear: Listener,
) -> Predictions:
    """Predict all slides that `settings` name, or all of their features, into `settings.out`."""
    features, table = settings.features, pd.DataFrame()
    if features is None:
        features = embed_new(ensemble, settings, outcome=outcome, accept=accept, hear=hear)
    if features.exists():  # else no slide could be embedded, and the outcome says why
        store = open_features(features)
        for problem in store.problems:
            outcome.failed(problem.slide or str(problem.path), stage="data", reason=problem.what)
        files = {path.stem: path for path in scan_slides(settings.slides)} if settings.slides else {}
        places = [settings.out / "thumbnails", *(folder / "thumbnails" for folder in features.resolve().parents[:2])]
        thumbnails = next((place for place in places if place.is_dir()), places[0])
        with hear.stage("predict", total=len(store.slides)) as advance:

            def settled(slide: Predicted) -> None:
                advance(1)
                _note(slide, outcome)
                if heatmaps and slide.error is None:
                    _draw(slide, store, settings.out, thumbnails=thumbnails, outcome=outcome)

            predicted = predict_slides(
                ensemble, store, settings.out, slide_files=files, accept=accept, progress=settled
            )
        table = pd.DataFrame([slide.row for slide in predicted if slide.error is None])
    outcome.write(settings.out / "failures.csv")
    return Predictions(settings.out, tuple(ensemble.classes), table, outcome)


def _note(slide: Predicted, outcome: Outcome) -> None:
    if slide.error is None:
        outcome.ok(slide.slide)
    else:
        outcome.failed(slide.slide, stage="predict", reason=str(slide.error))


def _draw(slide: Predicted, store: FeatureStore, folder: Path, *, thumbnails: Path, outcome: Outcome) -> None:
    with outcome.attempt(slide.slide, stage="heatmap"):
        write_heatmap(folder, store, slide.slide, attention=slide.attention(), thumbnails=thumbnails)


@dataclass(frozen=True)
class Exported:
    """What `export` wrote: the ONNX file (none where only the card was asked for), of how many models, its largest
    difference from torch by number of tiles, and the card as markdown and JSON."""

    onnx: Path | None
    members: int
    differences: dict[int, float]
    card: tuple[Path, Path]


def export_run(ensemble: Ensemble, out: Path, *, fold: int | None, seed: int | None, card: bool) -> Exported:
    """The mean of a run's models, or of those of a fold or seed, as an ONNX file, and a card; with `card` that alone.

    Raises:
        ConfigError: the run is no classifier, or has no such model. AsmilError: as `export_onnx`.
    """
    if ensemble.task is not None:
        found, fix = f"a run of {ensemble.task.name}", "asmil predict takes such runs"
        raise ConfigError("only classifiers are exported", found=found, fix=fix)
    members = [m for m in ensemble.members if fold in (None, m.fold) and seed in (None, m.seed)]
    if not members:
        known = ", ".join(member.name for member in ensemble.members)
        raise ConfigError("the run has no such model", found=f"fold {fold}, seed {seed}", fix=f"one of {known}")
    if card:
        return Exported(None, len(members), {}, write_card(ensemble, out))
    made = export_onnx(
        [member.model for member in members],
        out,
        in_dim=ensemble.preprocessing.values["dim"][0],
        name=ensemble.run.settings.model,
        facts=_facts(ensemble) | {"members": [member.name for member in members]},
    )
    described = write_card(ensemble, out.with_name(f"{out.stem}_card.md"))
    return Exported(out, len(members), made.differences, described)


def _facts(ensemble: Ensemble) -> dict[str, Any]:
    """What a program that uses the file has to know."""
    from importlib.metadata import version

    return {
        "asmil_version": version("asmil"),
        "model": ensemble.run.settings.model,
        "classes": list(ensemble.classes),
        "features": ensemble.preprocessing.values,
        "attention": "mean over the members and their attention rows; sums to 1 over the tiles",
        "digest_of_all_members": ensemble.digest,
    }
