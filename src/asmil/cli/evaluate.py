"""A trained run to numbers: metrics with intervals, attention statistics, localisation."""

from pathlib import Path

import typer

from asmil.cli.parts import PARTIAL, typed, with_settings
from asmil.cli.parts.told import screen, wrote
from asmil.settings import Group
from asmil.shown import number


@with_settings(Group.TRUTH, Group.RESULTS, "slide_mpp", without=["heatmaps"])
def evaluate(
    run: Path = typer.Argument(help="Run folder."),
    partial: bool = PARTIAL,
    **settings: object,
) -> None:
    """Write metrics.json and predictions.csv from the stored predictions; nothing is trained or extracted again."""
    from asmil import evaluation, runs
    from asmil.cli import exit_with
    from asmil.settings import changed

    made = runs.Run.open(run)
    config = changed(made.settings, typed(settings), flags=True)
    metrics = runs.evaluate(made, config, partial=partial, listener=screen())
    for name, score in made.headline.items():
        low, high = score["ci95"]
        some = f", mean of {folds}" if (folds := evaluation.of_folds(score)) else ""
        interval = "no interval" if low is None else f"{number(low)} to {number(high)}"
        typer.echo(f"{name:<20} {number(score['value'])}  ({interval}{some})")
    for name, value in metrics["attention"].items():
        if isinstance(value, float):
            typer.echo(f"{name:<20} {number(value)}")
    froc = metrics["attention"].get("froc")
    if froc:
        low, high = froc["score_ci95"]
        typer.echo(f"{'froc':<20} {number(froc['score'])}  ({number(low)} to {number(high)})")
        typer.echo("at false per slide   " + ", ".join(f"{k}: {number(v)}" for k, v in froc["sensitivity"].items()))
    for called, path in zip(("predictions", "metrics"), made.result_files, strict=False):
        wrote(called, path)
    exit_with(made.outcome, metrics=made.headline)
