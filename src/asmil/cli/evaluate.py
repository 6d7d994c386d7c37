"""A trained run to numbers: metrics with intervals, attention statistics, localisation."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from asmil.cli._options import TRUTH, given, with_settings

if TYPE_CHECKING:
    from asmil.config import RunConfig
    from asmil.runs import Run


@with_settings(*TRUTH)
def evaluate(run: Path = typer.Argument(help="Run folder."), **settings: Any) -> None:
    """Write metrics.json and predictions.csv from the stored predictions; nothing is trained or extracted again."""
    from asmil.config import RunConfig
    from asmil.runs import Run

    opened = Run.open(run)
    config = RunConfig(**(opened.settings.model_dump() | given(settings)))
    with opened.timed("evaluate"):
        metrics = evaluate_run(opened, config)
    for name, score in metrics["test"].items():
        low, high = score["ci95"]
        typer.echo(f"{name:<20} {_number(score['value'])}  ({_number(low)} to {_number(high)})")
    for name, value in metrics["attention"].items():
        if isinstance(value, float):
            typer.echo(f"{name:<20} {_number(value)}")
    froc = metrics["attention"].get("froc")
    if froc:
        low, high = froc["score_ci95"]
        typer.echo(f"{'froc':<20} {_number(froc['score'])}  ({_number(low)} to {_number(high)})")
        typer.echo("at false per slide   " + ", ".join(f"{k}: {_number(v)}" for k, v in froc["sensitivity"].items()))
    for problem in metrics["attention"].get("annotations_set_aside", {}).values():
        typer.echo(f"set aside: {problem}", err=True)


def evaluate_run(run: "Run", config: "RunConfig") -> dict[str, Any]:
    """Evaluate a run with its settings."""
    from asmil.evaluation import evaluate
    from asmil.evaluation.annotations import MaskLabels

    return evaluate(
        run,
        features=config.features or run.features,
        annotations=config.annotations,
        positive=config.positive,
        exclude=config.exclude_class,
        min_coverage=config.min_coverage,
        labels=MaskLabels.parsed(config.mask_class, mpp=config.mask_mpp),
        slide_mpp=config.slide_mpp,
        froc=config.froc is not None,
        bootstrap=config.bootstrap,
    )


def _number(value: float | None) -> str:
    return "undefined" if value is None or value != value else f"{value:.4g}"
