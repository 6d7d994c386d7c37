"""Slides and labels to a report, and each stage alone. This file alone imports from rooms above it, in functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asmil.errors import ConfigError, RunError, require_kind
from asmil.files import Facts, path_of, suffix_of
from asmil.progress import Listener, Outcome, default_listener
from asmil.runs import PredictedFolder, Run
from asmil.runs.layout import CONFIG, ONNX, figure_file
from asmil.runs.making import extract_into, train_into
from asmil.settings import (
    ABOUT,
    UNKNOWN_FEATURES,
    Settings,
    changed,
    check_extraction,
    check_truth,
    device_of,
    extract_folder,
    lacks_data,
    load_settings,
    note_unused,
    open_inputs,
    require_place,
    require_some,
    require_writable,
    slide_files_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from asmil.deploy import Exported, Predictions

Given = Settings | str | Path | None
Which = Run | str | Path
Hear = Listener | None


def run(settings: Given = None, *, listener: Listener | None = None, **given: object) -> Run:
    """Extract (or take features), cross-validate, evaluate and report, into the folder `out`; the same call goes on.

    Example: `asmil.run(features="features/", labels="labels.csv", folds=4, out="runs/first")`.

    Args:
        settings: all of them, or a YAML file of them; None: the defaults.
        listener: hears how far it is; None: a bar in a terminal or a notebook.
        **given: settings by name (`asmil.Settings`, or `asmil run --help`), over the others.

    Returns:
        The run. What was set aside is in its `outcome` and in failures.csv, and warned of.

    Raises:
        AsmilError: an input or a setting is wrong, which is found before anything is written; or no slide can be used.
        RunError: `out` holds a run of other settings, slides, labels or features.
    """
    settings, hear = _settled(settings, given), listener or default_listener()
    check_truth(settings)
    if settings.shard and not settings.features:
        raise ConfigError("a run needs all slides", found=f"shard {settings.shard}", fix="--shard is for `asmil embed`")
    with hear.stage("open", total=None):
        inputs, made, outcome = open_inputs(settings, hear), Run(settings.out), Outcome()
    with made.held(settings, hear) as hear:
        store = inputs.store or extract_into(made, settings, inputs=inputs, outcome=outcome, hear=hear)
        train_into(made, settings, inputs=inputs, store=store, outcome=outcome, hear=hear)
        with made.timed("evaluate"), hear.stage("evaluate", total=None):
            _evaluate_into(made, settings, outcome, hear)
        hear.result(made.headline)
        with made.timed("report"), hear.stage("report", total=None):
            _report_into(made, settings)
    return _closed(made, outcome, hear)


@dataclass(frozen=True)
class Extracted:
    """What `extract` made: the folder of the features, those of further encoders, and what became of every slide."""

    features: Path
    also: tuple[Path, ...]
    outcome: Outcome


def extract(settings: Given = None, *, listener: Listener | None = None, **given: object) -> Extracted:
    """Slides to `out/features/<store>/<slide>.h5`; slides that are finished are kept. For arguments see `run`.

    Raises:
        AsmilError: an input or a setting is wrong, which is found before anything is written; or no slide can be used.
    """
    settings, hear, outcome = _settled(settings, given), listener or default_listener(), Outcome()
    require_place(settings)
    files = slide_files_of(settings)
    check_extraction(settings, files)
    stores = extract_folder(files, settings.out, settings=settings, outcome=outcome, hear=hear)
    outcome.write(Run(settings.out).failures_file)
    require_some(stores, outcome, hear)
    hear.closing(outcome)
    return Extracted(stores[0], tuple(stores[1:]), outcome)


def train(settings: Given = None, *, listener: Listener | None = None, **given: object) -> Run:
    """Features and labels to trained folds: cross-validation without extraction, evaluation and report. See `run`."""
    settings, hear = _settled(settings, given), listener or default_listener()
    if settings.features is None:
        raise ConfigError("there are no features", fix="give --features FOLDER, or use `asmil run` with --slides")
    with hear.stage("open", total=None):
        inputs, made, outcome = open_inputs(settings, hear), Run(settings.out), Outcome()
    if inputs.store is not None:
        with made.held(settings, hear) as hear:
            train_into(made, settings, inputs=inputs, store=inputs.store, outcome=outcome, hear=hear)
            hear.result(made.validation)
    return _closed(made, outcome, hear)


def evaluate(
    run: Run | str | Path,
    settings: Settings | None = None,
    *,
    partial: bool = False,
    listener: Listener | None = None,
    **given: object,
) -> Facts:
    """Write metrics.json and predictions.csv of a run from what it predicted, and return the metrics.

    Args:
        run: the run, or its folder.
        settings: None: the run's own. Those that decide features or models have no effect here.
        partial: also of a run that is not finished; the listener hears so.
        **given: settings by name, over the others: `annotations`, `positive`, `bootstrap` ...

    Raises:
        RunError: the run is not finished, or its features are not those it was trained on.
        MetricError, AnnotationError: as `asmil.evaluation.evaluate`.
    """
    made, outcome, hear = Run.open(run), Outcome(), listener or default_listener()
    settings = _with_results(settings or made.settings, given)
    check_truth(settings)
    _look_at(made, partial, outcome, hear, into=made.folder)
    with made.timed("evaluate"), hear.stage("evaluate", total=None):
        metrics = _evaluate_into(made, settings, outcome, hear, partial=partial)
    _closed(made, outcome, hear, always=False)
    return metrics


def _with_results(settings: Settings, given: Facts) -> Settings:
    """The settings and over them what was given by name, which may say nothing of how the models were trained."""
    if trained := [name for name in given if name in ABOUT and ABOUT[name].decides in ("features", "training")]:
        found, fix = ", ".join(trained), "leave it out; or train anew into another out"
        raise ConfigError("a run is used as it was trained", found=found, fix=fix)
    require_kind(settings, Settings, called="settings of results", fix="give them by name, or a run's `settings`")
    return changed(settings, given)


def write_report(
    run: Run | str | Path,
    settings: Settings | None = None,
    *,
    subgroups: Sequence[str] = (),
    against: Run | str | Path | None = None,
    bundle: bool = False,
    partial: bool = False,
    listener: Listener | None = None,
    **given: object,
) -> Path:
    """Write report.html of an evaluated run; returns the page.

    `subgroups`: columns of the table of labels to compare groups by; `against`: a run to compare with; `bundle`: write
    report.zip too, the page with large pictures and its tables beside it. See `evaluate`.

    Raises:
        RunError: the run is not finished or was not evaluated, or its features are not those it was trained on.
        ConfigError: `bundle` with `against`.
    """
    made, outcome, hear = Run.open(run), Outcome(), listener or default_listener()
    require_kind(subgroups, (list, tuple), called="subgroups", fix="give a list of columns' names")
    if bundle and against is not None:
        raise ConfigError("a comparison has no bundle", found="bundle and against", fix="its page is one file already")
    _look_at(made, partial, outcome, hear, into=made.folder)
    if against is not None:
        from asmil.report import write_comparison

        other = Run.open(against)
        _look_at(other, partial, outcome)
        with hear.stage("compare", total=None):
            page = write_comparison(made, other, partial=partial)
    else:
        settings = _with_results(settings or made.settings, given)
        if settings.labels != made.settings.labels and not set(subgroups) - set(made.cohort):
            fix = "name one: --subgroup COLUMN; or leave the table out"
            raise ConfigError("a report reads columns of the table for groups alone", found="no such group", fix=fix)
        with hear.stage("report", total=None):
            page = _report_into(made, settings, subgroups=subgroups, bundle=bundle, partial=partial)
    outcome.ok(*made.predictions["slide"])
    _closed(made, outcome, hear, always=False)
    return page


def heatmap(
    run: Which, slides: Sequence[str] = (), *, packed: bool = False, partial: bool = False, listener: Hear = None
) -> list[Path]:
    """Write figures/<slide>.png and .geojson (`packed`: .geojson.gz) from the stored attention; of all by default.

    Raises:
        RunError: the run is not finished or was not evaluated, features that are read changed after training, or there
            is nothing to draw of a slide, or of any.
    """
    from asmil.report import write_heatmaps

    made, outcome, hear = Run.open(run), Outcome(), listener or default_listener()
    for slide in slides:
        require_kind(slide, str, called="the name of a slide", fix="give a text")
    _look_at(made, partial, outcome, hear, into=made.folder)
    kinds = ".png", ".geojson.gz" if packed else ".geojson"
    with hear.stage("heatmaps", total=None):
        files = write_heatmaps(made, list(slides) or None, kinds=kinds, partial=partial)
    gone, drawn = "no attention, or its features are gone", set(files)
    if not files:
        fix = f"where they were moved, write their folder as `features` into {made.folder / CONFIG}"
        raise RunError(f"nothing of {made.folder} can be drawn", found=gone, fix=fix)
    for slide in slides or made.predictions["slide"]:
        outcome.ok(slide)
        if figure_file(made.folder, slide, ".png") not in drawn:
            outcome.skipped(slide, stage="heatmaps", reason=f"nothing is drawn: {gone}")
    _closed(made, outcome, hear, always=False)
    return files


def plot(run: Which, slide: str, *, partial: bool = False) -> "Figure":
    """The slide, and its attention and evidence over it, side by side with their colours: a figure of matplotlib.

    Without a thumbnail there are the maps alone.

    Raises:
        RunError: the run is not finished or evaluated, or the slide has no attention or places, or other features.
    """
    from asmil.report import slide_figure

    made = Run.open(run)
    require_kind(slide, str, called="the name of a slide", fix="give a text")
    _look_at(made, partial, Outcome())
    return slide_figure(made, slide)


def predict(
    run: Run | str | Path,
    slides: str | Path | None = None,
    settings: Settings | None = None,
    *,
    out: str | Path | None = None,
    heatmaps: bool = False,
    accept: Sequence[str] = (),
    run_features: str | Path | None = None,
    partial: bool = False,
    listener: Listener | None = None,
    **given: object,
) -> "Predictions":
    """New slides (or `features` of them) by all models of a run, prepared as its own were; the same call goes on.

    A slide of the run's own cohort is predicted only by the models that never saw it.

    Args:
        run: the run, or its folder.
        slides: folder of slides.
        settings: what is about these slides and this machine; tiles, encoder and model are the run's in any case.
        out: where predictions.csv, attention.h5 and figures/ go; None: `predictions` in the run.
        heatmaps: write a picture and GeoJSON of each slide.
        accept: names of settings in which features may differ from the run's.
        run_features: features that the run was trained on, where they were moved.
        partial, listener, **given: as in `evaluate`.

    Raises:
        RunError: the run is not finished, its features changed, no slide can be used, or another predicts into `out`.
        FeatureError: this machine cannot prepare slides as the run's were.
    """
    from asmil.deploy import load_ensemble, predict_new, prepare, settings_for_new

    made, hear, outcome = Run.open(run), listener or default_listener(), Outcome()
    require_kind(accept, (list, tuple), called="accept", fix="give a list of settings' names")
    own = {name: getattr(settings, name) for name in settings.model_fields_set} if settings else {}
    typed = {"slides": slides} | own | given | {"out": out or made.predicted}
    if typed.get("features") is not None and typed.get("weights") is not None:
        fix = "leave them out; a model of the authors' script is given by --published, in the place of a run"
        raise ConfigError("weights are those of the encoder, and features are made already", fix=fix)
    settings = settings_for_new(made.settings, typed)
    require_place(settings)
    _look_at(made, partial, outcome, hear)
    with hear.stage("open", total=None):
        ensemble = load_ensemble(made, device=device_of(settings.device), partial=partial)
    prepare(ensemble, None if run_features is None else Path(run_features), hear)
    asked: Facts = {"accept": accept, "chosen": [name for name, value in typed.items() if value is not None]}
    with PredictedFolder(settings.out).held(hear):
        found = predict_new(ensemble, settings, outcome=outcome, heatmaps=heatmaps, hear=hear, **asked)
    hear.closing(outcome)
    return found


def export(
    run: Run | str | Path,
    out: str | Path | None = None,
    *,
    fold: int | None = None,
    seed: int | None = None,
    card: bool = False,
    run_features: str | Path | None = None,
    partial: bool = False,
    listener: Listener | None = None,
) -> "Exported":
    """The models of a run as an ONNX file that agrees with torch, and a card that says what they are.

    Args:
        run: the run, or its folder.
        out: the file; None: model.onnx (of a card card.md) in the run.
        fold, seed: only the models of this fold, of this seed; None: of all.
        card: the card alone.
        run_features, partial, listener: as in `predict`.

    Raises:
        RunError: the run is not finished, or its features changed before they were measured. ConfigError: it is no
            classifier, or has no such model.
        AsmilError: no such model can be a fixed graph, or the file does not agree with torch; none is left then.
    """
    from asmil.deploy import export_run, load_ensemble, prepare

    made, hear, outcome = Run.open(run), listener or default_listener(), Outcome()
    path = path_of(out, "out") if out is not None else (made.card_file if card else made.folder / ONNX)
    if not card and suffix_of(path) != ".onnx":
        fix = "--out model.onnx, or --card for the card alone"
        raise ConfigError("the name of an ONNX file ends in .onnx", found=out, fix=fix)
    _look_at(made, partial, outcome, hear, into=path.parent)
    ensemble = load_ensemble(made, partial=partial)
    prepare(ensemble, None if run_features is None else Path(run_features), hear)
    with hear.stage("export", total=None):
        exported = export_run(ensemble, path, fold=fold, seed=seed, card=card)
    _closed(made, outcome, hear, always=False)
    return exported


def _settled(settings: Given, given: dict[str, object]) -> Settings:
    return changed(settings, given) if isinstance(settings, Settings) else load_settings(settings, given, flags=False)


def _closed(made: Run, outcome: Outcome, hear: Listener, *, always: bool = True) -> Run:
    made.outcome = outcome
    if always or outcome.rows:
        hear.closing(outcome)
    return made


def _look_at(made: Run, partial: bool, outcome: Outcome, hear: Hear = None, *, into: Path | None = None) -> None:
    """Raise where a run is not finished (with `partial` it is noted), or the folder to write `into` is read-only.

    Of an older run it is told that its features cannot be compared with those that it was trained on.
    """
    if into is not None:
        require_writable(into, called="", fix="copy the run to where you may write, or give --out where it is taken")
    if sentence := made.require_whole(partial=partial):
        outcome.skipped(made.folder.name, stage="train", reason=sentence)
    if hear is not None and lacks_data(made.identity):
        hear.note(UNKNOWN_FEATURES)


def _evaluate_into(made: Run, settings: Settings, outcome: Outcome, hear: Listener, *, partial: bool = False) -> Facts:
    from asmil import evaluation
    from asmil.annotations import MaskLabels

    metrics = evaluation.evaluate(
        made,
        features=settings.features or made.features,
        features_encoder=settings.features_encoder,
        annotations=settings.annotations,
        positive=settings.positive,
        exclude=settings.exclude_class,
        min_coverage=settings.min_coverage,
        labels=MaskLabels.parsed(settings.mask_class, mpp=settings.mask_mpp),
        slide_mpp=settings.slide_mpp,
        froc=settings.froc is not None,
        min_sensitivity=settings.min_sensitivity,
        bootstrap=settings.bootstrap,
        partial=partial,
    )
    outcome.ok(*made.predictions["slide"])
    note_unused(settings, made.cohort["slide"], outcome)
    if odd := metrics["attention"].get("annotations_odd"):
        hear.warn(odd, fix="look at the outlines of one slide in `asmil view`")
    for slide, text in metrics["attention"].get("annotations_set_aside", {}).items():
        outcome.skipped(f"annotation of {slide}", stage="annotations", reason=text)
    return metrics


def _report_into(
    made: Run, settings: Settings, *, subgroups: Sequence[str] = (), bundle: bool = False, partial: bool = False
) -> Path:
    from asmil import report

    options: Facts = {"heatmaps": settings.heatmaps, "labels": settings.labels, "subgroups": subgroups}
    if bundle:
        report.write_bundle(made, partial=partial, **options)
    return report.write_report(made, partial=partial, **options)
