"""New slides to predictions by all models of a run, prepared as the run's own were."""

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import typer

from asmil.cli._options import SCALE, given, with_settings

if TYPE_CHECKING:
    from asmil.cli._outcome import Outcome
    from asmil.config import RunConfig
    from asmil.deploy import Ensemble
    from asmil.runs import Run

MACHINE = ("weights", "tile_batch", "device", "slide_workers")


@with_settings("slides", "features", *SCALE, *MACHINE)
def predict(
    run: Path = typer.Argument(help="Run folder."),
    out: Path = typer.Option(None, help="Output folder.  [<run>/predictions]", show_default=False),
    run_features: Path = typer.Option(None, help="Features that the run was trained on, where they were moved."),
    heatmaps: bool = typer.Option(False, "--heatmaps", help="Write figures/<slide>.png and .geojson."),
    accept: list[str] = typer.Option(None, help="Setting in which features may differ from the run's; repeat."),
    **settings: Any,
) -> None:
    """Write predictions.csv and attention.h5; tiles and encoder are the run's, and cannot be chosen.

    A slide of the run's own cohort is predicted only by the members that never saw it. Run it again to go on.
    """
    from asmil.cli._outcome import Outcome
    from asmil.cli._stages import device_of
    from asmil.deploy import load_ensemble
    from asmil.runs import Run

    opened = Run.open(run)
    config = _config(opened, given(settings) | {"out": out or opened.predicted})
    ensemble = load_ensemble(opened, device=device_of(config))
    _prepare(ensemble, run_features)
    outcome = Outcome()
    features = config.features or _embed(config, ensemble, outcome=outcome, accept=accept or [])
    if features.exists():  # else no slide could be embedded, and the table says why
        _predict(config, ensemble, features, outcome=outcome, accept=accept or [], heatmaps=heatmaps)
    outcome.write(config.out / "failures.csv")
    outcome.print_table()
    raise typer.Exit(outcome.exit_code)


def _config(run: "Run", typed: dict[str, Any]) -> "RunConfig":
    """The run's settings, without what is about its own slides and its own machine, and over them what was typed."""
    from asmil.config import RunConfig
    from asmil.errors import ConfigError

    if ("slides" in typed) == ("features" in typed):
        raise ConfigError("predict needs slides or features", fix="give --slides FOLDER, or --features FOLDER")
    own = ("slides", "features", *SCALE, "slide_settings", "also_encoder", "shard", "engine", "slide_workers", "device")
    recipe = run.settings.model_dump(exclude=set(own))
    return RunConfig(**(recipe | typed))


def _prepare(ensemble: "Ensemble", features: Path | None) -> None:
    """Measure the run's own slides where that was not done before, and say what there is to compare with."""
    from asmil.cli._progress import progress

    if ensemble.profile is None:
        with progress("measure the run's slides", total=len(ensemble.slides)) as advance:
            ensemble.prepare(features, progress=advance)
    rate = ensemble.profile.false_alarms() if ensemble.profile else None
    if ensemble.profile is None:
        typer.echo(
            "warning: the features of the run are not at hand: drift and equal content cannot be seen; "
            "fix: --run-features FOLDER, once", err=True,
        )  # fmt: skip
    elif rate is not None:
        slides = len(ensemble.profile.held_out)
        typer.echo(f"warnings of drift: {rate:.1%} of the run's {slides} own held-out slides would raise one", err=True)


def _embed(config: "RunConfig", ensemble: "Ensemble", *, outcome: "Outcome", accept: list[str]) -> Path:
    """The folder of the new slides' features, made as the run's were."""
    from asmil.cli._extraction import extract
    from asmil.cli._stages import device_of
    from asmil.encoders import create_encoder, with_stain
    from asmil.slides import scan_slides

    precision = None if config.encoder_precision == "auto" else config.encoder_precision
    encoder = create_encoder(config.encoder, device=device_of(config), weights=config.weights, precision=precision)
    if config.stain != "none":
        encoder = with_stain(encoder, config.stain, target=config.stain_target)
    facts = {
        "encoder": encoder.card.name, "weight_hash": encoder.weight_hash, "precision": encoder.precision,
    }  # fmt: skip
    ensemble.preprocessing.check("an encoder as this machine loads it", facts, accept=accept)
    stores = extract(scan_slides(config.slides or Path()), config.out, config=config, outcome=outcome)
    return stores[0] if stores else config.out / "features"


def _predict(
    config: "RunConfig", ensemble: "Ensemble", features: Path, *,
    outcome: "Outcome", accept: list[str], heatmaps: bool,
) -> None:  # fmt: skip
    """Predict all slides of a folder of features, and say what came out."""
    from asmil.bags import open_features
    from asmil.cli._progress import progress
    from asmil.cli._stages import note_problems
    from asmil.deploy import Predicted, predict_slides, write_heatmap
    from asmil.slides import scan_slides

    store = open_features(features)
    note_problems(store.problems, outcome)
    files = {path.stem: path for path in scan_slides(config.slides)} if config.slides else {}
    places = [config.out / "thumbnails", *(folder / "thumbnails" for folder in features.resolve().parents[:2])]
    thumbnails = next((place for place in places if place.is_dir()), places[0])
    with progress("predict", total=len(store.slides)) as advance:

        def settled(slide: Predicted) -> None:
            advance(1)
            if slide.error is not None:
                outcome.failed(slide.slide, stage="predict", reason=str(slide.error))
                return
            outcome.ok(slide.slide)
            if heatmaps:
                with outcome.attempt(slide.slide, stage="heatmap"):
                    write_heatmap(config.out, store, slide.slide, attention=slide.attention(), thumbnails=thumbnails)

        predicted = predict_slides(
            ensemble, store, config.out, slide_files=files, accept=accept, progress=settled
        )  # fmt: skip
    _print(config.out, ensemble, [slide.row for slide in predicted if slide.error is None])


def _print(out: Path, ensemble: "Ensemble", rows: list[dict[str, Any]]) -> None:
    """How many slides of each class, or the range of a value, and every warning with its slides."""
    from asmil.bags import listed

    for name in ensemble.classes if ensemble.task is not None and rows else ():
        values = [row[name] for row in rows]
        typer.echo(
            f"{name}: {min(values):.4g} to {max(values):.4g}, median {median(values):.4g}, of {len(rows)} slides"
        )
    for name in ensemble.classes if ensemble.task is None else ():
        typer.echo(f"{name}: {sum(row['prediction'] == name for row in rows)} of {len(rows)} slides")
    warned: dict[str, list[str]] = {}
    for row in rows:
        for text in filter(None, row["warnings"].split("; ")):
            warned.setdefault(text, []).append(row["slide"])
    for text, slides in warned.items():
        typer.echo(f"warning: {text} [{len(slides)}: {listed(slides, 3)}]", err=True)
    typer.echo(f"predictions: {out / 'predictions.csv'}")
