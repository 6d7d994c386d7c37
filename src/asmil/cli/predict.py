"""New slides to predictions by all models of a run, prepared as the run's own were."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from asmil.cli.parts import PARTIAL, settings_from, with_settings
from asmil.cli.parts.told import screen, wrote
from asmil.settings import Group
from asmil.shown import fixed, number

if TYPE_CHECKING:
    from asmil.deploy import Predictions

MACHINE = ("weights", "tile_batch", "device", "slide_workers")
FOR_PUBLISHED = ("--features", "--features-encoder", "--device")


@with_settings(Group.SOURCE, Group.SCALE, *MACHINE)
def predict(
    run: Path | None = typer.Argument(None, help="Run folder."),
    out: Path = typer.Option(None, help="Output folder.  [<run>/predictions]", show_default=False),
    run_features: Path = typer.Option(None, help="Features that the run was trained on, where they were moved."),
    heatmaps: bool = typer.Option(False, "--heatmaps", help="Write figures/<slide>.png and .geojson."),
    accept: list[str] = typer.Option([], help="Setting in which features may differ from the run's; repeat."),
    partial: bool = PARTIAL,
    published: Path = typer.Option(
        None, help="Model that the authors' script trained, in the place of a run: with --features and --out."
    ),
    classes: str = typer.Option("", help="Its classes in the order of training, with commas.  [class_0,class_1 ...]"),
    heads: int = typer.Option(None, min=1, help="Its attention heads.  [8]", show_default=False),
    **settings: object,
) -> None:
    """Write predictions.csv and attention.h5; tiles and encoder are the run's, and cannot be chosen.

    A slide of the run's own cohort is predicted only by the members that never saw it. Run it again to go on.
    """
    from asmil import runs
    from asmil.cli import exit_with
    from asmil.errors import ConfigError

    model = {"--classes": classes, "--heads": heads}
    own = {"--run-features": run_features, "--accept": accept, "--partial": partial}
    if published is not None:
        _require_only(own | {"the run": run}, settings)
        found = _by_published(published, out, heatmaps=heatmaps, classes=classes, heads=heads, settings=settings)
    elif run is None or any(model.values()):
        named = ", ".join(flag for flag, value in model.items() if value)
        fix = "asmil predict RUN, or --published FILE for a model of the authors' script"
        raise ConfigError(
            f"{named} is for --published" if named else "predict needs a run", found="no --published", fix=fix
        )
    else:
        found = runs.predict(
            run,
            settings=settings_from(settings),
            out=out,
            heatmaps=heatmaps,
            accept=accept,
            run_features=run_features,
            partial=partial,
            listener=screen(),
        )
    _print(found)
    exit_with(found.outcome)


def _require_only(own: dict[str, object], settings: dict[str, object]) -> None:
    """Raise a `ConfigError` where something was typed that has no meaning without a run: it must not be passed over."""
    from asmil.errors import ConfigError

    flags = {f"--{name.replace('_', '-')}": value for name, value in settings.items()}
    given = own | {flag: value for flag, value in flags.items() if flag not in FOR_PUBLISHED}
    if wrong := [flag for flag, value in given.items() if value]:
        raise ConfigError(
            f"--published takes features, and has no use for {', '.join(wrong)}",
            found="a model that does not say how slides are prepared",
            fix="make the features first: asmil embed, with the encoder and tiles of its training",
        )


def _by_published(
    published: Path, out: Path | None, *, heatmaps: bool, classes: str, heads: int | None, settings: dict[str, object]
) -> "Predictions":
    from asmil.deploy import predict_published
    from asmil.errors import ConfigError

    given = settings_from(settings)
    if given.features is None or out is None:
        missing = "--features FOLDER" if given.features is None else "--out FOLDER"
        raise ConfigError(
            "--published needs features and an output folder", found=f"no {missing}", fix=f"add {missing}"
        )
    return predict_published(
        published,
        given.features,
        out,
        features_encoder=given.features_encoder,
        classes=[name.strip() for name in classes.split(",") if name.strip()],
        heads=heads or 8,
        device=given.device,
        heatmaps=heatmaps,
        hear=screen(),
    )


def _print(found: "Predictions") -> None:
    """How many slides were called of each class, or the range of a value, and every warning with its slides."""
    from asmil.bags import listed
    from asmil.runs import PREDICTIONS

    table = found.table
    for name in found.classes if len(table) else ():
        if "called" in table:
            typer.echo(f"{name}: {(table['called'] == name).sum()} of {len(table)} slides")
        else:
            low, high, middle = table[name].min(), table[name].max(), table[name].median()
            typer.echo(f"{name}: {number(low)} to {number(high)}, median {number(middle)}, of {len(table)} slides")
    if "threshold" in table:
        at = table["threshold"].dropna()
        if len(at):
            on = fixed(at.min()) if at.min() == at.max() else f"{fixed(at.min())} to {fixed(at.max())}"
            typer.echo(f"{found.classes[1]} is called from a probability of {on} on, the operating point of the run")
        elif len(found.classes) == 2:
            typer.echo("called is the most probable class: there is no operating point of an evaluated run")
    for text, slides in found.warnings.items():
        typer.echo(f"warning: {text} [{len(slides)}: {listed(slides, 3)}]", err=True)
    wrote("predictions", found.folder / PREDICTIONS)
